//! `sideflame ps`: what runs here.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{exit, inspect};
use crate::listing;
use crate::runtime::GoPprofSettings;

/// Runs the command.
pub fn run(go: GoPprofSettings, container_logs: Option<PathBuf>, json: bool) -> ExitCode {
    match inspect(go, container_logs) {
        Ok(inspections) if json => exit::json(&listing::processes_json(&inspections)),
        Ok(inspections) => {
            print!("{}", listing::processes(&inspections));
            ExitCode::SUCCESS
        }
        Err(error) => exit::report(&error),
    }
}
