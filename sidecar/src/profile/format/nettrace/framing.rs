//! The outermost layer: which bytes of a stream are the content of which block.
//!
//! Must not know what is in a block; holds a few bytes, whatever the stream claims. Called by [`super::decoder`], and by the
//! recorder, which wants to know no more than whether the stream is whole. One file of more than 500 lines: the tags of versions 4 and 5
//! and the headers of version 6 are states of one machine, whose next byte may be any of them.

/// The largest block we believe. Runtimes flush theirs at about 100 KiB, and version 6 has 24 bits for the size.
pub const MAX_BLOCK: u32 = 16 << 20;
/// `Trace` of versions 4 and 5: UTC time 16, QPC 8, frequency 8, then four i32: pointer size, pid, CPUs, sampling.
pub const TRACE_LEN: u32 = 48;
/// Type names are words like `MetadataBlock`.
const MAX_NAME: u32 = 64;

pub(super) const TAG_NULL: u8 = 1;
pub(super) const TAG_BEGIN: u8 = 5;
pub(super) const TAG_END: u8 = 6;

const MAGIC: &[u8] = b"Nettrace";
const SERIALIZATION_NAME: &[u8] = b"!FastSerialization.1";
/// The newest version whose objects are those of FastSerialization.
const LAST_SERIALIZED: u32 = 5;
const VERSION_6: u32 = 6;

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
    /// A version of which nothing is known.
    #[error("the nettrace stream is of version {0}; 4, 5 and 6 are understood")]
    Version(u32),
    /// The stream ended before its closing tag.
    #[error("the nettrace stream was cut after {0} bytes")]
    Cut(u64),
}

/// What is in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// Facts about the whole trace; the first block.
    Trace,
    /// Events.
    Events,
    /// What kinds of events there are.
    Metadata,
    /// Where caches are emptied.
    SequencePoint,
    /// Stacks.
    Stacks,
    /// Threads that events refer to (version 6).
    Threads,
    /// Threads that end (version 6).
    RemovedThreads,
    /// Not known, or not needed.
    Other,
}

impl BlockKind {
    fn named(name: &[u8]) -> Self {
        match name {
            b"Trace" => Self::Trace,
            b"EventBlock" => Self::Events,
            b"MetadataBlock" => Self::Metadata,
            b"StackBlock" => Self::Stacks,
            b"SPBlock" => Self::SequencePoint,
            // Kinds of blocks we do not know begin with their size as well.
            _ => Self::Other,
        }
    }

    fn numbered(number: u32) -> Self {
        match number {
            1 => Self::Trace,
            2 => Self::Events,
            3 => Self::Metadata,
            4 => Self::SequencePoint,
            5 => Self::Stacks,
            6 => Self::Threads,
            7 => Self::RemovedThreads,
            _ => Self::Other,
        }
    }
}

/// A part of a stream, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A block begins.
    Begin {
        /// What is in it.
        kind: BlockKind,
        /// Bytes of its content; at most [`MAX_BLOCK`].
        size: u32,
    },
    /// The next bytes of its content.
    Content(&'a [u8]),
    /// It has ended.
    End,
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
    BlockSize(BlockKind),
    ObjectEnd,
    Block6,
    Nothing,
}

impl Expect {
    /// How many bytes to collect before [`Framing::step`] can judge.
    fn length(self) -> usize {
        match self {
            Self::Magic | Self::Version6 => 8,
            Self::SerializationName => SERIALIZATION_NAME.len(),
            Self::Generation | Self::BlockSize(_) | Self::Block6 => 4,
            Self::ObjectOrEnd | Self::ObjectEnd | Self::Nothing => 1,
            Self::TypeStart => 2,
            Self::TypeFacts => 12,
            Self::TypeName { length, .. } => length + 1,
        }
    }
}

/// Cuts a stream into its blocks, however it comes in.
#[derive(Debug)]
pub struct Framing {
    expect: Expect,
    /// Bytes collected for `expect`; at most `MAX_NAME + 1`.
    collected: Vec<u8>,
    /// Bytes between the size of a block and its content.
    padding: usize,
    /// Bytes of the open block's content still to come.
    content: Option<usize>,
    bytes: u64,
    version: u32,
    blocks: u64,
}

impl Default for Framing {
    fn default() -> Self {
        Self {
            expect: Expect::Magic,
            collected: Vec::new(),
            padding: 0,
            content: None,
            bytes: 0,
            version: 0,
            blocks: 0,
        }
    }
}

impl Framing {
    /// The next part of the stream, taken off the front of `input`; `None` when more is needed for it. To be called until it
    /// gives `None`.
    ///
    /// # Errors
    /// The first [`Flaw`]; the framing is of no use afterwards.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, Flaw> {
        loop {
            self.padding -= self.take(input, self.padding).len();
            if self.padding > 0 {
                return Ok(None);
            }
            match self.content {
                Some(0) => {
                    self.content = None;
                    return Ok(Some(Piece::End));
                }
                _ if input.is_empty() => return Ok(None),
                Some(left) => {
                    let piece = self.take(input, left);
                    self.content = Some(left - piece.len());
                    return Ok(Some(Piece::Content(piece)));
                }
                None => {}
            }
            let wanted = self.expect.length().saturating_sub(self.collected.len());
            let taken = self.take(input, wanted);
            self.collected.extend_from_slice(taken);
            if self.collected.len() == self.expect.length() {
                let collected = std::mem::take(&mut self.collected);
                if let Some(begin) = self.step(&collected)? {
                    return Ok(Some(begin));
                }
            }
        }
    }

    /// Called when the stream has ended.
    ///
    /// # Errors
    /// [`Flaw::Cut`] unless the closing tag has passed.
    pub fn finish(&self) -> Result<(), Flaw> {
        if self.expect == Expect::Nothing && self.content.is_none() {
            Ok(())
        } else {
            Err(Flaw::Cut(self.bytes))
        }
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Version of the format: 4, 5 or 6; less, or 0, where it is not known yet.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Blocks that have begun; the `Trace` object of versions 4 and 5 is none.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    fn take<'a>(&mut self, input: &mut &'a [u8], most: usize) -> &'a [u8] {
        let (taken, rest) = input.split_at(most.min(input.len()));
        *input = rest;
        self.bytes += taken.len() as u64;
        taken
    }

    /// Judges the collected bytes and says what comes after them.
    fn step(&mut self, bytes: &[u8]) -> Result<Option<Piece<'static>>, Flaw> {
        self.expect = match self.expect {
            Expect::Magic if bytes == MAGIC => Expect::Generation,
            Expect::Magic => return Err(self.unexpected(bytes, "the magic Nettrace")),
            Expect::Generation => match word(bytes, 0) {
                20 => Expect::SerializationName,
                0 => Expect::Version6,
                _ => {
                    return Err(self.unexpected(bytes, "the length of !FastSerialization.1 or the 0 of version 6"));
                }
            },
            Expect::SerializationName if bytes == SERIALIZATION_NAME => Expect::ObjectOrEnd,
            Expect::SerializationName => return Err(self.unexpected(bytes, "!FastSerialization.1")),
            Expect::Version6 => {
                self.version = word(bytes, 0);
                if self.version != VERSION_6 {
                    return Err(Flaw::Version(self.version));
                }
                Expect::Block6
            }
            Expect::ObjectOrEnd => match bytes {
                [TAG_BEGIN] => Expect::TypeStart,
                [TAG_NULL] => Expect::Nothing,
                _ => return Err(self.unexpected(bytes, "the start of an object or the end of the stream")),
            },
            Expect::TypeStart if bytes == [TAG_BEGIN, TAG_NULL] => Expect::TypeFacts,
            Expect::TypeStart => return Err(self.unexpected(bytes, "the start of a type")),
            Expect::TypeFacts => match word(bytes, 8) {
                length @ 1..=MAX_NAME => Expect::TypeName {
                    length: length as usize,
                    version: word(bytes, 0),
                },
                size => return Err(self.too_large(bytes, size, "type name")),
            },
            Expect::TypeName { length, version } => return self.type_name(bytes, length, version),
            Expect::BlockSize(kind) => {
                let size = word(bytes, 0);
                let begin = self.begin(bytes, kind, size)?;
                self.blocks += 1;
                // Content starts at a multiple of 4, counted from the magic; the size before it does not count the padding.
                self.padding = padding(self.bytes);
                self.expect = Expect::ObjectEnd;
                return Ok(Some(begin));
            }
            Expect::ObjectEnd if bytes == [TAG_END] => Expect::ObjectOrEnd,
            Expect::ObjectEnd => return Err(self.unexpected(bytes, "the end of an object")),
            Expect::Block6 => return self.block6(bytes),
            Expect::Nothing => return Err(self.unexpected(bytes, "the end of the stream")),
        };
        Ok(None)
    }

    fn type_name(&mut self, bytes: &[u8], length: usize, version: u32) -> Result<Option<Piece<'static>>, Flaw> {
        let (name, end) = bytes.split_at(length.min(bytes.len()));
        if end != [TAG_END] {
            return Err(self.unexpected(end, "the end of a type"));
        }
        match (self.version == 0, BlockKind::named(name)) {
            (true, BlockKind::Trace) if version <= LAST_SERIALIZED => {
                self.version = version.max(1);
                self.expect = Expect::ObjectEnd;
                self.begin(bytes, BlockKind::Trace, TRACE_LEN).map(Some)
            }
            (true, BlockKind::Trace) => Err(Flaw::Version(version)),
            (false, kind) if kind != BlockKind::Trace => {
                self.expect = Expect::BlockSize(kind);
                Ok(None)
            }
            _ => Err(self.unexpected(bytes, "one Trace object, at the start")),
        }
    }

    fn block6(&mut self, bytes: &[u8]) -> Result<Option<Piece<'static>>, Flaw> {
        const SIZE_BITS: u32 = 24;
        const KIND_END: u32 = 0;
        let header = word(bytes, 0);
        let (number, size) = (header >> SIZE_BITS, header & ((1 << SIZE_BITS) - 1));
        if number == KIND_END {
            if size > 0 {
                return Err(self.unexpected(bytes, "an empty end block"));
            }
            self.expect = Expect::Nothing;
            return Ok(None);
        }
        let kind = BlockKind::numbered(number);
        if (self.blocks == 0) != (kind == BlockKind::Trace) {
            return Err(self.unexpected(bytes, "one Trace block, at the start"));
        }
        self.blocks += 1;
        self.begin(bytes, kind, size).map(Some)
    }

    fn begin(&mut self, bytes: &[u8], kind: BlockKind, size: u32) -> Result<Piece<'static>, Flaw> {
        if size > MAX_BLOCK {
            return Err(self.too_large(bytes, size, "block"));
        }
        self.content = Some(size as usize);
        Ok(Piece::Begin { kind, size })
    }

    fn unexpected(&self, bytes: &[u8], expected: &'static str) -> Flaw {
        Flaw::Unexpected {
            offset: self.bytes - bytes.len() as u64,
            expected,
        }
    }

    fn too_large(&self, bytes: &[u8], size: u32, what: &'static str) -> Flaw {
        Flaw::TooLarge {
            offset: self.bytes - bytes.len() as u64,
            size,
            what,
        }
    }
}

/// From `position` up to a multiple of 4.
fn padding(position: u64) -> usize {
    match position % 4 {
        1 => 3,
        2 => 2,
        3 => 1,
        _ => 0,
    }
}

/// The little-endian u32 at `offset`; a negative i32 of the format becomes too large to be believed.
fn word(bytes: &[u8], offset: usize) -> u32 {
    bytes
        .get(offset..)
        .and_then(<[u8]>::first_chunk)
        .map_or(u32::MAX, |bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::example::{begin_version4, object, version4, version6};
    use super::*;

    /// What a whole stream has: bytes, version, blocks, and the content of all blocks together.
    type Told = (u64, u32, u64, Vec<u8>);

    fn cut(pieces: impl IntoIterator<Item = Vec<u8>>) -> Result<Told, Flaw> {
        let mut framing = Framing::default();
        let mut content = Vec::new();
        for piece in pieces {
            let mut rest = piece.as_slice();
            while let Some(piece) = framing.next(&mut rest)? {
                if let Piece::Content(bytes) = piece {
                    content.extend_from_slice(bytes);
                }
            }
        }
        framing.finish()?;
        Ok((framing.bytes(), framing.version(), framing.blocks(), content))
    }

    fn whole(bytes: &[u8]) -> Result<Told, Flaw> {
        cut([bytes.to_vec()])
    }

    #[test]
    fn whole_streams_are_cut_into_their_blocks() {
        let (bytes, version, blocks, content) = whole(&version4(&[b"1", b"22", b"", b"333"])).unwrap();
        assert_eq!((version, blocks), (4, 4));
        assert_eq!(bytes, version4(&[b"1", b"22", b"", b"333"]).len() as u64);
        assert_eq!(&content[TRACE_LEN as usize..], b"122333");
        let (_, version, blocks, content) = whole(&version6(&[b"1", b"", b"22"])).unwrap();
        assert_eq!((version, blocks), (6, 4));
        assert!(content.ends_with(b"122"));
    }

    #[test]
    fn every_cut_is_seen() {
        for stream in [version4(&[b"abc", b"d"]), version6(&[b"abc", b"d"])] {
            for end in 0..stream.len() {
                assert_eq!(whole(&stream[..end]), Err(Flaw::Cut(end as u64)));
            }
        }
    }

    #[test]
    fn bytes_behind_the_end_are_refused() {
        for mut stream in [version4(&[]), version6(&[])] {
            stream.push(0);
            assert!(matches!(
                whole(&stream),
                Err(Flaw::Unexpected {
                    expected: "the end of the stream",
                    ..
                })
            ));
        }
    }

    #[test]
    fn a_block_larger_than_any_runtime_writes_is_refused_at_its_header() {
        let mut stream = begin_version4();
        object(&mut stream, "EventBlock", b"");
        let size_at = stream.len() - 1 - 4 - (stream.len() - 1) % 4;
        stream[size_at..size_at + 4].fill(0xFF);
        let refused = whole(&stream);
        assert!(
            matches!(
                refused,
                Err(Flaw::TooLarge {
                    what: "block",
                    size: u32::MAX,
                    ..
                })
            ),
            "{refused:?}"
        );
    }

    #[test]
    fn another_file_is_refused_at_its_first_bytes() {
        assert!(matches!(
            whole(b"FLR\0\0\x02\0\x01"),
            Err(Flaw::Unexpected { offset: 0, .. })
        ));
    }

    #[test]
    fn a_second_trace_is_refused_and_so_is_a_stream_without_one() {
        let mut stream = begin_version4();
        object(&mut stream, "Trace", &[0; TRACE_LEN as usize]);
        assert!(matches!(whole(&stream), Err(Flaw::Unexpected { .. })));
        let mut stream = b"Nettrace\0\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
        stream.extend([0, 0, 0, 2]);
        assert!(matches!(whole(&stream), Err(Flaw::Unexpected { .. })));
    }

    #[test]
    fn a_version_of_the_future_is_named() {
        assert_eq!(whole(b"Nettrace\0\0\0\0\x07\0\0\0\0\0\0\0"), Err(Flaw::Version(7)));
        let mut stream = version4(&[]);
        let at = stream.iter().position(|&byte| byte == TAG_BEGIN).unwrap() + 3;
        stream[at] = 9;
        assert_eq!(whole(&stream), Err(Flaw::Version(9)));
    }

    proptest! {
        #[test]
        fn the_cut_of_the_pieces_does_not_matter(blocks in proptest::collection::vec(".{0,40}", 0..5), size in 1_usize..9) {
            let blocks: Vec<&[u8]> = blocks.iter().map(String::as_bytes).collect();
            for stream in [version4(&blocks), version6(&blocks)] {
                prop_assert_eq!(cut(stream.chunks(size).map(<[u8]>::to_vec)), whole(&stream));
            }
        }

        #[test]
        fn any_bytes_are_judged_without_panic(bytes: Vec<u8>) {
            let mut stream = begin_version4();
            stream.extend(&bytes);
            let _ = whole(&stream);
            let _ = whole(&bytes);
        }
    }
}
