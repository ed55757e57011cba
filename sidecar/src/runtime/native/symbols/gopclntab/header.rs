//! Where the parts of the table are, in each of its layouts.

use std::ops::Range;

use super::super::elf::Elf;
use super::super::source::Source;
use super::TEXT_LIMIT;

/// Functions of one program; kube-apiserver has 200,000.
const FUNCTIONS: u64 = 8 << 20;

/// Bytes of a file without section headers in which the table is searched; the read-only data of kube-apiserver is 60 MB.
const SEARCHED: u64 = 512 << 20;

/// Layouts of the table, by the first release that writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layout {
    /// To 1.15.
    Go12,
    /// To 1.17.
    Go116,
    /// To 1.19.
    Go118,
    /// Since then.
    Go120,
}

impl Layout {
    const ALL: [Self; 4] = [Self::Go120, Self::Go118, Self::Go116, Self::Go12];

    fn magic(self) -> [u8; 6] {
        let first = match self {
            Self::Go12 => 0xfb,
            Self::Go116 => 0xfa,
            Self::Go118 => 0xf0,
            Self::Go120 => 0xf1,
        };
        [first, 0xff, 0xff, 0xff, 0, 0]
    }
}

/// The head of a table that makes sense. All places are offsets in the file.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) layout: Layout,
    /// Address of the table.
    pub(super) address: u64,
    /// What instructions are a multiple of.
    pub(super) quantum: u32,
    pub(super) functions: u64,
    /// What entries are counted from, if it says so.
    pub(super) text: u64,
    pub(super) names: u64,
    units: u64,
    files: u64,
    pub(super) pc_values: u64,
    rows: u64,
    /// Where the descriptions of functions are counted from.
    pub(super) descriptions: u64,
    end: u64,
}

impl Header {
    /// By the name of its section, else by what it looks like.
    pub(super) fn find(source: &Source, elf: &Elf) -> Option<Self> {
        for name in [".gopclntab", ".data.rel.ro.gopclntab"] {
            if let Some(section) = elf.section(name)
                && let Some(header) =
                    Self::parse(source, elf, section.offset, section.offset.checked_add(section.size)?)
            {
                return Some(header);
            }
        }
        // A linker may have put it into another section, and a stripper may have removed the names of all.
        let is_go = [".go.buildinfo", ".note.go.buildid"]
            .iter()
            .any(|name| elf.section(name).is_some());
        if !is_go && !elf.sections.is_empty() {
            return None;
        }
        let mut left = SEARCHED;
        elf.segments
            .iter()
            .filter(|segment| !segment.executable)
            .find_map(|segment| {
                let size = (segment.addresses.end - segment.addresses.start).min(left);
                left -= size;
                let end = segment.offset.checked_add(size)?;
                Self::search(source, elf, segment.offset..end)
            })
    }

    fn search(source: &Source, elf: &Elf, range: Range<u64>) -> Option<Self> {
        const CHUNK: u64 = 64 << 10;
        const ALIGNMENT: usize = 8;
        let finder = memchr::memmem::Finder::new(b"\xff\xff\xff\0\0");
        let mut chunk = Vec::new();
        let mut at = range.start;
        while at < range.end {
            chunk.resize(usize::try_from(CHUNK.min(range.end - at)).ok()?, 0);
            source.read_once(at, &mut chunk).ok()?;
            for found in finder.find_iter(&chunk) {
                let Some(start) = found.checked_sub(1).filter(|start| start % ALIGNMENT == 0) else {
                    continue;
                };
                if let Some(header) = Self::parse(source, elf, at + start as u64, range.end) {
                    return Some(header);
                }
            }
            at += CHUNK;
        }
        None
    }

    fn parse(source: &Source, elf: &Elf, start: u64, end: u64) -> Option<Self> {
        const POINTER: u8 = 8;
        // So that no sum of places in it overflows.
        let end = end.min(source.length());
        let head: [u8; 8] = source.array(start)?;
        let layout = Layout::ALL
            .into_iter()
            .find(|layout| head.starts_with(&layout.magic()))?;
        if !matches!(head[6], 1 | 2 | 4) || head[7] != POINTER {
            return None;
        }
        let word = |number: u64| source.u64(start.checked_add(8 + number * 8)?);
        let functions = word(0).filter(|functions| (1..=FUNCTIONS).contains(functions))?;
        let place = |number: u64| start.checked_add(word(number)?).filter(|place| *place < end);
        let mut header = Self {
            layout,
            address: elf.address_of(start)?,
            quantum: head[6].into(),
            functions,
            text: 0,
            names: start,
            units: 0,
            files: 0,
            pc_values: start,
            rows: start.checked_add(16)?,
            descriptions: start,
            end,
        };
        if layout == Layout::Go12 {
            let behind = header.rows.checked_add(functions * 16 + 8)?;
            header.files = start.checked_add(source.u32(behind)?.into())?;
        } else {
            let first = if layout == Layout::Go116 {
                2
            } else {
                header.text = word(2)?;
                3
            };
            header.names = place(first)?;
            header.units = place(first + 1)?;
            header.files = place(first + 2)?;
            header.pc_values = place(first + 3)?;
            header.rows = place(first + 4)?;
            header.descriptions = header.rows;
        }
        header.makes_sense(source).then_some(header)
    }

    /// Whether the rows rise and lead to a name: bytes that only look like a head do not.
    fn makes_sense(&self, source: &Source) -> bool {
        let name = || {
            let (first, description) = self.row(source, 0)?;
            let (last, _) = self.row(source, self.functions)?;
            let name_at = if self.layout >= Layout::Go118 { 4 } else { 8 };
            let name = source.u32(self.description(description)?.checked_add(name_at)?)?;
            (first < last).then(|| self.name(source, name)).flatten()
        };
        name().is_some_and(|name| !name.is_empty() && !name.contains(char::is_control))
    }

    /// Entry and description of a function, as the table counts them; the row behind the last one has the end of it.
    pub(super) fn row(&self, source: &Source, number: u64) -> Option<(u64, u64)> {
        if self.layout >= Layout::Go118 {
            let at = self.rows.checked_add(number * 8)?;
            let description = if number < self.functions {
                source.u32(at + 4)?
            } else {
                0
            };
            return Some((source.u32(at)?.into(), description.into()));
        }
        let at = self.rows.checked_add(number * 16)?;
        Some((
            source.u64(at)?,
            if number < self.functions {
                source.u64(at + 8)?
            } else {
                0
            },
        ))
    }

    /// Where in the file a description is.
    pub(super) fn description(&self, offset: u64) -> Option<u64> {
        self.descriptions.checked_add(offset).filter(|at| *at < self.end)
    }

    /// The name of a function.
    pub(super) fn name(&self, source: &Source, offset: u32) -> Option<String> {
        let at = self.names.checked_add(offset.into()).filter(|at| *at < self.end)?;
        text(source, at)
    }

    /// The name of a source file; `unit` is where its compilation unit has its numbers.
    pub(super) fn file(&self, source: &Source, unit: u32, number: u32) -> Option<String> {
        const NONE: u32 = u32::MAX;
        if self.layout == Layout::Go12 {
            let offset = source.u32(self.files.checked_add(u64::from(number) * 4)?)?;
            return text(source, self.names.checked_add(offset.into())?);
        }
        let slot = u64::from(unit).checked_add(number.into())?;
        let offset = source
            .u32(self.units.checked_add(slot * 4)?)
            .filter(|offset| *offset != NONE)?;
        text(
            source,
            self.files.checked_add(offset.into()).filter(|at| *at < self.end)?,
        )
    }
}

fn text(source: &Source, at: u64) -> Option<String> {
    Some(String::from_utf8_lossy(&source.text(at, TEXT_LIMIT)?).into_owned())
}
