//! A section of debug information, as `gimli` reads it.

use std::borrow::Cow;
use std::rc::Rc;

use addr2line::gimli::{Error, LittleEndian, Reader, ReaderOffsetId, Result};

use super::super::elf::Elf;
use super::super::source::Source;
use super::UNPACKED_LIMIT;

/// Longest text or block that is taken as a whole.
const SLICE_LIMIT: usize = 1 << 20;

/// A part of a section.
#[derive(Debug, Clone)]
pub(super) struct Section<'a> {
    origin: Origin<'a>,
    start: u64,
    length: usize,
}

#[derive(Debug, Clone)]
enum Origin<'a> {
    File(&'a Source),
    Unpacked(Rc<Source>),
}

impl<'a> Section<'a> {
    /// The section of that name, empty if there is none that can be read.
    pub(super) fn of(source: &'a Source, elf: &Elf, name: &str) -> Self {
        let empty = Self {
            origin: Origin::File(source),
            start: 0,
            length: 0,
        };
        let Some(section) = elf.section(name) else {
            return empty;
        };
        if section.is_packed() {
            return match Elf::unpacked(source, section, UNPACKED_LIMIT) {
                Some(bytes) => Self {
                    length: bytes.len(),
                    origin: Origin::Unpacked(Rc::new(source.unpacked(bytes))),
                    start: 0,
                },
                None => empty,
            };
        }
        let fits = section
            .offset
            .checked_add(section.size)
            .is_some_and(|end| end <= source.length());
        match usize::try_from(section.size) {
            Ok(length) if fits => Self {
                start: section.offset,
                length,
                ..empty
            },
            _ => empty,
        }
    }

    fn source(&self) -> &Source {
        match &self.origin {
            Origin::File(source) => source,
            Origin::Unpacked(source) => source,
        }
    }

    fn too_short<T>(&self) -> Result<T> {
        Err(Error::UnexpectedEof(self.offset_id()))
    }
}

impl Reader for Section<'_> {
    type Endian = LittleEndian;
    type Offset = usize;

    fn endian(&self) -> LittleEndian {
        LittleEndian
    }

    fn len(&self) -> usize {
        self.length
    }

    fn empty(&mut self) {
        self.length = 0;
    }

    fn truncate(&mut self, length: usize) -> Result<()> {
        if length > self.length {
            return self.too_short();
        }
        self.length = length;
        Ok(())
    }

    fn offset_from(&self, base: &Self) -> usize {
        usize::try_from(self.start.saturating_sub(base.start)).unwrap_or(usize::MAX)
    }

    fn offset_id(&self) -> ReaderOffsetId {
        ReaderOffsetId(self.start)
    }

    fn lookup_offset_id(&self, id: ReaderOffsetId) -> Option<usize> {
        let offset = usize::try_from(id.0.checked_sub(self.start)?).ok()?;
        (offset <= self.length).then_some(offset)
    }

    fn find(&self, byte: u8) -> Result<usize> {
        let mut piece = [0; 64];
        let mut passed = 0;
        while passed < self.length.min(SLICE_LIMIT) {
            let length = piece.len().min(self.length - passed);
            let piece = piece.get_mut(..length).unwrap_or_default();
            self.source()
                .read(self.start + passed as u64, piece)
                .map_err(|_| Error::Io)?;
            if let Some(found) = memchr::memchr(byte, piece) {
                return Ok(passed + found);
            }
            passed += length;
        }
        self.too_short()
    }

    fn skip(&mut self, length: usize) -> Result<()> {
        if length > self.length {
            return self.too_short();
        }
        self.start += length as u64;
        self.length -= length;
        Ok(())
    }

    fn split(&mut self, length: usize) -> Result<Self> {
        let mut first = self.clone();
        first.truncate(length)?;
        self.skip(length)?;
        Ok(first)
    }

    fn to_slice(&self) -> Result<Cow<'_, [u8]>> {
        if self.length > SLICE_LIMIT {
            return Err(Error::Io);
        }
        let mut bytes = vec![0; self.length];
        self.source().read(self.start, &mut bytes).map_err(|_| Error::Io)?;
        Ok(Cow::Owned(bytes))
    }

    fn to_string(&self) -> Result<Cow<'_, str>> {
        self.to_string_lossy()
    }

    fn to_string_lossy(&self) -> Result<Cow<'_, str>> {
        let bytes = self.to_slice()?;
        Ok(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn read_slice(&mut self, buffer: &mut [u8]) -> Result<()> {
        if buffer.len() > self.length {
            return self.too_short();
        }
        self.source().read(self.start, buffer).map_err(|_| Error::Io)?;
        self.skip(buffer.len())
    }
}
