//! The server's side of inspection: one inspector child per set of credentials, answers kept for a moment.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{CaptureError, children};
use crate::discovery::{GoPprofSettings, native};
use crate::doctor::{Reason, Verdict};
use crate::event::Event;
use crate::inspection::{Inspection, InspectionOrder};
use crate::process::{Credentials, Process, ProcessId, ProcessTable};
use crate::target::Target;

/// How long an answer is good. A page that polls each second then costs one child, and a port of a Go program is not
/// probed more often; what changes in a process (a socket appears) shows soon enough.
const FRESH: Duration = Duration::from_secs(2);

/// Probing the ports of several Go programs is the slowest part, bounded to 2 s each.
const LIMIT: Duration = Duration::from_secs(20);

/// Finds out what runs here.
#[derive(Debug)]
pub struct Inspector {
    table: ProcessTable,
    go_pprof: GoPprofSettings,
    known: Mutex<HashMap<ProcessId, (Instant, Inspection)>>,
}

impl Inspector {
    /// Looks at the processes of `table`.
    pub fn new(table: ProcessTable, go_pprof: GoPprofSettings) -> Self {
        Self {
            table,
            go_pprof,
            known: Mutex::default(),
        }
    }

    /// Every process but ourselves, by pid.
    ///
    /// # Errors
    /// The process list could not be read at all.
    pub async fn inspect(&self) -> Result<Vec<Inspection>, CaptureError> {
        let table = self.table.clone();
        let processes = tokio::task::spawn_blocking(move || table.snapshot()).await;
        let mut processes = processes.map_err(|error| CaptureError::internal("list the processes", &error))?;
        let us = i32::try_from(std::process::id()).unwrap_or_default();
        processes.retain(|process| process.id.pid != us && process.parent_pid != us);

        let mut inspections = Vec::new();
        let mut groups: HashMap<Credentials, Vec<Process>> = HashMap::new();
        for process in processes {
            match self.fresh(&process) {
                Some(inspection) => inspections.push(inspection),
                None => groups.entry(process.credentials).or_default().push(process),
            }
        }
        for group in join_all(groups.into_values().map(|group| self.ask(group))).await {
            inspections.extend(group);
        }
        inspections.sort_by_key(|inspection| inspection.target.id());
        self.remember(&inspections);
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

    async fn ask(&self, processes: Vec<Process>) -> Vec<Inspection> {
        let order = InspectionOrder {
            processes,
            go_pprof: self.go_pprof.clone(),
        };
        let answer = match serde_json::to_vec(&order) {
            Ok(json) => children::run("inspector", &json, LIMIT).await,
            Err(error) => Err(CaptureError::internal("inspector", &error)),
        };
        let inspections = answer.and_then(|output| {
            serde_json::from_slice(&output.stdout).map_err(|error| CaptureError::internal("inspector", &error))
        });
        inspections.unwrap_or_else(|error| {
            tracing::warn!(%error, processes = order.processes.len(), "inspection failed");
            order
                .processes
                .into_iter()
                .map(|process| unknown(process, &error))
                .collect()
        })
    }
}

/// A process whose inspector died: it stays visible, and says why nothing can be had from it.
fn unknown(process: Process, error: &CaptureError) -> Inspection {
    let reason = Reason::new(
        "inspection_failed",
        format!("looking into the process failed: {error}"),
        "see the log of sideflame; please report this as a bug",
    );
    let detected = native::detect(&process);
    Inspection {
        target: Target {
            process,
            name: detected.name,
            facts: detected.facts,
        },
        verdicts: vec![Verdict::impossible(Event::Cpu, reason)],
    }
}
