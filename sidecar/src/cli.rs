//! The commands of the binary. Each module is one command; [`crate::args`] declares their flags.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "commands talk to a person on a terminal"
)]

pub mod child;
pub mod doctor;
pub mod exit;
pub mod output;
pub mod progress;
pub mod ps;
pub mod record;
pub mod render;
pub mod serve;

use std::future::Future;
use std::path::PathBuf;

use crate::capture::CaptureError;
use crate::child::{Children, Inspection, Inspector};
use crate::process::ProcessTable;
use crate::runtime::GoPprofSettings;

/// Runs a command's future. One thread: the work is in child processes, and their parent-death signal is tied to the
/// thread that started them.
///
/// # Errors
/// The runtime could not be made.
pub(crate) fn block_on<F: Future>(future: F) -> std::io::Result<F::Output> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(future))
}

/// What runs here.
///
/// # Errors
/// As [`Inspector::inspect`].
pub(crate) fn inspect(go: GoPprofSettings, container_logs: Option<PathBuf>) -> Result<Vec<Inspection>, CaptureError> {
    let inspector = Inspector::new(Children::default(), ProcessTable::default(), go, container_logs);
    let inspected = block_on(inspector.inspect(None));
    Ok(inspected.map_err(|error| CaptureError::internal("start the runtime", &error))??)
}
