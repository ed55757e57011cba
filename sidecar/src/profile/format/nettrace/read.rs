//! Reads a nettrace as a profile: CPU or wall time, allocations, contention, exceptions or the heap, whichever it was recorded for.
//!
//! Called by the renderer. The memory it takes depends on the distinct stacks and the methods, not on the length of the
//! recording.

use std::io::{self, Read};

use super::clr::ClrEvent;
use super::collector::Collector;
use super::decoder::{Decoder, NettraceError};
use super::heap_walk;
use crate::format::RecordingKind;
use crate::profile::format::{ReadError, ReadOptions, Reader};
use crate::profile::slicing::{Cuts, Slicing};
use crate::profile::{ModelError, Profile, Quality};

const MAGIC: &[u8] = b"Nettrace";
/// Most blocks of a runtime have 100 KiB, and those that come whole are not copied.
const BUFFER: usize = 1 << 20;

/// The bytes are no whole nettrace that we read.
#[derive(Debug, thiserror::Error)]
pub enum NettraceReadError {
    /// The input could not be read.
    #[error("the recording cannot be read")]
    Read(#[source] io::Error),
    /// It is cut or malformed.
    #[error(transparent)]
    Stream(#[from] NettraceError),
    /// It does not fit the model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// An event lacks what all of its kind have.
    #[error("an event of .NET ({0}) is too short")]
    ShortPayload(String),
    /// Addresses mean something else in each process.
    #[error("the trace is of several processes; one of a single process is understood")]
    SeveralProcesses,
    /// It is of something else.
    #[error("the trace has neither samples nor allocations, contention, exceptions or a heap of .NET")]
    NothingToShow,
    /// A part of its time was asked for, of what is of a moment.
    #[error("a heap is what was there at one moment: it is shown without from and to")]
    OfAMoment,
}

/// The reader of nettrace.
#[derive(Debug)]
pub struct Nettrace;

impl Reader for Nettrace {
    fn kind(&self) -> RecordingKind {
        RecordingKind::Nettrace
    }

    fn recognises(&self, head: &[u8]) -> bool {
        head.starts_with(MAGIC)
    }

    fn read(&self, input: &mut dyn Read, options: &ReadOptions) -> Result<Profile, ReadError> {
        Ok(read(input, &options.stamp, options.slicing)?)
    }

    fn streams(&self) -> bool {
        true
    }
}

/// The reader of the walk through a heap: the same file, of which a table of types can be had.
#[derive(Debug)]
pub struct Heap;

impl Reader for Heap {
    fn kind(&self) -> RecordingKind {
        RecordingKind::Heap
    }

    /// By its beginning it is a nettrace as any other.
    fn recognises(&self, _: &[u8]) -> bool {
        false
    }

    fn read(&self, input: &mut dyn Read, options: &ReadOptions) -> Result<Profile, ReadError> {
        Ok(read(input, &options.stamp, options.slicing)?)
    }

    fn streams(&self) -> bool {
        true
    }
}

/// The reader of one whose threads are told one by one, as it was recorded for.
#[derive(Debug)]
pub struct NettraceThreads;

impl Reader for NettraceThreads {
    fn kind(&self) -> RecordingKind {
        RecordingKind::NettraceThreads
    }

    fn recognises(&self, _: &[u8]) -> bool {
        false
    }

    fn read(&self, input: &mut dyn Read, options: &ReadOptions) -> Result<Profile, ReadError> {
        let mut collector = Collector::of_threads();
        let lost = collect(input, &mut collector)?;
        let mut profile = collector.threads(options).map_err(NettraceReadError::Model)?;
        profile.lost = Some(lost);
        Ok(profile)
    }

    fn streams(&self) -> bool {
        true
    }
}

/// Reads a whole recording, which has this stamp.
///
/// # Errors
/// The bytes are cut, malformed, something else, or too large.
pub fn read(input: &mut dyn Read, stamp: &Quality, slicing: Slicing) -> Result<Profile, NettraceReadError> {
    let mut collector = Collector::new(stamp, slicing);
    let lost = collect(input, &mut collector)?;
    let mut profile = collector.finish(stamp)?;
    if profile.sample_types.is_empty() {
        return Err(NettraceReadError::NothingToShow);
    }
    if slicing.cuts != Cuts::None && profile.sample_types.iter().any(|of| of.name == heap_walk::BYTES) {
        return Err(NettraceReadError::OfAMoment);
    }
    profile.lost = Some(lost);
    Ok(profile)
}

/// Hands all events to a collector; gives how many are missing.
fn collect(input: &mut dyn Read, collector: &mut Collector) -> Result<u64, NettraceReadError> {
    let mut decoder = Decoder::<ClrEvent>::default();
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(NettraceReadError::Read(error)),
        };
        decoder.feed(buffer.get(..count).unwrap_or_default(), collector)?;
    }
    Ok(decoder.finish()?)
}
