//! Sums of addresses → a profile with names: which of them are wanted, and what each is called.
//!
//! Pure. Called by [`super::collector`] at the end of a trace.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::addresses::{AddressId, Addresses};
use super::methods::Methods;
use super::running::Running;
use super::stack_tree::{StackId, StackTree};
use super::sums::{Key, Measure, Sum, Sums};
use super::waits::{is_stub, is_wait};
use crate::profile::frame_name::is_unresolved;
use crate::profile::model::{Label, LocationId};
use crate::profile::quality::ThreadFacts;
use crate::profile::slicing::Slicing;
use crate::profile::strings::Strings;
use crate::profile::thread_root::ThreadRoot;
use crate::profile::{FrameKind, ModelError, Profile, ProfileBuilder, Quality, ValueType};

/// A value of each stack in the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    /// Ticks that met a thread; only of those that count as CPU time, or all.
    Samples {
        running: bool,
    },
    Cpu,
    Wall,
    Allocations,
    AllocatedBytes,
    Contentions,
    Delay,
    Exceptions,
}

impl Column {
    /// Named as Go names them, so that pprof's tools know them.
    fn value_type(self) -> ValueType {
        match self {
            Self::Samples { .. } | Self::Allocations => ValueType::new("samples", "count"),
            Self::Cpu => ValueType::new("cpu", "nanoseconds"),
            Self::Wall => ValueType::new("wall", "nanoseconds"),
            Self::AllocatedBytes => ValueType::new("alloc_space", "bytes"),
            Self::Contentions => ValueType::new("contentions", "count"),
            Self::Delay => ValueType::new("delay", "nanoseconds"),
            Self::Exceptions => ValueType::new("exceptions", "count"),
        }
    }
}

/// All that a trace has told.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProfileOf<'a> {
    pub(super) methods: &'a Methods,
    pub(super) addresses: &'a Addresses,
    pub(super) stacks: &'a StackTree,
    pub(super) types: &'a Strings,
    pub(super) sums: &'a Sums,
    pub(super) slicing: Slicing,
}

impl ProfileOf<'_> {
    /// The profile of a recording with this stamp, whose sampler has this interval.
    pub(super) fn build(&self, stamp: &Quality, interval: u64) -> Result<Profile, ModelError> {
        let rows = self.sums.sorted();
        let mut names = Names::new(*self);
        let waits: Vec<bool> = rows.iter().map(|(key, _)| names.waits(key)).collect();
        let columns = self.columns(stamp.event.as_deref());
        let running = Running::new(&rows, &waits, stamp);
        let mut builder = ProfileBuilder::new(columns.iter().map(|column| column.value_type()).collect())?;
        let mut threads = Threads::new(stamp, self.slicing.by_thread);
        let mut cpu = 0_u64;
        let (mut stack, mut values, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        for ((key, sum), waits) in rows.iter().zip(waits) {
            let part = running.part(key, *sum, waits);
            values.clear();
            for &column in &columns {
                let value = self.value(column, key.measure, *sum, part);
                values.push(i64::try_from(value).map_err(|_| ModelError::Overflow)?);
            }
            if values.iter().all(|&value| value == 0) {
                continue;
            }
            cpu = cpu.saturating_add(part.weight);
            stack.clear();
            names.push(key, &mut builder, &mut stack)?;
            labels.clear();
            labels.extend_from_slice(threads.push(key.thread, &mut builder, &mut stack)?);
            labels.extend(self.slicing.label(&mut builder, key.part)?);
            builder.sample(&stack, &values, &labels)?;
        }
        let mut profile = builder.finish();
        if columns
            .iter()
            .any(|column| matches!(column, Column::Cpu | Column::Wall))
        {
            profile.period = i64::try_from(interval).unwrap_or_default();
            profile.period_type = profile.sample_types.get(1).cloned();
        }
        if columns.contains(&Column::Cpu) {
            profile.sampled_cpu_ms = Some(cpu / 1_000_000);
            let of_cpu = |sentence: &str| (Column::Cpu.value_type().name, sentence.to_owned());
            profile.doubts.extend(running.doubt.map(of_cpu));
        }
        profile.default_sample_type = columns
            .iter()
            .find(|column| {
                !matches!(
                    column,
                    Column::Samples { .. } | Column::Allocations | Column::Contentions
                )
            })
            .map(|column| column.value_type().name);
        Ok(profile)
    }

    /// What the recording was made for; of one that does not say, all that it has, the usual first.
    fn columns(&self, event: Option<&str>) -> Vec<Column> {
        let all = || {
            let has = |measures: &[Measure]| measures.iter().any(|&measure| self.sums.total(measure).count > 0);
            let sampled = [Column::Samples { running: false }, Column::Cpu, Column::Wall];
            let found: [(&[Measure], &[Column]); 4] = [
                (&[Measure::Managed, Measure::External], &sampled),
                (
                    &[Measure::AllocationTick, Measure::AllocationSampled],
                    &[Column::AllocatedBytes],
                ),
                (&[Measure::Contention], &[Column::Contentions, Column::Delay]),
                (&[Measure::Exception], &[Column::Exceptions]),
            ];
            let found = found.iter().filter(|(measures, _)| has(measures));
            found.flat_map(|(_, columns)| columns.iter().copied()).collect()
        };
        match event {
            Some("cpu") => vec![Column::Samples { running: true }, Column::Cpu],
            Some("wall") => vec![Column::Samples { running: false }, Column::Wall],
            Some("alloc") => vec![Column::Allocations, Column::AllocatedBytes],
            Some("lock") => vec![Column::Contentions, Column::Delay],
            Some("exceptions") => vec![Column::Exceptions],
            Some("heap") => Vec::new(),
            _ => all(),
        }
    }

    /// `running` is the part of it that was CPU time.
    fn value(&self, column: Column, measure: Measure, sum: Sum, running: Sum) -> u64 {
        use Measure::{AllocationSampled, AllocationTick, Contention, Exception, External, Managed};
        // Where the runtime chooses at random, its ticks count the same bytes once more.
        let chosen = self.sums.total(AllocationSampled).count > 0;
        let allocated = measure == if chosen { AllocationSampled } else { AllocationTick };
        let sampled = matches!(measure, Managed | External);
        let (count, weight) = (sum.count, sum.weight);
        match column {
            Column::Samples { running: true } => running.count,
            Column::Samples { running: false } if sampled => count,
            Column::Cpu => running.weight,
            Column::Wall if sampled => weight,
            Column::Allocations if allocated => count,
            Column::AllocatedBytes if allocated => weight,
            Column::Contentions if measure == Contention => count,
            Column::Delay if measure == Contention => weight,
            Column::Exceptions if measure == Exception => count,
            _ => 0,
        }
    }
}

/// Names of addresses, each made once.
#[derive(Debug)]
pub(super) struct Names<'a> {
    of: ProfileOf<'a>,
    waits: HashMap<StackId, bool, ahash::RandomState>,
    frames: HashMap<AddressId, LocationId, ahash::RandomState>,
}

impl<'a> Names<'a> {
    pub(super) fn new(of: ProfileOf<'a>) -> Self {
        Self {
            of,
            waits: HashMap::default(),
            frames: HashMap::default(),
        }
    }

    pub(super) fn name(&self, id: AddressId) -> String {
        let (address, settled) = self.of.addresses.get(id);
        match settled.or_else(|| self.of.methods.at(address)) {
            Some(method) => self.of.methods.name(method),
            None => self.of.methods.name_without_method(address),
        }
    }

    /// Whether a thread with this stack waits: by the function that called into native code. One without a frame does.
    fn waits(&mut self, key: &Key) -> bool {
        key.measure == Measure::External && self.stack_waits(key.stack)
    }

    /// The same of a thread that is in native code.
    pub(super) fn stack_waits(&mut self, stack: StackId) -> bool {
        if let Some(&known) = self.waits.get(&stack) {
            return known;
        }
        let names = self.of.stacks.addresses(stack).map(|address| self.name(address));
        let caller = names.into_iter().find(|name| !is_stub(name) && !is_unresolved(name));
        let waits = caller.is_none_or(|name| is_wait(&name));
        self.waits.insert(stack, waits);
        waits
    }

    /// The frames of a stack, leaf first; a type stands below the function that made it.
    fn push(&mut self, key: &Key, builder: &mut ProfileBuilder, stack: &mut Vec<LocationId>) -> Result<(), ModelError> {
        if matches!(
            key.measure,
            Measure::AllocationTick | Measure::AllocationSampled | Measure::Exception
        ) {
            stack.push(builder.frame(self.of.types.get(key.type_name), FrameKind::Other)?);
        }
        let stacks = self.of.stacks;
        for id in stacks.addresses(key.stack) {
            let location = match self.frames.get(&id) {
                Some(&location) => location,
                None => {
                    let name = self.name(id);
                    let kind = if is_unresolved(&name) {
                        FrameKind::Other
                    } else {
                        FrameKind::Jit
                    };
                    let location = builder.frame(&name, kind)?;
                    self.frames.insert(id, location);
                    location
                }
            };
            stack.push(location);
        }
        Ok(())
    }
}

/// Threads that stacks are split by.
#[derive(Debug)]
struct Threads<'a> {
    facts: Option<&'a BTreeMap<u64, ThreadFacts>>,
    known: HashMap<u64, ThreadRoot, ahash::RandomState>,
}

impl<'a> Threads<'a> {
    fn new(stamp: &'a Quality, by_thread: bool) -> Self {
        Self {
            facts: (stamp.by_thread || by_thread).then_some(&stamp.threads),
            known: HashMap::default(),
        }
    }

    /// Adds the thread to a stack, if stacks are split; gives its labels.
    fn push(
        &mut self,
        thread: u64,
        builder: &mut ProfileBuilder,
        stack: &mut Vec<LocationId>,
    ) -> Result<&[Label], ModelError> {
        let Some(facts) = self.facts else {
            return Ok(&[]);
        };
        let root = match self.known.entry(thread) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let name = facts.get(&thread).map_or("", |facts| facts.name.as_str());
                let number = i64::try_from(thread).unwrap_or_default();
                new.insert(ThreadRoot::new(builder, name, number)?)
            }
        };
        stack.push(root.frame);
        Ok(&root.labels)
    }
}
