//! Checks, while a nettrace stream is copied, that it is whole: blocks only, no events.
//!
//! Must not know sockets or sessions; holds a few bytes, whatever the stream claims. Called by [`super::capture`]. What a block is,
//! the reader of the format knows ([`Framing`]).

use crate::profile::format::nettrace::framing::{BlockKind, Framing, Piece, TRACE_LEN};
use crate::profile::format::nettrace::trace_header::TraceHeader;

pub use crate::profile::format::nettrace::framing::Flaw;

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

/// Fed with every piece of the stream as it passes.
#[derive(Debug, Default)]
pub struct CompletenessCheck {
    framing: Framing,
    /// Whether the bytes that pass are those of the first block.
    in_trace: bool,
    /// Its beginning: all of it, in the versions that runtimes write.
    trace: Vec<u8>,
}

impl CompletenessCheck {
    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// The first [`Flaw`]; the check is of no use afterwards.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Flaw> {
        while let Some(piece) = self.framing.next(&mut bytes)? {
            match piece {
                Piece::Begin { kind, .. } => self.in_trace = kind == BlockKind::Trace,
                Piece::Content(content) if self.in_trace => {
                    let room = (TRACE_LEN as usize).saturating_sub(self.trace.len());
                    self.trace.extend(content.iter().take(room));
                }
                Piece::Content(_) | Piece::End => {}
            }
        }
        Ok(())
    }

    /// Called when the stream has ended.
    ///
    /// # Errors
    /// [`Flaw::Cut`] unless the closing tag has passed.
    pub fn finish(&self) -> Result<Stream, Flaw> {
        self.framing.finish()?;
        let header = TraceHeader::read(self.framing.version(), &self.trace);
        Ok(Stream {
            bytes: self.framing.bytes(),
            version: self.framing.version(),
            sampling_nanoseconds: header.map_or(0, |header| header.sampling_nanoseconds),
            blocks: self.framing.blocks(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::format::nettrace::example::{version4, version6};

    fn check(bytes: &[u8]) -> Result<Stream, Flaw> {
        let mut check = CompletenessCheck::default();
        for piece in bytes.chunks(7) {
            check.feed(piece)?;
        }
        check.finish()
    }

    #[test]
    fn whole_streams_tell_their_version_and_interval() {
        let four = version4(&[b"1", b"22", b"", b"333"]);
        let expected = Stream {
            bytes: four.len() as u64,
            version: 4,
            sampling_nanoseconds: 1_000_000,
            blocks: 4,
        };
        assert_eq!(check(&four), Ok(expected));
        let six = check(&version6(&[b"abc"])).unwrap();
        assert_eq!((six.version, six.sampling_nanoseconds, six.blocks), (6, 0, 2));
    }

    #[test]
    fn every_cut_is_seen() {
        for stream in [version4(&[b"abc", b"d"]), version6(&[b"abc", b"d"])] {
            for end in 0..stream.len() {
                assert_eq!(check(&stream[..end]), Err(Flaw::Cut(end as u64)));
            }
        }
    }
}
