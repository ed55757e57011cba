//! The server's side of inspection: an inspector child for processes with the same credentials, answers kept for a moment.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use caps::{CapSet, Capability};
use futures_util::StreamExt;

use super::{CaptureError, children};
use crate::event::Event;
use crate::inspection::{Inspection, InspectionAnswer, InspectionOrder, is_init_of_node};
use crate::process::{ContainerLogs, Credentials, Process, ProcessId, ProcessTable, container_logs};
use crate::runtime::{self, PprofAbsence, Reason, Runtime, RuntimeFacts, RuntimeSettings, Target, Verdict, native};

/// How long an answer is good. A page that polls each second then costs one child, and a port of a Go program is not
/// probed more often; what changes in a process (a socket appears) shows soon enough.
const FRESH: Duration = Duration::from_secs(2);

/// Processes per child, of which each may take 2 s: all its Go programs listen on ports that never answer.
const CHUNK: usize = 8;

/// For a whole chunk, and some more for a starved CPU.
const LIMIT: Duration = Duration::from_secs(20);

/// Children at a time: a node has hundreds of processes with dozens of users, and each child is a process of ours.
const CHILDREN: usize = 4;

/// Finds out what runs here.
#[derive(Debug)]
pub struct Inspector {
    table: ProcessTable,
    settings: RuntimeSettings,
    container_logs: Option<PathBuf>,
    known: Mutex<HashMap<ProcessId, (Instant, Inspection)>>,
    /// As the node's pid 1 shows them, where no directory of ours does.
    logs_of_node: Mutex<ContainerLogs>,
}

impl Inspector {
    /// Looks at the processes of `table`. Pods are named by the directory `container_logs`, or those known to be such.
    pub fn new(table: ProcessTable, settings: RuntimeSettings, container_logs: Option<PathBuf>) -> Self {
        Self {
            table,
            settings,
            container_logs,
            known: Mutex::default(),
            logs_of_node: Mutex::default(),
        }
    }

    /// Every process but ourselves, or `only` the one with this pid; by pid.
    ///
    /// # Errors
    /// The process list could not be read at all.
    pub async fn inspect(&self, only: Option<i32>) -> Result<Vec<Inspection>, CaptureError> {
        let (table, directory) = (self.table.clone(), self.container_logs.clone());
        let listed = tokio::task::spawn_blocking(move || (table.snapshot(), read_logs(directory.as_deref()))).await;
        let (mut processes, logs) = listed.map_err(|error| CaptureError::internal("list the processes", &error))?;
        let us = i32::try_from(std::process::id()).unwrap_or_default();
        let wanted = |pid: i32| only.is_none_or(|only| only == pid);
        processes.retain(|process| {
            let ours = process.id.pid == us || process.parent_pid == us;
            // Who alone can name the pods must be asked, whoever is meant.
            !ours && (wanted(process.id.pid) || (logs.is_none() && is_init_of_node(process)))
        });

        let (mut inspections, mut groups) = (Vec::new(), HashMap::<Credentials, Vec<Process>>::new());
        for process in processes {
            match self.fresh(&process) {
                Some(inspection) => inspections.push(inspection),
                None => groups.entry(process.credentials).or_default().push(process),
            }
        }
        let answers = self.ask_all(groups.into_values().map(|group| (group, None))).await;
        let reachable = self.ask_in_their_networks(&answers.inspections).await;
        inspections.extend(answers.inspections);
        for inspection in reachable {
            inspections.retain(|known| known.target.id() != inspection.target.id());
            inspections.push(inspection);
        }
        let logs = logs.unwrap_or_else(|| self.keep_logs(answers.container_logs));
        logs.complete(
            inspections
                .iter_mut()
                .map(|inspection| &mut inspection.target.process.container),
        );
        self.remember(&inspections);
        inspections.retain(|inspection| wanted(inspection.target.id().pid));
        // After they were kept: what we have ourselves can change within a moment, and costs nothing to ask.
        for Inspection { target, verdicts } in &mut inspections {
            runtime::complete_verdicts(target, verdicts, &self.settings);
        }
        inspections.sort_by_key(|inspection| inspection.target.id());
        Ok(inspections)
    }

    /// The kept answer, with the process row of now.
    fn fresh(&self, process: &Process) -> Option<Inspection> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked, inspection) = known.get(&process.id)?;
        // A process that became another program, was stopped, or changed its handlers is looked at again.
        let then = &inspection.target.process;
        let same = then.executable == process.executable
            && then.command_line == process.command_line
            && then.credentials == process.credentials
            && then.is_stopped() == process.is_stopped()
            && then.signals_caught == process.signals_caught;
        (asked.elapsed() < FRESH && same).then(|| inspection.clone())
    }

    fn remember(&self, inspections: &[Inspection]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (asked, _)| asked.elapsed() < FRESH);
        for inspection in inspections {
            known
                .entry(inspection.target.id())
                .or_insert_with(|| (Instant::now(), inspection.clone()));
        }
    }

    /// The names of now, or those known before if pid 1 was not asked again.
    fn keep_logs(&self, told: ContainerLogs) -> ContainerLogs {
        let mut kept = self.logs_of_node.lock().unwrap_or_else(PoisonError::into_inner);
        if !told.is_empty() {
            *kept = told;
        }
        kept.clone()
    }

    /// Asks about groups of processes, each in its own network namespace or in that of a process.
    async fn ask_all(&self, groups: impl IntoIterator<Item = (Vec<Process>, Option<ProcessId>)>) -> InspectionAnswer {
        let chunks = groups.into_iter().flat_map(|(group, network_of)| {
            let chunks: Vec<_> = group.chunks(CHUNK).map(<[Process]>::to_vec).collect();
            chunks.into_iter().map(move |chunk| (chunk, network_of))
        });
        let asked = chunks.map(|(chunk, network_of)| self.ask(chunk, network_of));
        let mut answers = futures_util::stream::iter(asked).buffer_unordered(CHILDREN);
        let mut all = InspectionAnswer::default();
        while let Some(answer) = answers.next().await {
            all.inspections.extend(answer.inspections);
            if !answer.container_logs.is_empty() {
                all.container_logs = answer.container_logs;
            }
        }
        all
    }

    /// Go programs of other pods serve pprof on a loopback that is not ours. With the right to enter their network
    /// namespaces, children ask again from there.
    async fn ask_in_their_networks(&self, inspections: &[Inspection]) -> Vec<Inspection> {
        let mut groups: HashMap<(Credentials, &str), Vec<Process>> = HashMap::new();
        for Inspection { target, .. } in inspections {
            if let RuntimeFacts::Go {
                pprof_absence: Some(PprofAbsence::OtherNetworkNamespace { namespace }),
                ..
            } = &target.facts
            {
                let group = groups.entry((target.process.credentials, namespace)).or_default();
                group.push(target.process.clone());
            }
        }
        if groups.is_empty() || !caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN).unwrap_or(false) {
            return Vec::new();
        }
        let groups = groups.into_values().map(|group| {
            let first = group.first().map(|process| process.id);
            (group, first)
        });
        let mut answers = self.ask_all(groups).await.inspections;
        // A child that could not enter knows less than the one before it.
        answers.retain(|inspection| inspection.target.runtime() == Runtime::Go);
        answers
    }

    async fn ask(&self, processes: Vec<Process>, network_of: Option<ProcessId>) -> InspectionAnswer {
        let order = InspectionOrder {
            processes,
            go_pprof: self.settings.go.clone(),
            network_of,
        };
        let answer = match serde_json::to_vec(&order) {
            Ok(json) => children::run("inspector", &json, LIMIT).await,
            Err(error) => Err(CaptureError::internal("inspector", &error)),
        };
        let answer = answer.and_then(|output| {
            serde_json::from_slice(&output.stdout).map_err(|error| CaptureError::internal("inspector", &error))
        });
        answer.unwrap_or_else(|error| {
            tracing::warn!(%error, processes = order.processes.len(), "inspection failed");
            let unknown = |process| unknown(process, &error);
            InspectionAnswer {
                inspections: order.processes.into_iter().map(unknown).collect(),
                container_logs: ContainerLogs::default(),
            }
        })
    }
}

/// The names of the node's containers, from the operator's directory or the customary ones; `None` without any.
fn read_logs(directory: Option<&Path>) -> Option<ContainerLogs> {
    let customary = [container_logs::DEBUG_DIRECTORY, container_logs::DIRECTORY].map(Path::new);
    let directories = directory.map_or(customary.to_vec(), |directory| vec![directory]);
    directories
        .into_iter()
        .find_map(|directory| ContainerLogs::read(directory).ok())
}

/// A process whose inspector died: it stays visible, and says why nothing can be had from it.
fn unknown(process: Process, error: &CaptureError) -> Inspection {
    let remedy = match error {
        CaptureError::OutOfMemory { .. } => "raise sideflame.io/memory-limit on the pod",
        _ => "see the log of sideflame; please report this as a bug",
    };
    let sentence = format!("looking into the process failed: {error}");
    let reason = Reason::new("inspection_failed", sentence, remedy);
    let detected = native::detect::detect(&process);
    Inspection {
        target: Target {
            process,
            name: detected.name,
            facts: detected.facts,
        },
        verdicts: vec![Verdict::impossible(Event::Cpu, reason)],
    }
}
