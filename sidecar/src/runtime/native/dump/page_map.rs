//! Which pages of a process are there: `/proc/PID/pagemap`, of whose entries the numbers of frames are of no concern, so that no
//! right is needed beyond looking into the process. Source: `Documentation/admin-guide/mm/pagemap.rst`.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Bytes of an entry.
const ENTRY: usize = 8;

/// Entries that are read at a time: those of 32 MiB.
const AT_A_TIME: u64 = 8192;

/// What the kernel says of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page(u64);

impl Page {
    /// In memory or swapped out.
    pub(super) fn is_touched(self) -> bool {
        const PRESENT: u64 = 1 << 63;
        const SWAPPED: u64 = 1 << 62;
        self.0 & (PRESENT | SWAPPED) != 0
    }

    /// The process's own, and no longer the file's.
    pub(super) fn is_written(self) -> bool {
        const OF_A_FILE_OR_SHARED: u64 = 1 << 61;
        self.is_touched() && self.0 & OF_A_FILE_OR_SHARED == 0
    }
}

/// The pages of a process.
#[derive(Debug)]
pub(super) struct PageMap {
    file: File,
    page: u64,
    entries: Vec<u8>,
}

impl PageMap {
    /// Of the process whose `pagemap` is `file`, with pages of `page` bytes.
    pub(super) fn new(file: File, page: u64) -> Self {
        Self {
            file,
            page,
            entries: Vec::new(),
        }
    }

    /// The pages of a range, in pieces: each with the address of its first one. What the kernel has no entry for is not there.
    ///
    /// # Errors
    /// Those of `each`, which ends it, and of reading.
    pub(super) fn pages<E: From<io::Error>>(
        &mut self,
        range: Range<u64>,
        mut each: impl FnMut(u64, &mut dyn Iterator<Item = Page>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = range.start;
        while at < range.end {
            let count = ((range.end - at) / self.page).clamp(1, AT_A_TIME);
            self.entries
                .resize(usize::try_from(count).unwrap_or_default() * ENTRY, 0);
            let offset = at / self.page * ENTRY as u64;
            let read = read_all(&self.file, &mut self.entries, offset)?;
            self.entries.get_mut(read..).unwrap_or_default().fill(0);
            let (entries, _) = self.entries.as_chunks::<ENTRY>();
            each(at, &mut entries.iter().map(|entry| Page(u64::from_ne_bytes(*entry))))?;
            at = at.saturating_add(count.saturating_mul(self.page));
        }
        Ok(())
    }
}

/// Reads until the end of the buffer or of the file.
fn read_all(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
