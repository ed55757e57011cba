//! The live objects of a .NET process: a session that has it collect garbage and then tell of every object that is left.
//!
//! Called by [`crate::runtime`]. The recording is the session's stream, as `dotnet-gcdump` takes it, its rows are added up when it is
//! rendered.

use std::io::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::capture::Capture;
use super::event_pipe::EventPipeSession;
use super::heap_watch::Walk;
use super::line::Line;
use super::memory_room::memory_room;
use super::parameters::DotnetOptions;
use super::plan;
use super::providers::{SessionPlan, heap_session, type_table_flush};
use super::reach::Reach;
use super::record::{START, start_failed};
use super::way::Way;
use crate::profile::Quality;
use crate::profile::quality::Clock;
use crate::runtime::{Asked, Control, Phase, PlanError, RecordError, RecordOrder, Reporter};

/// How long the collection may take before its first object comes. .NET 8 writes none before the app runs again.
const COLLECTION: Duration = Duration::from_secs(120);

/// Bounds of the buffers in MiB: what any app can bear, and what `dotnet-gcdump` asks for.
const BUFFERS: std::ops::RangeInclusive<u64> = 16..=1024;

/// A walk through the heap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeapPlan {
    /// How the runtime is reached.
    pub way: Way,
}

/// Plans a walk.
///
/// # Errors
/// A parameter of sampling, or no socket to ask at.
pub fn plan(asked: &Asked<'_>) -> Result<HeapPlan, PlanError> {
    if asked.options.dotnet != DotnetOptions::default() {
        let message = "the heap is no sampling: it takes neither profile and providers nor threads";
        return Err(PlanError::unsuitable("event", message));
    }
    Ok(HeapPlan { way: plan::way(asked)? })
}

/// See [`crate::runtime::record`].
///
/// # Errors
/// See [`crate::runtime::record`].
pub fn record(
    order: &RecordOrder,
    plan: &HeapPlan,
    line: Option<&Line>,
    output: &mut dyn Write,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Quality, RecordError> {
    reporter.phase(Phase::Attaching);
    let reach = Reach::of(order, &plan.way, line, control)?;
    let client = reach.client()?;
    let start = |session: &SessionPlan, buffer_mb: u32| {
        EventPipeSession::start_with(client, session, buffer_mb, Instant::now() + START)
            .map_err(|error| start_failed(error, &plan.way, order, control))
    };
    // Ended at once.
    drop(start(&type_table_flush(), 1)?);
    // By the port its cgroup is not seen.
    let seen = reach.process.as_ref().zip(reach.root.as_ref());
    let room = seen.and_then(|(process, root)| memory_room(control.table(), root, process.id.pid));
    let buffer_mb = buffer_mb(room, order.room.max_bytes);
    let session = heap_session();
    let stream = start(&session, buffer_mb)?;
    let started_at = SystemTime::now();
    let copied = Capture::new(stream, output, control)
        .until_the_heap_is_walked()
        .run(COLLECTION, reporter)?;
    if copied.walk == Walk::NotBegun {
        return Err(RecordError::NothingToKeep {
            detail: "the runtime has not told of a single object of its heap".to_owned(),
        });
    }
    let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Ok(Quality {
        sampler: Some(format!("EventPipe heap walk (buffers of {buffer_mb} MiB)")),
        interval_unit: "bytes".to_owned(),
        clock: Some(Clock::None),
        runtime: Some(order.target.runtime_and_version()),
        event: Some(order.event.to_string()),
        started_at_ms: started_at.duration_since(UNIX_EPOCH).ok().map(milliseconds),
        duration_ms: Some(milliseconds(copied.sampled)),
        cpu_ms: copied.cpu.map(milliseconds),
        ..Quality::default()
    })
}

/// Buffers for the walk, in MiB. .NET 8 writes nothing while the app stands still, so that they must hold all of it: some 56 bytes an
/// object. They are allocated in the app's memory as they fill: half of what its limit leaves is left to the app.
/// What does not fit into the store is of no use.
fn buffer_mb(room: Option<u64>, store: u64) -> u32 {
    const MIB: u64 = 1 << 20;
    const UNKNOWN: u64 = 256 * MIB;
    let most = room.map_or(UNKNOWN, |room| room / 2).min(store) / MIB;
    u32::try_from(most.clamp(*BUFFERS.start(), *BUFFERS.end())).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_leave_half_of_the_room_to_the_app_and_fit_into_the_store() {
        const MIB: u64 = 1 << 20;
        for (room, store, expected) in [
            (Some(4096 * MIB), 256 * MIB, 256),
            (Some(4096 * MIB), 8192 * MIB, 1024),
            (Some(300 * MIB), 256 * MIB, 150),
            (Some(0), 256 * MIB, 16),
            (None, 1024 * MIB, 256),
        ] {
            assert_eq!(buffer_mb(room, store), expected, "{room:?} {store}");
        }
    }
}
