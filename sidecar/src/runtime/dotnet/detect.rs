//! Recognises CoreCLR and finds its diagnostic socket.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::client::DiagnosticsClient;
use super::process_info::ProcessInfo;
use crate::process::{CommandLine, Process, ProcessTable, TargetRoot};
use crate::runtime::{Detected, RuntimeFacts};

/// How long a runtime may take to say its name and version; a healthy one takes a millisecond.
const QUESTION: Duration = Duration::from_millis(500);

/// `None` when the process is not .NET.
///
/// CoreCLR is a library of its own (`libcoreclr.so`), or part of the executable of a single-file app. Of the latter
/// we know by the socket, or by the memory file that .NET 7 and later map their JIT's code from.
pub fn detect(table: &ProcessTable, process: &Process, mapped: &[PathBuf]) -> Option<Detected> {
    let library = mapped.iter().find(|path| is_library(path));
    let jit = mapped.iter().any(|path| is_jitted_code(path));
    let root = TargetRoot::open(table, process.id).ok();
    let path = socket_path(table, process);
    let socket = root.as_ref().filter(|root| root.exists(&path)).map(|_| path);
    if library.is_none() && !jit && !listens(root.as_ref(), socket.as_deref()) {
        return None;
    }
    let mut version = library.and_then(|path| version_in(path));
    let mut name = name_in(&process.command_line);
    let mut rid = None;
    if version.is_none()
        && let Some(info) = ask(process, root.as_ref(), socket.as_deref())
    {
        let said = |text: String| Some(text).filter(|text| !text.is_empty());
        version = said(info.version);
        rid = said(info.rid);
        name = name.or(said(info.entry_assembly));
    }
    let name = name.unwrap_or_else(|| process.executable_name());
    Some(Detected {
        facts: RuntimeFacts::Dotnet {
            version,
            rid,
            socket,
            port: None,
        },
        name,
    })
}

/// As [`detect`], by what is mapped alone.
pub fn recognise(process: &Process, mapped: &[PathBuf]) -> Option<Detected> {
    let library = mapped.iter().find(|path| is_library(path));
    if library.is_none() && !mapped.iter().any(|path| is_jitted_code(path)) {
        return None;
    }
    Some(Detected {
        facts: RuntimeFacts::Dotnet {
            version: library.and_then(|path| version_in(path)),
            rid: None,
            socket: None,
            port: None,
        },
        name: name_in(&process.command_line).unwrap_or_else(|| process.executable_name()),
    })
}

/// True of the library by which CoreCLR is recognised.
pub fn is_library(mapped: &Path) -> bool {
    mapped.file_name().is_some_and(|name| name == "libcoreclr.so")
}

/// True of the memory file from which .NET 7 and later map the code of their JIT.
pub fn is_jitted_code(mapped: &Path) -> bool {
    mapped.starts_with("/memfd:doublemapper (deleted)")
}

/// Where the runtime puts its socket: `$TMPDIR` as it was at its start, else `/tmp`. The last number of the name is
/// field 22 of `/proc/PID/stat`, so that of a reused pid differs.
pub fn socket_path(table: &ProcessTable, process: &Process) -> PathBuf {
    let name = format!(
        "dotnet-diagnostic-{}-{}-socket",
        process.namespace_pid, process.id.start_time
    );
    temporary_directory(table, process).join(name)
}

/// The directory of the socket, as the target knows it.
pub fn temporary_directory(table: &ProcessTable, process: &Process) -> PathBuf {
    let mut environment = table.environment(process.id.pid, &["TMPDIR"]);
    let directory = environment
        .remove("TMPDIR")
        .filter(|directory| Path::new(directory).is_absolute());
    PathBuf::from(directory.unwrap_or_else(|| "/tmp".to_owned()))
}

/// True when the process itself listens on its socket: anybody in the container may create a file of that name.
fn listens(root: Option<&TargetRoot>, socket: Option<&Path>) -> bool {
    root.zip(socket)
        .is_some_and(|(root, socket)| root.connect(socket).is_ok())
}

fn ask(process: &Process, root: Option<&TargetRoot>, socket: Option<&Path>) -> Option<ProcessInfo> {
    let (root, socket) = root.zip(socket).filter(|_| !process.is_stopped())?;
    ProcessInfo::query(DiagnosticsClient::new(root, socket), Instant::now() + QUESTION).ok()
}

/// `8.0.30` of `/usr/share/dotnet/shared/Microsoft.NETCore.App/8.0.30/libcoreclr.so`. Apps that bring their own
/// runtime have the library beside the executable, and no version in its path.
fn version_in(library: &Path) -> Option<String> {
    let directory = library.parent()?;
    let framework = directory.parent()?.file_name()?;
    let version = directory.file_name()?.to_str()?;
    let plausible = version.len() <= 64 && version.starts_with(|c: char| c.is_ascii_digit());
    (framework == "Microsoft.NETCore.App" && plausible).then(|| version.to_owned())
}

/// `Shop` of `dotnet [host options] [exec] path/Shop.dll …`; `None` when the executable is the app's own.
fn name_in(command_line: &CommandLine) -> Option<String> {
    // Options of the host that take the next argument (`dotnet --help`, "host-options").
    const WITH_VALUE: [&str; 6] = [
        "--additionalprobingpath",
        "--additional-deps",
        "--depsfile",
        "--fx-version",
        "--roll-forward",
        "--runtimeconfig",
    ];
    let mut arguments = command_line.arguments();
    if Path::new(arguments.next()?).file_name()? != "dotnet" {
        return None;
    }
    while let Some(argument) = arguments.next() {
        if WITH_VALUE.contains(&argument) {
            arguments.next();
        } else if argument != "exec" && !argument.starts_with('-') {
            let assembly = Path::new(argument).file_name()?.to_str()?;
            return assembly
                .strip_suffix(".dll")
                .or_else(|| assembly.strip_suffix(".exe"))
                .map(str::to_owned);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(command_line: &str) -> Option<String> {
        name_in(&command_line.split(' ').collect())
    }

    #[test]
    fn the_name_is_the_entry_assembly() {
        assert_eq!(name("dotnet Shop.dll --port 80").as_deref(), Some("Shop"));
        assert_eq!(
            name("/usr/bin/dotnet exec /app/Shop.Api.dll").as_deref(),
            Some("Shop.Api")
        );
        assert_eq!(
            name("dotnet exec --depsfile a.deps.json --runtimeconfig a.json /app/Shop.dll").as_deref(),
            Some("Shop")
        );
        assert_eq!(name("dotnet --roll-forward Major Shop.dll").as_deref(), Some("Shop"));
    }

    #[test]
    fn an_executable_of_its_own_or_an_sdk_command_has_no_entry_assembly_in_its_arguments() {
        assert_eq!(name("/app/Shop other.dll"), None);
        assert_eq!(name("dotnet run"), None);
        assert_eq!(name("dotnet"), None);
        assert_eq!(name_in(&CommandLine::default()), None);
    }

    #[test]
    fn the_version_is_in_the_path_of_a_shared_framework_only() {
        let version = |path: &str| version_in(Path::new(path));
        assert_eq!(
            version("/dotnet/shared/Microsoft.NETCore.App/8.0.30/libcoreclr.so").as_deref(),
            Some("8.0.30")
        );
        assert_eq!(version("/app/libcoreclr.so"), None);
        assert_eq!(version("/Microsoft.NETCore.App/current/libcoreclr.so"), None);
        assert_eq!(version("libcoreclr.so"), None);
    }

    #[test]
    fn a_process_without_traces_of_the_runtime_is_not_mine() {
        let table = ProcessTable::default();
        let ourselves = table.get(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert_eq!(detect(&table, &ourselves, &[PathBuf::from("/usr/lib/libc.so.6")]), None);
        let detected = detect(&table, &ourselves, &[PathBuf::from("/x/libcoreclr.so")]).unwrap();
        assert_eq!(
            detected.facts,
            RuntimeFacts::Dotnet {
                version: None,
                rid: None,
                socket: None,
                port: None,
            }
        );
    }
}
