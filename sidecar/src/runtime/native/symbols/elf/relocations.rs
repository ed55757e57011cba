//! What the loader writes into memory, by `.rela` sections.

use object::elf;

use super::super::source::{Source, u32_at, u64_at};
use super::{Elf, Section};

const RELOCATION: usize = 24;

/// Relocations that are looked at; those of a position-independent kube-apiserver are a million.
const RELOCATIONS: u64 = 8 << 20;

/// A relocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Relocation {
    /// Where it is written.
    pub(in super::super) address: u64,
    /// Number of the symbol; 0 for none.
    pub(in super::super) symbol: u32,
    pub(in super::super) addend: u64,
    relative: bool,
}

impl Relocation {
    /// What is written, counted from where the file is loaded, if that is all that counts.
    pub(in super::super) fn relative(&self) -> Option<u64> {
        self.relative.then_some(self.addend)
    }
}

/// Calls `visit` with every relocation with the section that has it, until it answers false.
pub(in super::super) fn each(source: &Source, elf: &Elf, mut visit: impl FnMut(&Section, Relocation) -> bool) {
    let relative = match elf::Machine(elf.machine) {
        elf::EM_X86_64 => elf::R_X86_64_RELATIVE.0,
        elf::EM_AARCH64 => elf::R_AARCH64_RELATIVE.0,
        _ => return,
    };
    let mut left = RELOCATIONS;
    let mut go_on = true;
    for section in elf.sections.iter().filter(|section| section.kind == elf::SHT_RELA.0) {
        let count = (section.size / RELOCATION as u64).min(left);
        left -= count;
        // What cannot be read is not there.
        let _ = source.rows(section.offset, RELOCATION, count, |row| {
            go_on = visit(
                section,
                Relocation {
                    address: u64_at(row, 0),
                    symbol: u32_at(row, 12),
                    addend: u64_at(row, 16),
                    relative: u32_at(row, 8) == relative,
                },
            );
            go_on
        });
        if !go_on {
            return;
        }
    }
}
