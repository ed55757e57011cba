//! Inspection, the server's side: inspectors for processes with the same credentials, their findings kept for a moment and
//! joined with the server's own rows. The child's side is [`look`].

mod callers;
pub(super) mod finding;
pub(super) mod look;
pub(super) mod meter;
mod shared_run;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use caps::{CapSet, Capability};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::Children;
use super::channel::LONGEST_FRAME;
use super::ending::ChildError;
use super::order::ChildOrder;
use crate::event::Event;
use crate::process::{ContainerLogs, Credentials, Process, ProcessId, ProcessTable, container_logs};
use crate::runtime::{
    self, GoPprofSettings, PprofAbsence, Reason, RuntimeFacts, RuntimeSettings, Target, Verdict, native,
};
use shared_run::SharedRuns;

pub use finding::Inspection;
use finding::{Finding, InspectorReport};
pub use meter::{Metered, Scrape};

/// How long a finding is good. A page that polls each second then costs one child, and a port of a Go program is not
/// probed more often; what changes in a process (a socket appears) shows soon enough.
const FRESH: Duration = Duration::from_secs(2);

/// For how long after its start what was found of a process is not kept: a moment later its runtime may be loaded, or its socket be
/// there. CoreCLR has its socket after 0.04 s on an idle machine and 0.13 s beside three busy threads per CPU, but a pod may have a tenth
/// of one.
const YOUNG: Duration = Duration::from_secs(5);

/// How long a process that spoiled its inspector is left alone, as each look costs the time of a whole inspector.
const SPOILED: Duration = Duration::from_secs(15);

/// Processes per child: few, as one that spoils its child has all of them asked again, each alone. Of thousands more, as
/// each child costs some 10 ms.
fn chunk_size(processes: usize) -> usize {
    (processes / 128).clamp(8, 32)
}

/// Findings that are kept. Looking at more processes takes longer than they would stay fresh.
const MOST_KNOWN: usize = 1024;

/// Children at a time, over the whole server: a node has hundreds of processes with dozens of users, each child is a process
/// of ours, and all of them share the container's memory.
const CHILDREN: usize = 4;

/// The process list cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
#[error("failed to list the processes: {0}")]
pub struct InspectError(String);

/// What to inspect; all processes have the same credentials, which the child takes on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectOrder {
    /// Each with its executable as far as the server may know it.
    processes: Vec<(ProcessId, Option<PathBuf>)>,
    credentials: Credentials,
    /// Where Go programs may serve pprof.
    go_pprof: GoPprofSettings,
    /// Whose network namespace the child enters first, while it still has the right.
    network_of: Option<ProcessId>,
}

/// Finds out what runs here.
#[derive(Debug)]
pub struct Inspector {
    children: Children,
    table: ProcessTable,
    settings: RuntimeSettings,
    container_logs: Option<PathBuf>,
    /// By pid, or for all of them.
    runs: SharedRuns<Option<i32>, Vec<Inspection>>,
    scrapes: SharedRuns<(), Arc<Scrape>>,
    permits: Semaphore,
    known: Mutex<HashMap<ProcessId, Known>>,
    /// As the node's pid 1 shows them, where no directory of ours does.
    logs_of_node: Mutex<ContainerLogs>,
}

/// A finding that need not be asked for again.
#[derive(Debug, Clone)]
struct Known {
    until: Instant,
    row: Arc<Process>,
    finding: Finding,
}

/// Processes that are asked about together.
struct Group {
    rows: Vec<Arc<Process>>,
    network_of: Option<ProcessId>,
}

/// What a round of children said.
#[derive(Debug, Default)]
struct Findings {
    known: Vec<Known>,
    names_of_logs: Vec<String>,
}

impl Inspector {
    /// Looks by `children` at the processes of `table`. Pods are named by the directory `container_logs`, or those known to be
    /// such.
    pub fn new(
        children: Children,
        table: ProcessTable,
        settings: RuntimeSettings,
        container_logs: Option<PathBuf>,
    ) -> Self {
        Self {
            children,
            table,
            settings,
            container_logs,
            runs: SharedRuns::default(),
            scrapes: SharedRuns::default(),
            permits: Semaphore::new(CHILDREN),
            known: Mutex::default(),
            logs_of_node: Mutex::default(),
        }
    }

    /// Every process but ourselves, or `only` the one with this pid; by pid. Those who ask at once share one run.
    ///
    /// # Errors
    /// The process list could not be read at all.
    pub async fn inspect(&self, only: Option<i32>) -> Result<Vec<Inspection>, InspectError> {
        self.runs.answer(only, self.run(only)).await
    }

    async fn run(&self, only: Option<i32>) -> Result<Vec<Inspection>, InspectError> {
        let (table, directory) = (self.table.clone(), self.container_logs.clone());
        let us = i32::try_from(std::process::id()).unwrap_or_default();
        let wanted = move |pid: i32| only.is_none_or(|only| only == pid);
        let listed = tokio::task::spawn_blocking(move || {
            let logs = read_logs(directory.as_deref());
            let rows = table.snapshot(|row| {
                let ours = row.id.pid == us || row.parent_pid == us;
                // The only one that can name the pods must be asked, whichever process is meant.
                !ours && (wanted(row.id.pid) || (logs.is_none() && row.is_init_of_node()))
            });
            (rows, logs)
        })
        .await;
        let (rows, logs) = listed.map_err(|error| InspectError(error.to_string()))?;
        // Shared, not copied: an app may have ten thousand processes, and the container little memory.
        let rows: Vec<Arc<Process>> = rows.into_iter().map(Arc::new).collect();

        let mut kept = Vec::new();
        let mut groups = HashMap::<Credentials, Vec<Arc<Process>>>::new();
        for row in rows {
            match self.fresh(&row) {
                Some(known) => kept.push(Known { row, ..known }),
                None => groups.entry(row.credentials).or_default().push(row),
            }
        }
        let asked = groups.into_values().map(|rows| Group { rows, network_of: None });
        let Findings {
            mut known,
            names_of_logs,
        } = self.ask_all(asked).await;
        let reachable = self.ask_in_their_networks(&known).await;
        known.extend(reachable);
        self.remember(&known);
        known.extend(kept);
        // Of several about the same process the last counts.
        known.reverse();
        known.sort_by_key(|known| known.row.id);
        known.dedup_by_key(|known| known.row.id);

        let logs = logs.unwrap_or_else(|| self.keep_logs(names_of_logs));
        let joined = known
            .into_iter()
            .map(|Known { row, finding, .. }| finding.join(Arc::unwrap_or_clone(row)));
        let mut inspections: Vec<Inspection> = joined.collect();
        logs.complete(
            inspections
                .iter_mut()
                .map(|inspection| &mut inspection.target.process.container),
        );
        inspections.retain(|inspection| wanted(inspection.target.id().pid));
        self.add_callers(&mut inspections, wanted).await;
        // What we have ourselves can change within a moment, and costs nothing to ask.
        for Inspection { target, verdicts } in &mut inspections {
            runtime::complete_verdicts(target, verdicts, &self.settings);
        }
        Ok(inspections)
    }

    /// What is known of it and still good.
    fn fresh(&self, row: &Process) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(&row.id)?;
        let then = &known.row;
        // A process that became another program, was stopped, or changed its handlers is looked at again.
        let same = then.executable == row.executable
            && then.command_line == row.command_line
            && then.credentials == row.credentials
            && known.finding.was_stopped == row.is_stopped()
            && then.signals_caught == row.signals_caught;
        (Instant::now() < known.until && same).then(|| known.clone())
    }

    /// The last of several about the same process counts; of too many, those that spoiled their inspector go first.
    fn remember(&self, news: &[Known]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, known| Instant::now() < known.until);
        let mut news: Vec<&Known> = news.iter().collect();
        news.sort_by_key(|news| Reverse(news.until.duration_since(Instant::now()) > FRESH));
        for news in news {
            if known.len() < MOST_KNOWN || known.contains_key(&news.finding.id) {
                known.insert(news.finding.id, news.clone());
            }
        }
    }

    /// The names of now, or those known before if pid 1 was not asked again.
    fn keep_logs(&self, names: Vec<String>) -> ContainerLogs {
        let mut kept = self.logs_of_node.lock().unwrap_or_else(PoisonError::into_inner);
        if !names.is_empty() {
            *kept = names.into_iter().collect();
        }
        kept.clone()
    }

    /// Asks about groups of processes, each in its own network namespace or in that of a process.
    async fn ask_all(&self, groups: impl IntoIterator<Item = Group>) -> Findings {
        let groups: Vec<Group> = groups.into_iter().collect();
        let mut all = Findings {
            // It may be long, and one that grows is there twice.
            known: Vec::with_capacity(groups.iter().map(|group| group.rows.len()).sum()),
            names_of_logs: Vec::new(),
        };
        let chunks = groups.into_iter().flat_map(|Group { rows, network_of }| {
            let chunks: Vec<_> = rows.chunks(chunk_size(rows.len())).map(<[_]>::to_vec).collect();
            chunks.into_iter().map(move |rows| Group { rows, network_of })
        });
        let asked = chunks.map(|chunk| self.ask_chunk(chunk));
        let mut answers = futures_util::stream::iter(asked).buffer_unordered(CHILDREN);
        let mut distinct = HashSet::<Arc<[Verdict]>>::new();
        while let Some(mut answer) = answers.next().await {
            for Known { finding, .. } in &mut answer.known {
                finding.verdicts = shared(&mut distinct, &finding.verdicts);
            }
            all.known.extend(answer.known);
            all.names_of_logs.extend(answer.names_of_logs);
        }
        all
    }

    /// Go programs of other pods serve pprof on a loopback that is not ours. With the right to enter their network
    /// namespaces, children ask again from there.
    async fn ask_in_their_networks(&self, known: &[Known]) -> Vec<Known> {
        let mut groups: HashMap<(Credentials, &str), Vec<Arc<Process>>> = HashMap::new();
        for Known { row, finding, .. } in known {
            if let RuntimeFacts::Go {
                pprof_absence: Some(PprofAbsence::OtherNetworkNamespace { namespace }),
                ..
            } = &finding.facts
            {
                groups
                    .entry((row.credentials, namespace))
                    .or_default()
                    .push(Arc::clone(row));
            }
        }
        if groups.is_empty() || !caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN).unwrap_or(false) {
            return Vec::new();
        }
        let groups = groups.into_values().map(|rows| {
            let network_of = rows.first().map(|row| row.id);
            Group { rows, network_of }
        });
        let mut answers = self.ask_all(groups).await.known;
        // A child that could not enter knows less than the one before it.
        answers.retain(|known| matches!(known.finding.facts, RuntimeFacts::Go { .. }));
        answers
    }

    /// Asks about a few processes at once. If that fails, about each alone, so that a hostile one spoils only itself.
    async fn ask_chunk(&self, chunk: Group) -> Findings {
        let Group { rows, network_of } = chunk;
        let timeouts = &self.children.timeouts;
        let mut answer = Findings::default();
        let together = if rows.len() > 1 {
            self.ask(&rows, network_of, timeouts.inspect, &mut answer).await
        } else {
            Ok(())
        };
        if let Err(error) = together {
            tracing::warn!(%error, processes = rows.len(), "inspection failed; trying one by one");
        }
        let left: Vec<Arc<Process>> = rows
            .into_iter()
            .filter(|row| !answer.known.iter().any(|known| known.finding.id == row.id))
            .filter(|row| self.table.is_alive(row.id))
            .collect();
        let alone = left.into_iter().map(|row| self.ask_alone(row, network_of));
        let mut answers = futures_util::stream::iter(alone).buffer_unordered(CHILDREN);
        while let Some(alone) = answers.next().await {
            answer.known.extend(alone.known);
            answer.names_of_logs.extend(alone.names_of_logs);
        }
        answer
    }

    /// Asks about one process, which gets an answer also if it spoils its inspector.
    async fn ask_alone(&self, row: Arc<Process>, network_of: Option<ProcessId>) -> Findings {
        let mut answer = Findings::default();
        let limit = self.children.timeouts.inspect_one;
        let asked = self
            .ask(std::slice::from_ref(&row), network_of, limit, &mut answer)
            .await;
        let silent = ChildError::Failed {
            role: "inspector",
            detail: "it says nothing of the process".to_owned(),
        };
        let failed = asked.err().or(answer.known.is_empty().then_some(silent));
        if let Some(error) = failed.filter(|_| self.table.is_alive(row.id)) {
            tracing::warn!(%error, pid = row.id.pid, "inspection failed");
            answer.known.push(Known {
                until: Instant::now() + SPOILED,
                finding: unknown(&row, &error),
                row,
            });
        }
        answer
    }

    /// One child. `answer` gets what it found out about `rows`, if it ended well, and nothing about other processes.
    async fn ask(
        &self,
        rows: &[Arc<Process>],
        network_of: Option<ProcessId>,
        limit: Duration,
        answer: &mut Findings,
    ) -> Result<(), ChildError> {
        /// Names of the node's logs: [`container_logs::LIMIT`] file names.
        const LOGS: usize = 8 << 20;
        let Some(first) = rows.first() else { return Ok(()) };
        let may_name_logs = rows.iter().any(|row| row.is_init_of_node());
        let most = rows.len() * LONGEST_FRAME + if may_name_logs { LOGS } else { 0 };
        let order = ChildOrder::Inspect(InspectOrder {
            processes: rows.iter().map(|row| (row.id, row.executable.clone())).collect(),
            credentials: first.credentials,
            go_pprof: self.settings.go.clone(),
            network_of,
        });
        // An error would mean that the semaphore was closed, which nothing does.
        let _permit = self.permits.acquire().await;
        let (mut found, mut names) = (HashMap::new(), Vec::new());
        let mut foreign = 0;
        let heard = |report| match report {
            InspectorReport::Finding(finding) if rows.iter().any(|row| row.id == finding.id) => {
                found.entry(finding.id).or_insert(*finding);
            }
            InspectorReport::ContainerLogs(more) if may_name_logs => names.extend(more),
            _ => foreign += 1,
        };
        self.children.ask(&order, &[], (most, limit), heard).await?;
        if foreign > 0 {
            tracing::warn!(foreign, "an inspector answered what it was not asked");
        }
        let now = Instant::now();
        answer.known.extend(rows.iter().filter_map(|row| {
            Some(Known {
                until: if row.id.age() < YOUNG { now } else { now + FRESH },
                row: Arc::clone(row),
                finding: found.remove(&row.id)?,
            })
        }));
        answer.names_of_logs.extend(names);
        Ok(())
    }
}

/// The verdicts equal to these that came first.
fn shared(distinct: &mut HashSet<Arc<[Verdict]>>, verdicts: &Arc<[Verdict]>) -> Arc<[Verdict]> {
    if let Some(first) = distinct.get(verdicts) {
        return Arc::clone(first);
    }
    distinct.insert(Arc::clone(verdicts));
    Arc::clone(verdicts)
}

/// The names of the node's containers, from the operator's directory or the customary ones; `None` without any.
fn read_logs(directory: Option<&Path>) -> Option<ContainerLogs> {
    let customary = [container_logs::DEBUG_DIRECTORY, container_logs::DIRECTORY].map(Path::new);
    let directories = directory.map_or(customary.to_vec(), |directory| vec![directory]);
    directories
        .into_iter()
        .find_map(|directory| ContainerLogs::read(directory).ok())
}

/// A process that spoils its inspector: it stays visible, and the doctor says why nothing can be had from it.
fn unknown(row: &Process, error: &ChildError) -> Finding {
    let remedy = match error {
        ChildError::OutOfMemory { .. } => "raise sideflame.io/memory-limit on the pod",
        _ => "see the log of sideflame; please report this as a bug",
    };
    let sentence = format!("looking into the process failed: {error}");
    let reason = Reason::new("inspection_failed", sentence, remedy);
    let runtime::Detected { name, facts } = native::detect::detect(row);
    let target = Target {
        process: row.clone(),
        name,
        facts,
    };
    let verdicts = vec![Verdict::impossible(Event::Cpu, reason)];
    Finding::new(target, verdicts, &row.container)
}
