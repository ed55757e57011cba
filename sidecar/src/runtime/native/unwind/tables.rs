//! The parts of an ELF file that tell how to leave each of its functions: `.eh_frame` and what belongs to it.
//!
//! The file is the app's: headers are read within a budget, sections up to a size, nothing is mapped into memory, as a
//! file that is cut while it is mapped kills the reader. Called by [`super`].

use std::cell::Cell;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use framehop::ExplicitModuleSectionInfo;
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, SectionTable};
use object::read::{ReadCache, ReadRef};
use object::{Endianness, FileKind};

/// Bytes of headers and section names. A C++ library has some 40 sections and a dozen segments, a few KiB in all.
const HEADERS: u64 = 4 << 20;

/// A larger section is not read. libjvm.so has 1.3 MB, libLLVM 8 MB, Chromium 13 MB.
const LARGEST: u64 = 24 << 20;

/// Bytes of a section.
pub(super) type Bytes = Arc<[u8]>;

/// What a file says of its functions.
#[derive(Debug, Clone, Default)]
pub(super) struct Tables {
    segments: Vec<Segment>,
    text: Option<Range<u64>>,
    got: Option<Range<u64>>,
    eh_frame: Option<Section>,
    eh_frame_hdr: Option<Section>,
    debug_frame: Option<Section>,
}

/// What the loader maps executable. Linkers put the end of one segment and the beginning of the next into one page of the file,
/// which is then mapped twice.
#[derive(Debug, Clone, Copy)]
struct Segment {
    address: u64,
    offset: u64,
    size: u64,
}

#[derive(Debug, Clone)]
struct Section {
    addresses: Range<u64>,
    bytes: Bytes,
}

impl Tables {
    /// Reads a file; `None` if it is no ELF file of 64 bits.
    pub(super) fn read(file: &File) -> Option<Self> {
        let cache = ReadCache::new(file);
        let data = Bounded {
            cache: &cache,
            budget: &Cell::new(HEADERS),
        };
        if FileKind::parse(data).ok()? != FileKind::Elf64 {
            return None;
        }
        let header = FileHeader64::<Endianness>::parse(data).ok()?;
        let endian = header.endian().ok()?;
        let loaded = header.program_headers(endian, data).ok()?.iter();
        let segments = loaded
            .filter(|segment| segment.p_type(endian) == elf::PT_LOAD && segment.p_flags(endian).contains(elf::PF_X))
            .map(|segment| Segment {
                address: segment.p_vaddr(endian),
                offset: segment.p_offset(endian),
                size: segment.p_filesz(endian),
            })
            .collect();
        let mut tables = Self {
            segments,
            ..Self::default()
        };
        if let Ok(sections) = header.sections(endian, data) {
            tables.read_sections(&sections, endian, file);
        }
        Some(tables)
    }

    fn read_sections<'d, R: ReadRef<'d>>(
        &mut self,
        sections: &SectionTable<'d, FileHeader64<Endianness>, R>,
        endian: Endianness,
        file: &File,
    ) {
        let addresses = |name: &[u8]| {
            let (_, section) = sections.section_by_name(endian, name)?;
            let start = section.sh_addr(endian);
            Some((start..start.checked_add(section.sh_size(endian))?, section))
        };
        let range = |name| addresses(name).map(|(range, _)| range);
        let section = |name| {
            let (addresses, section) = addresses(name)?;
            let (offset, size) = section.file_range(endian)?;
            // A compressed `.debug_frame` would have to be unpacked; nothing in use has one.
            if size > LARGEST || section.sh_flags(endian).contains(elf::SHF_COMPRESSED) {
                return None;
            }
            let length = file.metadata().ok()?.len();
            if offset.checked_add(size)? > length {
                return None;
            }
            let mut bytes = vec![0; usize::try_from(size).ok()?];
            file.read_exact_at(&mut bytes, offset).ok()?;
            Some(Section {
                addresses,
                bytes: bytes.into(),
            })
        };
        self.text = range(b".text");
        self.got = range(b".got");
        self.eh_frame_hdr = section(b".eh_frame_hdr");
        self.eh_frame = section(b".eh_frame");
        if self.eh_frame.is_none() {
            self.debug_frame = section(b".debug_frame");
        }
    }

    /// What is added to an address of the file where the byte at `offset` is mapped at `start`.
    pub(super) fn bias(&self, start: u64, offset: u64) -> Option<u64> {
        let within = |segment: &&Segment| {
            // The first page of a segment may begin before it.
            let first = segment.offset & !0xFFF;
            (first..segment.offset.saturating_add(segment.size)).contains(&offset)
        };
        let segment = self.segments.iter().find(within)?;
        let address = segment.address.wrapping_add(offset).wrapping_sub(segment.offset);
        Some(start.wrapping_sub(address))
    }

    /// Bytes in memory.
    pub(super) fn size(&self) -> usize {
        let sections = [&self.eh_frame, &self.eh_frame_hdr, &self.debug_frame];
        sections.into_iter().flatten().map(|section| section.bytes.len()).sum()
    }

    /// As framehop takes it.
    pub(super) fn sections(&self) -> ExplicitModuleSectionInfo<Bytes> {
        let addresses = |section: &Option<Section>| section.as_ref().map(|section| section.addresses.clone());
        let bytes = |section: &Option<Section>| section.as_ref().map(|section| Arc::clone(&section.bytes));
        ExplicitModuleSectionInfo {
            base_svma: 0,
            text_svma: self.text.clone(),
            got_svma: self.got.clone(),
            eh_frame_svma: addresses(&self.eh_frame),
            eh_frame: bytes(&self.eh_frame),
            eh_frame_hdr_svma: addresses(&self.eh_frame_hdr),
            eh_frame_hdr: bytes(&self.eh_frame_hdr),
            debug_frame: bytes(&self.debug_frame),
            ..ExplicitModuleSectionInfo::default()
        }
    }
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
        // The cache reads up to 4 KiB further than to the delimiter.
        self.spend(4096)?;
        self.cache.read_bytes_at_until(range, delimiter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_executable_says_how_to_leave_its_functions() {
        let file = File::open("/proc/self/exe").unwrap();
        let tables = Tables::read(&file).unwrap();
        assert!(tables.eh_frame.is_some() && tables.eh_frame_hdr.is_some() && tables.text.is_some());
        let text = tables.segments.iter().find(|segment| segment.offset > 0).unwrap();
        assert_eq!(
            tables.bias(0x7000, text.offset),
            Some(0x7000_u64.wrapping_sub(text.address))
        );
        assert_eq!(tables.bias(0x7000, u64::MAX), None);
    }

    #[test]
    fn what_is_no_elf_file_says_nothing() {
        let file = File::open("/proc/self/maps").unwrap();
        assert!(Tables::read(&file).is_none());
    }
}
