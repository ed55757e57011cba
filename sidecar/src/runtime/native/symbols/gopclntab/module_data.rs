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

/// The words that are looked at: the names, the beginning of the code; the data of functions in 1.18, 1.20 and 1.27; the end of the table in
/// 1.27.
const WORDS: [u64; 6] = [1, 22, 38, 40, 43, 44];

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
            layout: header.layout,
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
    layout: Layout,
    table: u64,
    names: u64,
}

impl Words {
    /// What the words of [`WORDS`] mean.
    fn meaning(&self, words: [u64; WORDS.len()]) -> ModuleData {
        let [_, text, go118, go120, go127, end] = words;
        let function_data = if self.layout == Layout::Go118 {
            go118
        } else if go127 > self.table && go127 <= end {
            // There it is in 1.27. The data are in the table since 1.26, and before 1.27 lengths are in this place.
            go127
        } else {
            go120
        };
        ModuleData { text, function_data }
    }

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
            let Some(mut at) = range.start.checked_next_multiple_of(8) else {
                continue;
            };
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
                        let word = |number: u64| source.u64(place.saturating_add(number * 8)).unwrap_or_default();
                        return Some(self.meaning(WORDS.map(word)));
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
        let mut found = vec![[0; WORDS.len()]; candidates.len()];
        relocations::each(source, elf, |_, relocation| {
            if let Some(value) = relocation.relative() {
                for (candidate, words) in candidates.iter().zip(&mut found) {
                    for (word, number) in words.iter_mut().zip(WORDS) {
                        if candidate.checked_add(number * 8) == Some(relocation.address) {
                            *word = value;
                        }
                    }
                }
            }
            true
        });
        let words = found.into_iter().find(|[names, ..]| *names == self.names)?;
        Some(self.meaning(words))
    }
}
