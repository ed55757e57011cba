//! `runtime.firstmoduledata`, of which the file has what the linker knew.
//!
//! It has no symbol in a stripped program, but begins with pointers to the table and to the names in it.

use object::elf;

use super::super::elf::{Elf, relocations};
use super::super::source::{Source, u64_at};
use super::header::{Header, Layout};

/// Bytes of data segments in which it is searched; those of kube-apiserver are 5 MB.
const SEARCHED: u64 = 64 << 20;

/// Places that point to the table.
const CANDIDATES: usize = 64;

const TEXT: u64 = 22;

/// What is needed of it.
#[derive(Debug)]
pub(super) struct ModuleData {
    /// What entries of functions are counted from.
    pub(super) text: u64,
    /// Address that the data of functions is counted from, `go:func.*`.
    pub(super) function_data: u64,
}

impl ModuleData {
    pub(super) fn find(source: &Source, elf: &Elf, header: &Header) -> Option<Self> {
        let words = Words {
            text: TEXT,
            // 1.20 has two more pointers before it, those of coverage counters.
            function_data: if header.layout == Layout::Go120 { 40 } else { 38 },
            names: header
                .address
                .checked_add(header.names.checked_sub(elf.offset_of(header.address)?)?)?,
            table: header.address,
        };
        words
            .in_memory(source, elf)
            .or_else(|| words.by_relocations(source, elf))
    }
}

struct Words {
    text: u64,
    function_data: u64,
    table: u64,
    names: u64,
}

impl Words {
    /// In a program that is loaded at the addresses of its file.
    fn in_memory(&self, source: &Source, elf: &Elf) -> Option<ModuleData> {
        const CHUNK: u64 = 64 << 10;
        let mut left = SEARCHED;
        // Where the linker puts it since 1.26.
        let own = elf
            .section(".go.module")
            .map(|section| section.offset..section.offset.saturating_add(section.size));
        let data = elf.segments.iter().filter(|segment| !segment.executable).rev();
        let ranges = own.into_iter().chain(data.map(|segment| {
            let size = segment.addresses.end - segment.addresses.start;
            segment.offset..segment.offset.saturating_add(size)
        }));
        let mut chunk = Vec::new();
        for range in ranges {
            let mut at = range.start.next_multiple_of(8);
            while at < range.end && left > 0 {
                let length = CHUNK.min(range.end - at).min(left);
                left -= length;
                chunk.resize(usize::try_from(length).ok()?, 0);
                if source.read_once(at, &mut chunk).is_err() {
                    break;
                }
                for (number, word) in chunk.chunks_exact(8).enumerate() {
                    let place = at + number as u64 * 8;
                    if u64_at(word, 0) == self.table && source.u64(place + 8) == Some(self.names) {
                        let word = |number: u64| source.u64(place.checked_add(number * 8)?);
                        return Some(ModuleData {
                            text: word(self.text)?,
                            function_data: word(self.function_data)?,
                        });
                    }
                }
                at += length;
            }
        }
        None
    }

    /// In a position-independent program, where the loader fills it in.
    fn by_relocations(&self, source: &Source, elf: &Elf) -> Option<ModuleData> {
        if !elf.sections.iter().any(|section| section.kind == elf::SHT_RELA.0) {
            return None;
        }
        let mut candidates = Vec::new();
        relocations::each(source, elf, |_, relocation| {
            if relocation.relative() == Some(self.table) {
                candidates.push(relocation.address);
            }
            candidates.len() < CANDIDATES
        });
        let mut found: Vec<[u64; 3]> = vec![[0; 3]; candidates.len()];
        relocations::each(source, elf, |_, relocation| {
            if let Some(value) = relocation.relative() {
                for (candidate, words) in candidates.iter().zip(&mut found) {
                    for (word, number) in words.iter_mut().zip([1, self.text, self.function_data]) {
                        if candidate.checked_add(number * 8) == Some(relocation.address) {
                            *word = value;
                        }
                    }
                }
            }
            true
        });
        let [_, text, function_data] = found.into_iter().find(|[names, ..]| *names == self.names)?;
        Some(ModuleData { text, function_data })
    }
}
