//! Adds up the events of a trace, and makes a profile of them when it has ended.
//!
//! Events come before the names of their functions, so they are added up by address. Called by [`super::read`].

use hashbrown::HashMap;

use super::addresses::Addresses;
use super::clr::{self, Allocation, ClrEvent, MethodCode, ThreadState};
use super::contention::Contention;
use super::cursor::Utf16;
use super::decoder::{Event, Visitor};
use super::heap_walk::HeapWalk;
use super::metadata::Metadata;
use super::methods::Methods;
use super::moment::Moment;
use super::profile_of::ProfileOf;
use super::read::NettraceReadError;
use super::running;
use super::sampled_threads::{Sample, SampledThreads};
use super::stack_tree::{StackId, StackTree};
use super::sums::{Key, Measure, Sums};
use super::trace_header::TraceHeader;
use crate::profile::format::ReadOptions;
use crate::profile::slicing::Slicing;
use crate::profile::strings::{StringId, Strings};
use crate::profile::{ModelError, Profile, Quality};

/// Longest name of a type.
const MAX_TYPE: usize = 8 << 10;

/// What a trace has added up to so far.
#[derive(Debug, Default)]
pub(super) struct Collector {
    header: TraceHeader,
    /// Of an event that counts; a trace of several has addresses that mean several things.
    process: Option<Option<u64>>,
    methods: Methods,
    addresses: Addresses,
    stacks: StackTree,
    /// Of the ids since the last sequence point.
    known_stacks: HashMap<(u32, bool), StackId, ahash::RandomState>,
    threads: SampledThreads,
    /// In place of sums of samples.
    moment: Option<Moment>,
    contention: Contention,
    heap: HeapWalk,
    types: Strings,
    /// Reused: names are decoded into it.
    text: String,
    /// Whether threads are told apart while they are added up.
    by_thread: bool,
    slicing: Slicing,
    sums: Sums,
    /// Time of the last event that counts.
    end: u64,
}

impl Collector {
    /// Of a recording with this stamp.
    pub(super) fn new(stamp: &Quality, slicing: Slicing) -> Self {
        Self {
            by_thread: stamp.by_thread || slicing.by_thread || running::knows_threads(stamp),
            slicing,
            ..Self::default()
        }
    }

    /// Of a recording of which the threads at one moment are wanted.
    pub(super) fn of_threads() -> Self {
        Self {
            moment: Some(Moment::default()),
            ..Self::default()
        }
    }

    /// Its threads.
    pub(super) fn threads(mut self, options: &ReadOptions) -> Result<Profile, ModelError> {
        let samples = self.moment.take().unwrap_or_default().finish();
        let mut profile = self.profile_of().threads(samples, options)?;
        profile.time_nanos = i64::try_from(self.header.unix_nanoseconds).unwrap_or_default();
        Ok(profile)
    }

    fn profile_of(&self) -> ProfileOf<'_> {
        ProfileOf {
            methods: &self.methods,
            addresses: &self.addresses,
            stacks: &self.stacks,
            types: &self.types,
            sums: &self.sums,
            slicing: self.slicing,
        }
    }

    /// The profile, for what the stamp of the recording says that it is of.
    pub(super) fn finish(mut self, stamp: &Quality) -> Result<Profile, ModelError> {
        for (sample, time) in self.threads.finish() {
            self.add_sample(sample, time)?;
        }
        let mut profile = self.profile_of().build(stamp, self.header.sampling_nanoseconds)?;
        // A recording that does not say what it is of is a heap's if it has one: allocations come along with it.
        let heap = matches!(stamp.event.as_deref(), None | Some("heap"));
        if let Some(walk) = if heap { self.heap.profile()? } else { None } {
            profile = walk;
        }
        let signed = |number: u64| i64::try_from(number).unwrap_or_default();
        profile.time_nanos = signed(self.header.unix_nanoseconds);
        let ticks = self.end.saturating_sub(self.header.start);
        profile.duration_nanos = match stamp.duration_ms {
            Some(told) => signed(told.saturating_mul(1_000_000)),
            None => signed(self.header.nanoseconds(ticks)),
        };
        Ok(profile)
    }

    fn add_sample(&mut self, sample: Sample, time: u64) -> Result<(), ModelError> {
        let measure = match sample.state {
            ThreadState::Managed => Measure::Managed,
            ThreadState::External => Measure::External,
        };
        let key = Key {
            measure,
            stack: sample.stack,
            type_name: StringId::default(),
            thread: self.thread(sample.thread),
            part: self.part(sample.time),
        };
        self.sums.add(key, time)
    }

    /// The part with this moment, in nanoseconds of the trace's clock.
    fn part(&self, time: u64) -> u32 {
        self.slicing
            .part(|| time.saturating_sub(self.header.nanoseconds(self.header.start)))
    }

    fn thread(&self, number: u64) -> u64 {
        if self.by_thread { number } else { 0 }
    }

    fn stack(&mut self, event: &Event<'_, ClrEvent>, interrupted: bool) -> Result<StackId, ModelError> {
        let id = (event.header.stack, interrupted);
        if let Some(&known) = self.known_stacks.get(&id) {
            return Ok(known);
        }
        let stack = self.stacks.id(event.stack, interrupted, &mut self.addresses)?;
        self.known_stacks.insert(id, stack);
        Ok(stack)
    }

    fn add_typed(
        &mut self,
        event: &Event<'_, ClrEvent>,
        measure: Measure,
        type_name: Utf16<'_>,
        weight: u64,
    ) -> Result<(), ModelError> {
        let Self { types, text, .. } = self;
        type_name.decode_into(text);
        if let Some((end, _)) = text.char_indices().nth(MAX_TYPE) {
            text.truncate(end);
        }
        let type_name = types.intern(text)?;
        let stack = self.stack(event, false)?;
        let key = Key {
            measure,
            stack,
            type_name,
            thread: self.thread(event.thread.id),
            part: self.part(self.header.nanoseconds(event.header.time)),
        };
        self.sums.add(key, weight)
    }

    /// What is counted, or `None` if its payload is too short for what it is.
    fn count(&mut self, event: &Event<'_, ClrEvent>) -> Option<Result<(), ModelError>> {
        let (payload, pointer_size) = (event.payload, self.header.pointer_size);
        let counted = match event.kind {
            ClrEvent::Sample => {
                let state = ThreadState::read(payload)?;
                self.sample(event, state)
            }
            ClrEvent::MethodNamed | ClrEvent::MethodUnnamed => {
                let code = MethodCode::read(payload, event.kind == ClrEvent::MethodNamed)?;
                self.methods.add(&code, &mut self.addresses)
            }
            ClrEvent::MethodUnloaded { named } => {
                let code = MethodCode::read(payload, named)?;
                let unloaded = self.methods.unload(&code, &mut self.addresses);
                // What is seen there from now on is something else.
                self.known_stacks.clear();
                unloaded
            }
            ClrEvent::Module { domain } => {
                let (id, path) = clr::module(payload, domain)?;
                self.methods.add_module(id, path)
            }
            ClrEvent::AllocationTick => {
                let allocation = Allocation::tick(payload, pointer_size)?;
                self.add_typed(event, Measure::AllocationTick, allocation.type_name, allocation.bytes)
            }
            ClrEvent::AllocationSampled => {
                let allocation = Allocation::sampled(payload, pointer_size)?;
                self.add_typed(
                    event,
                    Measure::AllocationSampled,
                    allocation.type_name,
                    allocation.bytes,
                )
            }
            ClrEvent::Exception => self.add_typed(event, Measure::Exception, clr::exception_type(payload)?, 0),
            ClrEvent::ContentionStart => {
                let time = self.header.nanoseconds(event.header.time);
                self.stack(event, false)
                    .map(|stack| self.contention.start(event.thread.id, stack, time))
            }
            ClrEvent::ContentionStop => self.contention_ends(event),
            ClrEvent::CollectionEnded => {
                self.heap.collection_ended();
                Ok(())
            }
            ClrEvent::HeapCounted => Ok(self.heap.counted(payload)?),
            ClrEvent::Types => self.heap.types(payload)?,
            ClrEvent::Objects => self.heap.objects(payload, pointer_size)?,
            ClrEvent::Other => Ok(()),
        };
        Some(counted)
    }

    fn sample(&mut self, event: &Event<'_, ClrEvent>, state: ThreadState) -> Result<(), ModelError> {
        let stack = self.stack(event, state == ThreadState::Managed)?;
        let sample = Sample {
            thread: event.thread.id,
            stack,
            state,
            time: self.header.nanoseconds(event.header.time),
        };
        if let Some(moment) = &mut self.moment {
            moment.add(sample);
            return Ok(());
        }
        match self.threads.next(sample) {
            Some((before, time)) => self.add_sample(before, time),
            None => Ok(()),
        }
    }

    fn contention_ends(&mut self, event: &Event<'_, ClrEvent>) -> Result<(), ModelError> {
        let stack = self.stack(event, false)?;
        let time = self.header.nanoseconds(event.header.time);
        let told = clr::contention_nanoseconds(event.payload);
        let Some((stack, nanoseconds)) = self.contention.stop(event.thread.id, stack, time, told) else {
            return Ok(());
        };
        let key = Key {
            measure: Measure::Contention,
            stack,
            type_name: StringId::default(),
            thread: self.thread(event.thread.id),
            part: self.part(time),
        };
        self.sums.add(key, nanoseconds)
    }
}

impl Visitor for Collector {
    type Kind = ClrEvent;
    type Error = NettraceReadError;

    fn trace(&mut self, header: &TraceHeader) {
        self.header = *header;
        self.threads = SampledThreads::new(header.sampling_nanoseconds);
    }

    fn describe(&mut self, metadata: &Metadata) -> ClrEvent {
        ClrEvent::of(metadata)
    }

    fn event(&mut self, event: &Event<'_, ClrEvent>) -> Result<(), NettraceReadError> {
        if event.kind == ClrEvent::Other {
            return Ok(());
        }
        if *self.process.get_or_insert(event.thread.process) != event.thread.process {
            return Err(NettraceReadError::SeveralProcesses);
        }
        self.end = self.end.max(event.header.time);
        match self.count(event) {
            Some(counted) => Ok(counted?),
            None => Err(NettraceReadError::ShortPayload(format!("{:?}", event.kind))),
        }
    }

    fn sequence_point(&mut self) {
        self.known_stacks.clear();
    }
}
