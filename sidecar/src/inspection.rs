//! One target with its doctor's verdicts: what the inspector child answers, and the child itself.
//!
//! The child exists because looking into a process needs the process's own identity, and because what is found there
//! is hostile. Called by the binary's hidden `inspector` command; the server's side is [`crate::capture::inspector`].

use std::collections::HashMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::process::{ContainerLogs, Process, ProcessId, ProcessTable, TargetRoot, container_logs};
use crate::runtime::{self, GoPprofSettings, Target, Verdict};

/// What to inspect; all processes have the same credentials, which the child has taken on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectionOrder {
    /// The rows of `/proc`.
    pub processes: Vec<Process>,
    /// Where Go programs may serve pprof.
    pub go_pprof: GoPprofSettings,
    /// Whose network namespace the child enters first, while it still has the right.
    pub network_of: Option<ProcessId>,
}

/// A target and what can be had from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// The process with its runtime.
    pub target: Target,
    /// One verdict per event of the runtime.
    pub verdicts: Vec<Verdict>,
}

/// What the child answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectionAnswer {
    /// The processes that still live.
    pub inspections: Vec<Inspection>,
    /// The node's containers, if the node's own pid 1 was among the processes.
    pub container_logs: ContainerLogs,
}

/// Runs the detectors and the doctor over the processes that still live.
pub fn inspect(table: &ProcessTable, order: InspectionOrder) -> InspectionAnswer {
    let alive = order.processes.into_iter().filter(|process| table.is_alive(process.id));
    let mut answer = InspectionAnswer::default();
    let mut mounts = Mounts::default();
    for mut process in alive {
        if is_init_of_node(&process) {
            answer.container_logs = container_logs_of_node(table, process.id);
        }
        // The server keeps a few kilobytes of it for people; the name of a Java program may stand behind a long class path.
        process.command_line = table.command_line(process.id.pid);
        process.container.complete_from_mounts(mounts.of(table, process.id.pid));
        let target = runtime::detect(table, process, &order.go_pprof);
        let verdicts = runtime::examine(table, &target);
        answer.inspections.push(Inspection { target, verdicts });
    }
    answer
}

/// In a pod, pid 1 is the pause container or the app, and a directory of its making names nobody.
pub fn is_init_of_node(process: &Process) -> bool {
    process.id.pid == 1 && process.container.is_none()
}

/// For a hostPID pod that mounts nothing of the node.
fn container_logs_of_node(table: &ProcessTable, init: ProcessId) -> ContainerLogs {
    let names = TargetRoot::open(table, init)
        .and_then(|root| root.open_directory(container_logs::DIRECTORY))
        .and_then(|directory| directory.names(container_logs::LIMIT));
    names.unwrap_or_default().into_iter().collect()
}

/// `mountinfo` by mount namespace: the processes of a container share it, and a node's has some thousand lines.
#[derive(Default)]
struct Mounts(HashMap<PathBuf, String>);

impl Mounts {
    /// Empty without the right to read it.
    fn of(&mut self, table: &ProcessTable, pid: i32) -> &str {
        // One that may not be told is never another's.
        let namespace = table.namespace(pid, "mnt").unwrap_or_else(|_| table.directory(pid));
        let text = self.0.entry(namespace);
        text.or_insert_with(|| table.mounts(pid).unwrap_or_default())
    }
}
