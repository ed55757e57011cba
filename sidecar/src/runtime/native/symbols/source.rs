//! Bytes of a file, read as they are needed.
//!
//! Never mapped: a file that its owner truncates is an error here and would be a signal there. Pages that were read are kept, a
//! few of them, as searches come by the same ones.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use ahash::AHashMap;

/// Bytes that are read at once.
const PAGE: u64 = 16 << 10;

/// Pages that are kept; 4 MiB. When there are more, all are forgotten: addresses come in order, so that what was read long ago is not needed.
const PAGES: usize = 256;

/// Bytes that may be read of one file in all, those that are read again included. A 4 GB file with tables that lead to and fro is given up.
const READ_LIMIT: u64 = 4 << 30;

/// A file or a part of one.
#[derive(Debug)]
pub(in crate::runtime::native) struct Source {
    bytes: Bytes,
    length: u64,
    pages: RefCell<AHashMap<u64, Box<[u8]>>>,
    left: Cell<u64>,
    deadline: Instant,
    reads: Cell<u32>,
}

#[derive(Debug)]
enum Bytes {
    File { file: File, start: u64 },
    Memory(Vec<u8>),
}

impl Source {
    /// A whole file. After `deadline` reading is an error.
    pub(in crate::runtime::native) fn of_file(file: File, deadline: Instant) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self::new(Bytes::File { file, start: 0 }, length, deadline))
    }

    /// `length` bytes of a file.
    pub(super) fn of_range(file: File, start: u64, length: u64, deadline: Instant) -> Self {
        Self::new(Bytes::File { file, start }, length, deadline)
    }

    /// What was unpacked from it.
    pub(super) fn unpacked(&self, bytes: Vec<u8>) -> Self {
        let length = bytes.len() as u64;
        Self::new(Bytes::Memory(bytes), length, self.deadline)
    }

    #[cfg(test)]
    pub(super) fn example(bytes: Vec<u8>) -> Self {
        let length = bytes.len() as u64;
        let deadline = Instant::now() + std::time::Duration::from_secs(60);
        Self::new(Bytes::Memory(bytes), length, deadline)
    }

    /// Whether it is after the deadline.
    pub(super) fn is_late(&self) -> bool {
        Instant::now() > self.deadline
    }

    fn new(bytes: Bytes, length: u64, deadline: Instant) -> Self {
        Self {
            bytes,
            length,
            pages: RefCell::default(),
            left: Cell::new(READ_LIMIT),
            deadline,
            reads: Cell::new(0),
        }
    }

    /// Bytes that there are.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Fills `buffer` with the bytes at `offset`; past the kept pages, for what is read once.
    pub(super) fn read_once(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let wanted = buffer.len() as u64;
        if offset.checked_add(wanted).is_none_or(|end| end > self.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Asking for the time costs as much as reading a few bytes.
        let reads = self.reads.get().wrapping_add(1);
        self.reads.set(reads);
        if (wanted >= PAGE || reads.is_multiple_of(1024)) && self.is_late() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match &self.bytes {
            Bytes::Memory(bytes) => {
                let start = usize::try_from(offset).map_err(io::Error::other)?;
                let found = bytes.get(start..start + buffer.len());
                buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
            Bytes::File { file, start } => {
                let left = self.left.get().checked_sub(wanted);
                self.left.set(left.ok_or(io::ErrorKind::QuotaExceeded)?);
                file.read_exact_at(buffer, start.saturating_add(offset))
            }
        }
    }

    /// Fills `buffer` with the bytes at `offset`, which may be asked for again.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if matches!(self.bytes, Bytes::Memory(_)) {
            return self.read_once(offset, buffer);
        }
        let reads = self.reads.get().wrapping_add(1);
        self.reads.set(reads);
        if reads.is_multiple_of(4096) && self.is_late() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut filled = 0;
        while filled < buffer.len() {
            let at = offset.saturating_add(filled as u64);
            let (number, within) = (at / PAGE, usize::try_from(at % PAGE).map_err(io::Error::other)?);
            let mut pages = self.pages.borrow_mut();
            if !pages.contains_key(&number) {
                if pages.len() >= PAGES {
                    pages.clear();
                }
                let length = PAGE.min(self.length.saturating_sub(number.saturating_mul(PAGE)));
                let mut page = vec![0; usize::try_from(length).map_err(io::Error::other)?];
                self.read_once(number.saturating_mul(PAGE), &mut page)?;
                pages.insert(number, page.into());
            }
            let page = pages.get(&number).map(|page| page.get(within..).unwrap_or_default());
            let page = page
                .filter(|page| !page.is_empty())
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            let take = page.len().min(buffer.len() - filled);
            buffer[filled..filled + take].copy_from_slice(&page[..take]);
            filled += take;
        }
        Ok(())
    }

    /// `N` bytes at `offset`.
    pub(super) fn array<const N: usize>(&self, offset: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.read(offset, &mut bytes).ok()?;
        Some(bytes)
    }

    /// A number of 4 bytes.
    pub(super) fn u32(&self, offset: u64) -> Option<u32> {
        Some(u32::from_le_bytes(self.array(offset)?))
    }

    /// A number of 8 bytes.
    pub(super) fn u64(&self, offset: u64) -> Option<u64> {
        Some(u64::from_le_bytes(self.array(offset)?))
    }

    /// The text at `offset` up to its zero, cut after `limit` bytes.
    pub(super) fn text(&self, offset: u64, limit: usize) -> Option<Vec<u8>> {
        const PIECE: usize = 64;
        let mut text = Vec::new();
        while text.len() < limit {
            let at = offset.checked_add(text.len() as u64)?;
            let left = usize::try_from(self.length.checked_sub(at)?).unwrap_or(usize::MAX);
            let mut piece = [0; PIECE];
            let piece = piece.get_mut(..left.min(PIECE))?;
            if piece.is_empty() {
                return None;
            }
            self.read(at, piece).ok()?;
            if let Some(end) = memchr::memchr(0, piece) {
                text.extend_from_slice(&piece[..end]);
                break;
            }
            text.extend_from_slice(piece);
        }
        text.truncate(limit);
        Some(text)
    }

    /// Calls `visit` with each of `count` rows of `size` bytes at `offset`, until it answers false.
    pub(super) fn rows(
        &self,
        offset: u64,
        size: usize,
        count: u64,
        mut visit: impl FnMut(&[u8]) -> bool,
    ) -> io::Result<()> {
        const CHUNK: usize = 128 << 10;
        let at_once = (CHUNK / size.max(1)).max(1);
        let (mut at, mut left) = (offset, count);
        let mut buffer = Vec::new();
        while left > 0 {
            let rows = usize::try_from(left).unwrap_or(usize::MAX).min(at_once);
            buffer.resize(rows * size, 0);
            self.read_once(at, &mut buffer)?;
            for row in buffer.chunks_exact(size) {
                if !visit(row) {
                    return Ok(());
                }
            }
            at = at.saturating_add(buffer.len() as u64);
            left -= rows as u64;
        }
        Ok(())
    }
}

/// A number within a row.
pub(super) fn u32_at(row: &[u8], at: usize) -> u32 {
    let bytes = row.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u32::from_le_bytes)
}

/// A number within a row.
pub(super) fn u64_at(row: &[u8], at: usize) -> u64 {
    let bytes = row.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + std::time::Duration::from_secs(60)
    }

    fn file(bytes: &[u8]) -> (File, Source) {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        let source = Source::of_file(file.try_clone().unwrap(), soon()).unwrap();
        (file, source)
    }

    #[test]
    fn a_file_reads_like_its_bytes_in_memory() {
        let bytes: Vec<u8> = (0..3 * PAGE + 5).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let (_, source) = file(&bytes);
        let memory = Source::example(bytes.clone());
        for offset in [0, 1, PAGE - 3, PAGE, 3 * PAGE - 1, 3 * PAGE] {
            let expected = u32_at(&bytes, usize::try_from(offset).unwrap());
            assert_eq!(source.u32(offset), Some(expected));
            assert_eq!(memory.u32(offset), Some(expected));
        }
        for source in [source, memory] {
            assert_eq!(source.u32(3 * PAGE + 2), None);
            assert_eq!(source.u64(u64::MAX - 3), None);
            let mut rows = 0;
            source
                .rows(1, 7, 100, |_| {
                    rows += 1;
                    rows < 50
                })
                .unwrap();
            assert_eq!(rows, 50);
            assert!(source.rows(0, 8, u64::MAX, |_| true).is_err());
        }
    }

    #[test]
    fn a_file_that_is_truncated_while_it_is_read_is_an_error() {
        let (owner, source) = file(&[1; 100_000]);
        assert_eq!(source.u32(0), Some(0x0101_0101));
        owner.set_len(10).unwrap();
        assert_eq!(source.u32(90_000), None);
        assert!(source.rows(0, 4, 1000, |_| true).is_err());
    }

    #[test]
    fn text_ends_at_its_zero_or_at_the_limit() {
        let mut bytes = vec![b'a'; 100];
        bytes.extend(b"\0b");
        let (_, source) = file(&bytes);
        assert_eq!(source.text(95, 9), Some(b"aaaaa".to_vec()));
        assert_eq!(source.text(0, 9), Some(b"aaaaaaaaa".to_vec()));
        assert_eq!(source.text(101, 9), None);
    }

    #[test]
    fn a_huge_sparse_file_costs_nothing() {
        let huge = tempfile::tempfile().unwrap();
        huge.set_len(4 << 30).unwrap();
        let source = Source::of_file(huge, soon()).unwrap();
        for page in 0..1000 {
            assert_eq!(source.u32(page * (4 << 20)), Some(0));
        }
        assert!(source.pages.borrow().len() <= PAGES);
    }
}
