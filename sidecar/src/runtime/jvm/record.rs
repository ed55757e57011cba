//! Records JVM targets through async-profiler.
//!
//! Check, take the session, load, start, wait, stop, stream out, leave nothing behind. Knows the order of the steps;
//! each step is a module. Called by [`crate::runtime::record`].

use std::fs::File;
use std::io::Write;

use super::agent::{self, Agent};
use super::agent_library;
use super::attach::{self, Attach};
use super::doctor;
use super::plan::JvmPlan;
use super::run::Run;
use super::session::{self, Marker, Session};
use super::waits::Waits;
use crate::event::Event;
use crate::process::{Process, ProcessTable, TargetRoot};
use crate::profile::Quality;
use crate::runtime::{Control, Phase, RecordError, RecordOrder, Reporter, Target, no_access};

/// See [`crate::runtime::record`]. `agent` is libasyncProfiler.so, opened before we took on the target's identity.
///
/// # Errors
/// See [`crate::runtime::record`].
pub fn record(
    order: &RecordOrder,
    plan: &JvmPlan,
    agent: Option<File>,
    output: &mut dyn Write,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Quality, RecordError> {
    let table = control.table();
    let (process, root) = reach(table, &order.target)?;
    if let Some(reason) = doctor::blocker(table, &order.target, &process, &root) {
        return Err(RecordError::Impossible(reason));
    }
    if matches!(&order.event, Event::Named(name) if name == "context-switches")
        && let Some(reason) = doctor::kernel_event_forbidden(table, &process)
    {
        return Err(RecordError::Impossible(reason));
    }
    reporter.phase(Phase::Attaching);
    let waits = Waits::interruptible(control, process.id);
    waits.check()?;

    let (session, orphan) = Session::acquire(&root, &process)?;
    if let Some(orphan) = orphan
        && !stop_orphan(table, (&root, &process, &session), orphan)
    {
        session.keep();
        let step = "stopping what an earlier capture left running".to_owned();
        return Err(RecordError::Timeout {
            step,
            seconds: agent::BRIEF.as_secs(),
        });
    }
    let marker = Marker::now(plan.timeout());
    session.begin(marker)?;
    let mut run = Run::load(plan, agent.as_ref(), (&root, &process, &session), &waits, marker)?;
    run.record(order, plan.clone(), output, reporter, &process)
}

/// The target's row of `/proc` now, and its files.
pub(super) fn reach(table: &ProcessTable, target: &Target) -> Result<(Process, TargetRoot), RecordError> {
    let process = table.find(target.id()).ok_or(RecordError::TargetExited)?;
    Ok((process, open_root(table, target)?))
}

/// The target, its files and how to wait for it, if it takes commands.
///
/// # Errors
/// It cannot be reached or takes none, or the capture was given up.
pub(super) fn reach_to_attach<'a>(
    order: &RecordOrder,
    control: &'a Control,
    reporter: &mut Reporter,
) -> Result<(Process, TargetRoot, Waits<'a>), RecordError> {
    let table = control.table();
    let (process, root) = reach(table, &order.target)?;
    if let Some(reason) = doctor::attach_blocker(table, &order.target, &process, &root) {
        return Err(RecordError::Impossible(reason));
    }
    reporter.phase(Phase::Attaching);
    let waits = Waits::interruptible(control, process.id);
    waits.check()?;
    Ok((process, root, waits))
}

fn open_root(table: &ProcessTable, target: &Target) -> Result<TargetRoot, RecordError> {
    TargetRoot::open(table, target.id()).map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => RecordError::Impossible(no_access(target)),
        _ if !table.is_alive(target.id()) => RecordError::TargetExited,
        _ => RecordError::Internal {
            step: "open the target's files".to_owned(),
            detail: error.to_string(),
        },
    })
}

/// See [`crate::runtime::sweep`].
pub fn sweep(target: &Target) {
    let table = ProcessTable::default();
    let Ok((process, root)) = reach(&table, target) else {
        return;
    };
    attach::sweep_trigger(&root, &process);
    session::sweep_finished(&root);
    let Some((session, marker)) = Session::orphan(&root, &process) else {
        return;
    };
    let Some(marker) = marker else { return };
    let reachable = doctor::blocker(&table, target, &process, &root).is_none();
    if !reachable || !stop_orphan(&table, (&root, &process, &session), marker) {
        session.keep();
    }
}

/// Ends what a recorder that was killed left running, if it is certain that it is ours. True if nothing of ours runs
/// any more.
fn stop_orphan(
    table: &ProcessTable,
    (root, process, session): (&TargetRoot, &Process, &Session),
    marker: Marker,
) -> bool {
    let waits = Waits::uninterruptible(table, process.id);
    let mut ended = true;
    for library in agent_library::loaded(table, root, process) {
        let mut agent = Agent::new(Attach::new(root, process), session, library);
        ended &= agent.stop_announced(&waits, marker);
        agent.silence(&waits);
    }
    ended
}
