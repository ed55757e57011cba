//! The commands of the binary. Each module is one command with its flags, or what several commands share.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "commands talk to a person on a terminal"
)]

pub mod child;
pub mod diff;
pub mod doctor;
pub mod exit;
pub mod flags;
pub mod output;
pub mod parameters;
pub mod progress;
pub mod ps;
pub mod record;
pub mod render;
pub mod serve;
mod values;

use std::future::Future;

use self::flags::InspectionFlags;
use crate::capture::CaptureError;
use crate::child::{Children, Inspection, Inspector};
use crate::process::ProcessTable;

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
pub(crate) fn inspect(flags: InspectionFlags) -> Result<Vec<Inspection>, CaptureError> {
    let (runtimes, container_logs) = flags.settings();
    let inspector = Inspector::new(Children::default(), ProcessTable::default(), runtimes, container_logs);
    let inspected = block_on(inspector.inspect(None));
    Ok(inspected.map_err(|error| CaptureError::internal("start the runtime", &error))??)
}
