//! Records .NET targets through EventPipe: a nettrace, whole or not at all.
//!
//! Knows the Diagnostics IPC protocol and the frames of nettrace, not the events in them. Called by [`crate::runtime::record`].
//! Nothing is written into the target; a session that we start ends with us (stopped, or by its closed stream).

use std::io::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::capture::{Capture, Copied};
use super::client::ClientError;
use super::counters::CounterLines;
use super::doctor::unreachable_socket;
use super::event_pipe::EventPipeSession;
use super::ipc;
use super::line::Line;
use super::plan::DotnetPlan;
use super::providers::SessionPlan;
use super::reach::Reach;
use super::threads::Threads;
use super::way::Way;
use crate::event::Event;
use crate::format::RecordingKind;
use crate::profile::Quality;
use crate::profile::quality::Clock;
use crate::runtime::{Control, Phase, RecordError, RecordOrder, Reporter, stopped};

/// A healthy runtime starts a session within milliseconds; one that is starved of CPU needs its share.
pub(super) const START: Duration = Duration::from_secs(10);

/// `EP_MAX_STACK_DEPTH`.
const MAX_FRAMES: u32 = 100;

/// Sampling for the threads of a moment: tens of ticks, of which one is needed, or some where the process is short of CPU.
const MOMENT: Duration = Duration::from_millis(250);

/// The runtime tells of an allocation each time a heap has handed out so much.
const ALLOCATION_TICK: u64 = 100 << 10;

/// See [`crate::runtime::record`].
///
/// # Errors
/// See [`crate::runtime::record`].
pub fn record(
    order: &RecordOrder,
    plan: &DotnetPlan,
    line: Option<&Line>,
    output: &mut dyn Write,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Quality, RecordError> {
    reporter.phase(Phase::Attaching);
    let id = order.target.id();
    let DotnetPlan {
        way,
        session,
        threads,
        refresh,
        kind,
    } = plan;
    let session = &session.numbered(std::process::id());
    let reach = Reach::of(order, way, line, control)?;
    let stream = EventPipeSession::start(reach.client()?, session, Instant::now() + START)
        .map_err(|error| start_failed(error, way, order, control))?;
    let started_at = SystemTime::now();
    reporter.phase(Phase::Sampling);
    let wanted = (*threads || session.samples_stacks()) && reach.process.is_some();
    let of_threads = || match wanted {
        true => Threads::of(control.table(), id),
        false => Threads::default(),
    };
    let before = of_threads();
    let duration = match plan.is_of_a_moment() {
        true => MOMENT,
        false => Duration::from_secs(order.seconds),
    };
    let mut missing = (None, Vec::new());
    let copied = match kind {
        RecordingKind::Counters => {
            let mut lines = CounterLines::new(output, *refresh);
            let copied = Capture::new(stream, &mut lines, control).run(duration, reporter)?;
            missing = lines.missing();
            copied
        }
        _ => Capture::new(stream, output, control).run(duration, reporter)?,
    };
    let mut quality = quality(order, session, &copied, started_at);
    quality.degraded.extend(missing.1);
    Ok(Quality {
        lost: missing.0,
        by_thread: *threads,
        threads: of_threads().since(&before),
        ..quality
    })
}

pub(super) fn start_failed(error: ClientError, way: &Way, order: &RecordOrder, control: &Control) -> RecordError {
    unanswered(error, "start an EventPipe session", (way, order), control)
}

/// Why the runtime did not do as it was asked to in this step.
pub(super) fn unanswered(
    error: ClientError,
    step: &str,
    (way, order): (&Way, &RecordOrder),
    control: &Control,
) -> RecordError {
    if !control.target_is_alive() {
        return RecordError::TargetExited;
    }
    let is_stopped = || {
        let process = control.table().find(order.target.id());
        process.is_some_and(|process| process.is_stopped())
    };
    match error {
        ClientError::Timeout if is_stopped() => RecordError::Impossible(stopped()),
        ClientError::Connect(source) if source.kind() != std::io::ErrorKind::WouldBlock => {
            match way {
                Way::Socket(socket) => RecordError::Impossible(unreachable_socket(&source, socket, &order.target)),
                // A runtime that lives always calls.
                Way::Port(_) => RecordError::TargetExited,
            }
        }
        ClientError::Connect(_) | ClientError::Timeout => RecordError::Timeout {
            step: format!("the attempt to {step}"),
            seconds: START.as_secs(),
        },
        ClientError::Refused(code) | ClientError::RefusedBecause { code, .. } => RecordError::Tool {
            tool: "the .NET runtime".to_owned(),
            message: refusal(code),
        },
        ClientError::Closed | ClientError::Io(_) | ClientError::Malformed(_) => RecordError::Protocol {
            step: step.to_owned(),
            detail: error.to_string(),
        },
    }
}

/// The HRESULTs of the diagnostic server in words.
fn refusal(code: u32) -> String {
    let words = match code {
        ipc::UNKNOWN_COMMAND => "it is too old for EventPipe sessions; .NET Core 3.0 has them first",
        0x8013_1384 => "it did not understand the request",
        0x8013_1515 => "EventPipe is not supported in this build of the runtime",
        0x8013_135B | 0x8013_1371 => "it has not finished starting",
        0x8007_0057 => "a provider or an argument is invalid",
        _ => "it could not start the session; at most 64 can run at once",
    };
    format!("{words} ({code:#010x})")
}

/// Whether a stack of the event has one frame more: what was allocated or thrown.
fn has_type(event: &Event) -> bool {
    matches!(event, Event::Alloc | Event::Exceptions)
}

fn quality(order: &RecordOrder, plan: &SessionPlan, copied: &Copied, started_at: SystemTime) -> Quality {
    let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (interval, interval_unit, clock) = match (&order.event, plan.custom) {
        (Event::Goroutine, false) => (0, "count", Clock::None),
        _ if plan.samples_stacks() => {
            let running = order.event == Event::Cpu && !plan.custom;
            let clock = if running { Clock::Cpu } else { Clock::Wall };
            (copied.stream.sampling_nanoseconds, "nanoseconds", clock)
        }
        (Event::Alloc, false) => (ALLOCATION_TICK, "bytes", Clock::None),
        (Event::Lock, false) => (0, "nanoseconds", Clock::None),
        _ => (0, "count", Clock::None),
    };
    Quality {
        sampler: Some(plan.sampler.clone().into_owned()),
        interval,
        interval_unit: interval_unit.to_owned(),
        clock: Some(clock),
        max_frames: Some(MAX_FRAMES + u32::from(has_type(&order.event) && !plan.custom)),
        expected_samples: u64::try_from(copied.sampled.as_nanos())
            .ok()
            .filter(|_| plan.samples_stacks())
            .and_then(|time| time.checked_div(interval)),
        cpu_ms: copied.cpu.map(milliseconds),
        runtime: Some(order.target.runtime_and_version()),
        event: (!plan.custom).then(|| order.event.name().to_owned()),
        started_at_ms: started_at.duration_since(UNIX_EPOCH).ok().map(milliseconds),
        duration_ms: Some(milliseconds(copied.sampled)),
        degraded: limitations(order, copied),
        ..Quality::default()
    }
}

/// What the recorder alone knows; what the events lack is counted when they are read.
fn limitations(order: &RecordOrder, copied: &Copied) -> Vec<String> {
    let mut sentences = Vec::new();
    if order.target.id().is_outside() {
        sentences.push(
            "the process is in another pid namespace: its CPU time and the names of its threads are not known"
                .to_owned(),
        );
    }
    if copied.ended_early {
        let seconds = copied.sampled.as_secs_f64();
        sentences.push(format!(
            "the runtime ended the session after {seconds:.1} of {} s",
            order.seconds
        ));
    }
    sentences
}
