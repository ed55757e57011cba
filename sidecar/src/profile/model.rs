//! A profile in memory, shaped like pprof's `profile.proto`.
//!
//! Plain tables that refer to each other by typed ids. Filled by [`super::builder::ProfileBuilder`] only, so every id
//! inside is valid; read by the writers. Knows no file format.

use super::quality::Quality;
use super::strings::{StringId, Strings};

/// What a value measures, e.g. `cpu` in `nanoseconds`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueType {
    /// pprof's `type`, e.g. `samples`, `cpu`, `alloc_space`.
    pub name: String,
    /// `count`, `nanoseconds`, `bytes`, …
    pub unit: String,
}

impl ValueType {
    /// A type and its unit.
    pub fn new(name: impl Into<String>, unit: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            unit: unit.into(),
        }
    }
}

/// Who executes a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum FrameKind {
    /// Byte code, interpreted.
    Interpreted,
    /// Compiled at run time, by whichever compiler.
    Jit,
    /// Compiled at run time into its caller.
    Inlined,
    /// Machine code of a file.
    Native,
    /// The kernel.
    Kernel,
    /// No function: the thread a stack belongs to.
    Thread,
    /// The recording does not tell.
    #[default]
    Other,
}

impl FrameKind {
    /// How many kinds there are.
    pub const COUNT: usize = 7;

    /// Its name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interpreted => "interpreted",
            Self::Jit => "jit",
            Self::Inlined => "inlined",
            Self::Native => "native",
            Self::Kernel => "kernel",
            Self::Thread => "thread",
            Self::Other => "other",
        }
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub(super) u32);

        impl $name {
            /// Position in its table.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

ids! {
    /// A row of [`Profile::functions`].
    FunctionId,
    /// A row of [`Profile::locations`].
    LocationId,
    /// A row of [`Profile::mappings`].
    MappingId
}

/// A function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Function {
    /// Name for people.
    pub name: StringId,
    /// Name as the linker knows it.
    pub system_name: StringId,
    /// Source file.
    pub file: StringId,
    /// Line of the file where it begins, 0 if unknown.
    pub start_line: i64,
    /// Who executes it.
    pub kind: FrameKind,
}

/// A place in a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Line {
    /// The function.
    pub function: FunctionId,
    /// Line, 0 if unknown.
    pub line: i64,
    /// Column, 0 if unknown.
    pub column: i64,
}

/// A file mapped into the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub limit: u64,
    /// Offset of `start` in the file.
    pub offset: u64,
    /// The file.
    pub file: StringId,
    /// Its build id.
    pub build_id: StringId,
    /// pprof's `has_functions`, `has_filenames`, `has_line_numbers`, `has_inline_frames`.
    pub has: [bool; 4],
}

/// One frame of machine code, which is several functions where calls were inlined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Location {
    /// The mapping `address` lies in.
    pub mapping: Option<MappingId>,
    /// Program counter, 0 if there is none.
    pub address: u64,
    /// Symbols were folded (pprof's `is_folded`).
    pub folded: bool,
    pub(super) lines: Span,
}

/// A label of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Label {
    /// Key.
    pub key: StringId,
    /// Value.
    pub value: LabelValue,
}

/// The value of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LabelValue {
    /// Text.
    Text(StringId),
    /// A number and its unit; an empty unit means pprof's default.
    Number(i64, StringId),
}

/// A range of another table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn count(self) -> usize {
        (self.end - self.start) as usize
    }

    pub(super) fn of<T>(self, table: &[T]) -> &[T] {
        table.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct SampleRow {
    pub(super) stack: Span,
    pub(super) labels: Span,
}

/// One distinct stack with its values.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// Leaf first.
    pub stack: &'a [LocationId],
    /// One per sample type.
    pub values: &'a [i64],
    /// Labels in the order of the recording.
    pub labels: &'a [Label],
}

/// A profile.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// What the values of a sample are, in their order.
    pub sample_types: Vec<ValueType>,
    /// The type a viewer shows first.
    pub default_sample_type: Option<String>,
    /// What `period` counts.
    pub period_type: Option<ValueType>,
    /// Events between two samples, 0 if unknown.
    pub period: i64,
    /// When sampling began, nanoseconds after the Unix epoch, 0 if unknown.
    pub time_nanos: i64,
    /// How long it sampled.
    pub duration_nanos: i64,
    /// Free text, one entry per line.
    pub comments: Vec<String>,
    /// The quality stamp that the file carries: it was written by us.
    pub stamp: Option<Box<Quality>>,
    /// pprof's `drop_frames`.
    pub drop_frames: String,
    /// pprof's `keep_frames`.
    pub keep_frames: String,
    /// pprof's `doc_url`.
    pub doc_url: String,
    /// Lines of the recording that a reader could not understand and left out.
    pub skipped_lines: u64,
    /// Events that the recording says were lost, if it can say so.
    pub lost: Option<u64>,
    /// CPU time that the samples stand for, milliseconds, if they do and the reader knows it better than by their number.
    pub sampled_cpu_ms: Option<u64>,
    /// Bytes of live objects by the collector's own count, of a heap.
    pub live_bytes: Option<u64>,
    /// Why a sample type, which comes first, shows less than its name says, one sentence each, as far as only the recording tells.
    pub doubts: Vec<(String, String)>,
    /// Samples that were read, if the reader counted them: sums of bytes and durations do not tell.
    pub recorded_samples: Option<u64>,
    pub(super) strings: Strings,
    pub(super) functions: Vec<Function>,
    pub(super) mappings: Vec<Mapping>,
    pub(super) locations: Vec<Location>,
    pub(super) lines: Vec<Line>,
    pub(super) stacks: Vec<LocationId>,
    pub(super) labels: Vec<Label>,
    pub(super) rows: Vec<SampleRow>,
    pub(super) values: Vec<i64>,
}

impl Profile {
    /// All strings that functions, mappings and labels refer to.
    pub fn strings(&self) -> &Strings {
        &self.strings
    }

    /// The text of a string of this profile.
    pub fn text(&self, id: StringId) -> &str {
        self.strings.get(id)
    }

    /// All functions.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// All mappings; the main binary is the first.
    pub fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }

    /// All locations.
    pub fn locations(&self) -> &[Location] {
        &self.locations
    }

    /// The functions at a location, the innermost inlined one first.
    pub fn lines(&self, location: &Location) -> &[Line] {
        location.lines.of(&self.lines)
    }

    /// All samples.
    pub fn samples(&self) -> impl Iterator<Item = Sample<'_>> {
        (0..self.rows.len()).filter_map(|row| self.sample(row))
    }

    /// One sample by its position among all.
    pub fn sample(&self, row: usize) -> Option<Sample<'_>> {
        let width = self.sample_types.len();
        self.rows.get(row).map(|sample| Sample {
            stack: sample.stack.of(&self.stacks),
            labels: sample.labels.of(&self.labels),
            values: self.values.get(row * width..(row + 1) * width).unwrap_or_default(),
        })
    }

    /// How many samples there are.
    pub fn sample_count(&self) -> usize {
        self.rows.len()
    }

    /// Where a sample type stands in a sample's values: the named one, else the default one, else the last
    /// (pprof's rule). `None` if the named one does not exist or there are no types at all.
    pub fn value_index(&self, name: Option<&str>) -> Option<usize> {
        let position = |name: &str| self.sample_types.iter().position(|kind| kind.name == name);
        match name {
            Some(name) => position(name),
            None => {
                let default = self.default_sample_type.as_deref().and_then(position);
                default.or_else(|| self.sample_types.len().checked_sub(1))
            }
        }
    }
}
