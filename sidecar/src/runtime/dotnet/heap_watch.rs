//! Sees, while a session's stream is copied, when the walk through the heap is over: only then may the session end.
//!
//! Looks at the kinds of events alone; holds one block of them at most, and no stacks. Called by [`super::capture`]. What a block is, the
//! reader of the format knows.

use crate::profile::format::nettrace::event_rows::EventRows;
use crate::profile::format::nettrace::framing::{BlockKind, Flaw, Framing, Piece};
use crate::profile::format::nettrace::metadata::{self, Metadata};

/// How far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Walk {
    /// No object yet.
    #[default]
    NotBegun,
    /// Objects.
    Begun,
    /// The collection that it belongs to has ended, and the app runs again.
    Over,
}

/// Why nothing can be seen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unseen {
    /// It is no such stream.
    #[error(transparent)]
    Flaw(#[from] Flaw),
    /// A block says what it cannot mean.
    #[error("a malformed block of events")]
    Malformed,
}

/// Fed with every piece of the stream as it passes.
#[derive(Debug, Default)]
pub struct HeapWatch {
    framing: Framing,
    /// The block that passes, if it is to be looked at, and its size.
    open: Option<(BlockKind, usize)>,
    /// What has passed of it.
    collected: Vec<u8>,
    kinds: Kinds,
    walk: Walk,
}

/// What the stream calls the two kinds of events.
#[derive(Debug, Default)]
struct Kinds {
    objects: Option<u32>,
    collection_ended: Option<u32>,
}

impl Kinds {
    fn learn(&mut self, metadata: &Metadata) {
        match (metadata.provider.as_str(), metadata.event) {
            ("Microsoft-Windows-DotNETRuntime", 2) => self.collection_ended = Some(metadata.id),
            ("Microsoft-Windows-DotNETRuntime", 18) => self.objects = Some(metadata.id),
            _ => {}
        }
    }
}

impl HeapWatch {
    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// The stream is malformed; the watch is of no use afterwards.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Unseen> {
        while let Some(piece) = self.framing.next(&mut bytes)? {
            match piece {
                Piece::Begin { kind, size } => {
                    self.collected.clear();
                    let looked_at = matches!(kind, BlockKind::Events | BlockKind::Metadata) && size > 0;
                    self.open = looked_at.then_some((kind, size as usize));
                }
                Piece::Content(content) => {
                    let Some((kind, size)) = self.open else { continue };
                    // Most blocks come in several pieces: a read is as large as one of them.
                    self.collected.extend_from_slice(content);
                    if self.collected.len() == size {
                        self.open = None;
                        self.block(kind).ok_or(Unseen::Malformed)?;
                    }
                }
                Piece::End => {}
            }
        }
        Ok(())
    }

    fn block(&mut self, kind: BlockKind) -> Option<()> {
        let Self {
            framing,
            collected,
            kinds,
            walk,
            ..
        } = self;
        let version = framing.version();
        if kind == BlockKind::Metadata {
            return metadata::read(version, collected, |metadata| kinds.learn(&metadata));
        }
        let mut rows = EventRows::new(version, collected)?;
        while !rows.is_empty() {
            let (header, _) = rows.row()?;
            let kind = Some(header.metadata);
            *walk = match *walk {
                Walk::NotBegun if kind == kinds.objects => Walk::Begun,
                Walk::Begun if kind == kinds.collection_ended => Walk::Over,
                walk => walk,
            };
        }
        Some(())
    }

    /// How far the walk has come.
    pub fn walk(&self) -> Walk {
        self.walk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A walk of a real runtime.
    const RECORDED: &[u8] = include_bytes!("../../../tests/data/profile/nettrace/dotnet-3.1-heap.nettrace");
    /// One of something else.
    const SAMPLES: &[u8] = include_bytes!("../../../tests/data/profile/nettrace/dotnet-3.1-cpu.nettrace");

    fn seen(stream: &[u8], piece: usize) -> Walk {
        let mut watch = HeapWatch::default();
        for piece in stream.chunks(piece) {
            watch.feed(piece).unwrap();
        }
        watch.walk()
    }

    #[test]
    fn a_walk_is_over_when_its_collection_is_however_it_comes() {
        for piece in [1, 7, 4096, RECORDED.len()] {
            assert_eq!(seen(RECORDED, piece), Walk::Over, "pieces of {piece}");
        }
        assert_eq!(seen(SAMPLES, 4096), Walk::NotBegun);
    }

    #[test]
    fn a_walk_that_has_not_come_whole_is_not_over() {
        // The last block has all events, and one byte behind it ends the object, another one the stream.
        assert_eq!(seen(&RECORDED[..RECORDED.len() - 2], 4096), Walk::Over);
        assert_eq!(seen(&RECORDED[..RECORDED.len() - 3], 4096), Walk::NotBegun);
    }

    #[test]
    fn only_the_end_of_its_own_collection_ends_a_walk() {
        use crate::profile::format::nettrace::example::{event_block, version4};
        let row = |kind: u8| [0x81, kind, 0, 0];
        let walk = |kinds: &[u8]| {
            let rows: Vec<_> = kinds.iter().map(|kind| row(*kind)).collect();
            let rows: Vec<&[u8]> = rows.iter().map(<[u8; 4]>::as_slice).collect();
            let mut watch = HeapWatch {
                kinds: Kinds {
                    objects: Some(1),
                    collection_ended: Some(2),
                },
                ..HeapWatch::default()
            };
            watch.feed(&version4(&[&event_block(&rows)])).unwrap();
            watch.walk()
        };
        assert_eq!(walk(&[2, 3]), Walk::NotBegun);
        assert_eq!(walk(&[2, 1, 3, 1]), Walk::Begun);
        assert_eq!(walk(&[1, 2, 1]), Walk::Over);
    }

    #[test]
    fn a_malformed_stream_is_an_error() {
        assert!(HeapWatch::default().feed(b"FLR\0\0\x02\0\x01").is_err());
        let broken = crate::profile::format::nettrace::example::version4(&[b"\x14"]);
        assert_eq!(HeapWatch::default().feed(&broken), Err(Unseen::Malformed));
    }
}
