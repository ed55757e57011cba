//! Reads the samples of one event from a JFR, as async-profiler 4 writes it and, as far as they have such events, the JDK.
//!
//! One chunk is in memory at a time, as its types and constants may stand behind the events that need them. What it says of
//! itself is believed as far as there are bytes for it: each number of things is held against what is left before
//! anything is made for it. Called by the renderer; it must not know how the recording came to be.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{ErrorKind, Read};

use super::JfrError;
use super::cursor::{Cursor, big_endian};
use super::events::{Clock, Key, Recorder, Samples, Source, Sum};
use super::frames::Frames;
use super::leaks::{Calls, Leaks};
use super::metadata::Types;
use super::pools::Pools;
use super::sampled::Sampled;
use super::spans::Spans;
use super::values::Values;
use crate::format::RecordingKind;
use crate::profile::builder::{ModelError, ProfileBuilder};
use crate::profile::format::{ReadError, ReadOptions, Reader};
use crate::profile::frame_name::{CUT, UNKNOWN, short_text};
use crate::profile::hidden_class::Names;
use crate::profile::model::{FrameKind, Label, LabelValue, LocationId, Profile};
use crate::profile::slicing::{Cuts, SPAN, Slicing};
use crate::profile::thread_root::ThreadRoot;

/// Bytes before the first event of a chunk.
const HEADER: usize = 68;
/// Longest tag of a span; it is the root of its stacks.
const MAX_TAG: usize = 200;
/// The type of the event that describes the types.
pub(super) const METADATA: u64 = 0;
/// The type of the event that has constants.
pub(super) const CHECKPOINT: u64 = 1;

/// The reader of JFR.
#[derive(Debug)]
pub struct Jfr;

impl Reader for Jfr {
    fn kind(&self) -> RecordingKind {
        RecordingKind::Jfr
    }

    fn recognises(&self, head: &[u8]) -> bool {
        head.starts_with(b"FLR\0")
    }

    fn read(&self, input: &mut dyn Read, options: &ReadOptions) -> Result<Profile, ReadError> {
        let wanted = options.event.as_deref().map(Sampled::named);
        Ok(read(input, wanted, options.names, options.slicing)?)
    }
}

/// Reads the samples of `wanted`; without it, those of the only event there is.
///
/// # Errors
/// The recording is cut, malformed or too large, or there are several events and none is `wanted`.
pub fn read(
    mut input: impl Read,
    wanted: Option<Sampled>,
    names: Names,
    slicing: Slicing,
) -> Result<Profile, JfrError> {
    if wanted == Some(Sampled::Leaks) && slicing.cuts != Cuts::None {
        return Err(JfrError::WholeOnly);
    }
    let mut reading = Reading {
        wanted,
        names,
        slicing,
        seen: BTreeSet::new(),
        recorder: Recorder::default(),
        builder: None,
        samples: 0,
        span: None,
        leaks: Leaks::default(),
    };
    let mut body = Vec::new();
    while let Some(header) = Header::next(&mut input)? {
        body.clear();
        let read = input.by_ref().take(header.rest).read_to_end(&mut body);
        if u64::try_from(read.map_err(JfrError::Read)?).ok() != Some(header.rest) {
            return Err(JfrError::Cut);
        }
        reading.chunk(&header, &body)?;
    }
    reading.finish()
}

/// What stands before the events of a chunk.
#[derive(Debug)]
pub(super) struct Header {
    /// Bytes of the chunk behind its header.
    pub(super) rest: u64,
    /// Where among them the types are described.
    pub(super) metadata: usize,
    start_nanos: u64,
    duration_nanos: u64,
    start_ticks: u64,
    ticks_per_second: u64,
    pub(super) compressed: bool,
}

impl Header {
    /// Bytes before the first event.
    pub(super) const BYTES: u64 = HEADER as u64;

    /// The header of the next chunk; `None` at the end of the file.
    pub(super) fn next(input: &mut impl Read) -> Result<Option<Self>, JfrError> {
        let mut bytes = [0; HEADER];
        let mut filled = 0;
        while filled < HEADER {
            match input.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(JfrError::Read(error)),
            }
        }
        Self::parse(&bytes, filled)
    }

    fn parse(bytes: &[u8; HEADER], filled: usize) -> Result<Option<Self>, JfrError> {
        let number = |at: usize, width: usize| bytes.get(at..at + width).map_or(0, big_endian);
        match filled {
            0 => return Ok(None),
            HEADER => {}
            _ => return Err(JfrError::Cut),
        }
        if !bytes.starts_with(b"FLR\0") {
            return Err(JfrError::NotJfr);
        }
        if number(4, 2) != 2 {
            return Err(JfrError::Version(number(4, 2)));
        }
        let (size, pools, metadata) = (number(8, 8), number(16, 8), number(24, 8));
        if pools == 0 || metadata == 0 {
            return Err(JfrError::Unfinished);
        }
        let header = HEADER as u64;
        let offset = metadata.checked_sub(header).and_then(|at| usize::try_from(at).ok());
        Ok(Some(Self {
            rest: size.checked_sub(header).ok_or(JfrError::EventSize)?,
            metadata: offset.ok_or(JfrError::Metadata)?,
            start_nanos: number(32, 8),
            duration_nanos: number(40, 8),
            start_ticks: number(48, 8),
            ticks_per_second: number(56, 8),
            compressed: number(67, 1) & 1 == 1,
        }))
    }

    /// Nanoseconds of a number of ticks.
    fn nanos(&self, ticks: u64) -> u64 {
        let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(self.ticks_per_second.max(1));
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}

/// The next event and its type; `None` behind the last.
fn event<'a>(events: &mut Cursor<'a>, compressed: bool) -> Result<Option<(u64, Cursor<'a>)>, JfrError> {
    let left = events.left();
    if left == 0 {
        return Ok(None);
    }
    let size = usize::try_from(events.int()?).map_err(|_| JfrError::EventSize)?;
    let head = left - events.left();
    let content = size.checked_sub(head).filter(|content| *content > 0);
    let content = events.take(content.ok_or(JfrError::EventSize)?)?;
    let mut event = Cursor::new(content, compressed);
    Ok(Some((event.long()?, event)))
}

/// A recording, as far as it was read.
struct Reading {
    wanted: Option<Sampled>,
    names: Names,
    slicing: Slicing,
    seen: BTreeSet<Sampled>,
    recorder: Recorder,
    /// Made when it is known of what.
    builder: Option<(ProfileBuilder, Values)>,
    samples: u64,
    /// First and last nanosecond after the Unix epoch.
    span: Option<(u64, u64)>,
    /// Where they are wanted.
    leaks: Leaks,
}

impl Reading {
    fn chunk(&mut self, header: &Header, body: &[u8]) -> Result<(), JfrError> {
        let compressed = header.compressed;
        let metadata = body.get(header.metadata..).ok_or(JfrError::Cut)?;
        let types = match event(&mut Cursor::new(metadata, compressed), compressed)? {
            Some((METADATA, content)) => Types::read(content)?,
            _ => return Err(JfrError::Metadata),
        };
        let by_async_profiler = types.iter().any(|(_, of)| of.name.starts_with("profiler."));
        let began = self.span.map_or(header.start_nanos, |(start, _)| start);
        let clock = Clock {
            start: header.start_ticks,
            ticks_per_second: header.ticks_per_second,
            offset: header.start_nanos.saturating_sub(began),
        };
        let mut samples = Samples::of(&types, by_async_profiler, self.wanted, (self.slicing, clock));
        if self.span.is_some() {
            // Said once, in the first chunk.
            samples.recorder = std::mem::take(&mut self.recorder);
        }
        if self.slicing.by_span {
            let (mut spans, mut events) = (Spans::of(&types), Cursor::new(body, compressed));
            while let Some((id, content)) = event(&mut events, compressed)? {
                spans.take(id, content)?;
            }
            samples.tags = spans.finish();
        }
        let mut calls = (self.wanted == Some(Sampled::Leaks)).then(|| Calls::of(&types));
        let mut pools = Pools::default();
        let mut events = Cursor::new(body, compressed);
        while let Some((id, content)) = event(&mut events, compressed)? {
            match id {
                METADATA => {}
                CHECKPOINT => pools.read(content, &types)?,
                id => {
                    if let Some(calls) = &mut calls {
                        calls.take(id, content.clone())?;
                    }
                    samples.take(id, content)?;
                }
            }
        }
        let end = header.start_nanos.saturating_add(header.duration_nanos);
        let (start, last) = self.span.unwrap_or((header.start_nanos, end));
        self.span = Some((start.min(header.start_nanos), last.max(end)));
        let Samples { sums, recorder, .. } = samples;
        self.recorder = recorder;
        if let Some(calls) = calls {
            return self.add_calls(calls, &pools);
        }
        let counted: HashSet<Source> = sums.keys().map(|key| key.source).collect();
        let twice = |key: &Key| matches!(key.source, Source::Coarser(of) if counted.contains(&Source::Of(of)));
        let mut sums: Vec<(Sampled, Key, Sum)> = sums
            .into_iter()
            .filter(|(key, _)| !twice(key))
            .map(|(key, sum)| (sampled(key, &pools), key, sum))
            .collect();
        self.seen.extend(sums.iter().map(|(sampled, ..)| sampled));
        let Some(wanted) = self.wanted.or_else(|| self.seen.first().copied()) else {
            return Ok(());
        };
        sums.retain(|(sampled, ..)| *sampled == wanted);
        // The same in each reading of the same file.
        sums.sort_unstable_by_key(|(_, key, _)| (key.stack, key.class, key.thread, key.part, key.tag));
        self.add(wanted, header, &pools, &sums)
    }

    fn add(
        &mut self,
        wanted: Sampled,
        header: &Header,
        pools: &Pools<'_>,
        sums: &[(Sampled, Key, Sum)],
    ) -> Result<(), JfrError> {
        let (builder, values) = match &mut self.builder {
            Some(made) => made,
            empty => empty.insert(builder(wanted, &self.recorder, self.names)?),
        };
        let mut frames = Frames::of(pools);
        let mut threads: HashMap<u64, ThreadRoot, ahash::RandomState> = HashMap::default();
        let (mut stack, mut labels) = (Vec::new(), Vec::new());
        for (_, key, sum) in sums {
            stack.clear();
            labels.clear();
            if values.has_classes()
                && let Some(class) = frames.class(builder, key.class)?
            {
                stack.push(class);
            }
            push_stack(&mut stack, key.stack, pools, &mut frames, builder)?;
            let (row, width) = values.of(*sum, |ticks| header.nanos(ticks))?;
            if self.slicing.by_thread {
                let root = match threads.entry(key.thread) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(new) => {
                        let (name, number) = pools.thread(key.thread);
                        *new.insert(ThreadRoot::new(builder, &name, number)?)
                    }
                };
                stack.push(root.frame);
                labels.extend(root.labels);
            }
            labels.extend(self.slicing.label(builder, key.part)?);
            if key.tag != 0 {
                let tag = short_text(&pools.string(key.tag), MAX_TAG);
                labels.push(Label {
                    key: builder.string(SPAN)?,
                    value: LabelValue::Text(builder.string(&tag)?),
                });
            }
            builder.sample(&stack, &row[..width], &labels)?;
            self.samples = self.samples.checked_add(sum.samples).ok_or(ModelError::Overflow)?;
        }
        Ok(())
    }

    fn add_calls(&mut self, calls: Calls<'_>, pools: &Pools<'_>) -> Result<(), JfrError> {
        let (builder, _) = match &mut self.builder {
            Some(made) => made,
            empty => empty.insert(builder(Sampled::Leaks, &self.recorder, self.names)?),
        };
        let mut frames = Frames::of(pools);
        self.leaks.add(calls, self.recorder.nativemem, |key| {
            let mut stack = Vec::new();
            push_stack(&mut stack, key, pools, &mut frames, builder)?;
            Ok(stack)
        })
    }

    fn finish(mut self) -> Result<Profile, JfrError> {
        let Some((start, end)) = self.span else {
            return Err(JfrError::Cut);
        };
        if self.wanted.is_none() && self.seen.len() > 1 {
            return Err(JfrError::Several(self.seen.into_iter().collect()));
        }
        let (mut builder, _) = match self.builder.take() {
            Some(made) => made,
            None => builder(self.wanted.unwrap_or(Sampled::Cpu), &self.recorder, self.names)?,
        };
        self.samples += self.leaks.finish(&mut builder)?;
        let mut profile = builder.finish();
        profile.time_nanos = i64::try_from(start).unwrap_or_default();
        profile.duration_nanos = i64::try_from(end.saturating_sub(start)).unwrap_or_default();
        profile.recorded_samples = Some(self.samples);
        Ok(profile)
    }
}

/// Adds the frames of a stack, the innermost first.
fn push_stack(
    stack: &mut Vec<LocationId>,
    key: u64,
    pools: &Pools<'_>,
    frames: &mut Frames<'_, '_>,
    builder: &mut ProfileBuilder,
) -> Result<(), JfrError> {
    match pools.stack_of(key) {
        Some(of) => {
            for frame in of.frames {
                stack.push(frames.location(builder, *frame)?);
            }
            if of.truncated {
                stack.push(builder.frame(CUT, FrameKind::Native)?);
            }
        }
        None => stack.push(builder.frame(UNKNOWN, FrameKind::Native)?),
    }
    Ok(())
}

fn builder(wanted: Sampled, recorder: &Recorder, names: Names) -> Result<(ProfileBuilder, Values), ModelError> {
    let values = Values::of_event(wanted, recorder);
    let mut builder = ProfileBuilder::new(values.types())?;
    builder.names = names;
    builder.profile.period_type = Some(values.value.clone());
    builder.profile.period = i64::try_from(values.interval).unwrap_or_default();
    Ok((builder, values))
}

/// What a sample is of. async-profiler leaves the state of the thread unknown where something interrupted it, and says it
/// where it went through all threads.
fn sampled(key: Key, pools: &Pools<'_>) -> Sampled {
    match key.source {
        Source::Of(sampled) | Source::Coarser(sampled) => sampled,
        Source::Execution if pools.thread_state(key.class) == "STATE_DEFAULT" => Sampled::Cpu,
        Source::Execution => Sampled::Wall,
    }
}
