//! Follows a process with all its threads, or a whole machine, and tells what the kernel tells.
//!
//! Three ways, in this order. *Inherited*: an event for each thread and CPU, which new threads and processes get from who made
//! them, and a ring per CPU; nothing is missed. Where that would be too many, *the machine*: an event per CPU, and what is of
//! others is dropped; it takes the right to see all. Else *by thread*: an event per thread, and the list of threads is
//! read again with each drain; a thread that lives for less is missed. An event of any CPU cannot be inherited, as its ring
//! would be written by several.
//!
//! A process that was forked before is one of its own, as for perf; those forked meanwhile belong to it.

use std::collections::HashSet;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::attr::{Place, Settled, settle};
use super::decode::{self, Scratch};
use super::descriptors::{Descriptors, RingSize};
use super::error::PerfError;
use super::merge::merge;
use super::{machine, sys};
use crate::process::{ProcessId, ProcessTable};
use crate::runtime::Reason;
use crate::runtime::native::events::Source;
use crate::runtime::native::plan::{NativePlan, Pace};
use crate::runtime::native::sample::Record;

/// Descriptors for events that are inherited. Each takes some 2 KiB of the kernel and is copied for every new thread.
const MOST_INHERITED: usize = 2048;

/// Left for the recorder's own files.
const OTHER_FILES: usize = 64;

/// How old a record is told: by then all CPUs have written what happened before it.
const SETTLED: Duration = Duration::from_millis(2);

/// What runs, and how complete it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// What samples and how: `perf_events cpu-clock 99 Hz, user and kernel`.
    pub sampler: String,
    /// The kernel's part of stacks is left out.
    pub user_only: bool,
    /// What samples per second really are; `None` where a sample stands for a number of events.
    pub frequency: Option<u32>,
    /// The most frames that the kernel takes of one stack.
    pub max_frames: Option<u32>,
    /// What is less than was asked for.
    pub limits: Vec<Reason>,
    /// Records that the kernel had no room for.
    pub lost: u64,
    /// How often it sampled less to save its own time.
    pub throttled: u64,
    /// Threads with events of their own, without those that inherited some.
    pub threads: usize,
    /// Descriptors in use.
    pub descriptors: usize,
    /// Bytes of rings.
    pub memory: usize,
}

/// How a process is followed.
#[derive(Debug)]
enum Way {
    Inherited,
    /// These processes, or all.
    Machine(Option<HashSet<i32>>),
    ByThread {
        table: ProcessTable,
        processes: HashSet<i32>,
        gone: Vec<i32>,
    },
}

/// The kernel's sampler at work. Its descriptors stay good when the one who opened them gives up the rights to do so; only *by
/// thread* needs them on, for new threads.
#[derive(Debug)]
pub struct Sampler {
    descriptors: Descriptors,
    way: Way,
    facts: Facts,
    bytes: Vec<u8>,
    scratch: Scratch,
}

impl Sampler {
    /// Opens what `plan` asks for, of a process with all its threads; nothing is sampled yet. To be called with all rights that
    /// there are.
    ///
    /// # Errors
    /// Why the kernel does not let us.
    pub fn open(table: &ProcessTable, target: ProcessId, plan: &NativePlan) -> Result<Self, PerfError> {
        let threads = table.threads(target.pid).count();
        let cpus = machine::cpus();
        let room = raise_limit().saturating_sub(OTHER_FILES);
        let per_place = 1 + usize::from(plan.switches && plan.counter.is_some());
        // Half as many threads again may come meanwhile.
        let needed = (threads * 3).div_ceil(2) * cpus.len() * per_place;
        let sampler = if needed <= MOST_INHERITED.min(room) {
            Self::inherited(table, target, plan, &cpus)?
        } else {
            match Self::on_machine(plan, Some(target.pid), &cpus) {
                Ok(sampler) => sampler,
                Err(_) => Self::by_thread(table, target, plan)?,
            }
        };
        // The pid may have become another's meanwhile.
        if table.is_alive(target) {
            Ok(sampler)
        } else {
            Err(PerfError::Gone)
        }
    }

    /// The same of all processes of the machine.
    ///
    /// # Errors
    /// Why the kernel does not let us.
    pub fn open_node(plan: &NativePlan) -> Result<Self, PerfError> {
        raise_limit();
        Self::on_machine(plan, None, &machine::cpus())
    }

    fn inherited(table: &ProcessTable, target: ProcessId, plan: &NativePlan, cpus: &[i32]) -> Result<Self, PerfError> {
        let place = |tid, cpu| Place {
            tid,
            cpu,
            inherited: true,
        };
        let first = cpus.first().copied().unwrap_or_default();
        let settled = settle_on_any(plan, table.threads(target.pid).map(|tid| place(tid, first)))?;
        Self::new(settled, plan, cpus.len(), Way::Inherited).filled(|sampler| {
            until_complete(|| {
                let mut new = 0;
                for tid in table.threads(target.pid) {
                    if sampler.descriptors.has(tid) {
                        continue;
                    }
                    new += 1;
                    for cpu in cpus {
                        sampler.descriptors.open(place(tid, *cpu), *cpu)?;
                    }
                }
                Ok(new)
            })
        })
    }

    fn on_machine(plan: &NativePlan, only: Option<i32>, cpus: &[i32]) -> Result<Self, PerfError> {
        let place = |cpu| Place {
            tid: -1,
            cpu,
            inherited: false,
        };
        let settled = settle(plan, place(cpus.first().copied().unwrap_or_default()))?;
        let way = Way::Machine(only.map(|pid| HashSet::from([pid])));
        Self::new(settled, plan, cpus.len(), way).filled(|sampler| {
            for cpu in cpus {
                sampler.descriptors.open(place(*cpu), *cpu)?;
            }
            Ok(())
        })
    }

    fn by_thread(table: &ProcessTable, target: ProcessId, plan: &NativePlan) -> Result<Self, PerfError> {
        let threads: Vec<_> = table.threads(target.pid).collect();
        let settled = settle_on_any(plan, threads.iter().map(|tid| alone(*tid)))?;
        let way = Way::ByThread {
            table: table.clone(),
            processes: HashSet::from([target.pid]),
            gone: Vec::new(),
        };
        Self::new(settled, plan, threads.len(), way).filled(|sampler| until_complete(|| sampler.look_for_threads()))
    }

    fn new(settled: Settled, plan: &NativePlan, rings: usize, way: Way) -> Self {
        let facts = Facts {
            sampler: name(&settled),
            user_only: settled.user_only,
            frequency: match settled.counter {
                Some((_, Pace::Frequency(hertz))) => Some(hertz),
                _ => None,
            },
            max_frames: machine::most_frames(),
            limits: settled.limits,
            ..Facts::default()
        };
        let page_size = usize::try_from(procfs::page_size()).unwrap_or(4096);
        let frames = usize::try_from(facts.max_frames.unwrap_or(127)).unwrap_or(127);
        let record = 128 + frames * 8 + usize::try_from(plan.copied_stack()).unwrap_or_default();
        let size = RingSize::new(record, rate(settled.counter.as_ref(), plan.switches), rings, page_size);
        Self {
            descriptors: Descriptors::new(settled.wanted, size),
            way,
            facts,
            bytes: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// Opens events of threads that have none; how many they are.
    fn look_for_threads(&mut self) -> Result<usize, PerfError> {
        let Way::ByThread { table, processes, .. } = &mut self.way else {
            return Ok(0);
        };
        let mut all = Vec::new();
        // The pid of one that is gone may be another's soon.
        processes.retain(|pid| {
            let before = all.len();
            all.extend(table.threads(*pid));
            all.len() > before
        });
        let mut new = 0;
        for tid in all {
            if !self.descriptors.has(tid) && self.descriptors.open(alone(tid), tid)? {
                new += 1;
            }
        }
        Ok(new)
    }

    /// Opens everything by `fill`, again with smaller rings where they do not fit into the memory that may be locked.
    fn filled(mut self, mut fill: impl FnMut(&mut Self) -> Result<(), PerfError>) -> Result<Self, PerfError> {
        loop {
            match fill(&mut self) {
                Ok(()) if self.descriptors.descriptors() == 0 => return Err(PerfError::Gone),
                Ok(()) => break,
                Err(PerfError::LockedMemory { .. }) if self.descriptors.begin_again_smaller() => {}
                Err(error) => return Err(error),
            }
        }
        self.count();
        Ok(self)
    }

    fn count(&mut self) {
        self.facts.threads = self.facts.threads.max(self.descriptors.threads());
        self.facts.descriptors = self.facts.descriptors.max(self.descriptors.descriptors());
        self.facts.memory = self.facts.memory.max(self.descriptors.memory());
    }

    /// Begins to sample. What is mapped is to be read after it, not before: what is mapped meanwhile comes as a record, too.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn enable(&mut self) -> Result<(), PerfError> {
        self.descriptors.enable()
    }

    /// Ends sampling; the next drain gets the rest.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn disable(&mut self) -> Result<(), PerfError> {
        self.descriptors.disable()
    }

    /// Gives `sink` what has happened since the last time, in order; while sampling goes on, without the last 2 ms. To be called
    /// each 50 to 100 ms: rings have room for a quarter of a second.
    pub fn drain(&mut self, sink: &mut dyn FnMut(Record<'_>)) {
        if self.descriptors.is_enabled() && self.look_for_threads().is_err() {
            self.limit(Reason::new(
                "threads_missed",
                "threads that began during the capture are missing: sideflame may not open events of them any more",
                "sideflame.io/rights: perf lets it see all threads of a process with very many",
            ));
        }
        let settled = u64::try_from(SETTLED.as_nanos()).unwrap_or_default();
        let until = if self.descriptors.is_enabled() {
            sys::now().saturating_sub(settled)
        } else {
            u64::MAX
        };
        let Self {
            descriptors,
            way,
            facts,
            bytes,
            scratch,
        } = self;
        let (rings, known) = descriptors.split();
        let broken = merge(rings, until, bytes, &mut |envelope, leaves, bytes| {
            let Some(event) = known.of(envelope) else { return };
            if envelope.is_sample() {
                let Some(sample) = decode::sample(envelope, bytes, (event.period, event.copies), scratch) else {
                    facts.lost += 1;
                    return;
                };
                if way.wants(sample.pid) {
                    sink(match event.switches {
                        true => Record::SwitchOut {
                            sample,
                            preempted: leaves == Some(true),
                        },
                        false => Record::Sample(sample),
                    });
                }
                return;
            }
            let Some(record) = decode::record(envelope, bytes, scratch) else {
                return;
            };
            match record {
                Record::Lost(records) => facts.lost += records,
                Record::Throttled => facts.throttled += 1,
                Record::Forked { pid, parent } => way.forked(pid, parent),
                Record::Exited { tid, .. } => {
                    known.forget(tid);
                    way.exited(tid);
                }
                _ => {}
            }
            if of(&record).is_none_or(|pid| way.wants(pid)) {
                sink(record);
            }
        });
        facts.lost += broken;
        if let Way::ByThread { gone, .. } = way {
            for tid in gone.drain(..) {
                descriptors.close(tid);
            }
        }
        self.count();
    }

    fn limit(&mut self, reason: Reason) {
        if !self.facts.limits.iter().any(|known| known.key == reason.key) {
            self.facts.limits.push(reason);
        }
    }

    /// What runs, and how complete it is so far.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}

impl Way {
    /// True if records of this process are told.
    fn wants(&self, pid: i32) -> bool {
        match self {
            Self::Machine(Some(processes)) => processes.contains(&pid),
            // The idle one, and on a machine whose pids we do not see, all others.
            Self::Machine(None) => pid > 0,
            Self::Inherited | Self::ByThread { .. } => true,
        }
    }

    fn forked(&mut self, pid: i32, parent: i32) {
        match self {
            Self::Machine(Some(processes)) | Self::ByThread { processes, .. } if processes.contains(&parent) => {
                processes.insert(pid);
            }
            _ => {}
        }
    }

    fn exited(&mut self, tid: i32) {
        if let Self::ByThread { gone, .. } = self {
            gone.push(tid);
        }
    }
}

/// The process that a record is of.
fn of(record: &Record<'_>) -> Option<i32> {
    match record {
        Record::Sample(sample) | Record::SwitchOut { sample, .. } => Some(sample.pid),
        Record::SwitchIn { pid, .. }
        | Record::Mapped { pid, .. }
        | Record::Forked { pid, .. }
        | Record::Executed { pid }
        | Record::Exited { pid, .. } => Some(*pid),
        Record::Lost(_) | Record::Throttled => None,
    }
}

fn alone(tid: i32) -> Place {
    Place {
        tid,
        cpu: -1,
        inherited: false,
    }
}

/// Down the ladder at the first place that is there: the first thread of a process may have ended.
fn settle_on_any(plan: &NativePlan, places: impl Iterator<Item = Place>) -> Result<Settled, PerfError> {
    for place in places {
        match settle(plan, place) {
            Err(PerfError::Gone) => {}
            settled => return settled,
        }
    }
    Err(PerfError::Gone)
}

/// Repeats `look`, which says how many threads were new, until there is none. A thread that was about to be born while its
/// parent got its events has none of them and shows itself a moment later: so the last look is after a pause.
fn until_complete(mut look: impl FnMut() -> Result<usize, PerfError>) -> Result<(), PerfError> {
    /// A program that makes threads all the time has given most of them what is inherited by then.
    const ROUNDS: usize = 20;
    const PAUSE: Duration = Duration::from_millis(5);
    let mut quiet = false;
    for _ in 0..ROUNDS {
        let new = look()?;
        if new == 0 && quiet {
            break;
        }
        quiet = new == 0;
        if quiet {
            sleep(PAUSE);
        }
    }
    Ok(())
}

/// As many descriptors as we may have.
fn raise_limit() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return MOST_INHERITED;
    };
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    usize::try_from(if raised { hard } else { soft }).unwrap_or(usize::MAX)
}

/// Records of one CPU in a second, for the size of its ring.
fn rate(counter: Option<&(Source, Pace)>, switches: bool) -> usize {
    /// What is not sampled by time comes as often as it happens.
    const COUNTED: usize = 2000;
    let sampled = match counter {
        Some((_, Pace::Frequency(hertz))) => usize::try_from(*hertz).unwrap_or(COUNTED),
        Some((_, Pace::Period(_))) => COUNTED,
        None => 0,
    };
    sampled + if switches { COUNTED } else { 0 }
}

/// For the stamp.
fn name(settled: &Settled) -> String {
    let what = match &settled.counter {
        None => "every switch".to_owned(),
        Some((source, pace)) => {
            let pace = match pace {
                Pace::Frequency(hertz) => format!("{hertz} Hz"),
                Pace::Period(1) => "each".to_owned(),
                Pace::Period(period) => format!("one of {period}"),
            };
            let and = if settled.wanted.len() > 1 {
                " and every switch"
            } else {
                ""
            };
            format!("{source} {pace}{and}")
        }
    };
    let seen = if settled.user_only {
        "user only"
    } else {
        "user and kernel"
    };
    format!("perf_events {what}, {seen}")
}

#[cfg(test)]
mod tests;
