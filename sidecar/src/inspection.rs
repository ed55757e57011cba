//! One target with its doctor's verdicts: what the inspector child answers, and the child itself.
//!
//! The child exists because looking into a process needs the process's own identity, and because what is found there
//! is hostile. Called by the binary's hidden `inspector` command; the server's side is [`crate::capture::inspector`].

use serde::{Deserialize, Serialize};

use crate::discovery::{self, GoPprofSettings};
use crate::doctor::{self, Verdict};
use crate::process::{Process, ProcessTable};
use crate::target::Target;

/// What to inspect; all processes have the same credentials, which the child has taken on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectionOrder {
    /// The rows of `/proc`.
    pub processes: Vec<Process>,
    /// Where Go programs may serve pprof.
    pub go_pprof: GoPprofSettings,
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

/// Runs the detectors and the doctor over the processes that still live.
pub fn inspect(table: &ProcessTable, order: InspectionOrder) -> Vec<Inspection> {
    order
        .processes
        .into_iter()
        .filter(|process| table.is_alive(process.id))
        .map(|process| {
            let target = discovery::detect(table, process, &order.go_pprof);
            let verdicts = doctor::examine(table, &target);
            Inspection { target, verdicts }
        })
        .collect()
}
