//! Where a JVM has libasyncProfiler.so loaded, and whether it can reach our copy without one of its own.
//!
//! Reads only; loads nothing. Called by the doctor and by the recorder.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::getppid;

use crate::process::{Process, ProcessTable, TargetRoot};

/// Paths at which copies of async-profiler are loaded in the process: ours first, then in the order of `maps`.
pub fn loaded(table: &ProcessTable, process: &Process) -> Vec<String> {
    /// Ours and another's in a few versions; who maps more of that name does so to keep us busy.
    const MOST: usize = 64;
    let mut paths: Vec<String> = Vec::new();
    for mapped in table.mapped_files(process.id.pid).into_iter().flatten() {
        if let Some(path) = as_profiler(&mapped).filter(|path| !paths.contains(path)) {
            paths.push(path);
        }
        if paths.len() == MOST {
            break;
        }
    }
    paths.sort_by_key(|path| !path.starts_with("/tmp/.sideflame-"));
    paths
}

fn as_profiler(mapped: &Path) -> Option<String> {
    let path = mapped.to_str()?;
    // A library that was removed after it was loaded, as ours is.
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let name = path.rsplit('/').next()?;
    (name.starts_with("libasyncProfiler") && name.ends_with(".so")).then(|| path.to_owned())
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

    #[test]
    fn a_profiler_is_known_by_its_file_name_also_when_it_was_removed() {
        let ours = "/tmp/.sideflame-7-42/libasyncProfiler-0011aabbccdd.so";
        assert_eq!(
            as_profiler(Path::new(&format!("{ours} (deleted)"))).as_deref(),
            Some(ours)
        );
        assert_eq!(
            as_profiler(Path::new("/opt/ap/lib/libasyncProfiler.so")).as_deref(),
            Some("/opt/ap/lib/libasyncProfiler.so")
        );
        assert_eq!(as_profiler(Path::new("/usr/lib/libjvm.so")), None);
        assert_eq!(as_profiler(Path::new("/tmp/libasyncProfiler.so.txt")), None);
    }
}
