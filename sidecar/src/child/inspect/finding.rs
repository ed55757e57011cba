//! What an inspector says of a process, and what the server makes of it.
//!
//! A finding is evidence from a child that parsed hostile bytes. It says which process it means and what that process seems
//! to be; who the process is (credentials, parent, pid in its namespace, …) stays the server's own row of `/proc`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::process::{Container, Process, ProcessId};
use crate::runtime::{self, Availability, RuntimeFacts, ServerUrl, Target, Verdict};

/// A target and what can be had from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The process with its runtime.
    pub target: Target,
    /// One verdict per event of the runtime, shared by processes with equal ones: a pod may have ten thousand.
    pub verdicts: Arc<[Verdict]>,
}

impl Inspection {
    /// Of a server that was named by its URL: no inspector can look at one.
    pub fn of_server(url: &ServerUrl) -> Self {
        let (target, verdicts) = runtime::server(url);
        Self {
            target,
            verdicts: verdicts.into(),
        }
    }

    /// The events that can be had, with or without a limitation.
    pub fn possible_events(&self) -> impl Iterator<Item = &Event> {
        let possible = |verdict: &&Verdict| verdict.availability != Availability::Impossible;
        self.verdicts.iter().filter(possible).map(|verdict| &verdict.event)
    }
}

/// An inspector to the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::child) enum InspectorReport {
    /// One of the processes that still live.
    Finding(Box<Finding>),
    /// File names of the node's container logs, if the node's own pid 1 was among the processes.
    ContainerLogs(Vec<String>),
}

impl InspectorReport {
    /// Names per report; each has 255 bytes at most, and a report fits into a frame.
    pub(super) const MOST_NAMES: usize = 128;
}

/// What was found out about one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::child) struct Finding {
    /// Which.
    pub(super) id: ProcessId,
    /// A name people recognise.
    name: String,
    /// Runtime and its facts.
    pub(super) facts: RuntimeFacts,
    #[serde(with = "list")]
    pub(super) verdicts: Arc<[Verdict]>,
    /// Name of the container and uid of the pod, as the mounts of the process show them.
    container: Option<(String, String)>,
    /// When it was looked at: for a dump and at the hands of a debugger a process stands still for a moment.
    pub(super) was_stopped: bool,
}

impl Finding {
    /// Of `target`, which the inspector itself saw.
    pub(super) fn new(target: Target, verdicts: Vec<Verdict>, container: &Container) -> Self {
        Self {
            id: target.id(),
            name: shorten(&target.name),
            was_stopped: target.process.is_stopped(),
            facts: target.facts,
            verdicts: verdicts.into(),
            container: container.name.clone().zip(container.pod_uid.clone()),
        }
    }

    /// The process of the server's `row` with what was found out about it.
    pub(in crate::child) fn join(self, mut row: Process) -> Inspection {
        if let Some((name, pod_uid)) = &self.container {
            row.container.complete_from_evidence(name, pod_uid);
        }
        let target = Target {
            process: row,
            name: shorten(&self.name),
            // A child that was taken over must not lead us to another runtime.
            facts: self.facts.without_port(),
        };
        Inspection {
            target,
            verdicts: self.verdicts,
        }
    }
}

/// On the way between our processes it is a list like any other.
mod list {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::runtime::Verdict;

    pub(super) fn serialize<S: Serializer>(verdicts: &Arc<[Verdict]>, serializer: S) -> Result<S::Ok, S::Error> {
        verdicts.as_ref().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[Verdict]>, D::Error> {
        Vec::deserialize(deserializer).map(Arc::from)
    }
}

/// An application may call itself as long as it likes; main classes and module paths have a hundred characters.
fn shorten(name: &str) -> String {
    const MOST: usize = 512;
    name.chars().take(MOST).collect()
}
