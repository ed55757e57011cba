//! Records Go targets through their `net/http/pprof` port.
//!
//! Nothing is written into the target, and its profiler ends with our connection: also when we are killed.

use std::io::Write;
use std::time::UNIX_EPOCH;

use super::address::Address;
use super::capture::{Capture, Recorded};
use super::plan::{GoPlan, Place};
use super::pprof_client::PprofClient;
use super::request::Span;
use super::server::{self, Door};
use super::{absence, doctor, listening_sockets};
use crate::event::Event;
use crate::format::RecordingKind;
use crate::process::TargetRoot;
use crate::profile::Quality;
use crate::profile::quality::Clock;
use crate::runtime::{Control, RecordError, RecordOrder, Reporter};

/// See [`crate::runtime::record`]. An order to stop keeps a whole recording of `cpu` and `trace`; the differences (`alloc`,
/// `lock`, `block`) cannot be cut short.
///
/// # Errors
/// See [`crate::runtime::record`].
pub fn record(
    order: &RecordOrder,
    (plan, opened): (&GoPlan, Option<server::Opened>),
    output: &mut dyn Write,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Quality, RecordError> {
    if !control.target_is_alive() {
        return Err(RecordError::TargetExited);
    }
    let door = match (&plan.place, opened) {
        (Place::Port(address), _) => port(order, plan, address, control)?,
        (Place::Server(server), Some(opened)) => Door::Server {
            plan: server.clone(),
            opened,
        },
        (Place::Server(_), None) => return Err(RecordError::TargetExited),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| RecordError::io("start the event loop", &error))?;
    let recorded = runtime.block_on(async { Capture::new((plan, door), output, control, reporter).run().await });
    // A resolver may still wait for an answer that is of no use any more.
    runtime.shutdown_background();
    let recorded = recorded?;
    output
        .flush()
        .map_err(|error| RecordError::io("write the recording", &error))?;
    Ok(quality(order, plan, &recorded))
}

/// The way to a port or a socket of the target.
fn port(order: &RecordOrder, plan: &GoPlan, address: &Address, control: &Control) -> Result<Door, RecordError> {
    // The operator's headers go along: not to another program that has taken the port meanwhile, nor where an inspector made up.
    let (reached, root) = match address {
        Address::Tcp(address) => {
            let reached = listening_sockets::reach(control.table(), &order.target.process, *address);
            (reached, None)
        }
        // Whose it is shows when we connect.
        Address::Unix(_) => (true, TargetRoot::open(control.table(), order.target.id()).ok()),
    };
    if !reached {
        return Err(RecordError::Impossible(absence::listens_elsewhere(address)));
    }
    let client = PprofClient::new(&plan.settings).map_err(|error| RecordError::Internal {
        step: "prepare the request".to_owned(),
        detail: error.to_string(),
    })?;
    Ok(Door::Port {
        client,
        address: address.clone(),
        scheme: plan.scheme,
        root,
    })
}

fn quality(order: &RecordOrder, plan: &GoPlan, recorded: &Recorded) -> Quality {
    let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let facts = recorded.facts;
    // The runtime measures more exactly than we do, but it is the app's word: never longer than we waited.
    let sampled_ms = match facts.duration_nanos / 1_000_000 {
        0 => millis(recorded.sampled),
        told => told.min(millis(recorded.sampled)),
    };
    let is_cpu = order.event == Event::Cpu;
    let interval_unit = match doctor::judged_as(&order.event) {
        Event::Cpu => "nanoseconds",
        Event::Alloc | Event::Heap => "bytes",
        _ => "count",
    };
    Quality {
        sampler: Some(format!("{} of the Go runtime (net/http/pprof)", plan.request.profile)),
        interval: facts.period,
        interval_unit: interval_unit.to_owned(),
        clock: Some(match order.event {
            Event::Cpu => Clock::Cpu,
            // Both measure how long goroutines waited.
            Event::Lock | Event::Block | Event::Trace => Clock::Wall,
            _ => Clock::None,
        }),
        samples: is_cpu.then_some(facts.count),
        expected_samples: (is_cpu && facts.period > 0).then(|| sampled_ms.saturating_mul(1_000_000) / facts.period),
        max_frames: max_frames(&order.event),
        runtime: Some(order.target.runtime_and_version()),
        event: Some(order.event.to_string()),
        started_at_ms: recorded.started.duration_since(UNIX_EPOCH).ok().map(millis),
        duration_ms: Some(sampled_ms),
        degraded: limitations(order, plan, recorded, sampled_ms),
        ..Quality::default()
    }
}

/// The deepest stack that the Go runtime records. Of `cpu` alone: the others lose frames of the runtime after they were
/// cut, so that their depth tells nothing.
fn max_frames(event: &Event) -> Option<u32> {
    (*event == Event::Cpu).then_some(64)
}

/// What a reader must know: why it is short, why it is empty.
fn limitations(order: &RecordOrder, plan: &GoPlan, recorded: &Recorded, sampled_ms: u64) -> Vec<String> {
    // A timer of the app may fire early by a tick, and its clock starts a little after ours.
    const TOLERANCE_MS: u64 = 500;
    let mut sentences = Vec::new();
    let asked_ms = plan.request.time.as_millis();
    if !recorded.stopped && u128::from(sampled_ms + TOLERANCE_MS) < asked_ms {
        let seconds = std::time::Duration::from_millis(sampled_ms).as_secs_f64();
        sentences.push(match plan.request.span {
            Span::Difference => format!(
                "answered after {seconds:.1} s: the values are totals since the start of the program \
                 (Go before 1.15 knows no difference)"
            ),
            _ => format!("ended after {seconds:.1} s: something in the program stopped the profiler"),
        });
    }
    if order.event == Event::Block && plan.request.span == Span::Difference {
        sentences.push("contains our own request: net/http/pprof waits for the end in runtime.selectgo".to_owned());
    }
    if plan.request.kind == RecordingKind::AllocationSites {
        sentences.push(
            "Go does not know the types of its objects: each row is a function that allocated, with one size of objects; numbers are \
             estimates from samples, of one in 512 KiB unless the program says otherwise"
                .to_owned(),
        );
    }
    if matches!(plan.request.kind, RecordingKind::Pprof | RecordingKind::AllocationSites)
        && recorded.facts.stacks == 0
        && let Some(why) = why_empty(doctor::judged_as(&order.event))
    {
        sentences.push(format!("empty: {why}"));
    }
    sentences
}

/// What an empty profile may mean.
fn why_empty(event: &Event) -> Option<&'static str> {
    Some(match event {
        Event::Cpu => "the program used no CPU while it was sampled",
        Event::Alloc => {
            "no allocation was sampled (one per 512 KiB by default), and Go publishes them two garbage collections \
             late; try more seconds"
        }
        Event::Heap => "nothing sampled is alive, or the program sets runtime.MemProfileRate to 0",
        Event::Lock => {
            "no contention was recorded: there was none, or the program calls no runtime.SetMutexProfileFraction, \
             without which Go records nothing"
        }
        Event::Block => {
            "no blocking was recorded: there was none, or the program calls no runtime.SetBlockProfileRate, without \
             which Go records nothing"
        }
        // Go has recorded nothing here since 1.11 on most platforms.
        Event::Threadcreate => "the Go runtime recorded no thread creation",
        _ => return None,
    })
}
