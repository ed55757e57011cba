//! `sideflame ps`: what runs here.

use std::process::ExitCode;

use clap::Args;

use super::flags::InspectionFlags;
use super::parameters::SelectorFlags;
use super::{exit, inspect};
use crate::capture::selector;
use crate::listing;

/// Flags of `ps`.
#[derive(Debug, Args)]
pub struct PsCommand {
    #[command(flatten)]
    processes: SelectorFlags,
    #[command(flatten)]
    inspection: InspectionFlags,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Runs the command for the processes that were chosen, or for all of them.
pub fn run(command: PsCommand) -> ExitCode {
    let PsCommand {
        processes,
        inspection,
        json,
    } = command;
    let listed = processes.selector().map_err(Into::into).and_then(|selector| {
        let inspections = inspect(inspection)?;
        let shown = selector::filter(&selector, &inspections);
        Ok((inspections, shown))
    });
    match listed {
        Ok((inspections, shown)) if json => {
            let rows = listing::processes_json(&inspections).enumerate();
            let rows = rows.filter(|(index, _)| shown.contains(index)).map(|(_, row)| row);
            exit::json(&rows.collect::<Vec<_>>())
        }
        Ok((inspections, shown)) => {
            let shown: Vec<_> = shown.into_iter().map(|index| inspections[index].clone()).collect();
            print!("{}", listing::processes(&shown));
            ExitCode::SUCCESS
        }
        Err(error) => exit::report(&error),
    }
}
