//! The Unix sockets on which a process listens, by `/proc/PID/net/unix`. Connects to none; called by [`super::pprof_probe`].

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use super::listening_sockets::held_by;
use crate::process::ProcessTable;

/// Rows of a node with many pods in one network namespace.
const ROWS: u64 = 65_536;

/// A row has 54 characters before the path, which has 108 at most.
const ROW_BYTES: u64 = 512;

/// Their names, those in the file system first: an absolute path, or `@` and a name that only Linux knows.
///
/// # Errors
/// As [`super::listening_sockets::of`].
pub(super) fn of(table: &ProcessTable, pid: i32) -> io::Result<Vec<String>> {
    let directory = table.directory(pid);
    let listeners = listeners(BufReader::new(File::open(directory.join("net/unix"))?))?;
    let mut names = held_by(&directory, listeners)?;
    names.sort_by_key(|name| (!name.starts_with('/'), name.clone()));
    names.dedup();
    Ok(names)
}

fn listeners(mut rows: impl BufRead) -> io::Result<HashMap<u64, String>> {
    let mut found = HashMap::new();
    let mut row = Vec::new();
    for _ in 0..ROWS {
        row.clear();
        if (&mut rows).take(ROW_BYTES).read_until(b'\n', &mut row)? == 0 {
            break;
        }
        // A path that is not UTF-8 is nothing we could name.
        found.extend(std::str::from_utf8(&row).ok().and_then(parse_row));
    }
    Ok(found)
}

/// Inode and name of a stream socket that listens (`net/unix/af_unix.c`, `unix_seq_show`).
fn parse_row(row: &str) -> Option<(u64, String)> {
    const LISTENS: u32 = 0x1_0000;
    const STREAM: &str = "0001";
    let mut fields = row.trim_end_matches('\n').splitn(7, ' ');
    let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
    let (kind, _state) = (fields.next()?, fields.next()?);
    let (inode, name) = fields.next()?.trim_start().split_once(' ')?;
    let listens = flags & LISTENS != 0 && kind == STREAM && !name.is_empty();
    listens.then_some((inode.parse().ok()?, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "Num       RefCount Protocol Flags    Type St Inode Path\n\
        0000000000000000: 00000002 00000000 00010000 0001 01    10 /run/shop.sock\n\
        0000000000000000: 00000002 00000000 00010000 0001 01 11111 /run/other one.sock\n\
        0000000000000000: 00000002 00000000 00010000 0001 01    12 @abstract\n\
        0000000000000000: 00000002 00000000 00010000 0005 01    13 /run/packets\n\
        0000000000000000: 00000003 00000000 00000000 0001 03    14 /run/connected\n\
        0000000000000000: 00000003 00000000 00000000 0001 03    15\n";

    #[test]
    fn listening_streams_have_a_name() {
        let found = listeners(TABLE.as_bytes()).unwrap();
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_unstable();
        let expected = [
            (10, "/run/shop.sock"),
            (12, "@abstract"),
            (11111, "/run/other one.sock"),
        ];
        assert_eq!(found, expected.map(|(inode, name)| (inode, name.to_owned())));
        for end in 0..TABLE.len() {
            let _ = listeners(&TABLE.as_bytes()[..end]).unwrap();
        }
    }

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
