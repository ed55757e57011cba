//! The Unix sockets of a network namespace, one after the other: `/proc/PID/net/unix` is never held in memory. Called by
//! [`super::ProcessTable`].

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Take};
use std::path::Path;

/// Half a million sockets.
const LIMIT: u64 = 64 << 20;

/// A row has 54 characters before the name, which has 108 at most.
const ROW_BYTES: u64 = 512;

/// One with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixSocket {
    /// As in the links of `/proc/PID/fd`.
    pub inode: u64,
    /// A stream on which somebody listens.
    pub is_listening_stream: bool,
    /// The path it was bound to, or `@` and a name that only Linux knows.
    pub name: String,
}

/// In the order of the kernel's table. Those whose names are not UTF-8 are left out.
#[derive(Debug)]
pub struct UnixSockets<R = BufReader<Take<File>>> {
    rows: R,
    row: Vec<u8>,
    left: usize,
}

impl UnixSockets {
    pub(super) fn open(table: &Path, rows: usize) -> io::Result<Self> {
        Ok(Self::read(BufReader::new(File::open(table)?.take(LIMIT)), rows))
    }
}

impl<R: BufRead> UnixSockets<R> {
    /// Those of at most so many rows.
    fn read(table: R, rows: usize) -> Self {
        Self {
            rows: table,
            row: Vec::new(),
            left: rows,
        }
    }
}

impl<R: BufRead> Iterator for UnixSockets<R> {
    type Item = UnixSocket;

    fn next(&mut self) -> Option<UnixSocket> {
        loop {
            self.left = self.left.checked_sub(1)?;
            self.row.clear();
            let row = (&mut self.rows).take(ROW_BYTES).read_until(b'\n', &mut self.row);
            if row.ok()? == 0 {
                return None;
            }
            if let Some(socket) = std::str::from_utf8(&self.row).ok().and_then(parse) {
                return Some(socket);
            }
        }
    }
}

/// `Num RefCount Protocol Flags Type St Inode Path` (`net/unix/af_unix.c`, `unix_seq_show`).
fn parse(row: &str) -> Option<UnixSocket> {
    const LISTENS: u32 = 0x1_0000;
    const STREAM: &str = "0001";
    let mut fields = row.trim_end_matches('\n').splitn(7, ' ');
    let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
    let (kind, _state) = (fields.next()?, fields.next()?);
    let (inode, name) = fields.next()?.trim_start().split_once(' ')?;
    (!name.is_empty()).then_some(UnixSocket {
        inode: inode.parse().ok()?,
        is_listening_stream: flags & LISTENS != 0 && kind == STREAM,
        name: name.to_owned(),
    })
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
        let all: Vec<_> = UnixSockets::read(TABLE.as_bytes(), usize::MAX).collect();
        let listening = all.iter().filter(|socket| socket.is_listening_stream);
        let mut found: Vec<_> = listening.map(|socket| (socket.inode, socket.name.as_str())).collect();
        found.sort_unstable();
        let expected = [
            (10, "/run/shop.sock"),
            (12, "@abstract"),
            (11111, "/run/other one.sock"),
        ];
        assert_eq!(found, expected);
        assert_eq!((all.len(), UnixSockets::read(TABLE.as_bytes(), 3).count()), (5, 2));
        for end in 0..TABLE.len() {
            let _ = UnixSockets::read(&TABLE.as_bytes()[..end], usize::MAX).count();
        }
    }
}
