//! A folder shaped like `/proc`, with one process in it, and that process as the server knows it.

use std::cell::OnceCell;
use std::path::Path;

use sideflame::process::{Process, ProcessTable};
use tempfile::TempDir;

/// Its pid.
pub(crate) const PID: i32 = 7;

thread_local! {
    /// One for all inputs: making it takes longer than most of what is read there.
    static PROC: OnceCell<TempDir> = const { OnceCell::new() };
}

/// Calls `look` with a process table in which the files of the process are these.
pub(crate) fn with(files: &[(&str, &[u8])], look: impl FnOnce(&ProcessTable)) {
    PROC.with(|proc| {
        let root = proc.get_or_init(folder).path();
        let folder = root.join(PID.to_string());
        for (name, content) in files {
            write(&folder.join(name), content);
        }
        look(&ProcessTable::at(root));
    });
}

/// In memory where there is such a place.
fn folder() -> TempDir {
    let in_memory = tempfile::tempdir_in("/dev/shm");
    in_memory.or_else(|_| tempfile::tempdir()).unwrap()
}

fn write(path: &Path, content: &[u8]) {
    if std::fs::write(path, content).is_err() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

/// The server's row of it.
pub(crate) fn row() -> Process {
    Process::example(PID)
}
