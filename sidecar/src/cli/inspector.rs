//! `sideflame inspector` (hidden): the child that looks into processes with their own identity.
//!
//! stdin: an [`InspectionOrder`] as JSON; stdout: an [`inspection::InspectionAnswer`] as JSON.

use std::io::{Read, Write};
use std::process::ExitCode;

use crate::confine;
use crate::inspection::{self, InspectionOrder};
use crate::process::ProcessTable;

/// Runs the command.
///
/// # Errors
/// The order is unreadable or the identity could not be taken on; stderr then tells the server.
pub fn run() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut order = Vec::new();
    std::io::stdin().lock().read_to_end(&mut order)?;
    let order: InspectionOrder = serde_json::from_slice(&order)?;
    confine::limit(None)?;
    let table = ProcessTable::default();
    if let Some(process) = order.network_of {
        confine::enter_network(&table, process)?;
    }
    if let Some(process) = order.processes.first() {
        confine::become_target(process.credentials)?;
    }
    let answer = inspection::inspect(&table, order);
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &answer)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
