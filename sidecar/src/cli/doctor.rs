//! `sideflame doctor`: what works, and what would unlock the rest.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{exit, inspect};
use crate::capture::request::Selector;
use crate::capture::selector;
use crate::listing;
use crate::runtime::GoPprofSettings;

/// Runs the command for one process, or for all of them.
pub fn run(wanted: &Selector, go: GoPprofSettings, container_logs: Option<PathBuf>, json: bool) -> ExitCode {
    let chosen = inspect(go, container_logs).and_then(|mut inspections| {
        if *wanted == Selector::default() {
            return Ok(inspections);
        }
        let index = selector::resolve(wanted, &inspections)?;
        Ok(vec![inspections.swap_remove(index)])
    });
    match chosen {
        Ok(inspections) if json => exit::json(&listing::doctor_json(&inspections)),
        Ok(inspections) => {
            print!("{}", listing::doctor(&inspections));
            ExitCode::SUCCESS
        }
        Err(error) => exit::report(&error),
    }
}
