//! Checks, while a nettrace stream is copied, that it is whole: frames of the format only, no events.
//!
//! Must not know sockets or sessions; holds a few bytes, whatever the stream claims. Called by [`super::capture`].
//! Format: `NetTraceFormat.md` (version 6) and `NetTraceFormat_v5.md` of microsoft/perfview; .NET Core 3.1 to .NET 10
//! write version 4.

/// The largest block we believe. Runtimes flush theirs at about 100 KiB, and version 6 has 24 bits for the size.
const MAX_BLOCK: u32 = 16 << 20;
/// Type names are words like `MetadataBlock`.
const MAX_NAME: u32 = 64;
/// `Trace` of versions 4 and 5: UTC time 16, QPC 8, frequency 8, then four i32: pointer size, pid, CPUs, sampling.
const TRACE_LEN: usize = 48;
const SAMPLING_OFFSET: usize = 44;

const TAG_NULL: u8 = 1;
const TAG_BEGIN: u8 = 5;
const TAG_END: u8 = 6;

/// What is wrong with a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Bytes that the format does not allow there.
    #[error("byte {offset} of the nettrace stream is not {expected}")]
    Unexpected {
        /// Where, counted from the start of the stream.
        offset: u64,
        /// What the format asks for.
        expected: &'static str,
    },
    /// A size beyond anything a runtime writes.
    #[error("byte {offset} of the nettrace stream announces {size} bytes of {what}")]
    TooLarge {
        /// Where.
        offset: u64,
        /// The claim.
        size: u32,
        /// Of what.
        what: &'static str,
    },
    /// The stream ended before its closing tag.
    #[error("the nettrace stream was cut after {0} bytes")]
    Cut(u64),
}

/// What a whole stream told on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// Bytes of the stream.
    pub bytes: u64,
    /// Format version: 4, 5 or 6.
    pub version: u32,
    /// Sampling interval of the runtime's sample profiler in nanoseconds, 0 if not told.
    pub sampling_nanoseconds: u64,
    /// Blocks of any kind.
    pub blocks: u64,
}

/// What the next bytes must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Magic,
    Generation,
    SerializationName,
    Version6,
    ObjectOrEnd,
    TypeStart,
    TypeFacts,
    TypeName { length: usize, version: u32 },
    Trace,
    BlockSize,
    ObjectEnd,
    Block6,
    Nothing,
}

impl Expect {
    /// How many bytes to collect before [`CompletenessCheck::step`] can judge.
    fn length(self) -> usize {
        match self {
            Self::Magic | Self::Version6 => 8,
            Self::SerializationName => SERIALIZATION_NAME.len(),
            Self::Generation | Self::BlockSize | Self::Block6 => 4,
            Self::ObjectOrEnd | Self::ObjectEnd | Self::Nothing => 1,
            Self::TypeStart => 2,
            Self::TypeFacts => 12,
            Self::TypeName { length, .. } => length + 1,
            Self::Trace => TRACE_LEN,
        }
    }
}

const MAGIC: &[u8] = b"Nettrace";
const SERIALIZATION_NAME: &[u8] = b"!FastSerialization.1";

/// Fed with every piece of the stream as it passes.
#[derive(Debug)]
pub struct CompletenessCheck {
    expect: Expect,
    /// Bytes collected for `expect`; at most `MAX_NAME + 1`.
    collected: Vec<u8>,
    /// Bytes of a block's content still to pass.
    skip: u64,
    stream: Stream,
}

impl Default for CompletenessCheck {
    fn default() -> Self {
        Self {
            expect: Expect::Magic,
            collected: Vec::new(),
            skip: 0,
            stream: Stream {
                bytes: 0,
                version: 0,
                sampling_nanoseconds: 0,
                blocks: 0,
            },
        }
    }
}

impl CompletenessCheck {
    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// The first [`Flaw`]; the check is of no use afterwards.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Flaw> {
        while !bytes.is_empty() {
            let wanted = match usize::try_from(self.skip) {
                Ok(0) => self.expect.length().saturating_sub(self.collected.len()),
                Ok(skip) => skip,
                Err(_) => bytes.len(),
            };
            let (taken, rest) = bytes.split_at(wanted.min(bytes.len()));
            bytes = rest;
            self.stream.bytes += taken.len() as u64;
            if self.skip > 0 {
                self.skip -= taken.len() as u64;
                continue;
            }
            self.collected.extend_from_slice(taken);
            if self.collected.len() == self.expect.length() {
                let collected = std::mem::take(&mut self.collected);
                self.expect = self.step(&collected)?;
            }
        }
        Ok(())
    }

    /// Called when the stream has ended.
    ///
    /// # Errors
    /// [`Flaw::Cut`] unless the closing tag has passed.
    pub fn finish(&self) -> Result<Stream, Flaw> {
        if self.expect == Expect::Nothing && self.skip == 0 {
            Ok(self.stream)
        } else {
            Err(Flaw::Cut(self.stream.bytes))
        }
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.stream.bytes
    }

    /// Judges the collected bytes and says what comes after them.
    fn step(&mut self, bytes: &[u8]) -> Result<Expect, Flaw> {
        match self.expect {
            Expect::Magic if bytes == MAGIC => Ok(Expect::Generation),
            Expect::Magic => Err(self.unexpected(bytes, "the magic Nettrace")),
            Expect::Generation => match word(bytes, 0) {
                20 => Ok(Expect::SerializationName),
                0 => Ok(Expect::Version6),
                _ => Err(self.unexpected(bytes, "the length of !FastSerialization.1 or the 0 of version 6")),
            },
            Expect::SerializationName if bytes == SERIALIZATION_NAME => Ok(Expect::ObjectOrEnd),
            Expect::SerializationName => Err(self.unexpected(bytes, "!FastSerialization.1")),
            Expect::Version6 => {
                self.stream.version = word(bytes, 0);
                Ok(Expect::Block6)
            }
            Expect::ObjectOrEnd => match bytes {
                [TAG_BEGIN] => Ok(Expect::TypeStart),
                [TAG_NULL] => Ok(Expect::Nothing),
                _ => Err(self.unexpected(bytes, "the start of an object or the end of the stream")),
            },
            Expect::TypeStart if bytes == [TAG_BEGIN, TAG_NULL] => Ok(Expect::TypeFacts),
            Expect::TypeStart => Err(self.unexpected(bytes, "the start of a type")),
            Expect::TypeFacts => match word(bytes, 8) {
                length @ 1..=MAX_NAME => Ok(Expect::TypeName {
                    length: length as usize,
                    version: word(bytes, 0),
                }),
                size => Err(self.too_large(bytes, size, "type name")),
            },
            Expect::TypeName { length, version } => self.type_name(bytes, length, version),
            Expect::Trace => {
                self.stream.sampling_nanoseconds = u64::from(word(bytes, SAMPLING_OFFSET));
                Ok(Expect::ObjectEnd)
            }
            Expect::BlockSize => {
                self.skip = u64::from(self.block(bytes, word(bytes, 0))?) + self.padding();
                Ok(Expect::ObjectEnd)
            }
            Expect::ObjectEnd if bytes == [TAG_END] => Ok(Expect::ObjectOrEnd),
            Expect::ObjectEnd => Err(self.unexpected(bytes, "the end of an object")),
            Expect::Block6 => self.block6(bytes),
            Expect::Nothing => Err(self.unexpected(bytes, "the end of the stream")),
        }
    }

    fn type_name(&mut self, bytes: &[u8], length: usize, version: u32) -> Result<Expect, Flaw> {
        let (name, end) = bytes.split_at(length.min(bytes.len()));
        if end != [TAG_END] {
            return Err(self.unexpected(end, "the end of a type"));
        }
        let first = self.stream.version == 0;
        match (first, name == b"Trace") {
            (true, true) => {
                self.stream.version = version.max(1);
                Ok(Expect::Trace)
            }
            // Kinds of blocks we do not know begin with their size as well.
            (false, false) => Ok(Expect::BlockSize),
            _ => Err(self.unexpected(bytes, "one Trace object, at the start")),
        }
    }

    fn block6(&mut self, bytes: &[u8]) -> Result<Expect, Flaw> {
        const SIZE_BITS: u32 = 24;
        const KIND_END: u32 = 0;
        let header = word(bytes, 0);
        let (kind, size) = (header >> SIZE_BITS, header & ((1 << SIZE_BITS) - 1));
        self.skip = u64::from(self.block(bytes, size)?);
        if kind != KIND_END {
            return Ok(Expect::Block6);
        }
        self.stream.blocks -= 1;
        if size == 0 {
            Ok(Expect::Nothing)
        } else {
            Err(self.unexpected(bytes, "an empty end block"))
        }
    }

    fn block(&mut self, bytes: &[u8], size: u32) -> Result<u32, Flaw> {
        if size > MAX_BLOCK {
            return Err(self.too_large(bytes, size, "block"));
        }
        self.stream.blocks += 1;
        Ok(size)
    }

    /// Content starts at a multiple of 4, counted from the magic; the size before it does not count the padding.
    fn padding(&self) -> u64 {
        self.stream.bytes.wrapping_neg() % 4
    }

    fn unexpected(&self, bytes: &[u8], expected: &'static str) -> Flaw {
        Flaw::Unexpected {
            offset: self.stream.bytes - bytes.len() as u64,
            expected,
        }
    }

    fn too_large(&self, bytes: &[u8], size: u32, what: &'static str) -> Flaw {
        Flaw::TooLarge {
            offset: self.stream.bytes - bytes.len() as u64,
            size,
            what,
        }
    }
}

/// The little-endian u32 at `offset`; a negative i32 of the format becomes too large to be believed.
fn word(bytes: &[u8], offset: usize) -> u32 {
    bytes
        .get(offset..)
        .and_then(<[u8]>::first_chunk)
        .map_or(u32::MAX, |bytes| u32::from_le_bytes(*bytes))
}

#[cfg(any(test, feature = "fuzzing"))]
pub mod example;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::example::{object, version4, version6};
    use super::*;

    fn check(bytes: &[u8]) -> Result<Stream, Flaw> {
        let mut check = CompletenessCheck::default();
        check.feed(bytes)?;
        check.finish()
    }

    #[test]
    fn a_whole_stream_passes_and_tells_its_facts() {
        let stream = version4(&[b"x", b"", b"12345"]);
        let facts = check(&stream).unwrap();
        assert_eq!(
            (facts.version, facts.blocks, facts.sampling_nanoseconds),
            (4, 3, 1_000_000)
        );
        assert_eq!(facts.bytes, stream.len() as u64);
        assert_eq!(
            check(&version6(&[b"abc", b"d"])).map(|facts| (facts.version, facts.blocks)),
            Ok((6, 2))
        );
    }

    #[test]
    fn every_truncation_is_cut() {
        for whole in [version4(&[b"x", b"12345"]), version6(&[b"abc"])] {
            for length in 0..whole.len() {
                assert_eq!(check(&whole[..length]), Err(Flaw::Cut(length as u64)));
            }
        }
    }

    #[test]
    fn bytes_after_the_end_are_refused() {
        for mut stream in [version4(&[]), version6(&[])] {
            stream.push(0);
            assert!(matches!(
                check(&stream),
                Err(Flaw::Unexpected {
                    expected: "the end of the stream",
                    ..
                })
            ));
        }
    }

    #[test]
    fn a_block_larger_than_any_runtime_writes_is_refused_at_its_header() {
        let mut stream = version4(&[]);
        stream.pop();
        object(&mut stream, "EventBlock", b"");
        let size_at = stream.len() - 1 - 4 - (stream.len() - 1) % 4;
        stream[size_at..size_at + 4].fill(0xFF);
        assert!(matches!(
            check(&stream),
            Err(Flaw::TooLarge { what: "block", .. } | Flaw::Unexpected { .. })
        ));
    }

    #[test]
    fn another_file_is_refused_at_its_first_bytes() {
        assert!(matches!(
            check(b"FLR\0\0\x02\0\x01"),
            Err(Flaw::Unexpected { offset: 0, .. })
        ));
    }

    #[test]
    fn a_second_trace_object_is_refused() {
        let mut stream = version4(&[]);
        stream.pop();
        object(&mut stream, "Trace", &[0; TRACE_LEN]);
        assert!(matches!(check(&stream), Err(Flaw::Unexpected { .. })));
    }

    proptest! {
        #[test]
        fn the_cut_of_the_pieces_does_not_matter(blocks in proptest::collection::vec(".{0,40}", 0..5), cut in 1_usize..9) {
            let blocks: Vec<&[u8]> = blocks.iter().map(String::as_bytes).collect();
            for stream in [version4(&blocks), version6(&blocks)] {
                let mut pieces = CompletenessCheck::default();
                for piece in stream.chunks(cut) {
                    pieces.feed(piece).unwrap();
                }
                prop_assert_eq!(pieces.finish(), check(&stream));
            }
        }

        #[test]
        fn any_bytes_are_judged_without_panic(bytes: Vec<u8>) {
            let mut stream = version4(&[]);
            stream.pop();
            stream.extend(&bytes);
            let _ = check(&stream);
            let _ = check(&bytes);
        }
    }
}
