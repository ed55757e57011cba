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
/// known by what it exports, in the memory of the process where its file is gone; where that may not be read, by the name that
/// async-profiler's own loader gives it.
pub fn loaded(table: &ProcessTable, root: &TargetRoot, process: &Process) -> Vec<String> {
    /// Ours and another's in a few versions; who maps more of them does so to keep us busy.
    const MOST: usize = 64;
    /// Files of an ordinary JVM, ten times.
    const MOST_FILES: usize = 512;
    let mut paths: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    let Ok(mut files) = table.mapped_files(process.id.pid) else {
        return paths;
    };
    while let Some(mapped) = files.next() {
        if seen.len() == MOST_FILES || paths.len() == MOST {
            break;
        }
        let Some(mapped) = mapped.to_str() else { continue };
        // A library that was removed after it was loaded, as ours is.
        let removed = mapped.strip_suffix(" (deleted)");
        let path = removed.unwrap_or(mapped);
        if !seen.insert(path.to_owned()) {
            continue;
        }
        let exports = || match removed {
            None => root.open_file(path).is_ok_and(exports_profiler),
            Some(_) => files.addresses().is_some_and(|addresses| {
                let memory = table.memory(process.id.pid, addresses);
                memory.is_ok_and(exports_profiler)
            }),
        };
        if is_named_so(path) || exports() {
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

/// True if this is a library with async-profiler's Java API, which each of its versions exports. Linkers put the names of
/// exported symbols near the beginning, which is mapped as it is in the file.
fn exports_profiler(mut library: impl Read) -> bool {
    const BEGINNING: u64 = 256 << 10;
    const MAGIC: &[u8] = b"\x7fELF";
    const EXPORTED: &[u8] = b"\0Java_one_profiler_AsyncProfiler_execute0\0";
    let mut bytes = Vec::new();
    if library.by_ref().take(4).read_to_end(&mut bytes).is_err() || bytes != MAGIC {
        return false;
    }
    let rest = library.take(BEGINNING).read_to_end(&mut bytes);
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
    fn a_profiler_under_any_name_whose_file_is_gone_is_known_by_its_memory() {
        let (root, proc, process) = TargetRoot::example();
        let own = proc.path().join("17");
        let maps = "1000-1100 r--p 00000000 08:01 7      /opt/driver.bin (deleted)\n\
                    1100-1200 r--p 00000000 08:01 8      /opt/metrics.bin (deleted)\n\
                    1200-1300 r-xp 00000100 08:01 8      /opt/metrics.bin (deleted)\n";
        std::fs::write(own.join("maps"), maps).unwrap();
        let copies = || loaded(&ProcessTable::at(proc.path()), &root, &process);
        assert_eq!(copies(), [""; 0], "its memory cannot be read");
        // The library before it must not be taken for it, although the next one's names follow its own.
        let mut memory = vec![0; 0x1000];
        memory.extend(b"\x7fELF");
        memory.resize(0x1100, 0);
        memory.extend(b"\x7fELF..\0Java_one_profiler_AsyncProfiler_execute0\0");
        memory.resize(0x1300, 0);
        std::fs::write(own.join("mem"), memory).unwrap();
        assert_eq!(copies(), ["/opt/metrics.bin"]);
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
