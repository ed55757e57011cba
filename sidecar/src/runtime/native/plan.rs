//! What the kernel is asked to sample of one process, or of a whole machine. Pure.
//!
//! Made and checked by the server before anything starts ([`plan`]); the recorder's sampler executes it.

use serde::{Deserialize, Serialize};

use super::events::{CPU_CLOCK, Source};
use super::node::Node;
use super::parameters::{NativeOptions, Unwind};
use crate::event::Event;
use crate::format::RecordingKind;
use crate::profile::quality::Clock;
use crate::runtime::dump::asks_for_one;
use crate::runtime::{Asked, PlanError, RuntimeFacts, Target};

/// Samples per second where none are asked for. Not 100: what a program does each 10 ms would always or never be seen.
const FREQUENCY: u32 = 99;

/// The most samples per second.
const HIGHEST_FREQUENCY: u32 = 1000;

/// Bytes of a stack that are copied with a sample for the tables of the code. Two hundred frames of usual size; at 99 Hz
/// 1.6 MB/s for each busy CPU.
const STACK_BYTES: u32 = 16 << 10;

/// The same of each switch, of which a busy CPU has ten thousand in a second; who waits mostly waits near the top.
const SWITCHED_STACK_BYTES: u32 = 8 << 10;

/// The same of each sample of a whole node, all of whose CPUs are to be copied from.
const NODE_STACK_BYTES: u32 = 8 << 10;

/// What is copied where frame pointers do: the return address of a function that has no frame yet.
pub const TOP_OF_STACK: u32 = 16;

/// How often there is a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Pace {
    /// So many in a second; the kernel says what each stands for.
    Frequency(u32),
    /// One for so many events.
    Period(u64),
}

/// What is counted, and how often that is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counter {
    /// What.
    pub source: Source,
    /// How often.
    pub pace: Pace,
}

/// One recording by the kernel's sampler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NativePlan {
    /// As it was asked for.
    pub event: Event,
    /// What gives samples; none if only switches do.
    pub counter: Option<Counter>,
    /// Each switch from and to a CPU is told, with the stack of who leaves.
    pub switches: bool,
    /// What happens in the kernel is left out.
    pub user_only: bool,
    /// Split by thread.
    pub threads: bool,
    /// How stacks are walked.
    pub unwind: Unwind,
    /// Bytes of a stack that come with a sample, where they do: a multiple of 8, 65,528 at most.
    pub stack_bytes: u32,
    /// All processes, told apart by pod, container and name, and not only the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Node>,
}

/// The recordings that can be made of an event.
pub fn recordings(event: &Event) -> &'static [RecordingKind] {
    match event {
        event if asks_for_one(event) => &[RecordingKind::Dump],
        Event::Cpu | Event::Wall | Event::Named(_) => &[RecordingKind::PprofTimed],
        Event::Goroutine => &[RecordingKind::PprofThreads],
        _ => &[],
    }
}

/// The name of [`Event::Named`] for the time that threads wait.
pub const OFF_CPU: &str = "offcpu";

/// Plans a recording.
///
/// # Errors
/// An event that machine code does not have, or a parameter that does not fit it.
pub fn plan(asked: &Asked<'_>) -> Result<NativePlan, PlanError> {
    let mut plan = planned(asked.event, &asked.options.native)?;
    // Go keeps frame pointers, but for functions that need nothing of the stack.
    if matches!(asked.target.facts, RuntimeFacts::Go { .. }) && plan.unwind == Unwind::Auto {
        plan.stack_bytes = TOP_OF_STACK;
    }
    Ok(plan)
}

/// Plans a recording of all processes of the node, of which `known` have names.
///
/// # Errors
/// An event that machine code does not have or that makes no sense of all at once, or a parameter that does not fit it.
pub fn plan_node<'a>(asked: &Asked<'_>, known: impl Iterator<Item = &'a Target>) -> Result<NativePlan, PlanError> {
    let plan = planned(asked.event, &asked.options.native)?;
    if plan.switches {
        let message = format!(
            "{} measures each wait, and a whole node waits all the time: of scope=node there is what is sampled, as cpu, \
             context-switches, page-faults and cycles",
            asked.event
        );
        return Err(PlanError::unsuitable("event", message));
    }
    Ok(NativePlan {
        stack_bytes: NODE_STACK_BYTES,
        node: Some(Node::of(known)),
        ..plan
    })
}

/// Plans a recording of `event` without any parameters, also of a whole machine.
///
/// # Errors
/// An event that machine code does not have.
pub fn usual(event: &Event) -> Result<NativePlan, PlanError> {
    planned(event, &NativeOptions::default())
}

fn planned(event: &Event, options: &NativeOptions) -> Result<NativePlan, PlanError> {
    let (counter, switches) = match event {
        Event::Cpu => (Some(counter(CPU_CLOCK, options.frequency)), false),
        Event::Wall => (Some(counter(CPU_CLOCK, options.frequency)), true),
        Event::Named(name) if name == OFF_CPU => (None, true),
        Event::Named(name) => {
            let source = Source::of(name).ok_or_else(|| unknown(event))?;
            (Some(counter(source, options.frequency)), false)
        }
        other => return Err(unknown(other)),
    };
    let of_the_kernel = counter
        .as_ref()
        .is_some_and(|counter| counter.source.is_of_the_kernel());
    if options.user_only && (switches || of_the_kernel) {
        let message = format!("{} happens in the kernel: without it there is none", event);
        return Err(PlanError::unsuitable("alluser", message));
    }
    if counter.is_none() && options.frequency.is_some() {
        let message = format!("{} is not sampled: every switch is measured", event);
        return Err(PlanError::unsuitable("frequency", message));
    }
    Ok(NativePlan {
        event: event.clone(),
        counter,
        switches,
        user_only: options.user_only,
        threads: options.threads,
        unwind: options.unwind,
        stack_bytes: if switches { SWITCHED_STACK_BYTES } else { STACK_BYTES },
        node: None,
    })
}

fn unknown(event: &Event) -> PlanError {
    let message = format!(
        "machine code has no event {event}: cpu, wall, {OFF_CPU}, a name of perf list (page-faults, cycles, LLC-load-misses), r1a8 or \
         sched:sched_switch"
    );
    PlanError::unsuitable("event", message)
}

/// A rate that is asked for is kept for everything; else only what goes by time has one.
fn counter(source: Source, frequency: Option<u32>) -> Counter {
    let pace = match (frequency, source.usual_period()) {
        (Some(frequency), _) => Pace::Frequency(frequency.clamp(1, HIGHEST_FREQUENCY)),
        (None, Some(period)) => Pace::Period(period),
        (None, None) => Pace::Frequency(FREQUENCY),
    };
    Counter { source, pace }
}

impl NativePlan {
    /// The recording to make.
    pub fn kind(&self) -> RecordingKind {
        RecordingKind::PprofTimed
    }

    /// What the values measure.
    pub fn clock(&self) -> Clock {
        match &self.counter {
            Some(_) if self.switches => Clock::Wall,
            Some(counter) if counter.source.is_clock() => Clock::Cpu,
            Some(_) | None => Clock::None,
        }
    }

    /// `nanoseconds` or `count`.
    pub fn unit(&self) -> &'static str {
        match &self.counter {
            Some(counter) if !counter.source.is_clock() => "count",
            Some(_) | None => "nanoseconds",
        }
    }

    /// True if what is asked for cannot be had without a look at the kernel.
    pub fn needs_kernel(&self) -> bool {
        self.switches
            || self
                .counter
                .as_ref()
                .is_some_and(|counter| counter.source.is_of_the_kernel())
    }

    /// Bytes of the stack that come with each sample.
    pub fn copied_stack(&self) -> u32 {
        match self.unwind {
            Unwind::Fp => 0,
            Unwind::Auto | Unwind::Dwarf => self.stack_bytes.min(65_528) & !7,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Process;
    use crate::runtime::{Options, Target};

    fn planned(event: &str, options: &[(&str, &str)]) -> Result<NativePlan, PlanError> {
        let target = Target {
            process: Process::example(7),
            name: "shop".to_owned(),
            facts: RuntimeFacts::Native,
        };
        let mut given = Options::default();
        for (name, value) in options {
            given.set(name, value).unwrap();
        }
        plan(&Asked {
            target: &target,
            event: &event.parse().unwrap(),
            seconds: 30,
            kind: RecordingKind::PprofTimed,
            options: &given,
        })
    }

    fn refused(event: &str, options: &[(&str, &str)]) -> &'static str {
        match planned(event, options) {
            Err(PlanError::Unsuitable { parameter, .. }) => parameter,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_goes_by_time_has_a_rate_and_what_is_counted_a_period() {
        let pace = |event: &str, options: &[(&str, &str)]| planned(event, options).unwrap().counter.unwrap().pace;
        assert_eq!(pace("cpu", &[]), Pace::Frequency(99));
        assert_eq!(pace("cycles", &[]), Pace::Frequency(99));
        assert_eq!(pace("cpu", &[("frequency", "999")]), Pace::Frequency(999));
        assert_eq!(pace("context-switches", &[]), Pace::Period(1));
        assert_eq!(pace("page-faults", &[]), Pace::Period(17));
        assert_eq!(pace("page-faults", &[("frequency", "49")]), Pace::Frequency(49));
    }

    #[test]
    fn wall_is_cpu_time_and_every_switch_and_offcpu_the_switches_alone() {
        let wall = planned("wall", &[("threads", "true")]).unwrap();
        assert!(wall.switches && wall.threads && wall.needs_kernel());
        assert_eq!((wall.clock(), wall.unit()), (Clock::Wall, "nanoseconds"));
        let off = planned("offcpu", &[]).unwrap();
        assert!(off.switches && off.counter.is_none());
        assert_eq!((off.clock(), off.unit()), (Clock::None, "nanoseconds"));
        let faults = planned("page-faults", &[]).unwrap();
        assert_eq!(
            (faults.clock(), faults.unit(), faults.needs_kernel()),
            (Clock::None, "count", false)
        );
        assert_eq!(planned("cpu", &[]).unwrap().clock(), Clock::Cpu);
    }

    #[test]
    fn what_would_count_nothing_is_refused() {
        assert_eq!(refused("wall", &[("alluser", "true")]), "alluser");
        assert_eq!(refused("context-switches", &[("alluser", "true")]), "alluser");
        assert_eq!(refused("offcpu", &[("frequency", "99")]), "frequency");
        assert_eq!(refused("heap", &[]), "event");
        assert_eq!(refused("no-such", &[]), "event");
        assert!(planned("page-faults", &[("alluser", "true")]).unwrap().user_only);
    }

    #[test]
    fn a_node_is_sampled_by_what_is_sampled_and_not_by_its_waits() {
        let target = Target {
            process: Process::example(1),
            name: "node".to_owned(),
            facts: RuntimeFacts::Native,
        };
        let options = Options::default();
        let planned = |event: &str| {
            let asked = Asked {
                target: &target,
                event: &event.parse().unwrap(),
                seconds: 30,
                kind: RecordingKind::PprofTimed,
                options: &options,
            };
            plan_node(&asked, [&target].into_iter())
        };
        for event in ["cpu", "context-switches", "page-faults", "cycles"] {
            assert!(planned(event).unwrap().node.is_some(), "{event}");
        }
        for event in ["wall", "offcpu"] {
            assert!(planned(event).is_err(), "{event}");
        }
    }

    #[test]
    fn stacks_are_copied_unless_frame_pointers_do() {
        assert_eq!(planned("cpu", &[("unwind", "fp")]).unwrap().copied_stack(), 0);
        let mut plan = planned("cpu", &[("unwind", "dwarf")]).unwrap();
        assert_eq!(plan.copied_stack(), STACK_BYTES);
        plan.stack_bytes = u32::MAX;
        assert_eq!(plan.copied_stack(), 65_528, "what the kernel takes");
    }
}
