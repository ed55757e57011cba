//! A stream in, events out, in the order of the stream.
//!
//! Knows the format and no event. Holds one block, the stacks between two sequence points, what kinds of events there are and which
//! threads. Called by [`super::read`].

use hashbrown::HashMap;

use super::cursor::Cursor;
use super::event_rows::{EventHeader, EventRows};
use super::framing::{BlockKind, Flaw, Framing, Piece};
use super::metadata::{self, Metadata};
use super::sequence::SequenceNumbers;
use super::stack_table::{BadStacks, Stack, StackTable};
use super::threads::{Thread, Threads};
use super::trace_header::TraceHeader;

/// Kinds of events. A process that traces everything has some thousand.
const MAX_METADATA: usize = 1 << 18;

/// Why a stream cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NettraceError {
    /// It is cut, or no such stream.
    #[error(transparent)]
    Flaw(#[from] Flaw),
    /// A block says what it cannot mean.
    #[error("{what} in the block that ends at byte {end} of the nettrace stream")]
    Malformed {
        /// Where the block ends.
        end: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// An event.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a, K> {
    /// What [`Visitor::describe`] made of its kind.
    pub kind: K,
    /// Its header. Threads are those of the stream; see [`Self::thread`].
    pub header: EventHeader,
    /// The thread it tells of.
    pub thread: Thread,
    /// Its payload.
    pub payload: &'a [u8],
    /// Its stack.
    pub stack: Stack<'a>,
}

/// Takes what a stream says.
pub trait Visitor {
    /// What it wants to know of a kind of event.
    type Kind: Copy;
    /// Why it wants no more.
    type Error: From<NettraceError>;

    /// The first thing that comes.
    fn trace(&mut self, header: &TraceHeader);

    /// A kind of event; comes before the first of them.
    fn describe(&mut self, metadata: &Metadata) -> Self::Kind;

    /// An event.
    ///
    /// # Errors
    /// Reading ends here.
    fn event(&mut self, event: &Event<'_, Self::Kind>) -> Result<(), Self::Error>;

    /// A sequence point: ids of stacks are new ones from here.
    fn sequence_point(&mut self) {}
}

/// Reads a stream, however it comes in.
#[derive(Debug)]
pub struct Decoder<K> {
    framing: Framing,
    open: (BlockKind, usize),
    /// What has come of a block that did not come at once.
    collected: Vec<u8>,
    header: TraceHeader,
    metadata: HashMap<u32, K, ahash::RandomState>,
    stacks: StackTable,
    threads: Threads,
    sequence: SequenceNumbers,
}

impl<K> Default for Decoder<K> {
    fn default() -> Self {
        Self {
            framing: Framing::default(),
            open: (BlockKind::Other, 0),
            collected: Vec::new(),
            header: TraceHeader::default(),
            metadata: HashMap::default(),
            stacks: StackTable::default(),
            threads: Threads::default(),
            sequence: SequenceNumbers::default(),
        }
    }
}

impl<K: Copy> Decoder<K> {
    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// The stream is malformed, or the visitor wants no more; the decoder is of no use afterwards.
    pub fn feed<V: Visitor<Kind = K>>(&mut self, mut bytes: &[u8], visitor: &mut V) -> Result<(), V::Error> {
        while let Some(piece) = self.framing.next(&mut bytes).map_err(NettraceError::from)? {
            match piece {
                Piece::Begin { kind, size } => {
                    self.open = (kind, size as usize);
                    self.collected.clear();
                    if size == 0 {
                        self.block(&[], visitor)?;
                    }
                }
                Piece::Content(_) if self.open.0 == BlockKind::Other => {}
                // Whole in the bytes at hand: the common case of large buffers, without a copy.
                Piece::Content(content) if content.len() == self.open.1 => self.block(content, visitor)?,
                Piece::Content(content) => {
                    self.collected.extend_from_slice(content);
                    if self.collected.len() == self.open.1 {
                        let collected = std::mem::take(&mut self.collected);
                        self.block(&collected, visitor)?;
                        self.collected = collected;
                    }
                }
                Piece::End => {}
            }
        }
        Ok(())
    }

    /// Called when the stream has ended; how many events are known to be lost.
    ///
    /// # Errors
    /// [`Flaw::Cut`] unless the closing tag has passed.
    pub fn finish(&self) -> Result<u64, NettraceError> {
        self.framing.finish()?;
        Ok(self.sequence.lost())
    }

    fn block<V: Visitor<Kind = K>>(&mut self, content: &[u8], visitor: &mut V) -> Result<(), V::Error> {
        let version = self.framing.version();
        match self.open.0 {
            BlockKind::Trace => {
                let header = TraceHeader::read(version, content);
                self.header = header.ok_or_else(|| self.malformed("no facts about the trace"))?;
                self.stacks = StackTable::new(self.header.pointer_size);
                visitor.trace(&self.header);
            }
            BlockKind::Events => self.events(content, visitor)?,
            BlockKind::Metadata => {
                let Self { metadata: known, .. } = self;
                let each = |metadata: Metadata| _ = known.insert(metadata.id, visitor.describe(&metadata));
                metadata::read(version, content, each).ok_or_else(|| self.malformed("malformed metadata"))?;
                if self.metadata.len() > MAX_METADATA {
                    return Err(self.malformed("too many kinds of events").into());
                }
            }
            BlockKind::Stacks => self.stacks.add(content).map_err(|bad| {
                self.malformed(match bad {
                    BadStacks::Malformed => "malformed stacks",
                    BadStacks::TooDeep => "a stack deeper than any sampler takes",
                    BadStacks::TooMany => "more stacks than fit between two sequence points",
                })
            })?,
            BlockKind::SequencePoint => {
                let point = self.sequence_point(content);
                point.ok_or_else(|| self.malformed("a malformed sequence point"))?;
                visitor.sequence_point();
            }
            BlockKind::Threads => {
                let threads = self.threads.add(content);
                threads.ok_or_else(|| self.malformed("malformed threads"))?;
            }
            BlockKind::RemovedThreads => {
                let removed = self.removed_threads(content);
                removed.ok_or_else(|| self.malformed("malformed threads"))?;
            }
            BlockKind::Other => {}
        }
        Ok(())
    }

    fn events<V: Visitor<Kind = K>>(&mut self, content: &[u8], visitor: &mut V) -> Result<(), V::Error> {
        let version = self.framing.version();
        let mut rows = EventRows::new(version, content).ok_or_else(|| self.malformed("a malformed header"))?;
        while !rows.is_empty() {
            let (header, payload) = rows.row().ok_or_else(|| self.malformed("a malformed event"))?;
            self.sequence.event(header.capture_thread, header.sequence);
            let kind = self.metadata.get(&header.metadata).copied();
            let kind = kind.ok_or_else(|| self.malformed("an event of no known kind"))?;
            let stack = self.stacks.get(header.stack);
            let stack = stack.ok_or_else(|| self.malformed("an event with a stack that is not there"))?;
            let thread = if version < 6 {
                Thread {
                    id: header.thread,
                    process: self.header.process,
                }
            } else {
                let thread = self.threads.get(header.thread);
                thread.ok_or_else(|| self.malformed("an event of a thread that is not there"))?
            };
            visitor.event(&Event {
                kind,
                header,
                thread,
                payload,
                stack,
            })?;
        }
        Ok(())
    }

    fn sequence_point(&mut self, content: &[u8]) -> Option<()> {
        const THREADS: u32 = 1;
        const METADATA: u32 = 2;
        let mut cursor = Cursor::new(content);
        cursor.u64()?; // time
        let serialized = self.framing.version() < 6;
        let flags = if serialized { 0 } else { cursor.u32()? };
        for _ in 0..cursor.u32()? {
            let (thread, number) = if serialized {
                (cursor.u64()?, cursor.u32()?)
            } else {
                (cursor.var64()?, cursor.var32()?)
            };
            self.sequence.bound(thread, number);
        }
        self.stacks.clear();
        if flags & THREADS != 0 {
            self.threads.clear();
            self.sequence.clear();
        }
        if flags & METADATA != 0 {
            self.metadata.clear();
        }
        Some(())
    }

    fn removed_threads(&mut self, content: &[u8]) -> Option<()> {
        let mut cursor = Cursor::new(content);
        while !cursor.is_empty() {
            let (index, number) = (cursor.var64()?, cursor.var32()?);
            self.sequence.bound(index, number);
            self.sequence.forget(index);
            self.threads.remove(index);
        }
        Some(())
    }

    fn malformed(&self, what: &'static str) -> NettraceError {
        NettraceError::Malformed {
            end: self.framing.bytes(),
            what,
        }
    }
}
