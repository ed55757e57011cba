//! Recognises a Java virtual machine, its version and the name people know the application by.
//!
//! Reads files only; never attaches. Called by [`super::detect`].

use std::io::Read;
use std::path::{Path, PathBuf};

use super::command_line::{self, JavaCommand};
use super::hsperfdata::PerfData;
use crate::process::{Process, ProcessTable, TargetRoot};
use crate::runtime::{Detected, JavaVm, RuntimeFacts};

/// `None` when the process is not a JVM.
pub fn detect(table: &ProcessTable, process: &Process, mapped: &[PathBuf]) -> Option<Detected> {
    let (vm, library) = mapped.iter().find_map(|path| Some((virtual_machine(path)?, path)))?;
    let root = TargetRoot::open(table, process.id).ok();
    let perf_data = root
        .as_ref()
        .and_then(|root| PerfData::read(table, root, process))
        .unwrap_or_default();
    let version = root
        .as_ref()
        .and_then(|root| release_version(root, library, process.credentials.uid))
        .or(perf_data.version);
    let name = name(process, perf_data.command.as_deref());
    Some(Detected {
        facts: RuntimeFacts::Jvm { vm, version },
        name,
    })
}

/// Where the attach listener of a JVM listens, as the JVM names it.
pub fn socket_path(process: &Process) -> String {
    format!("/tmp/.java_pid{}", process.namespace_pid)
}

/// True of the library by which a JVM is recognised.
pub fn is_library(mapped: &Path) -> bool {
    virtual_machine(mapped).is_some()
}

fn virtual_machine(mapped: &Path) -> Option<JavaVm> {
    let name = mapped.file_name()?.to_str()?;
    // A JVM outlives an upgrade of its package.
    let name = name.strip_suffix(" (deleted)").unwrap_or(name);
    match name {
        "libjvm.so" => Some(JavaVm::HotSpot),
        _ if name.starts_with("libj9vm") && name.ends_with(".so") => Some(JavaVm::OpenJ9),
        _ => None,
    }
}

/// `JAVA_VERSION` of the `release` file of the Java home that holds the library, of `user` or of the library's owner, who
/// has the last word on what the process does anyway.
fn release_version(root: &TargetRoot, library: &Path, user: u32) -> Option<String> {
    // lib/server/libjvm.so, jre/lib/amd64/server/libjvm.so, lib/default/libj9vm29.so: at most five folders up.
    const DEEPEST: usize = 6;
    const LIMIT: u64 = 64 << 10;
    let users = [user, root.owner(library).unwrap_or(user)];
    library.ancestors().skip(1).take(DEEPEST).find_map(|home| {
        let mut text = Vec::new();
        root.open_file_of(home.join("release"), &users)
            .ok()?
            .take(LIMIT)
            .read_to_end(&mut text)
            .ok()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let version = text
            .lines()
            .find_map(|line| line.strip_prefix("JAVA_VERSION="))?
            .trim()
            .trim_matches('"');
        plausible_version(version)
    })
}

pub(super) fn plausible_version(text: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
    let fits = text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(allowed);
    fits.then(|| text.to_owned())
}

fn name(process: &Process, java_command: Option<&str>) -> String {
    let executable = process.executable_name();
    let name = if executable == "java" {
        let command = JavaCommand::parse(&process.command_line);
        let from_perf_data = java_command.and_then(command_line::name_of_java_command);
        // An argument file may hold the main class, and what looks like one is then an argument.
        let (first, second) = if command.argument_files.is_empty() {
            (command.name(), from_perf_data)
        } else {
            (from_perf_data, command.name())
        };
        first.or(second).unwrap_or(executable)
    } else {
        // javac, jshell, a launcher of its own: people know it by that.
        executable
    };
    const LONGEST: usize = 200;
    name.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_tells_the_virtual_machine() {
        let vm = |path: &str| virtual_machine(Path::new(path));
        assert_eq!(vm("/usr/lib/jvm/17/lib/server/libjvm.so"), Some(JavaVm::HotSpot));
        assert_eq!(
            vm("/usr/lib/jvm/17/lib/server/libjvm.so (deleted)"),
            Some(JavaVm::HotSpot)
        );
        assert_eq!(vm("/opt/java/lib/default/libj9vm29.so"), Some(JavaVm::OpenJ9));
        assert_eq!(vm("/usr/lib/libjvmcpu.so"), None);
    }

    #[test]
    fn a_release_file_of_somebody_else_tells_no_version() {
        let (root, proc, process) = TargetRoot::example();
        let user = process.credentials.uid;
        let home = proc.path().join("17/root/tmp/jdk/lib");
        std::fs::create_dir_all(&home).unwrap();
        // Where anybody can put one: behind all folders of the Java home, which has none.
        std::fs::write(proc.path().join("17/root/tmp/release"), "JAVA_VERSION=\"99\"").unwrap();
        let library = Path::new("/tmp/jdk/lib/libjvm.so");
        let version = |user| release_version(&root, library, user);
        assert_eq!((version(user).as_deref(), version(user + 1)), (Some("99"), None));
        // Whoever owns the library needs no file to lie with.
        std::fs::write(home.join("libjvm.so"), "").unwrap();
        assert_eq!(version(user + 1).as_deref(), Some("99"));
    }

    #[test]
    fn a_version_is_no_place_for_markup() {
        assert_eq!(plausible_version("17.0.15").as_deref(), Some("17.0.15"));
        assert_eq!(plausible_version("1.8.0_402").as_deref(), Some("1.8.0_402"));
        assert_eq!(plausible_version("<script>"), None);
        assert_eq!(plausible_version(&"1".repeat(65)), None);
    }
}
