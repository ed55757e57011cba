//! Records machine code: samples of the kernel, added up, get their names at the end.
//!
//! Nothing is written into the target and nothing runs in it: the events are ours and end with us. Called by
//! [`crate::runtime::record`].

use std::fs::File;
use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::collector::Collector;
use super::groups::Groups;
use super::perf::{self, Facts, PerfError, Sampler, no_samples};
use super::plan::{NativePlan, Pace};
use super::profile_of::profile_of;
use super::stacks::Keeps;
use super::symbols::Symbolizer;
use crate::process::{CpuTime, ProcessTable, TargetRoot};
use crate::profile::Quality;
use crate::profile::format::pprof;
use crate::profile::quality::Clock;
use crate::runtime::{Control, Interruption, Phase, Reason, RecordError, RecordOrder, Reporter, no_access};

/// How often rings are emptied. They have room for a quarter of a second.
const DRAIN: Duration = Duration::from_millis(50);

/// Switches per second, over a second, beyond which measuring each of them would slow the process: the kernel copies 8 KiB for
/// one, in the thread that switches.
const MOST_SWITCHES: u64 = 30_000;

/// Why sampling ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Time is up, or the server said stop.
    Asked,
    /// The target is gone.
    Exited,
    /// So many switches in a second.
    TooManySwitches(u64),
}

/// What must be opened with all rights of the server: the target may not have them.
#[derive(Debug)]
pub struct Opened {
    sampler: Result<Sampler, PerfError>,
    /// Shows addresses to who opened it, whoever reads it.
    kallsyms: Option<File>,
}

impl Opened {
    /// Opens the events of a plan.
    pub fn open(table: &ProcessTable, order: &RecordOrder, plan: &NativePlan) -> Self {
        Self {
            sampler: match plan.node {
                Some(_) => Sampler::open_node(plan),
                None => Sampler::open(table, order.target.id(), plan),
            },
            kallsyms: File::open("/proc/kallsyms").ok(),
        }
    }
}

/// What was sampled, without names yet.
#[derive(Debug)]
pub struct Sampled<'a> {
    order: &'a RecordOrder,
    plan: &'a NativePlan,
    collector: Collector<'a>,
    facts: Facts,
    started: SystemTime,
    sampled: Duration,
    used: Option<Duration>,
    ending: Ending,
}

/// See [`crate::runtime::record`]. An order to stop, and the end of the target, keep what was sampled until then.
///
/// # Errors
/// See [`crate::runtime::record`].
pub fn record(
    order: &RecordOrder,
    plan: &NativePlan,
    opened: Opened,
    output: &mut dyn Write,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Quality, RecordError> {
    sample(order, plan, opened, control, reporter)?.write(output)
}

/// The target's files, for names.
///
/// # Errors
/// They may not be looked into, or the target is gone.
pub(super) fn root_of(order: &RecordOrder, control: &Control) -> Result<TargetRoot, RecordError> {
    TargetRoot::open(control.table(), order.target.id()).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => RecordError::Impossible(no_access(&order.target)),
        _ if !control.target_is_alive() => RecordError::TargetExited,
        _ => RecordError::io("open the root of the target", &error),
    })
}

/// Samples until the time is up or something else ends it. Names are looked up by [`Sampled::write`].
///
/// # Errors
/// See [`crate::runtime::record`].
pub fn sample<'a>(
    order: &'a RecordOrder,
    plan: &'a NativePlan,
    opened: Opened,
    control: &'a Control,
    reporter: &mut Reporter,
) -> Result<Sampled<'a>, RecordError> {
    let (table, id) = (control.table(), order.target.id());
    let mut sampler = opened.sampler?;
    // Of a node each process has its own, and one that is gone none.
    let root = plan.node.is_none().then(|| root_of(order, control)).transpose()?;
    let users = [order.target.process.credentials.uid, 0];
    let symbols = Symbolizer::new(root, table, &users, opened.kallsyms);
    let interval = interval_of(order.seconds);
    let mut collector = Collector::new(table, symbols, plan, interval);
    let used = || match plan.node {
        Some(_) => CpuTime::of_machine(table),
        None => CpuTime::of_process(table, id),
    };
    let (started, begun, before) = (SystemTime::now(), Instant::now(), used());
    sampler.enable()?;
    collector.begin(id.pid, perf::now());
    reporter.phase(Phase::Sampling);
    let ending = follow(
        &mut sampler,
        &mut collector,
        control,
        begun + Duration::from_secs(order.seconds),
    )?;
    let sampled = begun.elapsed();
    sampler.disable()?;
    // Here, as names may take their time on a busy machine.
    let used = before.zip(used()).map(|(before, after)| after.since(&before).process);
    sampler.drain(&mut |record| collector.take(record));
    collector.end(id.pid, perf::now());
    let facts = sampler.facts().clone();
    drop(sampler);

    reporter.phase(Phase::Transferring);
    if collector.stacks.total().count == 0 && ending == Ending::Exited {
        return Err(RecordError::TargetExited);
    }
    Ok(Sampled {
        order,
        plan,
        collector,
        facts,
        started,
        sampled,
        used,
        ending,
    })
}

impl Sampled<'_> {
    /// Looks up the names of what was sampled, and writes the recording.
    ///
    /// # Errors
    /// It does not fit a profile, or cannot be written.
    pub fn write(self, output: &mut dyn Write) -> Result<Quality, RecordError> {
        let Self {
            order,
            plan,
            collector,
            facts,
            started,
            sampled,
            used,
            ending,
        } = self;
        let total = collector.stacks.total();
        let Collector {
            symbols,
            stacks,
            threads,
            groups,
            spaces,
            ..
        } = collector;
        let groups = groups.map(Groups::into_rows);
        let symbols = symbols.resolve();
        let too_large = |error: crate::profile::ModelError| RecordError::Internal {
            step: "put the profile together".to_owned(),
            detail: error.to_string(),
        };
        let stacks = (&stacks, interval_of(order.seconds));
        let groups = groups.as_deref().unwrap_or_default();
        let (mut profile, moments) = profile_of(plan, stacks, &symbols, &threads, groups).map_err(too_large)?;
        let nanoseconds = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        profile.time_nanos = started.duration_since(UNIX_EPOCH).map(nanoseconds).unwrap_or_default();
        profile.duration_nanos = nanoseconds(sampled);
        profile.period = i64::try_from(interval(plan, &facts)).unwrap_or_default();
        profile.period_type = profile.sample_types.last().cloned();
        let mut output = output;
        pprof::write::write_timed(&profile, &moments, &mut output)
            .and_then(|()| output.flush())
            .map_err(|error| RecordError::io("write the recording", &error))?;

        let mut degraded: Vec<String> = facts.limits.iter().map(|limit| limit.sentence.clone()).collect();
        degraded.extend(symbols.reasons().iter().cloned());
        if plan.node.is_some() && spaces.refused > 0 {
            degraded.push(format!(
                "{} processes may not be looked into, and what they ran has no names: CAP_SYS_PTRACE shows them",
                spaces.refused
            ));
        }
        if total.count == 0 {
            let Reason { sentence, remedy, .. } = no_samples(order.event.name(), sampled.as_secs());
            degraded.push(format!("{sentence}: {remedy}"));
        }
        let forgotten = match stacks.0.keeps() {
            Keeps::All => None,
            Keeps::Times => Some("too many samples to keep the thread of each: threads=true tells them apart"),
            Keeps::Nothing => {
                Some("too many samples to keep the time and thread of each: no range of time can be shown")
            }
        };
        degraded.extend(forgotten.map(str::to_owned));
        match ending {
            Ending::Asked => {}
            Ending::Exited => degraded.push(format!("the process exited after {:.1} s", sampled.as_secs_f64())),
            Ending::TooManySwitches(switches) => degraded.push(format!(
                "ended after {:.1} s: its threads switch {switches} times a second, and to measure each switch would slow them; event=cpu \
                 does not",
                sampled.as_secs_f64()
            )),
        }
        if facts.throttled > 0 {
            degraded.push(format!(
                "the kernel paused sampling {} times to save its own time",
                facts.throttled
            ));
        }
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let is_cpu = plan.clock() == Clock::Cpu;
        Ok(Quality {
            interval: interval(plan, &facts),
            interval_unit: plan.unit().to_owned(),
            clock: Some(plan.clock()),
            samples: Some(total.count),
            expected_samples: (is_cpu && plan.node.is_none() && facts.frequency.is_some())
                .then(|| millis(sampled).saturating_mul(u64::from(facts.frequency.unwrap_or_default())) / 1000),
            lost: Some(facts.lost),
            cpu_ms: used.map(millis),
            sampled_cpu_ms: is_cpu.then_some(total.weight / 1_000_000),
            max_frames: facts.max_frames,
            runtime: Some(order.target.runtime_and_version()),
            event: Some(order.event.to_string()),
            started_at_ms: started.duration_since(UNIX_EPOCH).ok().map(millis),
            duration_ms: Some(millis(sampled)),
            sampler: Some(facts.sampler),
            degraded,
            ..Quality::default()
        })
    }
}

/// Samples until then, or until something else ends it.
fn follow(
    sampler: &mut Sampler,
    collector: &mut Collector<'_>,
    control: &Control,
    until: Instant,
) -> Result<Ending, RecordError> {
    const SECOND: Duration = Duration::from_secs(1);
    let (mut looked, mut before) = (Instant::now(), 0);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Ending::Asked);
        }
        let interruption = control.wait(DRAIN.min(left));
        sampler.drain(&mut |record| collector.take(record));
        match interruption {
            None => {}
            Some(Interruption::Stop) => return Ok(Ending::Asked),
            Some(Interruption::Cancel) => return Err(RecordError::Cancelled),
            Some(Interruption::TargetExited) => return Ok(Ending::Exited),
        }
        if looked.elapsed() >= SECOND {
            let switches = collector.switches + sampler.facts().lost - before;
            if switches > MOST_SWITCHES && collector.switches > 0 {
                return Ok(Ending::TooManySwitches(switches));
            }
            (looked, before) = (Instant::now(), collector.switches + sampler.facts().lost);
        }
    }
}

/// Of how much time it is told what was in it: what a strip as wide as a screen shows, and not more of one stack than pprof's readers take.
fn interval_of(seconds: u64) -> Duration {
    const SHORTEST: Duration = Duration::from_millis(10);
    const SECONDS: u64 = 600;
    SHORTEST * u32::try_from(seconds.div_ceil(SECONDS)).unwrap_or(u32::MAX).max(1)
}

/// What a sample stands for; 0 where each stands for something else.
fn interval(plan: &NativePlan, facts: &Facts) -> u64 {
    match (facts.frequency, plan.counter.as_ref().map(|counter| counter.pace)) {
        (Some(hertz), _) if plan.clock() == Clock::Cpu => 1_000_000_000 / u64::from(hertz.max(1)),
        (_, Some(Pace::Period(period))) => period,
        _ => 0,
    }
}
