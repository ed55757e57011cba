//! Inlined calls, source files and lines, where a file has debug information.
//!
//! `addr2line` finds them; it reads through [`reader`], so that debug information of a gigabyte costs the pages that are looked at.

mod reader;

use std::borrow::Cow;

use addr2line::Context;
use addr2line::gimli::{self, Dwarf, SectionId};

use super::elf::Elf;
use super::source::Source;

use reader::Section;

/// Compilation units of one file; Chromium has 40,000.
const UNITS: usize = 200_000;

/// Nesting of what a unit declares: `addr2line` goes down by recursion.
const DEPTH: isize = 400;

/// Calls that are inlined into one.
const INLINED: usize = 128;

/// Bytes of units that are kept parsed; then they are all forgotten, which costs to begin anew.
const KEPT_UNITS: u64 = 16 << 20;

/// Bytes of a packed section, when it is unpacked.
const UNPACKED_LIMIT: u64 = 12 << 20;

/// A function in a chain of inlined ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Call {
    /// As the linker knows it, or as it is declared.
    pub(super) name: Option<String>,
    pub(super) file: Option<String>,
    pub(super) line: u32,
}

/// For each of the sorted `addresses` the functions there, the innermost first; none where nothing is known.
pub(super) fn resolve(source: &Source, elf: &Elf, addresses: &[u64]) -> Vec<Vec<Call>> {
    let mut calls = vec![Vec::new(); addresses.len()];
    if !addresses.is_empty() && elf.section(".debug_info").is_some() {
        // What could be read before an error stays.
        let _ = fill(source, elf, addresses, &mut calls);
    }
    calls
}

fn fill(source: &Source, elf: &Elf, addresses: &[u64], calls: &mut [Vec<Call>]) -> gimli::Result<()> {
    let load = |id: SectionId| Ok::<_, gimli::Error>(Section::of(source, elf, id.name()));
    let dwarf = Dwarf::load(load)?;
    let mut units = dwarf.units();
    for count in 0.. {
        if units.next()?.is_none() {
            break;
        }
        if count == UNITS {
            return Err(gimli::Error::Io);
        }
    }
    let mut known = Known::new(source, elf)?;
    for (address, calls) in addresses.iter().zip(calls) {
        if source.is_late() {
            return Ok(());
        }
        // A unit that makes no sense says nothing of the others.
        *calls = known.calls(*address).unwrap_or_default();
        if known.unit_bytes > KEPT_UNITS {
            known = Known::new(source, elf)?;
        }
    }
    Ok(())
}

/// What was read so far.
struct Known<'a> {
    context: Context<Section<'a>>,
    /// Where the units are that were looked at, and whether they may be parsed.
    units: Vec<(gimli::UnitSectionOffset<usize>, bool)>,
    unit_bytes: u64,
}

impl<'a> Known<'a> {
    fn new(source: &'a Source, elf: &Elf) -> gimli::Result<Self> {
        let dwarf = Dwarf::load(|id: SectionId| Ok::<_, gimli::Error>(Section::of(source, elf, id.name())))?;
        Ok(Self {
            context: Context::from_dwarf(dwarf)?,
            units: Vec::new(),
            unit_bytes: 0,
        })
    }

    fn calls(&mut self, address: u64) -> gimli::Result<Vec<Call>> {
        if !self.may_parse(address)? {
            return Ok(Vec::new());
        }
        let mut frames = self.context.find_frames(address).skip_all_loads()?;
        let mut calls = Vec::new();
        while let Some(frame) = frames.next()?
            && calls.len() < INLINED
        {
            let name = frame
                .function
                .and_then(|function| function.raw_name().ok().map(Cow::into_owned));
            let (file, line) = frame.location.map_or((None, 0), |place| {
                (place.file.map(str::to_owned), place.line.unwrap_or_default())
            });
            if name.is_some() || file.is_some() {
                calls.push(Call { name, file, line });
            }
        }
        Ok(calls)
    }

    /// Whether the unit of `address` is nested no deeper than our stack bears.
    fn may_parse(&mut self, address: u64) -> gimli::Result<bool> {
        let Some(unit) = self.context.find_dwarf_and_unit(address).skip_all_loads() else {
            return Ok(true);
        };
        let offset = unit.header.offset();
        if let Some((_, may)) = self.units.iter().rev().find(|(known, _)| *known == offset) {
            return Ok(*may);
        }
        let mut entries = unit.entries_raw(None)?;
        let mut shallow = true;
        while shallow && !entries.is_empty() {
            shallow = entries.next_depth() <= DEPTH;
            if let Some(declared) = entries.read_abbreviation()? {
                entries.skip_attributes(declared.attributes())?;
            }
        }
        self.units.push((offset, shallow));
        self.unit_bytes += unit.header.length_including_self() as u64;
        Ok(shallow)
    }
}
