//! Writes a gzipped `profile.proto`, message by message. Called by the renderer.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::moments::Moments;
use super::proto::{self, field};
use crate::profile::model::{Label, LabelValue, Profile, ValueType};
use crate::profile::stamp;
use crate::profile::strings::{StringId, Strings};

/// Bytes collected before they go to the compressor.
const CHUNK: usize = 64 << 10;

/// Writes a profile; its stamp goes into comments behind its own, from which [`super::read`] takes it back.
///
/// # Errors
/// The output fails.
pub fn write(profile: &Profile, out: &mut impl Write) -> io::Result<()> {
    write_timed(profile, &Moments::default(), out)
}

/// The same with the times and threads of its samples.
///
/// # Errors
/// The output fails.
pub fn write_timed(profile: &Profile, moments: &Moments, out: &mut impl Write) -> io::Result<()> {
    // Go compresses its own profiles for speed, too.
    let mut encoder = Encoder {
        buffer: Vec::new(),
        out: GzEncoder::new(out, Compression::fast()),
    };
    let mut strings = profile.strings().clone();
    for value in &profile.sample_types {
        encoder.message(field::SAMPLE_TYPE, &value_type(value, &mut strings)?)?;
    }
    for (row, sample) in profile.samples().enumerate() {
        let message = proto::Sample {
            location_id: sample.stack.iter().map(|location| id(location.index())).collect(),
            value: sample.values.to_vec(),
            label: sample.labels.iter().copied().map(label).collect(),
            moments: moments.packed(row).to_vec(),
        };
        encoder.message(field::SAMPLE, &message)?;
    }
    encoder.tables(profile)?;
    for (tid, name) in moments.threads() {
        let name = intern(name, &mut strings)?;
        encoder.message(field::THREAD, &proto::Thread { tid, name })?;
    }
    for (number, text) in [
        (field::DROP_FRAMES, profile.drop_frames.as_str()),
        (field::KEEP_FRAMES, &profile.keep_frames),
        (
            field::DEFAULT_SAMPLE_TYPE,
            profile.default_sample_type.as_deref().unwrap_or_default(),
        ),
        (field::DOC_URL, &profile.doc_url),
    ] {
        encoder.number(number, intern(text, &mut strings)?)?;
    }
    let stamp = profile.stamp.as_deref().map(stamp::comments).unwrap_or_default();
    for comment in profile.comments.iter().chain(&stamp) {
        // Repeated, so written even if it is the empty string: a blank line.
        encoder.entry(field::COMMENT, intern(comment, &mut strings)?)?;
    }
    encoder.number(field::TIME_NANOS, profile.time_nanos)?;
    encoder.number(field::DURATION_NANOS, profile.duration_nanos)?;
    if let Some(value) = &profile.period_type {
        encoder.message(field::PERIOD_TYPE, &value_type(value, &mut strings)?)?;
    }
    encoder.number(field::PERIOD, profile.period)?;
    // Last, because the fields above may add to it.
    for text in strings.iter() {
        encoder.bytes(field::STRING_TABLE, text.as_bytes())?;
    }
    encoder.finish()
}

struct Encoder<W: Write> {
    buffer: Vec<u8>,
    out: GzEncoder<W>,
}

impl<W: Write> Encoder<W> {
    fn tables(&mut self, profile: &Profile) -> io::Result<()> {
        for (row, mapping) in profile.mappings().iter().enumerate() {
            let [has_functions, has_filenames, has_line_numbers, has_inline_frames] = mapping.has;
            let message = proto::Mapping {
                id: id(row),
                memory_start: mapping.start,
                memory_limit: mapping.limit,
                file_offset: mapping.offset,
                filename: index(mapping.file),
                build_id: index(mapping.build_id),
                has_functions,
                has_filenames,
                has_line_numbers,
                has_inline_frames,
            };
            self.message(field::MAPPING, &message)?;
        }
        for (row, location) in profile.locations().iter().enumerate() {
            let lines = profile.lines(location).iter();
            let message = proto::Location {
                id: id(row),
                mapping_id: location.mapping.map_or(0, |mapping| id(mapping.index())),
                address: location.address,
                line: lines
                    .map(|line| proto::Line {
                        function_id: id(line.function.index()),
                        line: line.line,
                        column: line.column,
                    })
                    .collect(),
                is_folded: location.folded,
            };
            self.message(field::LOCATION, &message)?;
        }
        for (row, function) in profile.functions().iter().enumerate() {
            let message = proto::Function {
                id: id(row),
                name: index(function.name),
                system_name: index(function.system_name),
                filename: index(function.file),
                start_line: function.start_line,
            };
            self.message(field::FUNCTION, &message)?;
        }
        Ok(())
    }

    fn message(&mut self, number: u32, message: &impl Message) -> io::Result<()> {
        encode_key(number, WireType::LengthDelimited, &mut self.buffer);
        // A vector grows as needed; prost fails only when its buffer cannot.
        message
            .encode_length_delimited(&mut self.buffer)
            .map_err(io::Error::other)?;
        self.drain(CHUNK)
    }

    fn bytes(&mut self, number: u32, bytes: &[u8]) -> io::Result<()> {
        encode_key(number, WireType::LengthDelimited, &mut self.buffer);
        encode_varint(bytes.len() as u64, &mut self.buffer);
        self.buffer.extend_from_slice(bytes);
        self.drain(CHUNK)
    }

    /// A single field: 0 is the default and not written.
    fn number(&mut self, number: u32, value: i64) -> io::Result<()> {
        if value == 0 { Ok(()) } else { self.entry(number, value) }
    }

    fn entry(&mut self, number: u32, value: i64) -> io::Result<()> {
        encode_key(number, WireType::Varint, &mut self.buffer);
        encode_varint(value.cast_unsigned(), &mut self.buffer);
        self.drain(CHUNK)
    }

    fn drain(&mut self, above: usize) -> io::Result<()> {
        if self.buffer.len() > above {
            self.out.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.drain(0)?;
        self.out.finish().map(drop)
    }
}

/// pprof's ids begin at 1.
fn id(row: usize) -> u64 {
    row as u64 + 1
}

fn index(string: StringId) -> i64 {
    i64::try_from(string.index()).unwrap_or_default()
}

fn intern(text: &str, strings: &mut Strings) -> io::Result<i64> {
    strings.intern(text).map(index).map_err(io::Error::other)
}

fn value_type(value: &ValueType, strings: &mut Strings) -> io::Result<proto::ValueType> {
    Ok(proto::ValueType {
        kind: intern(&value.name, strings)?,
        unit: intern(&value.unit, strings)?,
    })
}

fn label(label: Label) -> proto::Label {
    let key = index(label.key);
    match label.value {
        LabelValue::Text(text) => proto::Label {
            key,
            str: index(text),
            num: 0,
            num_unit: 0,
        },
        LabelValue::Number(num, unit) => proto::Label {
            key,
            str: 0,
            num,
            num_unit: index(unit),
        },
    }
}
