//! `sideflame sweeper` (hidden): the child that removes what a killed recorder left in a target.
//!
//! stdin: the [`Target`] as JSON.

use std::io::Read;
use std::process::ExitCode;

use crate::runtime::Target;
use crate::{confine, runtime};

/// Runs the command.
///
/// # Errors
/// The order is unreadable or the identity could not be taken on; stderr then tells the server.
pub fn run() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut order = Vec::new();
    std::io::stdin().lock().read_to_end(&mut order)?;
    let target: Target = serde_json::from_slice(&order)?;
    confine::limit(None)?;
    confine::become_target(target.process.credentials)?;
    runtime::sweep(&target);
    Ok(ExitCode::SUCCESS)
}
