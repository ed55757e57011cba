//! The files mapped into a process, one after the other: `/proc/PID/maps` is never held in memory. Called by
//! [`super::ProcessTable`].

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Take};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Half a million mappings, twice what a search engine is told to allow itself (`vm.max_map_count`).
const LIMIT: u64 = 64 << 20;

/// Paths by address.
#[derive(Debug)]
pub struct MappedFiles {
    rows: BufReader<Take<File>>,
    row: Vec<u8>,
    last: PathBuf,
}

impl MappedFiles {
    pub(super) fn open(maps: &Path) -> io::Result<Self> {
        Ok(Self {
            rows: BufReader::new(File::open(maps)?.take(LIMIT)),
            row: Vec::new(),
            last: PathBuf::new(),
        })
    }
}

impl MappedFiles {
    /// The first addresses at which the file that came last is mapped.
    pub fn addresses(&self) -> Option<Range<u64>> {
        let end = self.row.iter().position(|byte| *byte == b' ')?;
        let (from, to) = std::str::from_utf8(self.row.get(..end)?).ok()?.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some(number(from)?..number(to)?)
    }
}

impl Iterator for MappedFiles {
    type Item = PathBuf;

    /// Ends early when the process does.
    fn next(&mut self) -> Option<PathBuf> {
        loop {
            self.row.clear();
            if self.rows.read_until(b'\n', &mut self.row).ok()? == 0 {
                return None;
            }
            let row = self.row.strip_suffix(b"\n").unwrap_or(&self.row);
            let Some(at) = row.iter().position(|byte| *byte == b'/') else {
                continue;
            };
            let path = Path::new(OsStr::from_bytes(&row[at..]));
            if path != self.last {
                path.clone_into(&mut self.last);
                return Some(self.last.clone());
            }
        }
    }
}
