//! Every file format of a profile: a folder with `read.rs`, `write.rs` or both.
//!
//! To add a reader: a folder here, its module and its line in `READERS`, what can be had from it in
//! [`RecordingKind::formats`], and recordings of it in `tests/data/profile/<format>/`, where the tests of this module find
//! them. To add a writer: a folder here and an arm in [`mod@super::render`]. Called by the renderer and, to find out
//! what a file is, by the CLI.

use std::error::Error;
use std::io::Read;

use super::Names;
use super::model::Profile;
use super::quality::Quality;
use super::slicing::Slicing;
use crate::format::RecordingKind;

/// HotSpot's own count of the objects in its heap by class.
pub mod class_histogram {
    pub mod read;
}
/// One line per stack: `root;caller;leaf 12`.
pub mod collapsed {
    pub mod read;
    pub mod write;
}
/// Values of counters, a line of JSON each.
pub mod counters {
    pub mod exposition;
    pub mod read;
    pub mod write;
}
/// Two profiles against each other, by function and by stack.
pub mod diff {
    pub mod stacks;
    pub mod table;
}
/// The tree of a flame graph as columns.
pub mod flame {
    pub mod diff;
    #[cfg(any(test, feature = "fuzzing"))]
    pub mod read;
    pub mod write;
}
pub mod foreign;
/// Go's dump of all goroutines.
pub mod goroutines {
    pub mod read;
}
/// Java Flight Recorder's chunks of events, as async-profiler and the JDK write them.
pub mod jfr {
    mod cursor;
    mod error;
    mod events;
    #[cfg(any(test, feature = "fuzzing"))]
    pub mod example;
    mod frames;
    mod leaks;
    mod metadata;
    mod pools;
    pub mod read;
    pub mod sampled;
    pub mod secrets;
    mod spans;
    mod values;

    pub use error::JfrError;
    pub(in crate::profile::format) use frames::class_name;

    #[cfg(test)]
    mod tests;
}
/// Live objects by type, as a table for people and as JSON.
pub mod histogram {
    pub mod write;
}
pub mod nettrace;
/// `profile.proto` of pprof: the file Go writes and `go tool pprof` reads.
pub mod pprof {
    pub mod moments;
    pub mod proto;
    pub mod read;
    pub mod wire;
    pub mod write;

    #[cfg(test)]
    mod tests;
}
/// speedscope's JSON.
pub mod speedscope {
    pub mod write;
}
/// A flame graph for browsers.
pub mod svg {
    pub mod diff;
    pub mod write;
}
/// What each function took.
pub mod top {
    pub mod write;
}
/// How much there was in each interval of a capture.
pub mod timeline {
    pub mod write;
}
/// HotSpot's dump of all threads, and that of any runtime as JSON and text.
pub mod thread_dump {
    mod listed;
    pub mod read;
    pub mod text;
    pub mod write;

    pub use read::{END_OF_VIRTUAL, VIRTUAL_THREADS};

    #[cfg(test)]
    mod tests;
}

use class_histogram::read::ClassHistogram;
use collapsed::read::{Collapsed, CollapsedValues};
use goroutines::read::Goroutines;
use jfr::read::Jfr;
use nettrace::read::{Heap, Nettrace, NettraceThreads};
use pprof::read::{AllocationSites, Pprof, PprofOfOurs};
use thread_dump::read::ThreadDump;

/// How many bytes of a file's beginning are enough for [`recognise`].
pub const HEAD: usize = 64 << 10;

/// The readers, the surest first.
const READERS: &[&dyn Reader] = &[
    &Jfr,
    &Nettrace,
    &Pprof,
    &ThreadDump,
    &ClassHistogram,
    &Goroutines,
    &Collapsed,
];

/// Readers of what looks like another recording: only who made it knows what it is of.
const TOLD: &[&dyn Reader] = &[
    &NettraceThreads,
    &Heap,
    &PprofOfOurs(RecordingKind::PprofTimed),
    &PprofOfOurs(RecordingKind::PprofThreads),
    &AllocationSites,
];

/// Recordings that are handed out as they are, and how they begin.
const ONLY_COPIED: &[(RecordingKind, &[u8])] = &[(RecordingKind::Trace, b"go 1.")];

/// What a reader is told about a recording that the recording itself does not say.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadOptions {
    /// What the numbers of collapsed stacks are.
    pub collapsed: CollapsedValues,
    /// How names that differ from run to run are read.
    pub names: Names,
    /// The recorder's stamp; it knows nothing of a file from elsewhere.
    pub stamp: Quality,
    /// Which event, of a recording that may have several.
    pub event: Option<String>,
    /// What to tell apart that a profile adds up.
    pub slicing: Slicing,
}

/// Reads one kind of recording.
pub trait Reader: Sync {
    /// Which one.
    fn kind(&self) -> RecordingKind;

    /// Whether a file that begins like this is one. Of a short file `head` is the whole.
    fn recognises(&self, head: &[u8]) -> bool;

    /// Reads a whole recording.
    ///
    /// # Errors
    /// The recording is cut, malformed, something else, or too large.
    fn read(&self, input: &mut dyn Read, options: &ReadOptions) -> Result<Profile, ReadError>;

    /// Whether its memory does not depend on the length of a recording, so that one may be of any length.
    fn streams(&self) -> bool {
        false
    }
}

/// What is wrong with a recording; every format has its own words.
pub type ReadError = Box<dyn Error + Send + Sync>;

/// The reader of a kind of recording, if we read it.
pub fn reader(kind: RecordingKind) -> Option<&'static dyn Reader> {
    let mut readers = READERS.iter().chain(TOLD).copied();
    readers.find(|reader| reader.kind() == kind)
}

/// The file is no recording that we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unrecognised {
    /// We know what it is, and how to make something of it that we read.
    #[error("this is {name}; {way_out}")]
    Foreign {
        /// What it is.
        name: &'static str,
        /// What to do.
        way_out: &'static str,
    },
    /// It could be anything.
    #[error("neither collapsed stacks (`root;caller;leaf 12` per line) nor pprof nor nettrace")]
    Unknown,
}

/// What a file is, by its beginning: up to [`HEAD`] bytes of it. A file of nothing is a recording without samples, as
/// async-profiler writes it.
///
/// # Errors
/// It is nothing that we know.
pub fn recognise(head: &[u8]) -> Result<RecordingKind, Unrecognised> {
    if let Some((kind, _)) = ONLY_COPIED.iter().find(|(_, magic)| head.starts_with(magic)) {
        return Ok(*kind);
    }
    if let Some(foreign) = foreign::recognise(head) {
        return Err(foreign);
    }
    if let Some(reader) = READERS.iter().find(|reader| reader.recognises(head)) {
        return Ok(reader.kind());
    }
    match pprof::read::gunzip_head(head) {
        Some(plain) => Err(foreign::recognise(&plain).unwrap_or(Unrecognised::Foreign {
            name: "compressed by gzip and no pprof profile",
            way_out: "unpack it first (gunzip)",
        })),
        None => Err(Unrecognised::Unknown),
    }
}

#[cfg(test)]
mod tests;
