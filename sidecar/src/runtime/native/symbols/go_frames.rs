//! Where Go runs code that has no frame yet, or never has one: a walk by frame pointers leaves out who called it.
//!
//! Go's compiler gives no frame to a function that calls nothing and keeps nothing on the stack, which the hottest ones are. Its
//! table of functions says how far the stack pointer is from the return address, at each instruction.

use std::collections::HashMap;
use std::fs::File;
use std::time::{Duration, Instant};

use super::elf::Elf;
use super::gopclntab::GoTable;
use super::source::Source;

/// Instructions whose answer is kept. A program is sampled at a few thousand.
const MOST: usize = 1 << 16;

/// Longer than any capture: each look reads a few hundred bytes.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What is known of the Go programs among the files.
#[derive(Debug, Default)]
pub(super) struct GoFrames {
    programs: HashMap<u32, Option<Program>>,
    known: HashMap<(u32, u64), bool>,
}

#[derive(Debug)]
struct Program {
    source: Source,
    elf: Elf,
    table: GoTable,
}

impl GoFrames {
    /// True if the return address is on top of the stack at `offset` of the file with this number, which `open` opens.
    pub(super) fn are_missing_at(&mut self, number: u32, offset: u64, open: impl FnOnce() -> Option<File>) -> bool {
        if let Some(known) = self.known.get(&(number, offset)) {
            return *known;
        }
        let program = self.programs.entry(number).or_insert_with(|| Program::of(open()?));
        let missing = program.as_ref().is_some_and(|program| {
            let address = program.elf.address_of(offset);
            address.and_then(|address| program.table.stack_used(&program.source, address)) == Some(0)
        });
        if self.known.len() < MOST {
            self.known.insert((number, offset), missing);
        }
        missing
    }
}

impl Program {
    fn of(file: File) -> Option<Self> {
        let source = Source::of_file(file, Instant::now() + LONGEST).ok()?;
        let elf = Elf::parse(&source)?;
        let table = GoTable::find(&source, &elf)?;
        Some(Self { source, elf, table })
    }
}
