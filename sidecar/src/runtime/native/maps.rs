//! `/proc/PID/maps`, of which only what may hold code is kept. Called by [`super::address_spaces`]; a row is read by
//! [`super::dump`] as well.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use super::mapping::{Backing, FileId, Mapping};
use crate::process::ProcessTable;

/// Bytes that are read: half a million mappings, of which `vm.max_map_count` allows 65,530 where nothing was changed.
const LIMIT: u64 = 64 << 20;

/// Executable mappings that are kept of one process.
pub(super) const MOST: usize = 65_536;

/// The executable ranges of a process.
///
/// # Errors
/// The process is gone, or is not ours to look into.
pub(super) fn read(table: &ProcessTable, pid: i32) -> io::Result<Vec<Mapping>> {
    let mut rows = BufReader::new(File::open(table.directory(pid).join("maps"))?.take(LIMIT));
    let (mut row, mut mappings) = (Vec::new(), Vec::new());
    while mappings.len() < MOST {
        row.clear();
        if rows.read_until(b'\n', &mut row)? == 0 {
            break;
        }
        mappings.extend(mapping(row.strip_suffix(b"\n").unwrap_or(&row)));
    }
    Ok(mappings)
}

/// A row that is executable.
fn mapping(row: &[u8]) -> Option<Mapping> {
    let row = Row::parse(row)?;
    row.permissions.executable.then(|| Mapping {
        start: row.start,
        end: row.end,
        offset: row.offset,
        backing: Backing::of(row.name, row.id),
    })
}

/// What may be done with a range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Permissions {
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) executable: bool,
    /// With other processes: what is written is seen by them.
    pub(super) shared: bool,
}

/// `7f00-7f01 r-xp 00000000 08:01 7      /usr/lib/libc.so.6` (`man 5 proc_pid_maps`), which also begins each entry of `smaps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row<'a> {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) permissions: Permissions,
    pub(super) offset: u64,
    pub(super) id: FileId,
    /// As the kernel writes it: a line break is `\012`.
    pub(super) name: &'a [u8],
}

impl<'a> Row<'a> {
    /// `None` of what is no such row.
    pub(super) fn parse(row: &'a [u8]) -> Option<Self> {
        let mut fields = row.splitn(6, |byte| *byte == b' ');
        let mut field = || std::str::from_utf8(fields.next()?).ok();
        let hexadecimal = |text| u64::from_str_radix(text, 16).ok();
        let (start, end) = field()?.split_once('-')?;
        let permissions = field()?.as_bytes();
        let offset = hexadecimal(field()?)?;
        let (major, minor) = field()?.split_once(':')?;
        let device = (
            u32::from_str_radix(major, 16).ok()?,
            u32::from_str_radix(minor, 16).ok()?,
        );
        let inode = field()?.parse().ok()?;
        let name = fields.next().unwrap_or_default().trim_ascii_start();
        let has = |at: usize, letter: u8| permissions.get(at) == Some(&letter);
        Some(Self {
            start: hexadecimal(start)?,
            end: hexadecimal(end)?,
            permissions: Permissions {
                readable: has(0, b'r'),
                writable: has(1, b'w'),
                executable: has(2, b'x'),
                shared: has(3, b's'),
            },
            offset,
            id: FileId { device, inode },
            name,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_row_is_a_mapping_if_it_is_executable() {
        let row = b"7f00-7f10 r-xp 00001000 fd:01 77      /usr/lib/lib c.so.6 (deleted)";
        assert_eq!(
            mapping(row),
            Some(Mapping {
                start: 0x7f00,
                end: 0x7f10,
                offset: 0x1000,
                backing: Backing::File {
                    path: PathBuf::from("/usr/lib/lib c.so.6"),
                    id: FileId {
                        device: (0xfd, 1),
                        inode: 77
                    },
                },
            })
        );
        assert_eq!(mapping(b"7f00-7f10 rw-p 00001000 fd:01 77  /usr/lib/libc.so.6"), None);
        for hostile in [
            "",
            "7f00",
            "7f00-7f10 r-xp",
            "g-h r-xp 0 0:0 0",
            "7f00-7f10 r-xp 0 0:0 -1 /x",
        ] {
            assert_eq!(mapping(hostile.as_bytes()), None, "{hostile}");
        }
    }

    #[test]
    fn memory_with_a_name_is_no_file() {
        let of = |name: &str, inode| Backing::of(name.as_bytes(), FileId { device: (0, 1), inode });
        assert_eq!(of("[vdso]", 0), Backing::Vdso);
        for name in [
            "",
            "[heap]",
            "/memfd:doublemapper (deleted)",
            "//anon",
            "/SYSV00000000 (deleted)",
        ] {
            assert_eq!(
                of(name, u64::from(name.starts_with("/memfd"))),
                Backing::Anonymous,
                "{name}"
            );
        }
        assert!(matches!(of("/usr/bin/shop", 9), Backing::File { .. }));
    }
}
