//! Where the functions of a file without symbols begin: its tables for exceptions say so of each, and are never stripped.
//!
//! The sorted table of `.eh_frame_hdr` (Linux Standard Base, 10.6) leads to the description of a function in `.eh_frame`, which has its
//! length. Both are read by halving, never whole. Called by [`super::super::object_file`].

use super::super::source::{Source, u32_at};
use super::Elf;

/// How all linkers write the header: places of 4 bytes, a count of 4, and a table of pairs relative to the header itself.
const USUAL: [u8; 4] = [1, 0x1B, 0x03, 0x3B];

const HEADER: usize = 12;
const PAIR: usize = 8;

/// The table of one file.
#[derive(Debug)]
pub(in crate::runtime::native::symbols) struct Functions<'a> {
    source: &'a Source,
    elf: &'a Elf,
    /// Address of the header, to which all is relative.
    base: u64,
    /// Where the pairs lie in the file.
    pairs: u64,
    count: u64,
}

impl<'a> Functions<'a> {
    /// That of a file which has one in the usual form.
    pub(in crate::runtime::native::symbols) fn find(source: &'a Source, elf: &'a Elf) -> Option<Self> {
        let section = elf.section(".eh_frame_hdr")?;
        let header: [u8; HEADER] = source.array(section.offset)?;
        let most = section.size.checked_sub(HEADER as u64)? / PAIR as u64;
        header.starts_with(&USUAL).then_some(Self {
            source,
            elf,
            base: section.address,
            pairs: section.offset.checked_add(HEADER as u64)?,
            count: u64::from(u32_at(&header, 8)).min(most),
        })
    }

    /// Where the function begins that has this address.
    pub(in crate::runtime::native::symbols) fn start(&self, address: u64) -> Option<u64> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.pair(middle)?.0 <= address {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let (start, description) = self.pair(low.checked_sub(1)?)?;
        // The file may have changed since it was compared.
        (address.checked_sub(start)? < self.length(start, description)?).then_some(start)
    }

    /// Beginning and description of a function.
    fn pair(&self, number: u64) -> Option<(u64, u64)> {
        let pair: [u8; PAIR] = self.source.array(self.pairs.checked_add(number * PAIR as u64)?)?;
        Some((self.relative(self.base, &pair, 0), self.relative(self.base, &pair, 4)))
    }

    /// Of the function that is described there, whose beginning is written as all compilers do, or else not known.
    fn length(&self, start: u64, description: u64) -> Option<u64> {
        const BEGINNING: u64 = 8;
        let at = self.elf.offset_of(description)?.checked_add(BEGINNING)?;
        let row: [u8; 8] = self.source.array(at)?;
        let same = self.relative(description.wrapping_add(BEGINNING), &row, 0) == start;
        same.then_some(u32_at(&row, 4).into())
    }

    /// A place that is told by its distance, of 4 bytes.
    fn relative(&self, to: u64, row: &[u8], at: usize) -> u64 {
        to.wrapping_add_signed(u32_at(row, at).cast_signed().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made of `tables.cc` beside it: three functions, stripped.
    const TABLES: &[u8] = include_bytes!("../../../../../tests/data/elf/tables");

    fn start(bytes: Vec<u8>, address: u64) -> Option<u64> {
        let source = Source::example(bytes);
        let elf = Elf::parse(&source)?;
        Functions::find(&source, &elf)?.start(address)
    }

    #[test]
    fn functions_without_names_are_told_apart_by_their_beginnings() {
        for (address, function) in [
            (0x40_00EF, None),
            (0x40_00F0, Some(0x40_00F0)),
            (0x40_0141, Some(0x40_00F0)),
            (0x40_0142, None),
            (0x40_0181, Some(0x40_0150)),
            (0x40_01B4, Some(0x40_01A0)),
            (0x40_01B5, None),
            (u64::MAX, None),
        ] {
            assert_eq!(start(TABLES.to_vec(), address), function, "{address:#x}");
        }
    }

    #[test]
    fn a_table_that_lies_is_no_harm() {
        let header = 0x1B8;
        for at in header..TABLES.len().min(header + 0x90) {
            for value in [0, 1, 0x7F, 0x80, 0xFF] {
                let mut bytes = TABLES.to_vec();
                bytes[at] = value;
                for address in [0, 0x40_0181, u64::MAX] {
                    if let Some(start) = start(bytes.clone(), address) {
                        assert!(start <= address, "{at:#x}");
                    }
                }
            }
        }
    }
}
