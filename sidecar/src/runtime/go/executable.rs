//! The few ranges of an ELF executable that build information needs.
//!
//! The file belongs to the profiled app: every read is bounded and so is their sum, nothing is mapped, and no header
//! field is believed further than a failed read. Called by [`super::build_info`].

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use object::read::{ReadCache, ReadRef};
use object::{Endianness, FileKind};

/// Bytes of headers and section names we are willing to read. A Go or C++ executable has some 40 sections and a
/// dozen segments, a few KiB in all; 65,535 sections of a forged one would be 4 MiB.
const HEADER_BUDGET: u64 = 4 << 20;

/// What the loader maps, as the program headers say.
#[derive(Debug, Clone, Copy)]
struct Segment {
    address: u64,
    offset: u64,
    file_size: u64,
    writable_data: bool,
}

/// An ELF file with the ranges we look at.
#[derive(Debug)]
pub(super) struct Executable<'a> {
    file: &'a File,
    segments: Vec<Segment>,
    build_info: Option<Range<u64>>,
}

impl<'a> Executable<'a> {
    /// Reads the headers; `None` when the file is no ELF executable or its headers make no sense.
    pub(super) fn parse(file: &'a File) -> Option<Self> {
        let cache = ReadCache::new(file);
        let data = Bounded {
            cache: &cache,
            budget: &Cell::new(HEADER_BUDGET),
        };
        match FileKind::parse(data).ok()? {
            FileKind::Elf64 => Self::parse_class::<FileHeader64<Endianness>>(file, data),
            FileKind::Elf32 => Self::parse_class::<FileHeader32<Endianness>>(file, data),
            _ => None,
        }
    }

    fn parse_class<H: FileHeader<Endian = Endianness>>(file: &'a File, data: Bounded<'_, 'a>) -> Option<Self> {
        let header = H::parse(data).ok()?;
        let endian = header.endian().ok()?;
        let segments = header
            .program_headers(endian, data)
            .ok()?
            .iter()
            .filter(|segment| segment.p_type(endian) == elf::PT_LOAD)
            .map(|segment| {
                let flags = segment.p_flags(endian);
                Segment {
                    address: segment.p_vaddr(endian).into(),
                    offset: segment.p_offset(endian).into(),
                    file_size: segment.p_filesz(endian).into(),
                    writable_data: flags.contains(elf::PF_W) && !flags.contains(elf::PF_X),
                }
            })
            .collect();
        // A file without section headers is whole all the same: strippers remove them.
        let build_info = header.sections(endian, data).ok().and_then(|sections| {
            let (_, section) = sections.section_by_name(endian, b".go.buildinfo")?;
            let (address, size) = (section.sh_addr(endian).into(), section.sh_size(endian).into());
            Some(address..address.checked_add(size)?)
        });
        Some(Self {
            file,
            segments,
            build_info,
        })
    }

    /// Addresses of the section `.go.buildinfo`, if there are section headers that name it.
    pub(super) fn build_info_section(&self) -> Option<Range<u64>> {
        self.build_info.clone()
    }

    /// Addresses of the writable, not executable segments, as far as the file fills them. The Go linker puts build
    /// information near the beginning of one (`cmd/link`, `Link.buildinfo`): of the first, or in position-independent
    /// executables of the second, behind the one that becomes read-only after relocation.
    pub(super) fn data_segments(&self) -> impl Iterator<Item = Range<u64>> {
        self.segments
            .iter()
            .filter(|segment| segment.writable_data)
            .filter_map(|segment| Some(segment.address..segment.address.checked_add(segment.file_size)?))
    }

    /// Up to `limit` bytes at `address`; fewer where the segment or the file ends.
    pub(super) fn read(&self, address: u64, limit: usize) -> Option<Vec<u8>> {
        let segment = self.segments.iter().find(|segment| {
            address
                .checked_sub(segment.address)
                .is_some_and(|distance| distance < segment.file_size)
        })?;
        let distance = address - segment.address;
        let left = usize::try_from(segment.file_size - distance).unwrap_or(usize::MAX);
        let mut bytes = vec![0; limit.min(left)];
        let read = read_up_to(self.file, &mut bytes, segment.offset.checked_add(distance)?).ok()?;
        bytes.truncate(read);
        Some(bytes)
    }
}

fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// `object`'s reader with a budget: a header field must not make us allocate what it says.
#[derive(Debug, Clone, Copy)]
struct Bounded<'c, 'f> {
    cache: &'c ReadCache<&'f File>,
    budget: &'c Cell<u64>,
}

impl Bounded<'_, '_> {
    fn spend(&self, bytes: u64) -> Result<(), ()> {
        self.budget.set(self.budget.get().checked_sub(bytes).ok_or(())?);
        Ok(())
    }
}

impl<'c> ReadRef<'c> for Bounded<'c, '_> {
    fn len(self) -> Result<u64, ()> {
        self.cache.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'c [u8], ()> {
        self.spend(size)?;
        self.cache.read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'c [u8], ()> {
        // `ReadCache` reads strings 256 bytes at a time.
        self.spend(256)?;
        self.cache.read_bytes_at_until(range, delimiter)
    }
}
