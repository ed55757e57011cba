//! Where a JVM has libasyncProfiler.so loaded, and whether it can reach our copy without one of its own.
//!
//! Reads only; loads nothing. Called by the doctor and by the recorder.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::getppid;

use crate::process::{Process, ProcessTable, TargetRoot};

/// Paths at which copies of async-profiler are loaded in the process: ours first, then in the order of `maps`. A copy is
/// known by what it exports; one whose file is gone, by the name that async-profiler's own loader gives it.
pub fn loaded(table: &ProcessTable, root: &TargetRoot, process: &Process) -> Vec<String> {
    /// Ours and another's in a few versions; who maps more of them does so to keep us busy.
    const MOST: usize = 64;
    /// Files of an ordinary JVM, ten times.
    const MOST_FILES: usize = 512;
    let mut paths: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    for mapped in table.mapped_files(process.id.pid).into_iter().flatten() {
        if seen.len() == MOST_FILES || paths.len() == MOST {
            break;
        }
        let Some(path) = mapped.to_str() else { continue };
        // A library that was removed after it was loaded, as ours is.
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        if seen.insert(path.to_owned()) && (is_named_so(path) || exports_profiler(root, path)) {
            paths.push(path.to_owned());
        }
    }
    paths.sort_by_key(|path| !path.starts_with("/tmp/.sideflame-"));
    paths
}

fn is_named_so(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.starts_with("libasyncProfiler") && name.ends_with(".so")
}

/// True if the file is a library with async-profiler's Java API, which each of its versions exports. Linkers put the names
/// of exported symbols near the beginning.
fn exports_profiler(root: &TargetRoot, path: &str) -> bool {
    const BEGINNING: u64 = 256 << 10;
    const MAGIC: &[u8] = b"\x7fELF";
    const EXPORTED: &[u8] = b"\0Java_one_profiler_AsyncProfiler_execute0\0";
    let mut bytes = Vec::new();
    let Ok(mut file) = root.open_file(path) else {
        return false;
    };
    let begins = |bytes: &mut Vec<u8>, file: &mut File| file.by_ref().take(4).read_to_end(bytes);
    if begins(&mut bytes, &mut file).is_err() || bytes != MAGIC {
        return false;
    }
    let rest = file.take(BEGINNING).read_to_end(&mut bytes);
    rest.is_ok() && memchr::memmem::find(&bytes, EXPORTED).is_some()
}

/// True if the target lives in our mount namespace with our root directory.
pub fn shares_files(table: &ProcessTable, root: &TargetRoot, process: &Process) -> bool {
    let same_namespace = same_link(table, process, "ns/mnt");
    let (Ok(theirs), Ok(ours)) = (root.as_fd().try_clone_to_owned(), std::fs::metadata("/")) else {
        return false;
    };
    let same_root = File::from(theirs)
        .metadata()
        .is_ok_and(|theirs| (theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino()));
    same_namespace && same_root
}

/// Root of the server's files as the target can name it, when the target may look there.
pub fn server_root(table: &ProcessTable, process: &Process) -> Option<String> {
    let root = format!("/proc/{}/root", getppid());
    (same_link(table, process, "ns/pid") && std::fs::metadata(format!("{root}/")).is_ok()).then_some(root)
}

fn same_link(table: &ProcessTable, process: &Process, name: &str) -> bool {
    let theirs = std::fs::read_link(table.directory(process.id.pid).join(name));
    let ours = std::fs::read_link(Path::new("/proc/self").join(name));
    matches!((theirs, ours), (Ok(theirs), Ok(ours)) if theirs == ours)
}

/// True if the process runs on musl's C library.
pub fn uses_musl(table: &ProcessTable, process: &Process) -> bool {
    let mut mapped = table.mapped_files(process.id.pid).into_iter().flatten();
    mapped.any(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("ld-musl-"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of the mapped files are copies, with these files in the process's `/tmp`.
    fn copies(mapped: &[&str], files: &[(&str, &[u8])]) -> Vec<String> {
        let (root, proc, process) = TargetRoot::example();
        for (name, bytes) in files {
            std::fs::write(proc.path().join("17/root/tmp").join(name), bytes).unwrap();
        }
        let row = |path: &&str| format!("7f0000000000-7f0000001000 r-xp 00000000 08:01 7      {path}\n");
        let maps: String = mapped.iter().map(row).collect();
        std::fs::write(proc.path().join("17/maps"), maps).unwrap();
        loaded(&ProcessTable::at(proc.path()), &root, &process)
    }

    #[test]
    fn a_profiler_whose_file_is_gone_is_known_by_its_name() {
        let ours = "/tmp/.sideflame-7-42/libasyncProfiler-0011aabbccdd.so";
        let others = "/opt/ap/lib/libasyncProfiler.so";
        let mapped = [
            others,
            "/usr/lib/libjvm.so",
            &format!("{ours} (deleted)"),
            "/tmp/libasyncProfiler.so.txt",
        ];
        assert_eq!(copies(&mapped, &[]), [ours, others]);
    }

    #[test]
    fn a_profiler_is_known_by_what_it_exports_under_any_name() {
        let exported = b"\x7fELF..\0Agent_OnAttach\0Java_one_profiler_AsyncProfiler_execute0\0".as_slice();
        let files = [
            ("metrics.bin", exported),
            // One that uses it, and a text about it.
            ("libshop.so", b"\x7fELF..\0Java_one_profiler_AsyncProfiler\0"),
            ("notes.txt", &exported[1..]),
        ];
        let mapped = [
            "/tmp/metrics.bin",
            "/tmp/libshop.so",
            "/tmp/notes.txt",
            "/tmp/metrics.bin",
        ];
        assert_eq!(copies(&mapped, &files), ["/tmp/metrics.bin"]);
    }
}
