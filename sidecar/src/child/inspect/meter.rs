//! Counters of all processes for a scrape: read by children with the rights of each, from files alone. No runtime is asked, no port
//! connected to, nothing signalled.
//!
//! A reading is evidence from a child, as a finding is: names and numbers of a process, which the server bounds. Both sides of the
//! role are here.

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use super::finding::Finding;
use super::look::Mounts;
use super::{CHILDREN, InspectError, Inspector};
use crate::child::channel::{Channel, LONGEST_FRAME};
use crate::child::order::ChildOrder;
use crate::confine;
use crate::process::{Credentials, Process, ProcessId, ProcessTable};
use crate::profile::counter::CounterValue;
use crate::runtime::{self, Runtime, Sources, Target};

/// Processes that are read at a scrape, those that began first.
const MOST_READ: usize = 256;
/// Processes that are told: those of a runtime, then the others.
const MOST_TOLD: usize = 64;
/// Values of one process.
const MOST_VALUES: usize = 128;
/// Processes per child. One that spoils its child takes the others with it, for this scrape.
const CHUNK: usize = 16;
/// Prometheus waits for ten seconds by default.
const TIME: Duration = Duration::from_secs(8);
/// Beginnings of names: none of a process may look as if it were the server's.
const NAMES: [&str; 3] = ["process_", "container_", "jvm_"];

/// Which processes to read; all have the same credentials, which the child takes on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeterOrder {
    /// Each with its executable as far as the server may know it.
    processes: Vec<(ProcessId, Option<PathBuf>)>,
    credentials: Credentials,
}

/// A process and what is counted of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reading {
    finding: Finding,
    values: Vec<CounterValue>,
}

/// What is counted of a process.
#[derive(Debug, Clone, PartialEq)]
pub struct Metered {
    /// The process.
    pub target: Target,
    /// Its counters.
    pub values: Vec<CounterValue>,
}

/// What was counted of all of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scrape {
    /// Those of a runtime first, each by pid.
    pub metered: Vec<Metered>,
    /// How many processes there are of which nothing is told, and how many are not known.
    pub left_out: usize,
}

impl Inspector {
    /// Reads the counters of the processes that are seen, within eight seconds. Those who ask at once share one run.
    ///
    /// # Errors
    /// The process list could not be read at all.
    pub async fn meter(&self) -> Result<Arc<Scrape>, InspectError> {
        self.scrapes.answer((), self.scrape()).await
    }

    async fn scrape(&self) -> Result<Arc<Scrape>, InspectError> {
        let table = self.table.clone();
        let us = i32::try_from(std::process::id()).unwrap_or_default();
        let listed =
            tokio::task::spawn_blocking(move || table.snapshot(|row| row.id.pid != us && row.parent_pid != us));
        let mut rows = listed.await.map_err(|error| InspectError(error.to_string()))?;
        let all = rows.len();
        rows.sort_by_key(|row| (row.id.start_time, row.id.pid));
        rows.truncate(MOST_READ);
        let mut groups = HashMap::<Credentials, Vec<Process>>::new();
        for row in rows {
            groups.entry(row.credentials).or_default().push(row);
        }
        let chunks = groups.into_values().flat_map(|rows| {
            let chunks: Vec<_> = rows.chunks(CHUNK).map(<[_]>::to_vec).collect();
            chunks
        });
        let deadline = Instant::now() + TIME;
        let asked = chunks.map(|rows| self.read(rows, deadline));
        let mut answers = futures_util::stream::iter(asked).buffer_unordered(CHILDREN);
        let mut metered = Vec::new();
        while let Some(answer) = answers.next().await {
            metered.extend(answer);
        }
        metered.sort_by_key(|one| (one.target.runtime() == Runtime::Native, one.target.id()));
        metered.truncate(MOST_TOLD);
        let left_out = all - metered.len();
        Ok(Arc::new(Scrape { metered, left_out }))
    }

    /// One child; nothing of what it says if it does not end well.
    async fn read(&self, rows: Vec<Process>, deadline: Instant) -> Vec<Metered> {
        let Some(first) = rows.first() else { return Vec::new() };
        let order = ChildOrder::Meter(MeterOrder {
            processes: rows.iter().map(|row| (row.id, row.executable.clone())).collect(),
            credentials: first.credentials,
        });
        let mut rows: HashMap<ProcessId, Process> = rows.into_iter().map(|row| (row.id, row)).collect();
        let bounds = rows.len() * LONGEST_FRAME;
        let mut metered = Vec::new();
        let heard = |Reading { finding, values }: Reading| {
            // Of two about one process the first counts.
            if let Some(row) = rows.remove(&finding.id) {
                let target = finding.join(row).target;
                metered.push(Metered {
                    target,
                    values: values.into_iter().filter(is_of_a_process).take(MOST_VALUES).collect(),
                });
            }
        };
        let asking = async {
            // An error would mean that the semaphore was closed, which nothing does.
            let _permit = self.permits.acquire().await;
            let left = deadline.saturating_duration_since(Instant::now());
            self.children.ask(&order, &[], (bounds, left), heard).await
        };
        match timeout_at(deadline, asking).await {
            Ok(Ok(())) => metered,
            Ok(Err(error)) => {
                tracing::warn!(%error, "counters of some processes could not be read");
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }
}

fn is_of_a_process(value: &CounterValue) -> bool {
    value.is_shared() && value.value.is_finite() && NAMES.iter().any(|name| value.name.starts_with(name))
}

/// Reads as ordered, in the child.
///
/// # Errors
/// The identity could not be taken on, or the channel is broken; stderr then tells the server.
pub(in crate::child) fn run(order: MeterOrder, mut channel: Channel) -> Result<ExitCode, Box<dyn Error>> {
    confine::limit_memory(CHILDREN as u64)?;
    let table = ProcessTable::default();
    confine::become_target(order.credentials)?;
    let mut mounts = Mounts::default();
    for (id, executable) in order.processes {
        let Some(mut row) = table.find(id) else {
            continue;
        };
        // A name must not depend on who looks.
        row.executable = executable;
        let mut container = row.container.clone();
        container.complete_from_mounts(mounts.of(&table, id.pid));
        let target = runtime::recognise(&table, row);
        let Some(values) = Sources::open(&table, &target).read() else {
            continue;
        };
        let reading = Reading {
            finding: Finding::new(target, Vec::new(), &container),
            values: values.into_iter().take(MOST_VALUES).collect(),
        };
        channel.send(&reading)?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::counter::CounterKind;

    #[test]
    fn a_child_that_was_taken_over_names_no_counter_of_the_server() {
        let value = |provider: &str, name: &str| CounterValue::shared(provider, name, CounterKind::Gauge, 1.0);
        assert!(is_of_a_process(&value("/proc", "process_open_fds")));
        assert!(!is_of_a_process(&value("/proc", "sideflame_captures_started_total")));
        assert!(!is_of_a_process(&value("process", "process_open_fds")));
    }
}
