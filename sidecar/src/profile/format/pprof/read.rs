//! Reads `profile.proto`, gzipped or plain.
//!
//! Fields come in any order (Go writes samples before the functions they refer to), so the bytes are walked once per
//! table. Called by the renderer.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use prost::Message;

use super::moments::{self, Threads};
use super::proto::{self, field};
use super::wire::{Content, Fields, WireError};
use crate::format::RecordingKind;
use crate::profile::builder::{ModelError, ProfileBuilder};
use crate::profile::format::{ReadError, ReadOptions, Reader};
use crate::profile::hidden_class::Names;
use crate::profile::model::{
    FrameKind, Function, FunctionId, Label, LabelValue, Line, LocationId, Mapping, MappingId, Profile, ValueType,
};
use crate::profile::slicing::{OUTSIDE, Slicing};
use crate::profile::stamp;
use crate::profile::strings::StringId;
use crate::varint;

const GZIP: &[u8] = &[0x1f, 0x8b];
/// How perf's converters and we begin the name of the mapping that is the kernel, and of those of its modules.
const KERNEL: &str = "[kernel";
/// Largest profile after decompression. A gzip bomb of 256 KiB would be this.
const MAX_PLAIN: u64 = 256 << 20;
/// Largest single message (a sample, a location): it is decoded as a whole, into up to 24 times its size.
const MAX_MESSAGE: usize = 1 << 20;
/// Longest name, as in collapsed recordings.
const MAX_STRING: usize = 16 << 10;
/// Comments beside those of a stamp.
const MAX_COMMENTS: usize = 1000;
/// Strings, functions, locations, …: each of at most this many.
const MAX_ROWS: usize = 8 << 20;

/// The bytes are no whole pprof profile.
#[derive(Debug, thiserror::Error)]
pub enum PprofError {
    /// The input could not be read, or its gzip is broken or cut.
    #[error("the recording cannot be read")]
    Read(#[source] io::Error),
    /// It is a bomb.
    #[error("the profile is larger than {MAX_PLAIN} bytes when decompressed")]
    TooLarge,
    /// It is no protobuf.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// It is protobuf, but not this message.
    #[error("a message of the profile cannot be decoded")]
    Decode(#[from] prost::DecodeError),
    /// A message refers to what is not there.
    #[error("the profile refers to {what} {index}, which it does not have")]
    Dangling {
        /// Kind of thing.
        what: &'static str,
        /// Index or id.
        index: i128,
    },
    /// Two things have one id, or an id is 0.
    #[error("the profile has two {what}s with the id {id}, or the id is 0")]
    BadId {
        /// Kind of thing.
        what: &'static str,
        /// The id.
        id: u64,
    },
    /// There is nothing in it, not even a sample type.
    #[error("the recording is not a pprof profile: it has no sample types")]
    NoSampleTypes,
    /// It does not fit the model.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// The reader of `profile.proto`.
#[derive(Debug)]
pub struct Pprof;

impl Reader for Pprof {
    fn kind(&self) -> RecordingKind {
        RecordingKind::Pprof
    }

    fn recognises(&self, head: &[u8]) -> bool {
        match gunzip_head(head) {
            Some(plain) => begins_a_profile(&plain),
            None => begins_a_profile(head),
        }
    }

    fn read(&self, input: &mut dyn Read, options: &ReadOptions) -> Result<Profile, ReadError> {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes).map_err(PprofError::Read)?;
        Ok(sliced(&bytes, options.names, options.slicing)?)
    }
}

/// The reader of one that we made ourselves, of this kind.
#[derive(Debug)]
pub struct PprofOfOurs(pub RecordingKind);

impl Reader for PprofOfOurs {
    fn kind(&self) -> RecordingKind {
        self.0
    }

    /// To others it is a profile as any.
    fn recognises(&self, _: &[u8]) -> bool {
        false
    }

    fn read(&self, input: &mut dyn Read, options: &ReadOptions) -> Result<Profile, ReadError> {
        Pprof.read(input, options)
    }
}

/// The reader of one that Go made of its heap, to be told as a table.
#[derive(Debug)]
pub struct AllocationSites;

impl Reader for AllocationSites {
    fn kind(&self) -> RecordingKind {
        RecordingKind::AllocationSites
    }

    /// To others it is a profile as any.
    fn recognises(&self, _: &[u8]) -> bool {
        false
    }

    fn read(&self, input: &mut dyn Read, options: &ReadOptions) -> Result<Profile, ReadError> {
        Pprof.read(input, options)
    }
}

/// What a gzip holds, as far as its beginning tells; `None` if it is no gzip.
pub(crate) fn gunzip_head(head: &[u8]) -> Option<Vec<u8>> {
    /// Of a bomb no more is unpacked than of an honest file.
    const ENOUGH: u64 = 64 << 10;
    head.starts_with(GZIP).then(|| {
        let mut plain = Vec::new();
        // The end is missing, and that is no error here.
        let _cut = MultiGzDecoder::new(head).take(ENOUGH).read_to_end(&mut plain);
        plain
    })
}

/// Whether the first fields are those of a profile. Text passes for protobuf only without bytes that no text has.
fn begins_a_profile(head: &[u8]) -> bool {
    const LOOKED_AT: usize = 4;
    let mut whole = 0;
    for entry in Fields::of(head).take(LOOKED_AT) {
        let fits = match entry {
            Ok((field::SAMPLE_TYPE, Content::Bytes(message))) => proto::ValueType::decode(message).is_ok(),
            Ok((field::SAMPLE..=field::STRING_TABLE | field::PERIOD_TYPE | field::COMMENT, Content::Bytes(_))) => true,
            Ok((field::DROP_FRAMES..=field::DURATION_NANOS | field::PERIOD..=field::DOC_URL, Content::Varint(_))) => {
                true
            }
            Ok(_) => false,
            // Cut; whether it is an error shows when it is read.
            Err(_) => break,
        };
        if !fits {
            return false;
        }
        whole += 1;
    }
    whole > 0 && head.iter().any(|&byte| byte < b'\t')
}

/// Reads a whole profile.
///
/// # Errors
/// The bytes are cut, malformed, something else, or too large.
pub fn read(input: &[u8], names: Names) -> Result<Profile, PprofError> {
    sliced(input, names, Slicing::default())
}

pub(super) fn sliced(input: &[u8], names: Names, slicing: Slicing) -> Result<Profile, PprofError> {
    if !input.starts_with(GZIP) {
        return read_plain(input, names, slicing);
    }
    let mut plain = Vec::new();
    MultiGzDecoder::new(input)
        .take(MAX_PLAIN + 1)
        .read_to_end(&mut plain)
        .map_err(PprofError::Read)?;
    if plain.len() as u64 > MAX_PLAIN {
        return Err(PprofError::TooLarge);
    }
    read_plain(&plain, names, slicing)
}

fn read_plain(bytes: &[u8], names: Names, slicing: Slicing) -> Result<Profile, PprofError> {
    let strings = StringTable::read(bytes)?;
    let mut sample_types = Vec::new();
    for message in messages(bytes, field::SAMPLE_TYPE) {
        sample_types.push(strings.value_type(proto::ValueType::decode(message?)?)?);
    }
    if sample_types.is_empty() {
        return Err(PprofError::NoSampleTypes);
    }
    let mut builder = ProfileBuilder::new(sample_types)?;
    read_head(bytes, &strings, &mut builder.profile)?;
    builder.profile.stamp = stamp::take(&mut builder.profile.comments).map(Box::new);
    if builder.profile.comments.len() > MAX_COMMENTS {
        return Err(too_many_comments());
    }
    let tables = Tables::read(bytes, &strings, names, &mut builder)?;
    let mut threads = slicing.by_thread.then(|| named_threads(bytes, &strings)).transpose()?;
    let (mut stack, mut labels) = (Vec::new(), Vec::new());
    for message in messages(bytes, field::SAMPLE) {
        let sample = proto::Sample::decode(message?)?;
        stack.clear();
        for id in sample.location_id {
            stack.push(tables.locations.get(id)?);
        }
        labels.clear();
        for label in sample.label {
            let key = strings.intern(label.key, &mut builder)?;
            // An absent text is index 0; so is the empty text, which no label needs and which may have another index, too.
            let text = match label.str {
                0 => StringId::default(),
                index => strings.intern(index, &mut builder)?,
            };
            let value = if text == StringId::default() {
                LabelValue::Number(label.num, strings.intern(label.num_unit, &mut builder)?)
            } else {
                LabelValue::Text(text)
            };
            labels.push(Label { key, value });
        }
        if slicing == Slicing::default() {
            builder.sample(&stack, &sample.value, &labels)?;
            continue;
        }
        if sample.moments.is_empty() {
            // It has no time, so it is in no part of it.
            labels.extend(slicing.label(&mut builder, OUTSIDE)?);
            builder.sample(&stack, &sample.value, &labels)?;
        }
        let (width, whole) = (builder.profile.sample_types.len(), labels.len());
        moments::each(&sample.moments, width, |part| {
            labels.truncate(whole);
            if let (Some(threads), Some(number)) = (&mut threads, part.thread) {
                labels.extend(threads.labels(number, &mut builder)?);
            }
            labels.extend(slicing.label(&mut builder, slicing.part(|| part.nanos))?);
            builder.sample(&stack, part.values, &labels)
        })?;
    }
    Ok(builder.finish())
}

fn named_threads<'a>(bytes: &[u8], strings: &'a StringTable<'_>) -> Result<Threads<'a>, PprofError> {
    let mut threads = Threads::default();
    for message in messages(bytes, field::THREAD) {
        let thread = proto::Thread::decode(message?)?;
        threads.name(thread.tid, strings.get(thread.name)?)?;
    }
    Ok(threads)
}

/// The messages of one field of the profile.
fn messages(bytes: &[u8], wanted: u32) -> impl Iterator<Item = Result<&[u8], PprofError>> {
    Fields::of(bytes).filter_map(move |entry| match entry {
        Err(error) => Some(Err(error.into())),
        Ok((number, Content::Bytes(message))) if number == wanted => Some(if message.len() <= MAX_MESSAGE {
            Ok(message)
        } else {
            Err(ModelError::TooLarge {
                what: "bytes in one message",
                limit: MAX_MESSAGE,
            }
            .into())
        }),
        Ok(_) => None,
    })
}

/// Everything that is neither a table nor the sample types.
fn read_head(bytes: &[u8], strings: &StringTable<'_>, profile: &mut Profile) -> Result<(), PprofError> {
    for entry in Fields::of(bytes) {
        match entry? {
            (field::PERIOD_TYPE, Content::Bytes(message)) => {
                profile.period_type = Some(strings.value_type(proto::ValueType::decode(message)?)?);
            }
            (field::COMMENT, Content::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    let index = varint::take(&mut packed).ok_or(WireError { offset: 0 })?;
                    strings.comment(index, profile)?;
                }
            }
            (field::COMMENT, Content::Varint(index)) => strings.comment(index, profile)?,
            (field::DROP_FRAMES, Content::Varint(index)) => profile.drop_frames = strings.owned(index)?,
            (field::KEEP_FRAMES, Content::Varint(index)) => profile.keep_frames = strings.owned(index)?,
            (field::DOC_URL, Content::Varint(index)) => profile.doc_url = strings.owned(index)?,
            (field::DEFAULT_SAMPLE_TYPE, Content::Varint(index)) => {
                profile.default_sample_type = Some(strings.owned(index)?).filter(|name| !name.is_empty());
            }
            (field::TIME_NANOS, Content::Varint(value)) => profile.time_nanos = value.cast_signed(),
            (field::DURATION_NANOS, Content::Varint(value)) => profile.duration_nanos = value.cast_signed(),
            (field::PERIOD, Content::Varint(value)) => profile.period = value.cast_signed(),
            _ => {}
        }
    }
    Ok(())
}

/// Rows by the ids a file gave them.
struct Ids<T> {
    what: &'static str,
    rows: std::collections::HashMap<u64, T, ahash::RandomState>,
}

impl<T: Copy> Ids<T> {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            rows: std::collections::HashMap::default(),
        }
    }

    fn insert(&mut self, id: u64, row: T) -> Result<(), PprofError> {
        let Self { what, rows } = self;
        if rows.len() >= MAX_ROWS {
            return Err(ModelError::TooLarge { what, limit: MAX_ROWS }.into());
        }
        if id == 0 || rows.insert(id, row).is_some() {
            return Err(PprofError::BadId { what, id });
        }
        Ok(())
    }

    fn get(&self, id: u64) -> Result<T, PprofError> {
        self.rows.get(&id).copied().ok_or(PprofError::Dangling {
            what: self.what,
            index: id.into(),
        })
    }
}

struct Tables {
    locations: Ids<LocationId>,
}

impl Tables {
    fn read(
        bytes: &[u8],
        strings: &StringTable<'_>,
        names: Names,
        builder: &mut ProfileBuilder,
    ) -> Result<Self, PprofError> {
        let mut mappings: Ids<MappingId> = Ids::new("mapping");
        let mut kernel = HashSet::new();
        for message in messages(bytes, field::MAPPING) {
            let row = proto::Mapping::decode(message?)?;
            let mapping = Mapping {
                start: row.memory_start,
                limit: row.memory_limit,
                offset: row.file_offset,
                file: strings.intern(row.filename, builder)?,
                build_id: strings.intern(row.build_id, builder)?,
                has: [
                    row.has_functions,
                    row.has_filenames,
                    row.has_line_numbers,
                    row.has_inline_frames,
                ],
            };
            if strings.get(row.filename)?.starts_with(KERNEL) {
                kernel.insert(row.id);
            }
            mappings.insert(row.id, builder.mapping(mapping)?)?;
        }
        let of_kernel = functions_of(&kernel, bytes)?;
        let mut functions: Ids<FunctionId> = Ids::new("function");
        for message in messages(bytes, field::FUNCTION) {
            let row = proto::Function::decode(message?)?;
            let function = Function {
                name: builder.string(&names.of(strings.get(row.name)?))?,
                system_name: strings.intern(row.system_name, builder)?,
                file: strings.intern(row.filename, builder)?,
                start_line: row.start_line,
                kind: match of_kernel.contains(&row.id) {
                    true => FrameKind::Kernel,
                    false => FrameKind::Other,
                },
            };
            functions.insert(row.id, builder.function(function)?)?;
        }
        let mut locations = Ids::new("location");
        let mut lines = Vec::new();
        for message in messages(bytes, field::LOCATION) {
            let row = proto::Location::decode(message?)?;
            lines.clear();
            for line in row.line {
                let function = functions.get(line.function_id)?;
                lines.push(Line {
                    function,
                    line: line.line,
                    column: line.column,
                });
            }
            let mapping = if row.mapping_id == 0 {
                None
            } else {
                Some(mappings.get(row.mapping_id)?)
            };
            locations.insert(row.id, builder.location(mapping, row.address, row.is_folded, &lines)?)?;
        }
        Ok(Self { locations })
    }
}

fn too_many_comments() -> PprofError {
    let (what, limit) = ("comments", MAX_COMMENTS);
    ModelError::TooLarge { what, limit }.into()
}

/// Ids of the functions that have code in one of these mappings.
fn functions_of(mappings: &HashSet<u64>, bytes: &[u8]) -> Result<HashSet<u64>, PprofError> {
    let mut functions = HashSet::new();
    if mappings.is_empty() {
        return Ok(functions);
    }
    for message in messages(bytes, field::LOCATION) {
        let row = proto::Location::decode(message?)?;
        if mappings.contains(&row.mapping_id) {
            functions.extend(row.line.iter().map(|line| line.function_id));
        }
    }
    Ok(functions)
}

struct StringTable<'a> {
    rows: Vec<Cow<'a, str>>,
}

impl<'a> StringTable<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, PprofError> {
        let mut rows = Vec::new();
        for entry in Fields::of(bytes) {
            let (field::STRING_TABLE, Content::Bytes(text)) = entry? else {
                continue;
            };
            if rows.len() >= MAX_ROWS {
                return Err(ModelError::TooLarge {
                    what: "strings",
                    limit: MAX_ROWS,
                }
                .into());
            }
            if text.len() > MAX_STRING {
                return Err(ModelError::TooLarge {
                    what: "bytes in one string",
                    limit: MAX_STRING,
                }
                .into());
            }
            rows.push(String::from_utf8_lossy(text));
        }
        Ok(Self { rows })
    }

    fn get(&self, index: i64) -> Result<&str, PprofError> {
        // Index 0 is the empty string even where a writer forgot the table.
        let row = usize::try_from(index).ok().and_then(|index| self.rows.get(index));
        match row {
            Some(text) => Ok(text),
            None if index == 0 => Ok(""),
            None => Err(PprofError::Dangling {
                what: "string",
                index: index.into(),
            }),
        }
    }

    fn owned(&self, index: u64) -> Result<String, PprofError> {
        self.get(index.cast_signed()).map(str::to_owned)
    }

    /// Every comment is a copy of its string, so they are capped.
    fn comment(&self, index: u64, profile: &mut Profile) -> Result<(), PprofError> {
        if profile.comments.len() >= MAX_COMMENTS + stamp::LINES {
            return Err(too_many_comments());
        }
        profile.comments.push(self.owned(index)?);
        Ok(())
    }

    fn intern(&self, index: i64, builder: &mut ProfileBuilder) -> Result<StringId, PprofError> {
        Ok(builder.string(self.get(index)?)?)
    }

    fn value_type(&self, row: proto::ValueType) -> Result<ValueType, PprofError> {
        Ok(ValueType::new(self.get(row.kind)?, self.get(row.unit)?))
    }
}
