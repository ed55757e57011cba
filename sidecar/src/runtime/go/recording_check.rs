//! Decides whether the bytes that streamed by are a whole recording. A cut one must never look like a success.
//!
//! Called by [`super::capture`], which also knows whether HTTP ended properly.

use std::io::{self, Write};

use flate2::write::GzDecoder;

use super::profile_scan::{ProfileFacts, ProfileScan};
use crate::format::RecordingKind;

/// A Go execution trace begins `go 1.26 trace\0\0\0` (`internal/trace`, 16 bytes).
const TRACE_MAGIC: &[u8] = b"go 1.";
const TRACE_HEADER: usize = 16;

/// Looks at every byte of a recording on its way into the store.
#[derive(Debug)]
pub(super) enum RecordingCheck {
    /// A gzip member with one `profile.proto` in it. Boxed: inflate's window is large.
    Profile(Box<GzDecoder<ProfileScan>>),
    /// Only the header of a trace can be checked here; its end is what HTTP says.
    Trace {
        /// The first bytes.
        header: Vec<u8>,
    },
    /// Of text only HTTP can tell that it is whole.
    Text {
        /// Bytes so far.
        length: u64,
    },
}

impl RecordingCheck {
    /// A check for recordings of `kind`.
    pub(super) fn new(kind: RecordingKind) -> Self {
        match kind {
            RecordingKind::Trace => Self::Trace {
                header: Vec::with_capacity(TRACE_HEADER),
            },
            RecordingKind::Text | RecordingKind::Goroutines => Self::Text { length: 0 },
            _ => Self::Profile(Box::new(GzDecoder::new(ProfileScan::new()))),
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// They cannot belong to a recording of this kind.
    pub(super) fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Profile(decoder) => decoder.write_all(bytes).map_err(|error| match error.kind() {
                io::ErrorKind::WriteZero => io::Error::new(io::ErrorKind::InvalidData, "bytes behind the profile"),
                _ => error,
            }),
            Self::Text { length } => {
                *length += bytes.len() as u64;
                Ok(())
            }
            Self::Trace { header } => {
                let wanted = TRACE_HEADER - header.len();
                header.extend_from_slice(&bytes[..bytes.len().min(wanted)]);
                let compared = header.len().min(TRACE_MAGIC.len());
                if header[..compared] == TRACE_MAGIC[..compared] {
                    Ok(())
                } else {
                    Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "it is no Go execution trace",
                    ))
                }
            }
        }
    }

    /// What the recording says about itself, when nothing is missing at its end. A trace says nothing.
    ///
    /// # Errors
    /// It is cut or damaged.
    pub(super) fn finish(self) -> io::Result<ProfileFacts> {
        let cut = |what: &str| io::Error::new(io::ErrorKind::UnexpectedEof, what.to_owned());
        match self {
            Self::Profile(decoder) => {
                let scan = decoder
                    .finish()
                    .map_err(|error| cut(&format!("the gzip stream is cut or damaged ({error})")))?;
                scan.facts()
                    .ok_or_else(|| cut("the profile is empty or ends inside a field"))
            }
            Self::Trace { header } if header.len() == TRACE_HEADER => Ok(ProfileFacts::default()),
            Self::Text { length: 0 } => Err(cut("the text is empty")),
            Self::Text { .. } => Ok(ProfileFacts::default()),
            Self::Trace { .. } => Err(cut("the execution trace is shorter than its header")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::RecordingCheck;
    use crate::format::RecordingKind;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn check(kind: RecordingKind, bytes: &[u8], chunk: usize) -> std::io::Result<u64> {
        let mut check = RecordingCheck::new(kind);
        for part in bytes.chunks(chunk) {
            check.take(part)?;
        }
        check.finish().map(|facts| facts.stacks)
    }

    /// One sample and a string of noise, so that the deflate stream has some length.
    fn profile() -> Vec<u8> {
        let mut bytes = vec![0x12, 2, 0x10, 1, 0x32, 0x80, 0x02];
        bytes.extend((0..=255_u8).map(|n| n.wrapping_mul(97) ^ 0x5a));
        bytes
    }

    #[test]
    fn a_whole_profile_passes_in_any_pieces() {
        let bytes = gzip(&profile());
        for chunk in [1, 2, 3, 7, 64, 4096] {
            assert_eq!(
                check(RecordingKind::Pprof, &bytes, chunk).unwrap(),
                1,
                "chunks of {chunk}"
            );
        }
    }

    #[test]
    fn every_truncation_of_a_profile_fails() {
        let bytes = gzip(&profile());
        for end in 0..bytes.len() {
            assert!(
                check(RecordingKind::Pprof, &bytes[..end], 16).is_err(),
                "{end} of {}",
                bytes.len()
            );
        }
    }

    #[test]
    fn a_flipped_bit_fails() {
        // Bytes 4 to 9 are a time and hints without a check; byte 10 is mostly the padding of a stored block.
        let bytes = gzip(&profile());
        for at in (0..bytes.len()).filter(|at| !(4..=10).contains(at)) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            assert!(check(RecordingKind::Pprof, &damaged, 16).is_err(), "byte {at}");
        }
    }

    #[test]
    fn bytes_behind_the_profile_fail() {
        let mut bytes = gzip(&profile());
        bytes.extend(b"</html>");
        assert!(check(RecordingKind::Pprof, &bytes, 1000).is_err());
        assert!(check(RecordingKind::Pprof, &bytes, 1).is_err());
    }

    #[test]
    fn an_html_page_is_no_profile_and_no_trace() {
        let page = b"<!DOCTYPE html><html></html>";
        assert!(check(RecordingKind::Pprof, page, 5).is_err());
        assert!(check(RecordingKind::Trace, page, 5).is_err());
    }

    #[test]
    fn a_trace_needs_its_header() {
        let trace = b"go 1.26 trace\0\0\0\x01\x02";
        assert!(check(RecordingKind::Trace, trace, 3).is_ok());
        for end in 0..16 {
            assert!(check(RecordingKind::Trace, &trace[..end], 3).is_err(), "{end}");
        }
    }
}
