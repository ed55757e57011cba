//! What is mapped into a process, and what of each range belongs into a core file: `/proc/PID/smaps`, one entry after the other.
//!
//! By the kernel's own choice (`man 5 core`, `coredump_filter` 0x33), but page by page: what no file has and was touched. Called
//! by [`super::layout`].

use std::io::{self, BufRead};

use crate::runtime::native::mapping::Backing;
use crate::runtime::native::maps::{Permissions, Row};

/// What of a range is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contents {
    /// Not even where it is: a device's memory, the kernel's own pages, and what the program wants in no core file
    /// (`MADV_DONTDUMP`).
    Hidden,
    /// No page: whoever opens the core file has the file that is mapped, or it is shared.
    Nothing,
    /// Pages that were touched; all others are zero.
    Memory,
    /// Pages that were touched; what the others are, the file knows.
    Touched,
    /// Pages that were written to, as by relocations; and the first one of a file, which says which one it is.
    Written,
    /// All pages.
    Whole,
}

/// A range with one set of properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) permissions: Permissions,
    pub(super) contents: Contents,
    /// Offset in the file and its name, as the kernel writes it.
    pub(super) file: Option<(u64, Vec<u8>)>,
    /// Bytes in memory or swapped out: without any, there is nothing to look for.
    pub(super) touched: u64,
}

/// The entries, each read when it is asked for.
#[derive(Debug)]
pub(super) struct Regions<R> {
    rows: R,
    /// The first row of the next one.
    row: Vec<u8>,
}

impl<R: BufRead> Regions<R> {
    /// # Errors
    /// The process is gone.
    pub(super) fn new(mut rows: R) -> io::Result<Self> {
        let mut row = Vec::new();
        rows.read_until(b'\n', &mut row)?;
        Ok(Self { rows, row })
    }

    /// The next one; `None` behind the last.
    ///
    /// # Errors
    /// The process is gone.
    pub(super) fn next(&mut self) -> io::Result<Option<Region>> {
        let Some(head) = Row::parse(self.row.trim_ascii_end()) else {
            return Ok(None);
        };
        let mut region = Region {
            start: head.start,
            end: head.end,
            permissions: head.permissions,
            contents: contents(&head),
            file: (head.id.inode != 0).then(|| (head.offset, head.name.to_vec())),
            touched: 0,
        };
        loop {
            self.row.clear();
            if self.rows.read_until(b'\n', &mut self.row)? == 0 || Row::parse(&self.row).is_some() {
                break;
            }
            let text = std::str::from_utf8(&self.row).unwrap_or_default();
            let Some((name, value)) = text.split_once(':') else {
                continue;
            };
            match name {
                "Rss" | "Swap" | "Shared_Hugetlb" | "Private_Hugetlb" => {
                    let number = value.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok());
                    let bytes = number.unwrap_or_default().saturating_mul(1024);
                    region.touched = region.touched.saturating_add(bytes);
                }
                "VmFlags" if value.split_whitespace().any(|flag| matches!(flag, "io" | "pf" | "dd")) => {
                    region.contents = Contents::Hidden;
                }
                _ => {}
            }
        }
        Ok(Some(region))
    }
}

fn contents(row: &Row<'_>) -> Contents {
    const DELETED: &[u8] = b" (deleted)";
    if row.start >= row.end || row.name.starts_with(b"[vvar") || row.name == b"[vsyscall]" {
        return Contents::Hidden;
    }
    let Permissions { writable, shared, .. } = row.permissions;
    match Backing::of(row.name, row.id) {
        Backing::Vdso => Contents::Whole,
        Backing::Anonymous if row.id.inode == 0 && !shared => Contents::Memory,
        Backing::Anonymous => Contents::Touched,
        // By its name it cannot be opened any more.
        Backing::File { .. } if shared && row.name.ends_with(DELETED) => Contents::Touched,
        Backing::File { .. } if shared => Contents::Nothing,
        Backing::File { .. } if writable => Contents::Touched,
        Backing::File { .. } => Contents::Written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Region> {
        let mut regions = Regions::new(text.as_bytes()).unwrap();
        std::iter::from_fn(|| regions.next().unwrap()).collect()
    }

    #[test]
    fn entries_are_told_by_their_first_rows_whatever_a_file_is_called() {
        let text = "1000-3000 rw-p 00002000 08:01 7      /tmp/Rss: 1 kB\n\
                    Size:                  8 kB\nRss:                   4 kB\nSwap:                  8 kB\nVmFlags: rd wr mr mw me ac\n\
                    4000-5000 r--p 00000000 00:00 0 \nRss:                   0 kB\nVmFlags: rd mr mw me dd\n\
                    5000-6000 rw-s 00000000 00:00 0 [anon_shmem:VmFlags: dd]\nPrivate_Hugetlb:    2048 kB\n";
        let regions = all(text);
        let [first, second, third] = &regions[..] else {
            panic!("{regions:?}")
        };
        assert_eq!((first.start, first.end, first.touched), (0x1000, 0x3000, 12 << 10));
        assert_eq!(first.file, Some((0x2000, b"/tmp/Rss: 1 kB".to_vec())));
        assert_eq!((first.contents, second.contents), (Contents::Touched, Contents::Hidden));
        assert_eq!((third.contents, third.touched), (Contents::Touched, 2 << 20));
        for nothing in ["", "\n", "Rss: 5 kB\n", "1000-x rw-p 0 0:0 0\n"] {
            assert_eq!(all(nothing), [], "{nothing}");
        }
    }

    #[test]
    fn what_a_file_has_is_left_to_the_file() {
        for (row, kept) in [
            ("1000-2000 rw-p 0 00:00 0 [heap]", Contents::Memory),
            ("1000-2000 ---p 0 00:00 0", Contents::Memory),
            ("1000-2000 rw-s 0 00:01 9 /dev/zero (deleted)", Contents::Touched),
            ("1000-2000 rw-p 0 00:01 9 /memfd:code (deleted)", Contents::Touched),
            ("1000-2000 rw-s 0 08:01 9 /data", Contents::Nothing),
            ("1000-2000 rw-s 0 08:01 9 /data (deleted)", Contents::Touched),
            ("1000-2000 rw-p 0 08:01 9 /lib/libc.so", Contents::Touched),
            ("1000-2000 r-xp 0 08:01 9 /lib/libc.so", Contents::Written),
            ("1000-2000 r-xp 0 00:00 0 [vdso]", Contents::Whole),
            ("1000-2000 r--p 0 00:00 0 [vvar_vclock]", Contents::Hidden),
            (
                "ffffffffff600000-ffffffffff601000 --xp 0 00:00 0 [vsyscall]",
                Contents::Hidden,
            ),
            ("2000-1000 rw-p 0 00:00 0", Contents::Hidden),
        ] {
            assert_eq!(all(row)[0].contents, kept, "{row}");
        }
    }
}
