//! What an ELF file says of itself: segments, sections, machine.
//!
//! 64 bits, little-endian, which all machines are that we are built for. Believes no number of the file further than a read that fails.

pub(super) mod functions;
pub(super) mod mini_debug_info;
pub(super) mod plt;
pub(super) mod relocations;
pub(super) mod symbol_table;

use std::io::Read;
use std::ops::Range;

use object::elf;

use super::source::{Source, u32_at, u64_at};

/// Headers that are read. A shared library has some 40 sections; compilers that give each function its own have
/// them joined by the linker.
const SECTIONS: u64 = 4096;

/// An executable has a dozen.
const SEGMENTS: u64 = 512;

/// Longest name of a section that is looked for.
const SECTION_NAME: usize = 64;

const SECTION_HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;

/// What the loader maps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::runtime::native) struct Segment {
    pub(in crate::runtime::native) addresses: Range<u64>,
    pub(in crate::runtime::native) offset: u64,
    pub(in crate::runtime::native) executable: bool,
}

/// A section header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::runtime::native) struct Section {
    pub(in crate::runtime::native) name: String,
    pub(in crate::runtime::native) kind: u32,
    pub(in crate::runtime::native) flags: u64,
    pub(in crate::runtime::native) address: u64,
    pub(in crate::runtime::native) offset: u64,
    pub(in crate::runtime::native) size: u64,
    pub(in crate::runtime::native) link: u32,
}

impl Section {
    /// Its addresses in memory.
    pub(in crate::runtime::native) fn addresses(&self) -> Range<u64> {
        self.address..self.address.saturating_add(self.size)
    }

    /// Whether it has to be unpacked.
    pub(in crate::runtime::native) fn is_packed(&self) -> bool {
        self.flags & elf::SHF_COMPRESSED.0 != 0
    }

    /// Whether it has code.
    pub(super) fn is_code(&self) -> bool {
        self.flags & elf::SHF_EXECINSTR.0 != 0
    }
}

/// The headers of a file.
#[derive(Debug)]
pub(in crate::runtime::native) struct Elf {
    pub(in crate::runtime::native) machine: u16,
    pub(in crate::runtime::native) segments: Vec<Segment>,
    pub(in crate::runtime::native) sections: Vec<Section>,
}

impl Elf {
    /// Reads the headers; `None` if it is no such file. Without readable section headers it has none.
    pub(in crate::runtime::native) fn parse(source: &Source) -> Option<Self> {
        const CLASS_64: u8 = 2;
        const LITTLE_ENDIAN: u8 = 1;
        let header: [u8; 64] = source.array(0)?;
        if !header.starts_with(b"\x7fELF") || header.get(4..6)? != [CLASS_64, LITTLE_ENDIAN] {
            return None;
        }
        let half = |at: usize| u64::from(header[at]) | u64::from(header[at + 1]) << 8;
        let mut segments = Vec::new();
        let rows = half(56).min(SEGMENTS);
        if half(54) == PROGRAM_HEADER {
            let read = source.rows(u64_at(&header, 32), 56, rows, |row| {
                if u32_at(row, 0) == elf::PT_LOAD.0 {
                    let address = u64_at(row, 16);
                    segments.push(Segment {
                        addresses: address..address.saturating_add(u64_at(row, 32)),
                        offset: u64_at(row, 8),
                        executable: u32_at(row, 4) & elf::PF_X.0 != 0,
                    });
                }
                true
            });
            read.ok()?;
        }
        let sections = if half(58) == SECTION_HEADER {
            Self::sections(source, u64_at(&header, 40), half(60).min(SECTIONS), half(62)).unwrap_or_default()
        } else {
            Vec::new()
        };
        Some(Self {
            machine: u16::try_from(half(18)).ok()?,
            segments,
            sections,
        })
    }

    fn sections(source: &Source, offset: u64, count: u64, names: u64) -> Option<Vec<Section>> {
        if count == 0 || offset == 0 {
            return None;
        }
        let names_at = source.u64(
            offset
                .checked_add(names.checked_mul(SECTION_HEADER)?)?
                .checked_add(24)?,
        )?;
        let mut sections = Vec::new();
        let read = source.rows(offset, 64, count, |row| {
            let name = names_at.saturating_add(u32_at(row, 0).into());
            sections.push(Section {
                name: String::from_utf8_lossy(&source.text(name, SECTION_NAME).unwrap_or_default()).into_owned(),
                kind: u32_at(row, 4),
                flags: u64_at(row, 8),
                address: u64_at(row, 16),
                offset: u64_at(row, 24),
                size: u64_at(row, 32),
                link: u32_at(row, 40),
            });
            true
        });
        read.ok()?;
        Some(sections)
    }

    /// The section of that name.
    pub(in crate::runtime::native) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The address in memory, as the file counts them, of what stands at `offset`.
    pub(super) fn address_of(&self, offset: u64) -> Option<u64> {
        let within = |segment: &&Segment| {
            let size = segment.addresses.end - segment.addresses.start;
            offset
                .checked_sub(segment.offset)
                .is_some_and(|distance| distance < size)
        };
        // A page may belong to two segments: what runs is in the executable one.
        let mut found = self.segments.iter().filter(within);
        let segment = found
            .clone()
            .find(|segment| segment.executable)
            .or_else(|| found.next())?;
        segment.addresses.start.checked_add(offset - segment.offset)
    }

    /// Where in the file the memory at `address` comes from.
    pub(super) fn offset_of(&self, address: u64) -> Option<u64> {
        let segment = self
            .segments
            .iter()
            .find(|segment| segment.addresses.contains(&address))?;
        segment.offset.checked_add(address - segment.addresses.start)
    }

    /// The bytes of a section, unpacked if they are packed by zlib; `None` if they are more than `limit`.
    pub(in crate::runtime::native) fn unpacked(source: &Source, section: &Section, limit: u64) -> Option<Vec<u8>> {
        const PACKING_HEADER: u64 = 24;
        if section.size > limit || section.kind == elf::SHT_NOBITS.0 {
            return None;
        }
        let mut bytes = vec![
            0;
            usize::try_from(section.size)
                .ok()?
                .min(usize::try_from(source.length()).ok()?)
        ];
        source.read_once(section.offset, &mut bytes).ok()?;
        if !section.is_packed() {
            return Some(bytes);
        }
        if u32_at(&bytes, 0) != elf::ELFCOMPRESS_ZLIB.0 || u64_at(&bytes, 8) > limit {
            return None;
        }
        let mut unpacked = Vec::new();
        let packed = bytes.get(usize::try_from(PACKING_HEADER).ok()?..)?;
        flate2::read::ZlibDecoder::new(packed)
            .take(limit.saturating_add(1))
            .read_to_end(&mut unpacked)
            .ok()?;
        (unpacked.len() as u64 <= limit).then_some(unpacked)
    }
}
