//! Inspection, the child's side: looks into processes with their own identity and says what it finds.
//!
//! The child exists because looking into a process needs the process's own identity, and because what is found there is
//! hostile. Must not know what a runtime looks for. Called by [`crate::child::run`].

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use super::finding::{Finding, InspectorReport};
use super::{CHILDREN, InspectOrder};
use crate::child::channel::Channel;
use crate::confine;
use crate::process::{ProcessId, ProcessTable, TargetRoot, container_logs};
use crate::runtime::{self, PerfRights, native};

/// Looks as ordered.
///
/// # Errors
/// The identity could not be taken on, or the channel is broken; stderr then tells the server.
pub(in crate::child) fn run(order: InspectOrder, mut channel: Channel) -> Result<ExitCode, Box<dyn Error>> {
    confine::limit_memory(CHILDREN as u64)?;
    let table = ProcessTable::default();
    if let Some(process) = order.network_of {
        confine::enter_network(&table, process)?;
    }
    // As ourselves, as a recorder will open its events.
    let perf = native::doctor::probe(order.processes.iter().map(|(id, _)| id.pid));
    confine::become_target(order.credentials)?;
    look(&table, order, &perf, |report| channel.send(&report))?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the detectors and the doctor over the processes that still live.
fn look(
    table: &ProcessTable,
    order: InspectOrder,
    perf: &PerfRights,
    mut say: impl FnMut(InspectorReport) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut mounts = Mounts::default();
    for (id, executable) in order.processes {
        // Read again here: the server's row may be large, and one at a time is enough.
        let Some(mut row) = table.find(id).filter(|_| table.is_alive(id)) else {
            continue;
        };
        // A name must not depend on who looks.
        row.executable = executable;
        if row.is_init_of_node() {
            for names in names_of_logs(table, id).chunks(InspectorReport::MOST_NAMES) {
                say(InspectorReport::ContainerLogs(names.to_vec()))?;
            }
        }
        let mut container = row.container.clone();
        container.complete_from_mounts(mounts.of(table, id.pid));
        let target = runtime::detect(table, row, &order.go_pprof);
        let verdicts = runtime::examine(table, &target, perf);
        let finding = Finding::new(target, verdicts, &container);
        say(InspectorReport::Finding(Box::new(finding)))?;
    }
    Ok(())
}

/// For a hostPID pod that mounts nothing of the node.
fn names_of_logs(table: &ProcessTable, init: ProcessId) -> Vec<String> {
    let names = TargetRoot::open(table, init)
        .and_then(|root| root.open_directory(container_logs::DIRECTORY))
        .and_then(|directory| directory.names(container_logs::LIMIT));
    names.unwrap_or_default()
}

/// `mountinfo` by mount namespace: the processes of a container share it, and a node's has some thousand lines.
#[derive(Default)]
pub(super) struct Mounts(HashMap<PathBuf, String>);

impl Mounts {
    /// Empty without the right to read it.
    pub(super) fn of(&mut self, table: &ProcessTable, pid: i32) -> &str {
        // One that may not be told is never another's.
        let namespace = table.namespace(pid, "mnt").unwrap_or_else(|_| table.directory(pid));
        let text = self.0.entry(namespace);
        text.or_insert_with(|| table.mounts(pid).unwrap_or_default())
    }
}
