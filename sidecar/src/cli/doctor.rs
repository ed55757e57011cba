//! `sideflame doctor`: what works, and what would unlock the rest.

use std::process::ExitCode;

use clap::Args;

use super::flags::InspectionFlags;
use super::parameters::SelectorFlags;
use super::{exit, inspect};
use crate::capture::selector::{self, Selector};
use crate::listing;

/// Flags of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorCommand {
    #[command(flatten)]
    process: SelectorFlags,
    #[command(flatten)]
    inspection: InspectionFlags,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Runs the command for one process, or for all of them.
pub fn run(command: DoctorCommand) -> ExitCode {
    let DoctorCommand {
        process,
        inspection,
        json,
    } = command;
    let chosen = process.selector().map_err(Into::into).and_then(|selector| {
        let mut inspections = inspect(inspection)?;
        if selector == Selector::default() {
            return Ok(inspections);
        }
        let index = selector::resolve(&selector, &inspections)?;
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
