//! Builds a [`Profile`]: interns names, functions and locations, and sums the values of equal stacks.
//!
//! Called by the readers. The one place that enforces how large a profile may become.

use std::borrow::Cow;

use hashbrown::HashTable;

use super::hidden_class::Names;
use super::model::{
    FrameKind, Function, FunctionId, Label, Line, Location, LocationId, Mapping, MappingId, Profile, SampleRow, Span,
    ValueType,
};
use super::strings::{StringId, Strings};

/// Rows of any one table, and frames of all distinct stacks together: 256 MiB of ids at the worst.
const MAX_ROWS: usize = 64 << 20;
/// Distinct stacks.
const MAX_SAMPLES: usize = 8 << 20;
/// Frames of one stack. async-profiler stops at 8192 unless told otherwise, Go at 64, the kernel at 127.
const MAX_DEPTH: usize = 16 << 10;
/// Values per sample. Go's heap profile has four.
const MAX_SAMPLE_TYPES: usize = 64;

/// What is built does not fit the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// A cap that no honest profile reaches.
    #[error("more than {limit} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The cap.
        limit: usize,
    },
    /// The values of equal stacks add up to more than an `i64`.
    #[error("sample values overflow 64 bits")]
    Overflow,
    /// A sample has more or fewer values than there are sample types.
    #[error("a sample has {got} values where the profile has {expected} sample types")]
    ValueCount {
        /// Sample types of the profile.
        expected: usize,
        /// Values of the sample.
        got: usize,
    },
}

/// A location that [`ProfileBuilder::frame`] made.
#[derive(Debug, Clone, Copy)]
struct NamedFrame {
    /// What it is asked for by: its name, or another text that is read as this name.
    text: StringId,
    is_alias: bool,
    kind: FrameKind,
    location: LocationId,
}

impl NamedFrame {
    fn text<'a>(&self, names: &'a Strings, aliases: &'a Strings) -> &'a str {
        if self.is_alias { aliases } else { names }.get(self.text)
    }
}

/// Collects samples into a [`Profile`].
#[derive(Debug)]
pub struct ProfileBuilder {
    /// Everything that is not a table may be set directly.
    pub profile: Profile,
    /// How [`Self::frame`] reads names.
    pub names: Names,
    /// Names as the recording has them, where they are read as others.
    aliases: Strings,
    hasher: ahash::RandomState,
    frames: HashTable<NamedFrame>,
    functions: HashTable<FunctionId>,
    samples: HashTable<u32>,
    /// Frames of all distinct stacks with inlined functions counted: what a writer will have to write.
    expanded: usize,
}

impl ProfileBuilder {
    /// An empty profile with these values per sample.
    ///
    /// # Errors
    /// There are absurdly many.
    pub fn new(sample_types: Vec<ValueType>) -> Result<Self, ModelError> {
        if sample_types.len() > MAX_SAMPLE_TYPES {
            return Err(ModelError::TooLarge {
                what: "sample types",
                limit: MAX_SAMPLE_TYPES,
            });
        }
        Ok(Self {
            profile: Profile {
                sample_types,
                ..Profile::default()
            },
            names: Names::Raw,
            aliases: Strings::default(),
            hasher: ahash::RandomState::new(),
            frames: HashTable::new(),
            functions: HashTable::new(),
            samples: HashTable::new(),
            expanded: 0,
        })
    }

    /// The id of a string.
    ///
    /// # Errors
    /// The names of the profile are too long.
    pub fn string(&mut self, text: &str) -> Result<StringId, ModelError> {
        self.profile.strings.intern(text)
    }

    /// The location of a frame that is no more than a name.
    ///
    /// # Errors
    /// The profile is too large.
    pub fn frame(&mut self, text: &str, kind: FrameKind) -> Result<LocationId, ModelError> {
        // The hottest line of reading text: one look-up by the text itself, not one for its id and one for the frame.
        let hash = self.hasher.hash_one((text, kind));
        let (names, aliases) = (&self.profile.strings, &self.aliases);
        let same = |frame: &NamedFrame| frame.kind == kind && frame.text(names, aliases) == text;
        if let Some(frame) = self.frames.find(hash, same) {
            return Ok(frame.location);
        }
        let (text, is_alias, location) = match self.names.of(text) {
            Cow::Borrowed(name) => {
                let name = self.string(name)?;
                (name, false, self.named(name, kind)?)
            }
            Cow::Owned(name) => {
                let location = self.frame(&name, kind)?;
                (self.aliases.intern(text)?, true, location)
            }
        };
        let frame = NamedFrame {
            text,
            is_alias,
            kind,
            location,
        };
        let (names, aliases, hasher) = (&self.profile.strings, &self.aliases, &self.hasher);
        let rehash = |frame: &NamedFrame| hasher.hash_one((frame.text(names, aliases), frame.kind));
        self.frames.insert_unique(hash, frame, rehash);
        Ok(location)
    }

    /// A new location of a new function.
    fn named(&mut self, name: StringId, kind: FrameKind) -> Result<LocationId, ModelError> {
        let (profile, empty) = (&mut self.profile, StringId::default());
        let row = Function {
            name,
            system_name: empty,
            file: empty,
            start_line: 0,
            kind,
        };
        let function = FunctionId(push(&mut profile.functions, row, "functions")?);
        let line = Line {
            function,
            line: 0,
            column: 0,
        };
        self.location(None, 0, false, &[line])
    }

    /// The id of a function, which is added if it is new.
    ///
    /// # Errors
    /// There are too many.
    pub fn function(&mut self, function: Function) -> Result<FunctionId, ModelError> {
        let hash = self.hasher.hash_one(function);
        let Self {
            profile,
            functions: table,
            hasher,
            ..
        } = self;
        let rows = &mut profile.functions;
        if let Some(&id) = table.find(hash, |&id| rows.get(id.index()) == Some(&function)) {
            return Ok(id);
        }
        let id = FunctionId(push(rows, function, "functions")?);
        table.insert_unique(hash, id, |&id| hasher.hash_one(rows[id.index()]));
        Ok(id)
    }

    /// Adds a mapping.
    ///
    /// # Errors
    /// There are too many.
    pub fn mapping(&mut self, mapping: Mapping) -> Result<MappingId, ModelError> {
        push(&mut self.profile.mappings, mapping, "mappings").map(MappingId)
    }

    /// Adds a location, equal ones included: a recording that has its own ids for them has made them distinct.
    ///
    /// # Errors
    /// There are too many.
    pub fn location(
        &mut self,
        mapping: Option<MappingId>,
        address: u64,
        folded: bool,
        lines: &[Line],
    ) -> Result<LocationId, ModelError> {
        let lines = append(&mut self.profile.lines, lines, "lines")?;
        let location = Location {
            mapping,
            address,
            folded,
            lines,
        };
        push(&mut self.profile.locations, location, "locations").map(LocationId)
    }

    /// Counts a stack, leaf first. Equal stacks with equal labels become one sample with the sum of their values.
    ///
    /// # Errors
    /// The stack is too deep, the values are too many or add up to too much, or the profile is too large.
    pub fn sample(&mut self, stack: &[LocationId], values: &[i64], labels: &[Label]) -> Result<(), ModelError> {
        self.sample_row(stack, values, labels).map(drop)
    }

    /// The same; gives the row of the sample among all.
    ///
    /// # Errors
    /// As [`Self::sample`].
    pub fn sample_row(&mut self, stack: &[LocationId], values: &[i64], labels: &[Label]) -> Result<u32, ModelError> {
        let Self {
            profile,
            samples,
            hasher,
            ..
        } = self;
        let expected = profile.sample_types.len();
        if values.len() != expected {
            return Err(ModelError::ValueCount {
                expected,
                got: values.len(),
            });
        }
        if stack.len() > MAX_DEPTH {
            return Err(ModelError::TooLarge {
                what: "frames in one stack",
                limit: MAX_DEPTH,
            });
        }
        let hash = hasher.hash_one((stack, labels));
        let same = |profile: &Profile, row: u32| {
            let row = profile.rows[row as usize];
            row.stack.of(&profile.stacks) == stack && row.labels.of(&profile.labels) == labels
        };
        if let Some(&row) = samples.find(hash, |&row| same(profile, row)) {
            let first = row as usize * expected;
            for (sum, value) in profile.values[first..first + expected].iter_mut().zip(values) {
                *sum = sum.checked_add(*value).ok_or(ModelError::Overflow)?;
            }
            return Ok(row);
        }
        let lines = stack
            .iter()
            .filter_map(|id| profile.locations.get(id.index()))
            .map(|row| row.lines.count())
            .sum();
        self.expanded = self.expanded.saturating_add(usize::max(lines, stack.len()));
        if lines > MAX_DEPTH || self.expanded > MAX_ROWS {
            return Err(ModelError::TooLarge {
                what: "frames with inlined functions",
                limit: MAX_ROWS,
            });
        }
        if profile.rows.len() >= MAX_SAMPLES {
            return Err(ModelError::TooLarge {
                what: "samples",
                limit: MAX_SAMPLES,
            });
        }
        let stack = append(&mut profile.stacks, stack, "frames")?;
        let labels = append(&mut profile.labels, labels, "labels")?;
        let row = push(&mut profile.rows, SampleRow { stack, labels }, "samples")?;
        append(&mut profile.values, values, "values")?;
        samples.insert_unique(hash, row, |&row| rehash(profile, hasher, row));
        Ok(row)
    }

    /// The profile.
    pub fn finish(self) -> Profile {
        self.profile
    }
}

fn rehash(profile: &Profile, hasher: &ahash::RandomState, row: u32) -> u64 {
    let row = profile.rows[row as usize];
    hasher.hash_one((row.stack.of(&profile.stacks), row.labels.of(&profile.labels)))
}

pub(super) fn push<T>(table: &mut Vec<T>, row: T, what: &'static str) -> Result<u32, ModelError> {
    match u32::try_from(table.len()) {
        Ok(index) if table.len() < MAX_ROWS => {
            table.push(row);
            Ok(index)
        }
        _ => Err(ModelError::TooLarge { what, limit: MAX_ROWS }),
    }
}

pub(super) fn append<T: Copy>(table: &mut Vec<T>, rows: &[T], what: &'static str) -> Result<Span, ModelError> {
    let start = table.len();
    let end = start + rows.len();
    match (u32::try_from(start), u32::try_from(end)) {
        (Ok(span_start), Ok(span_end)) if end <= MAX_ROWS => {
            table.extend_from_slice(rows);
            Ok(Span {
                start: span_start,
                end: span_end,
            })
        }
        _ => Err(ModelError::TooLarge { what, limit: MAX_ROWS }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_type() -> ProfileBuilder {
        ProfileBuilder::new(vec![ValueType::new("samples", "count")]).unwrap()
    }

    #[test]
    fn equal_stacks_are_summed() {
        let mut builder = one_type();
        for i in 0..1000 {
            let leaf = builder.frame(&format!("f{}", i % 10), FrameKind::Jit).unwrap();
            let root = builder.frame("main", FrameKind::Interpreted).unwrap();
            builder.sample(&[leaf, root], &[2], &[]).unwrap();
        }
        let profile = builder.finish();
        assert_eq!(profile.sample_count(), 10);
        assert!(
            profile
                .samples()
                .all(|sample| sample.values == [200] && sample.stack.len() == 2)
        );
        assert_eq!(profile.functions().len(), 11);
    }

    #[test]
    fn names_that_are_read_as_one_are_one_frame_and_leave_no_trace() {
        let mut builder = one_type();
        builder.names = Names::Normalised;
        let first = builder
            .frame("A$$Lambda$1.0x00007f1ed8000a08.run", FrameKind::Jit)
            .unwrap();
        for text in [
            "A$$Lambda$2.0x00007f1ed8000c10.run",
            "A$$Lambda.run",
            "A$$Lambda$1.0x00007f1ed8000a08.run",
        ] {
            assert_eq!(builder.frame(text, FrameKind::Jit).unwrap(), first);
        }
        assert_ne!(builder.frame("A$$Lambda.run", FrameKind::Native).unwrap(), first);
        assert!(builder.finish().strings().iter().all(|text| !text.contains("0x")));
    }

    #[test]
    fn a_name_of_two_kinds_is_two_frames() {
        let mut builder = one_type();
        let jit = builder.frame("f", FrameKind::Jit).unwrap();
        assert_ne!(jit, builder.frame("f", FrameKind::Inlined).unwrap());
        assert_eq!(jit, builder.frame("f", FrameKind::Jit).unwrap());
    }

    #[test]
    fn stacks_with_other_labels_stay_apart() {
        let mut builder = one_type();
        let frame = builder.frame("f", FrameKind::Other).unwrap();
        let key = builder.string("tid").unwrap();
        for tid in [1, 2, 1] {
            let value = crate::profile::model::LabelValue::Number(tid, StringId::default());
            builder.sample(&[frame], &[1], &[Label { key, value }]).unwrap();
        }
        assert_eq!(builder.finish().sample_count(), 2);
    }

    #[test]
    fn hostile_sizes_are_errors() {
        let mut builder = one_type();
        let frame = builder.frame("f", FrameKind::Other).unwrap();
        let deep = vec![frame; MAX_DEPTH + 1];
        assert!(matches!(
            builder.sample(&deep, &[1], &[]),
            Err(ModelError::TooLarge { .. })
        ));
        assert!(matches!(
            builder.sample(&[frame], &[1, 2], &[]),
            Err(ModelError::ValueCount { .. })
        ));
        builder.sample(&[frame], &[i64::MAX], &[]).unwrap();
        assert_eq!(builder.sample(&[frame], &[1], &[]), Err(ModelError::Overflow));
    }
}
