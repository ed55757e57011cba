//! The samples of a chunk, summed up by what they are of: which events count, and which of their fields.
//!
//! Knows the events of async-profiler and those of the JDK that say where something happened. Called by [`super::read`].
//! Sources: `jfrMetadata.cpp` and `flightRecorder.cpp` of async-profiler, `metadata.xml` of the JDK.

use std::collections::HashMap;

use super::JfrError;
use super::cursor::{Cursor, Text};
use super::metadata::{Field, Primitive, Types, Value};
use super::sampled::Sampled;
use super::spans::Tags;
use crate::profile::builder::ModelError;
use crate::profile::slicing::Slicing;

/// What is summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) source: Source,
    /// Key of the stack.
    pub(super) stack: u64,
    /// Key of a class, or of the state of a thread.
    pub(super) class: u64,
    /// Key of the thread, where threads are told apart.
    pub(super) thread: u64,
    /// The part of the recording's time.
    pub(super) part: u32,
    /// Key of what the program said that it was doing, 0 for nothing.
    pub(super) tag: u64,
}

/// Where a sample comes from, before its thread's state is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// `jdk.ExecutionSample`: of a clock, a counter, or of all threads in turn. The state of the thread tells.
    Execution,
    /// Whatever the state is.
    Of(Sampled),
    /// The same once more, where the JDK was asked for two events of it: it counts where the other has nothing.
    Coarser(Sampled),
}

impl Source {
    /// True if its samples may be of that kind.
    fn may_be(self, wanted: Sampled) -> bool {
        match self {
            Self::Execution => matches!(wanted, Sampled::Cpu | Sampled::Wall),
            Self::Of(sampled) | Self::Coarser(sampled) => sampled == wanted,
        }
    }
}

/// How often, and how much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) samples: u64,
    /// Bytes or ticks.
    pub(super) amount: u64,
}

/// How a chunk counts time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    /// Ticks at its beginning.
    pub(super) start: u64,
    pub(super) ticks_per_second: u64,
    /// Nanoseconds from the beginning of the recording to that of the chunk.
    pub(super) offset: u64,
}

impl Clock {
    /// Nanoseconds from the beginning of the recording to a time in ticks. What began before is in its first one; a wait may have
    /// begun before the chunk in which it ended.
    fn nanos(&self, time: u64) -> u64 {
        let ticks = i128::from(time) - i128::from(self.start);
        let nanos = ticks * 1_000_000_000 / i128::from(self.ticks_per_second.max(1)) + i128::from(self.offset);
        u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)
    }
}

/// What the recorder was told, as far as it says what the numbers are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Recorder {
    /// What interrupts threads, by async-profiler's name.
    pub(super) event: String,
    /// Its distance of two samples.
    pub(super) interval: u64,
    /// That of the wall clock beside it.
    pub(super) wall: u64,
    /// Bytes between two sampled allocations.
    pub(super) alloc: u64,
    /// Bytes between two sampled allocations of native code.
    pub(super) nativemem: u64,
}

/// What a field is to a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Time,
    Thread,
    Stack,
    Class,
    Samples,
    Amount,
    /// As `Amount`, of the same event, and better.
    BetterAmount,
    None,
}

/// An event that is a sample: where it comes from, and its fields, how they are read if that is always the same, and what they are to it.
type Layout<'t> = (Source, Vec<(&'t Field, Option<Primitive>, Role)>);

/// The samples of one chunk.
#[derive(Debug)]
pub(super) struct Samples<'t> {
    types: &'t Types,
    layouts: HashMap<u64, Layout<'t>, ahash::RandomState>,
    settings: Option<(u64, &'t [Field])>,
    slicing: Slicing,
    /// What makes nanoseconds after the beginning of the recording of a time in ticks.
    clock: Clock,
    /// Where samples are told apart by them.
    pub(super) tags: Tags,
    pub(super) sums: HashMap<Key, Sum, ahash::RandomState>,
    pub(super) recorder: Recorder,
}

/// Longest value of a setting that is looked at.
const MAX_SETTING: usize = 128;

impl<'t> Samples<'t> {
    /// Of all events, or only of `wanted` ones.
    pub(super) fn of(
        types: &'t Types,
        by_async_profiler: bool,
        wanted: Option<Sampled>,
        (slicing, clock): (Slicing, Clock),
    ) -> Self {
        let mut samples = Self {
            types,
            layouts: HashMap::default(),
            settings: types
                .named("jdk.ActiveSetting")
                .map(|(id, of_id)| (id, of_id.fields.as_slice())),
            slicing,
            clock,
            tags: Tags::default(),
            sums: HashMap::default(),
            recorder: Recorder::default(),
        };
        for (id, of_id) in types.iter() {
            let fields = &of_id.fields;
            let source = match of_id.name.as_str() {
                "jdk.ExecutionSample" if by_async_profiler => Source::Execution,
                "jdk.ExecutionSample" => Source::Coarser(Sampled::Cpu),
                "jdk.CPUTimeSample" => Source::Of(Sampled::Cpu),
                "profiler.WallClockSample" => Source::Of(Sampled::Wall),
                "jdk.ObjectAllocationInNewTLAB" | "jdk.ObjectAllocationOutsideTLAB" => Source::Of(Sampled::Alloc),
                "jdk.ObjectAllocationSample" => Source::Coarser(Sampled::Alloc),
                "profiler.LiveObject" => Source::Of(Sampled::Heap),
                "jdk.JavaMonitorEnter" => Source::Of(Sampled::Lock),
                // The JDK's has every thread that waits for work; async-profiler's waits for a lock.
                "jdk.ThreadPark" if by_async_profiler => Source::Of(Sampled::Lock),
                "profiler.Malloc" => Source::Of(Sampled::Nativemem),
                "profiler.NativeLock" => Source::Of(Sampled::Nativelock),
                "jdk.MethodTrace" => Source::Of(Sampled::Latency),
                _ => continue,
            };
            if wanted.is_some_and(|wanted| !source.may_be(wanted)) {
                continue;
            }
            let role = |field: &Field| match field.name.as_str() {
                "startTime" => Role::Time,
                "sampledThread" | "eventThread" => Role::Thread,
                "stackTrace" => Role::Stack,
                "state" if source == Source::Execution => Role::Class,
                "objectClass" | "monitorClass" | "parkedClass" => Role::Class,
                "samples" => Role::Samples,
                "allocationSize" | "size" | "duration" => Role::Amount,
                "tlabSize" | "weight" => Role::BetterAmount,
                _ => Role::None,
            };
            let layout = fields.iter().map(|field| (field, types.primitive(field), role(field)));
            samples.layouts.insert(id, (source, layout.collect()));
        }
        samples
    }

    /// Takes an event of the type `id` with this content. Others than samples are stepped over.
    pub(super) fn take(&mut self, id: u64, cursor: Cursor<'_>) -> Result<(), JfrError> {
        if self.settings.is_some_and(|(settings, _)| settings == id) {
            return self.setting(cursor);
        }
        let Some((source, layout)) = self.layouts.get(&id) else {
            return Ok(());
        };
        let mut cursor = cursor;
        let (mut stack, mut class, mut samples, mut amount, mut better) = (0, 0, 1, 0, None);
        let (mut time, mut thread) = (0, 0);
        for (field, primitive, role) in layout {
            let value = match primitive {
                Some(primitive) => primitive.read(&mut cursor)?,
                None => self.types.field(&mut cursor, field)?,
            };
            let Value::Number(number) = value else { continue };
            match role {
                Role::Time => time = number,
                Role::Thread => thread = number,
                Role::Stack => stack = number,
                Role::Class => class = number,
                Role::Samples => samples = number,
                Role::Amount => amount = number,
                Role::BetterAmount => better = Some(number),
                Role::None => {}
            }
        }
        // A duration may be negative where clocks disagree.
        let mut amount = i64::try_from(better.unwrap_or(amount)).map_or(0, i64::unsigned_abs);
        if *source == Source::Of(Sampled::Nativemem) {
            // A sample stands for as much as passed since the last one, as in the text of the same event.
            amount = amount.max(self.recorder.nativemem);
        }
        let key = Key {
            source: *source,
            stack,
            class,
            thread: if self.slicing.by_thread { thread } else { 0 },
            part: self.slicing.part(|| self.clock.nanos(time)),
            tag: self.tags.at(thread, time),
        };
        let sum = self.sums.entry(key).or_default();
        let add = |sum: u64, value: u64| sum.checked_add(value).ok_or(ModelError::Overflow);
        sum.samples = add(sum.samples, samples)?;
        sum.amount = add(sum.amount, amount)?;
        Ok(())
    }

    fn setting(&mut self, mut cursor: Cursor<'_>) -> Result<(), JfrError> {
        let Some((_, fields)) = self.settings else {
            return Ok(());
        };
        let (mut name, mut value) = (Text::Empty, Text::Empty);
        for field in fields {
            match (field.name.as_str(), self.types.field(&mut cursor, field)?) {
                ("name", Value::Text(text)) => name = text,
                ("value", Value::Text(text)) => value = text,
                _ => {}
            }
        }
        let value = value.decode();
        let number = || value.parse().unwrap_or(0);
        let recorder = &mut self.recorder;
        match &*name.decode() {
            "event" if value.len() <= MAX_SETTING => recorder.event = value.into_owned(),
            "interval" => recorder.interval = number(),
            "wall" => recorder.wall = number(),
            "alloc" => recorder.alloc = number(),
            "nativemem" => recorder.nativemem = number(),
            _ => {}
        }
        Ok(())
    }
}
