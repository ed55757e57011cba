//! From a plan to what the kernel takes, and the ladder of what is tried where it takes less.
//!
//! The doctor and the sampler come down the same ladder, so that they agree. Called by `rights` and `sampler`.

use nix::errno::Errno;
use perf_event_open_sys::bindings::{
    PERF_SAMPLE_CALLCHAIN, PERF_SAMPLE_IDENTIFIER, PERF_SAMPLE_PERIOD, PERF_SAMPLE_REGS_USER, PERF_SAMPLE_STACK_USER,
    PERF_SAMPLE_TID, PERF_SAMPLE_TIME, PERF_TYPE_TRACEPOINT, perf_event_attr,
};

use super::error::{PerfError, Sight, no_kernel_frames, no_kernel_names};
use super::{machine, sys};
use crate::runtime::Reason;
use crate::runtime::native::events::{CONTEXT_SWITCHES, CPU_CLOCK, SOFTWARE, Source, TASK_CLOCK};
use crate::runtime::native::parameters::Unwind;
use crate::runtime::native::plan::{NativePlan, Pace};

/// `PERF_COUNT_SW_DUMMY`: counts nothing, and needs the same rights as all others.
const DUMMY: Source = Source::Counter {
    class: SOFTWARE,
    config: 9,
};

/// `CLOCK_MONOTONIC`.
const MONOTONIC: i32 = 1;

/// Registers that an unwinder begins with, as bits of `perf_regs.h`: the frame pointer, the stack pointer and the program
/// counter, and on arm64 the link register before the latter two.
#[cfg(target_arch = "x86_64")]
const REGISTERS: u64 = 1 << 6 | 1 << 7 | 1 << 8;
#[cfg(target_arch = "aarch64")]
const REGISTERS: u64 = 1 << 29 | 1 << 30 | 1 << 31 | 1 << 32;

/// An event to open wherever the sampler looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) attr: perf_event_attr,
    /// It samples who leaves a CPU.
    pub(super) switches: bool,
    /// What each sample stands for, if that is fixed.
    pub(super) period: Option<u64>,
}

/// What the kernel takes.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) wanted: Vec<Wanted>,
    /// What gives samples; none if only switches do.
    pub(super) counter: Option<(Source, Pace)>,
    pub(super) user_only: bool,
    /// What is less than was asked for.
    pub(super) limits: Vec<Reason>,
}

/// Where events are opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// 0: ourselves, -1: everything.
    pub(super) tid: i32,
    /// -1: any.
    pub(super) cpu: i32,
    /// New threads and processes get the events of who made them. Not together with any CPU, whose rings would not do.
    pub(super) inherited: bool,
}

impl Place {
    /// Ourselves: shows what the machine and our rights allow.
    pub(super) const SELF: Self = Self {
        tid: 0,
        cpu: -1,
        inherited: false,
    };
}

/// Tries at `place`, down the ladder: with the kernel, without it; of CPU time the other clock of the kernel.
///
/// # Errors
/// Why nothing of it is possible.
pub(super) fn settle(plan: &NativePlan, place: Place) -> Result<Settled, PerfError> {
    let mut limits = Vec::new();
    let counter = plan
        .counter
        .as_ref()
        .map(|counter| (counter.source.clone(), counter.pace));
    let mut counter = counter.map(|(source, pace)| (source, feasible(pace, &mut limits)));
    let mut user_only = plan.user_only;
    loop {
        let wanted = wanted(plan, counter.as_ref(), user_only, place)?;
        let tried = wanted
            .iter()
            .try_for_each(|wanted| sys::open(&wanted.attr, place.tid, place.cpu).map(drop));
        match (tried, &counter) {
            (Ok(()), _) => {
                if !user_only && !machine::names_the_kernel() {
                    limits.push(no_kernel_names());
                }
                return Ok(Settled {
                    wanted,
                    counter,
                    user_only,
                    limits,
                });
            }
            (Err(Errno::EACCES), _) if !user_only && !plan.needs_kernel() => {
                user_only = true;
                limits.push(no_kernel_frames(machine::paranoid()));
            }
            (Err(errno), Some((source, pace))) if is_missing(errno) && *source == CPU_CLOCK => {
                counter = Some((TASK_CLOCK, *pace));
                limits.push(Reason::new(
                    "no_cpu_clock",
                    "this kernel has no event cpu-clock: CPU time is sampled by task-clock",
                    "none is needed: both measure time on a CPU",
                ));
            }
            (Err(errno), _) => return Err(explain(errno, plan, place)),
        }
    }
}

/// The rate that the kernel allows at the moment.
fn feasible(pace: Pace, limits: &mut Vec<Reason>) -> Pace {
    match (pace, machine::most_samples()) {
        (Pace::Frequency(asked), Some(most)) if most < asked => {
            limits.push(Reason::new(
                "frequency_lowered",
                format!("the kernel allows {most} samples per second at the moment, not {asked} (kernel.perf_event_max_sample_rate)"),
                "sysctl kernel.perf_event_max_sample_rate=100000 on the node; the kernel lowers it where samples take too long",
            ));
            Pace::Frequency(most.max(1))
        }
        _ => pace,
    }
}

fn wanted(
    plan: &NativePlan,
    counter: Option<&(Source, Pace)>,
    user_only: bool,
    place: Place,
) -> Result<Vec<Wanted>, PerfError> {
    let mut wanted = Vec::new();
    if let Some((source, pace)) = counter {
        let attr = attr(plan, source, *pace, user_only, place)?;
        let period = match pace {
            Pace::Period(period) => Some(*period),
            Pace::Frequency(_) => None,
        };
        wanted.push(Wanted {
            attr,
            switches: false,
            period,
        });
    }
    if plan.switches {
        let mut attr = attr(plan, &CONTEXT_SWITCHES, Pace::Period(1), user_only, place)?;
        attr.set_context_switch(1);
        wanted.push(Wanted {
            attr,
            switches: true,
            period: Some(1),
        });
    }
    if let Some(first) = wanted.first_mut() {
        // Once is enough.
        first.attr.set_mmap(1);
        first.attr.set_mmap2(1);
        first.attr.set_comm(1);
        first.attr.set_comm_exec(1);
        first.attr.set_task(1);
    }
    Ok(wanted)
}

fn attr(
    plan: &NativePlan,
    source: &Source,
    pace: Pace,
    user_only: bool,
    place: Place,
) -> Result<perf_event_attr, PerfError> {
    let (class, config) = match source {
        Source::Counter { class, config } => (*class, *config),
        Source::Tracepoint { category, name } => {
            let id = machine::tracepoint(category, name).ok_or_else(|| PerfError::NoSuchEvent {
                event: format!("{category}:{name}"),
                hardware: false,
            })?;
            (PERF_TYPE_TRACEPOINT, id)
        }
    };
    let mut attr = bare(class, config, user_only);
    // A counter of the kernel that is to tell its period is sampled at every event, whatever the period (`perf_swevent_event`).
    let mut period_told = 0;
    match pace {
        Pace::Frequency(hertz) => {
            attr.set_freq(1);
            period_told = PERF_SAMPLE_PERIOD;
            attr.__bindgen_anon_1.sample_freq = hertz.into();
        }
        Pace::Period(period) => attr.__bindgen_anon_1.sample_period = period,
    }
    attr.sample_type =
        u64::from(PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_CALLCHAIN | period_told);
    let copied = plan.copied_stack();
    if copied > 0 {
        attr.sample_type |= u64::from(PERF_SAMPLE_REGS_USER | PERF_SAMPLE_STACK_USER);
        attr.sample_regs_user = REGISTERS;
        attr.sample_stack_user = copied;
    }
    attr.set_exclude_callchain_user((plan.unwind == Unwind::Dwarf).into());
    attr.set_inherit(place.inherited.into());
    // Of all processes the idle one is of no interest.
    attr.set_exclude_idle((place.tid == -1).into());
    Ok(attr)
}

/// What all events have in common.
fn bare(class: u32, config: u64, user_only: bool) -> perf_event_attr {
    let mut attr = perf_event_attr {
        type_: class,
        size: u32::try_from(size_of::<perf_event_attr>()).unwrap_or_default(),
        config,
        clockid: MONOTONIC,
        ..perf_event_attr::default()
    };
    attr.set_use_clockid(1);
    attr.set_disabled(1);
    attr.set_sample_id_all(1);
    attr.set_exclude_hv(1);
    attr.set_exclude_guest(1);
    attr.set_exclude_kernel(user_only.into());
    attr
}

/// True if copies of registers and stack come with its samples.
pub(super) fn copies_stacks(attr: &perf_event_attr) -> bool {
    attr.sample_stack_user > 0
}

/// Tries whether `tid` may be looked into at all, without regard to what is counted.
pub(super) fn look_into(tid: i32) -> Result<(), PerfError> {
    match try_dummy(true, tid) {
        Ok(()) => Ok(()),
        Err(errno) => Err(refused(errno, tid, false)),
    }
}

fn try_dummy(user_only: bool, tid: i32) -> Result<(), Errno> {
    let Source::Counter { class, config } = DUMMY else {
        return Err(Errno::ENOENT);
    };
    sys::open(&bare(class, config, user_only), tid, -1).map(drop)
}

fn is_missing(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::EOPNOTSUPP | Errno::ENODEV | Errno::ENXIO)
}

/// What an error of opening means for the plan.
pub(super) fn explain(errno: Errno, plan: &NativePlan, place: Place) -> PerfError {
    let source = plan
        .counter
        .as_ref()
        .map_or(&CONTEXT_SWITCHES, |counter| &counter.source);
    match errno {
        // A register that the processor does not have is an invalid one.
        Errno::EINVAL if matches!(source, Source::Counter { class, .. } if *class != SOFTWARE) => no_such(plan, source),
        errno if is_missing(errno) => no_such(plan, source),
        errno => refused(errno, place.tid, plan.needs_kernel()),
    }
}

fn no_such(plan: &NativePlan, source: &Source) -> PerfError {
    PerfError::NoSuchEvent {
        event: plan.event.to_string(),
        hardware: source.is_hardware(),
    }
}

/// What an error means that does not depend on what is counted. The kernel has one word for several things; what it says of an
/// event of our own tells them apart.
fn refused(errno: Errno, tid: i32, needs_kernel: bool) -> PerfError {
    let paranoid = |sight| PerfError::Paranoid {
        level: machine::paranoid(),
        sight,
    };
    match errno {
        Errno::EACCES | Errno::EPERM => match (try_dummy(true, 0), tid) {
            (Err(Errno::EPERM), _) if machine::is_filtered() => PerfError::Seccomp,
            (Err(Errno::EPERM), _) => PerfError::SecurityModule,
            (Err(_), _) if machine::paranoid().is_some_and(|level| level <= 2) => PerfError::SecurityModule,
            (Err(_), _) => paranoid(Sight::Process),
            (Ok(()), _) if needs_kernel && try_dummy(false, 0).is_err() => paranoid(Sight::Kernel),
            (Ok(()), -1) => paranoid(Sight::Machine),
            // Of ourselves all may be seen but that.
            (Ok(()), 0) => paranoid(Sight::Kernel),
            (Ok(()), _) => PerfError::Credentials,
        },
        Errno::EMFILE | Errno::ENFILE => PerfError::TooFewDescriptors,
        Errno::ESRCH => PerfError::Gone,
        Errno::ENOSYS => PerfError::NoPerfEvents,
        source => PerfError::System {
            step: "open an event of the kernel",
            source,
        },
    }
}
