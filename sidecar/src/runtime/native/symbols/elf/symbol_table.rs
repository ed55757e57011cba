//! The functions that addresses lie in, by a symbol table.
//!
//! The table is streamed once past the sorted addresses and never held: that of a browser has a million symbols.

use object::elf;

use super::super::source::{Source, u32_at, u64_at};
use super::{Elf, Section};

const SYMBOL: usize = 24;

/// Symbols that are looked at; Chromium has 2 million.
const SYMBOLS: u64 = 8 << 20;

/// Names are longer than what is shown, before they are demangled.
const NAME_LIMIT: usize = 8 << 10;

/// How often symbols may cover addresses in all: a table in which each covers all of them would take for ever.
const MATCHES: u64 = 64 << 20;

/// What is known of a symbol while the table goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    /// The nearest one wins, then the better name.
    start: u64,
    rank: u8,
    /// Of two names that are as good the first one in the table.
    before: std::cmp::Reverse<u64>,
    name: u32,
    size: u64,
}

/// A function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Symbol {
    pub(in super::super) name: String,
}

/// For each of the sorted `addresses` the function that it is in, by the table of that section.
pub(in super::super) fn resolve(source: &Source, elf: &Elf, table: &Section, addresses: &[u64]) -> Vec<Option<Symbol>> {
    let none = || vec![None; addresses.len()];
    let Some(strings) = elf.sections.get(table.link as usize) else {
        return none();
    };
    let mut search = Search::new(source, elf, strings, addresses);
    let count = (table.size / SYMBOL as u64).min(SYMBOLS);
    let mut number = 0;
    let read = source.rows(table.offset, SYMBOL, count, |row| {
        search.take(row, number);
        number += 1;
        search.matches_left > 0
    });
    if read.is_err() {
        return none();
    }
    search.propagate();
    let found = search.found();
    found
        .map(|candidate| {
            let candidate = candidate?;
            let name = source.text(strings.offset.checked_add(candidate.name.into())?, NAME_LIMIT)?;
            (!name.is_empty()).then(|| Symbol {
                name: String::from_utf8_lossy(&name).into_owned(),
            })
        })
        .collect()
}

struct Search<'a> {
    source: &'a Source,
    strings: &'a Section,
    elf: &'a Elf,
    addresses: &'a [u64],
    /// The symbol that an address is within.
    around: Vec<Option<Candidate>>,
    /// The last symbol in front of an address.
    before: Vec<Option<Candidate>>,
    matches_left: u64,
}

impl<'a> Search<'a> {
    fn new(source: &'a Source, elf: &'a Elf, strings: &'a Section, addresses: &'a [u64]) -> Self {
        Self {
            source,
            strings,
            elf,
            addresses,
            around: vec![None; addresses.len()],
            before: vec![None; addresses.len()],
            matches_left: MATCHES,
        }
    }

    fn take(&mut self, row: &[u8], number: u64) {
        let Some(candidate) = self.candidate(row, number) else {
            return;
        };
        let from = self.addresses.partition_point(|address| *address < candidate.start);
        if let Some(slot) = self.before.get_mut(from) {
            *slot = (*slot).max(Some(candidate));
        }
        let end = candidate.start.saturating_add(candidate.size);
        let covered = self.addresses.get(from..).unwrap_or_default();
        let covered = covered.partition_point(|address| *address < end);
        self.matches_left = self.matches_left.saturating_sub(covered as u64);
        for slot in self.around.iter_mut().skip(from).take(covered) {
            *slot = (*slot).max(Some(candidate));
        }
    }

    /// The symbol, if it can be a function.
    fn candidate(&self, row: &[u8], number: u64) -> Option<Candidate> {
        let info = *row.get(4)?;
        let (binding, kind) = (info >> 4, info & 0xf);
        let section = usize::from(u16::try_from(u32_at(row, 6) & 0xffff).ok()?);
        let is_function = kind == elf::STT_FUNC.0 || kind == elf::STT_GNU_IFUNC.0;
        // Assembler without `.type`; labels of data have no type either.
        let is_label = kind == elf::STT_NOTYPE.0 && self.elf.sections.get(section).is_some_and(Section::is_code);
        if section == 0 || !(is_function || is_label && !self.is_mark(u32_at(row, 0))) {
            return None;
        }
        let rank = match (is_function, binding) {
            (true, binding) if binding == elf::STB_GLOBAL.0 => 4,
            (true, binding) if binding == elf::STB_WEAK.0 => 3,
            (true, _) => 2,
            (false, binding) if binding == elf::STB_GLOBAL.0 => 1,
            (false, _) => 0,
        };
        Some(Candidate {
            start: u64_at(row, 8),
            rank,
            before: std::cmp::Reverse(number),
            name: u32_at(row, 0),
            size: u64_at(row, 16),
        })
    }

    /// `$x` and `$d` of ARM say what follows, code or data, and `.L` is the compiler's own.
    fn is_mark(&self, name: u32) -> bool {
        let place = self.strings.offset.saturating_add(name.into());
        match self.source.array::<3>(place) {
            Some([b'$', _, 0 | b'.'] | [b'.', b'L', _]) => true,
            Some(_) | None => false,
        }
    }

    /// The last symbol in front of an address may be in front of the address before it.
    fn propagate(&mut self) {
        let mut last = None;
        for slot in &mut self.before {
            last = last.max(*slot);
            *slot = last;
        }
    }

    fn found(&self) -> impl Iterator<Item = Option<Candidate>> {
        let sections = &self.elf.sections;
        self.addresses
            .iter()
            .zip(self.around.iter().zip(&self.before))
            .map(move |(address, (around, before))| {
                // Code in assembler has no size and goes up to the next symbol, at most to the end of its section.
                let same_section = |candidate: &Candidate| {
                    sections.is_empty()
                        || sections.iter().filter(|section| section.is_code()).any(|section| {
                            let range = section.addresses();
                            range.contains(address) && range.contains(&candidate.start)
                        })
                };
                around.or_else(|| before.filter(|candidate| candidate.size == 0 && same_section(candidate)))
            })
    }
}
