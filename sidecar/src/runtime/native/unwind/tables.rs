//! The parts of an ELF file that tell how to leave each of its functions: `.eh_frame` and what belongs to it.
//!
//! The file is the app's: sections are read up to a size. Called by [`super`].

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use framehop::ExplicitModuleSectionInfo;

use crate::runtime::native::symbols::elf::{Elf, Section, Segment};
use crate::runtime::native::symbols::source::Source;

/// A larger section is not read. libjvm.so has 1.3 MB, libLLVM 8 MB, Chromium 13 MB.
const LARGEST: u64 = 24 << 20;

/// How long one file may be read.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a section.
pub(super) type Bytes = Arc<[u8]>;

/// What a file says of its functions.
#[derive(Debug, Clone, Default)]
pub(super) struct Tables {
    /// What the loader maps executable. Linkers put the end of one segment and the beginning of the next into one page of the file,
    /// which is then mapped twice.
    segments: Vec<Segment>,
    text: Option<Range<u64>>,
    got: Option<Range<u64>>,
    eh_frame: Option<Table>,
    eh_frame_hdr: Option<Table>,
    debug_frame: Option<Table>,
}

#[derive(Debug, Clone)]
struct Table {
    addresses: Range<u64>,
    bytes: Bytes,
}

impl Tables {
    /// Reads a file; `None` if it is no ELF file of 64 bits.
    pub(super) fn read(file: File) -> Option<Self> {
        let source = Source::of_file(file, Instant::now() + TIMEOUT).ok()?;
        let elf = Elf::parse(&source)?;
        let range = |name| elf.section(name).map(Section::addresses);
        let section = |name| {
            // A packed `.debug_frame` would have to be unpacked; nothing in use has one.
            let section = elf.section(name).filter(|section| !section.is_packed())?;
            Some(Table {
                addresses: section.addresses(),
                bytes: Elf::unpacked(&source, section, LARGEST)?.into(),
            })
        };
        let eh_frame = section(".eh_frame");
        let debug_frame = if eh_frame.is_none() {
            section(".debug_frame")
        } else {
            None
        };
        Some(Self {
            text: range(".text"),
            got: range(".got"),
            eh_frame_hdr: section(".eh_frame_hdr"),
            eh_frame,
            debug_frame,
            segments: elf.segments.into_iter().filter(|segment| segment.executable).collect(),
        })
    }

    /// What is added to an address of the file where the byte at `offset` is mapped at `start`.
    pub(super) fn bias(&self, start: u64, offset: u64) -> Option<u64> {
        let within = |segment: &&Segment| {
            // The first page of a segment may begin before it.
            let first = segment.offset & !0xFFF;
            let size = segment.addresses.end - segment.addresses.start;
            (first..segment.offset.saturating_add(size)).contains(&offset)
        };
        let segment = self.segments.iter().find(within)?;
        let address = segment
            .addresses
            .start
            .wrapping_add(offset)
            .wrapping_sub(segment.offset);
        Some(start.wrapping_sub(address))
    }

    /// Bytes in memory.
    pub(super) fn size(&self) -> usize {
        let sections = [&self.eh_frame, &self.eh_frame_hdr, &self.debug_frame];
        sections.into_iter().flatten().map(|section| section.bytes.len()).sum()
    }

    /// As framehop takes it.
    pub(super) fn sections(&self) -> ExplicitModuleSectionInfo<Bytes> {
        let addresses = |section: &Option<Table>| section.as_ref().map(|section| section.addresses.clone());
        let bytes = |section: &Option<Table>| section.as_ref().map(|section| Arc::clone(&section.bytes));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_executable_says_how_to_leave_its_functions() {
        let file = File::open("/proc/self/exe").unwrap();
        let tables = Tables::read(file).unwrap();
        assert!(tables.eh_frame.is_some() && tables.eh_frame_hdr.is_some() && tables.text.is_some());
        let text = tables.segments.iter().find(|segment| segment.offset > 0).unwrap();
        assert_eq!(
            tables.bias(0x7000, text.offset),
            Some(0x7000_u64.wrapping_sub(text.addresses.start))
        );
        assert_eq!(tables.bias(0x7000, u64::MAX), None);
    }

    #[test]
    fn what_is_no_elf_file_says_nothing() {
        let file = File::open("/proc/self/maps").unwrap();
        assert!(Tables::read(file).is_none());
    }
}
