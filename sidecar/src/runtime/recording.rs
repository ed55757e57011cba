//! Carries a plan out, in the recorder child: which runtime's folder opens what, records, and removes what a killed one left.
//!
//! Must not know captures, the store or HTTP. Called by the recorder and the sweeper.

use std::fs::File;
use std::io::Write;

use super::{
    Control, Line, Output, Reason, RecordError, RecordOrder, Reporter, Runtime, RuntimePlan, Target, counters,
    counters_beside, dotnet, go, jvm, native, stopped,
};
use crate::event::Event;
use crate::format::RecordingKind;
use crate::process::{CpuTime, ProcessTable};
use crate::profile::Quality;
use crate::profile::quality::Clock;

/// What a recorder opens before it becomes the target, whose user may have no right to.
#[derive(Debug)]
pub enum Opened {
    /// Nothing.
    Nothing,
    /// A file of ours.
    File(File),
    /// Events of the kernel.
    Events(Box<native::record::Opened>),
    /// What a server is to be trusted and told by.
    Server(Result<Box<go::server::Opened>, RecordError>),
}

impl Opened {
    /// The events of the kernel.
    fn events(self) -> Result<native::record::Opened, RecordError> {
        match self {
            Self::Events(events) => Ok(*events),
            Self::Nothing | Self::File(_) | Self::Server(_) => Err(RecordError::TargetExited),
        }
    }

    /// What the order needs. Nothing of the target is read.
    pub fn open(order: &RecordOrder, table: &ProcessTable) -> Self {
        match &order.plan {
            RuntimePlan::Jvm(plan) => File::open(&plan.library).map_or(Self::Nothing, Self::File),
            RuntimePlan::Native(plan) | RuntimePlan::DotnetMixed(plan) => {
                Self::Events(Box::new(native::record::Opened::open(table, order, plan)))
            }
            RuntimePlan::JvmThreads(_)
            | RuntimePlan::JvmHistogram(_)
            | RuntimePlan::JvmDump(_)
            | RuntimePlan::Dotnet(_)
            | RuntimePlan::DotnetHeap(_)
            | RuntimePlan::DotnetDump(_)
            | RuntimePlan::NativeThreads(_)
            | RuntimePlan::NativeDump(_)
            | RuntimePlan::Counters(_) => Self::Nothing,
            RuntimePlan::Go(plan) => plan
                .open()
                .map_or(Self::Nothing, |opened| Self::Server(opened.map(Box::new))),
        }
    }
}

/// Records as ordered, from attach to the last byte; the bytes go to `output`, progress to `reporter`. Runs in the
/// recorder child; `opened` is what the order needs, and `line` leads to [`RuntimePlan::caller`].
///
/// Returns the quality of a whole recording. On every return, also an error, nothing of ours runs or lies in the
/// target any more.
///
/// # Errors
/// Why there is no recording; [`RecordError::Cancelled`] when the server told us to give up.
pub fn record(
    order: &RecordOrder,
    opened: Opened,
    line: Option<&Line>,
    output: &mut dyn Output,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Quality, RecordError> {
    let used = || CpuTime::of_process(control.table(), order.target.id());
    let before = used();
    let mut quality = match &order.plan {
        RuntimePlan::Jvm(plan) => {
            let library = match opened {
                Opened::File(library) => Some(library),
                Opened::Nothing | Opened::Events(_) | Opened::Server(_) => None,
            };
            jvm::record::record(order, plan, library, output, control, reporter)
        }
        RuntimePlan::Native(plan) => native::record::record(order, plan, opened.events()?, output, control, reporter),
        RuntimePlan::DotnetMixed(plan) => {
            let sampled = native::record::sample(order, plan, opened.events()?, control, reporter)?;
            let map = dotnet::perf_map::PerfMap::write(order, control);
            let mut quality = sampled.write(output)?;
            quality.degraded.extend(map.err().map(|unnamed| unnamed.sentence));
            Ok(quality)
        }
        RuntimePlan::JvmThreads(_) => jvm::thread_dump::record(order, output, control, reporter),
        RuntimePlan::NativeThreads(_) => native::threads::record(order, output, control, reporter),
        RuntimePlan::NativeDump(_) => native::dump::record(order, output, control, reporter),
        RuntimePlan::JvmHistogram(plan) => jvm::class_histogram::record(order, plan, output, control, reporter),
        RuntimePlan::JvmDump(plan) => jvm::heap_dump::record(order, plan, output, control, reporter),
        RuntimePlan::Counters(plan) => counters::record(order, plan, output, control, reporter),
        RuntimePlan::Dotnet(plan) if plan.kind == RecordingKind::Counters => {
            record_with_counters(order, plan, line, output, control, reporter)
        }
        RuntimePlan::Dotnet(plan) => dotnet::record::record(order, plan, line, output, control, reporter),
        RuntimePlan::DotnetHeap(plan) => dotnet::heap_snapshot::record(order, plan, line, output, control, reporter),
        RuntimePlan::DotnetDump(plan) => dotnet::dump::record(order, plan, output, control, reporter),
        RuntimePlan::Go(plan) => {
            let opened = match opened {
                Opened::Server(opened) => Some(*opened?),
                Opened::Nothing | Opened::File(_) | Opened::Events(_) => None,
            };
            go::record::record(order, (plan, opened), output, control, reporter)
        }
    }?;
    let by_kernel = matches!(order.plan, RuntimePlan::Native(_)) && order.event == Event::Cpu;
    if by_kernel && order.target.runtime() == Runtime::Go {
        let reason = go::doctor::sampled_by_kernel(&order.target);
        quality.degraded.insert(0, reason.sentence);
    }
    // A recorder that knows better when its sampler ran has said it.
    if quality.cpu_ms.is_none() {
        let used = before.zip(used()).map(|(before, after)| after.since(&before).process);
        quality.cpu_ms = used.and_then(|used| u64::try_from(used.as_millis()).ok());
    }
    if quality.sampled_cpu_ms.is_none() && quality.clock == Some(Clock::Cpu) && quality.interval_unit == "nanoseconds" {
        let sampled = quality.samples.map(|samples| samples.saturating_mul(quality.interval));
        quality.sampled_cpu_ms = sampled.map(|nanoseconds| nanoseconds / 1_000_000);
    }
    Ok(quality)
}

/// What a .NET runtime counts, and what the kernel counts of it. Where the runtime does not answer, the kernel's alone.
fn record_with_counters(
    order: &RecordOrder,
    plan: &dotnet::plan::DotnetPlan,
    line: Option<&Line>,
    output: &mut dyn Write,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Quality, RecordError> {
    let row = control.table().find(order.target.id());
    let error = if row.is_some_and(|row| row.is_stopped()) {
        RecordError::Impossible(stopped())
    } else {
        let mut beside = counters_beside::Beside::new(output, order, control, plan.refresh);
        match dotnet::record::record(order, plan, line, &mut beside, control, reporter) {
            Ok(mut quality) => {
                let missing = beside
                    .finish()
                    .map_err(|error| RecordError::io("store the recording", &error))?;
                quality
                    .degraded
                    .extend(missing.into_iter().map(|reason| reason.sentence));
                return Ok(quality);
            }
            Err(error) if beside.has_written() || order.target.id().is_outside() => return Err(error),
            Err(error) => error,
        }
    };
    let is_silent = matches!(
        error,
        RecordError::Impossible(_) | RecordError::Timeout { .. } | RecordError::Tool { .. }
    );
    if !is_silent {
        return Err(error);
    }
    let plan = counters::CountersPlan {
        refresh: plan.refresh,
        expvar: None,
        without: Some(Reason::new(
            "runtime_silent",
            format!("{error}: what the .NET runtime counts is missing"),
            "see GET /doctor",
        )),
    };
    counters::record(order, &plan, output, control, reporter)
}

/// True if a recorder that was killed can leave anything in targets of `runtime`.
pub fn may_leave_something(runtime: Runtime) -> bool {
    matches!(runtime, Runtime::Jvm | Runtime::Dotnet)
}

/// Removes what an earlier recorder that was killed left in `target`: files of ours, a profiler still running.
pub fn sweep(target: &Target) {
    match target.runtime() {
        Runtime::Jvm => {
            jvm::record::sweep(target);
            jvm::heap_dump::sweep(target);
            jvm::virtual_dump::sweep(target);
        }
        Runtime::Dotnet => {
            dotnet::dump::sweep(target);
            dotnet::perf_map::sweep(target);
        }
        Runtime::Go | Runtime::Native => {}
    }
}
