//! The Unix sockets on which a process listens, by `/proc/PID/net/unix`. Connects to none; called by [`super::pprof_probe`].

use std::io;

use super::listening_sockets::held_by;
use crate::process::ProcessTable;

/// Rows of a node with many pods in one network namespace.
const ROWS: usize = 65_536;

/// Their names, those in the file system first: an absolute path, or `@` and a name that only Linux knows.
///
/// # Errors
/// As [`super::listening_sockets::of`].
pub(super) fn of(table: &ProcessTable, pid: i32) -> io::Result<Vec<String>> {
    let listening = table
        .unix_sockets(pid, ROWS)?
        .filter(|socket| socket.is_listening_stream);
    let listening = listening.map(|socket| (socket.inode, socket.name)).collect();
    let mut names = held_by(&table.directory(pid), listening)?;
    names.sort_by_key(|name| (!name.starts_with('/'), name.clone()));
    names.dedup();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_the_sockets_that_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let listener = std::os::unix::net::UnixListener::bind(folder.path().join("a.sock")).unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let path = folder.path().join("a.sock").display().to_string();
        let held = || of(&ProcessTable::default(), pid).unwrap().contains(&path);
        assert!(held());
        drop(listener);
        assert!(!held());
    }
}
