//! What the kernel tells, record by record, becomes sums of stacks.
//!
//! Must not know how records arrive, nor what addresses are called. Called by [`super::record`].

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::address_spaces::AddressSpaces;
use super::groups::Groups;
use super::plan::{self, NativePlan};
use super::sample::{Record, Sample};
use super::stacks::{Owner, StackFrame, StackId, Stacks};
use super::symbols::Symbolizer;
use super::unwind::{Unwinder, Walk};
use crate::process::ProcessTable;

/// Threads whose waits are measured.
const MOST_THREADS: usize = 1 << 16;

/// Frames that the kernel walks, of which it keeps a few for its own marks (`kernel.perf_event_max_stack` is 127).
const KERNEL_DEEPEST: usize = 120;

/// In the place of a stack that was left before anything was sampled.
const BEFORE: &str = "[waited since before the capture]";

/// What happened so far.
#[derive(Debug)]
pub(super) struct Collector<'a> {
    pub(super) spaces: AddressSpaces<'a>,
    unwinder: Unwinder,
    pub(super) symbols: Symbolizer,
    pub(super) stacks: Stacks,
    /// Names of threads by their numbers, as they were when each was met first.
    pub(super) threads: HashMap<i32, String>,
    table: &'a ProcessTable,
    by_thread: bool,
    /// Of a whole node.
    pub(super) groups: Option<Groups<'a>>,
    /// Whole stacks are, and not only what is on top of them.
    copies_stacks: bool,
    /// Waits count; those for a CPU only if that is elapsed time, too.
    waits: bool,
    preempted: bool,
    /// Off the CPU.
    away: HashMap<i32, Away>,
    /// Threads of which anything was told.
    seen: HashSet<i32>,
    /// Threads that there were when sampling began.
    first: HashSet<i32>,
    /// When it began, by the clock of the samples.
    began: u64,
    /// Nanoseconds of an interval.
    interval: u64,
    /// How often a thread left its CPU.
    pub(super) switches: u64,
    addresses: Vec<u64>,
    frames: Vec<StackFrame>,
}

/// A thread that left its CPU.
#[derive(Debug, Clone, Copy)]
struct Away {
    since: u64,
    stack: Option<StackId>,
    counts: bool,
}

impl<'a> Collector<'a> {
    /// Of processes of `table`; when something was is known to an `interval`.
    pub(super) fn new(table: &'a ProcessTable, symbols: Symbolizer, plan: &'a NativePlan, interval: Duration) -> Self {
        Self {
            spaces: AddressSpaces::new(table),
            unwinder: match plan.node {
                Some(_) => Unwinder::of_node(),
                None => Unwinder::default(),
            },
            symbols,
            stacks: Stacks::default(),
            threads: HashMap::new(),
            table,
            by_thread: plan.threads,
            groups: plan.node.as_ref().map(|node| Groups::new(table, node)),
            copies_stacks: plan.stack_bytes > plan::TOP_OF_STACK,
            waits: plan.switches,
            preempted: plan.counter.is_some(),
            away: HashMap::new(),
            seen: HashSet::new(),
            first: HashSet::new(),
            began: 0,
            interval: u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX),
            switches: 0,
            addresses: Vec::new(),
            frames: Vec::new(),
        }
    }

    /// Sampling begins now, nanoseconds of `CLOCK_MONOTONIC`. What is mapped in `pid` is looked at: it may be gone later.
    pub(super) fn begin(&mut self, pid: i32, now: u64) {
        self.spaces.of(pid);
        self.began = now;
        if self.waits {
            self.first = self.table.threads(pid).take(MOST_THREADS).collect();
        }
    }

    /// Takes a record.
    pub(super) fn take(&mut self, record: Record<'_>) {
        match record {
            Record::Sample(sample) => {
                let stack = self.stack_of(&sample);
                let interval = self.interval_of(sample.time);
                self.stacks.add(stack, sample.period, interval, sample.tid);
            }
            Record::SwitchOut { sample, preempted } => self.left(&sample, preempted),
            Record::SwitchIn { pid, tid, time } => self.came_back(pid, tid, time),
            Record::Mapped { pid, mapping } => self.spaces.mapped(pid, mapping),
            Record::Forked { pid, parent } => {
                self.spaces.forked(pid, parent);
                if let Some(groups) = &mut self.groups {
                    groups.forked(pid, parent);
                }
            }
            Record::Executed { pid } => self.spaces.executed(pid),
            Record::Exited { pid, tid } => {
                self.away.remove(&tid);
                if let Some(groups) = self.groups.as_mut().filter(|_| pid == tid) {
                    groups.exited(pid);
                    self.spaces.exited(pid);
                }
            }
            // The sampler counts them.
            Record::Lost(_) | Record::Throttled => {}
        }
    }

    /// Sampling ended. Threads that are still away have waited until then; those of `pid` of which nothing was told, all the
    /// time.
    pub(super) fn end(&mut self, pid: i32, now: u64) {
        for (tid, away) in std::mem::take(&mut self.away) {
            self.waited(tid, away, now);
        }
        for tid in std::mem::take(&mut self.first) {
            if !self.seen.contains(&tid) {
                self.waited_before(pid, tid, now);
            }
        }
    }

    fn left(&mut self, sample: &Sample<'_>, preempted: bool) {
        self.switches += 1;
        if self.away.len() >= MOST_THREADS {
            return;
        }
        self.seen.insert(sample.tid);
        let away = Away {
            since: sample.time,
            stack: self.stack_of(sample),
            counts: !preempted || self.preempted,
        };
        self.away.insert(sample.tid, away);
    }

    fn came_back(&mut self, pid: i32, tid: i32, time: u64) {
        let is_new = self.seen.len() < MOST_THREADS && self.seen.insert(tid);
        match self.away.remove(&tid) {
            Some(away) => self.waited(tid, away, time),
            // A thread that was born meanwhile comes to a CPU as well, and has waited for nothing.
            None if is_new && self.is_old(tid) => self.waited_before(pid, tid, time),
            None => {}
        }
    }

    /// The interval with this moment, nanoseconds of `CLOCK_MONOTONIC`: a wait is in the one in which it began.
    fn interval_of(&self, time: u64) -> u32 {
        let intervals = time.saturating_sub(self.began) / self.interval.max(1);
        u32::try_from(intervals).unwrap_or(u32::MAX)
    }

    fn waited(&mut self, tid: i32, away: Away, until: u64) {
        if away.counts {
            let interval = self.interval_of(away.since);
            self.stacks
                .add(away.stack, until.saturating_sub(away.since), interval, tid);
        }
    }

    /// A thread that was off the CPU when sampling began, and of which nothing was told since.
    fn waited_before(&mut self, pid: i32, tid: i32, until: u64) {
        let owner = self.owner(pid, tid);
        let stack = self.stacks.stack(owner, &[StackFrame::Words(BEFORE)], false);
        self.stacks.add(stack, until.saturating_sub(self.began), 0, tid);
    }

    fn owner(&mut self, pid: i32, tid: i32) -> Owner {
        let group = self.groups.as_mut().map_or(0, |groups| groups.of(pid).group);
        if self.threads.len() < MOST_THREADS && !self.threads.contains_key(&tid) {
            let comm = self.table.directory(pid).join(format!("task/{tid}/comm"));
            let name = std::fs::read(comm).unwrap_or_default();
            let name = String::from_utf8_lossy(name.strip_suffix(b"\n").unwrap_or(&name)).into_owned();
            self.threads.insert(tid, name);
        }
        let tid = if self.by_thread { tid } else { 0 };
        Owner { group, tid }
    }

    /// True of a thread that was there when sampling began.
    fn is_old(&self, tid: i32) -> bool {
        self.first.contains(&tid)
    }

    fn stack_of(&mut self, sample: &Sample<'_>) -> Option<StackId> {
        self.addresses.clear();
        self.frames.clear();
        let space = self.spaces.of(sample.pid);
        let groups = self.groups.as_mut();
        let by_kernel = groups.is_some_and(|groups| groups.of(sample.pid).keeps_frame_pointers);
        let by_tables = sample.user.is_empty() || (self.copies_stacks && !by_kernel);
        let walk = match sample.registers {
            Some(registers) if by_tables => {
                let start = (registers, sample.stack);
                self.unwinder
                    .walk(sample.pid, space, start, &mut self.symbols, &mut self.addresses)
            }
            registers => {
                self.addresses.extend_from_slice(sample.user);
                let top = sample.stack.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
                if let (Some(registers), Some(top)) = (registers, top)
                    && let Some(mapping) = space.find(registers.ip)
                    && space.find(top).is_some()
                    && self.symbols.is_frameless(sample.pid, mapping, registers.ip)
                {
                    self.addresses.insert(1.min(self.addresses.len()), top);
                }
                // The kernel ends there and says nothing.
                match sample.kernel.len() + sample.user.len() {
                    frames if frames >= KERNEL_DEEPEST => Walk::Cut,
                    _ => Walk::Whole,
                }
            }
        };
        for (at, &address) in sample.kernel.iter().enumerate() {
            self.frames
                .push(StackFrame::Kernel(self.symbols.kernel(address, at == 0)));
        }
        for (at, &address) in self.addresses.iter().enumerate() {
            // The program's own leaf was executed, also where it has called the kernel.
            let place = space.place(&mut self.symbols, sample.pid, address, at == 0);
            self.frames.push(StackFrame::Program(place));
        }
        let owner = self.owner(sample.pid, sample.tid);
        self.stacks.stack(owner, &self.frames, walk == Walk::Cut)
    }
}
