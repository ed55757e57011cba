//! `sideflame child` (hidden): what the server starts; see [`crate::child`].

use std::process::ExitCode;

use super::exit::chain;
use crate::child;

/// Runs the command. An error goes to stderr, which the server reads.
pub fn run() -> ExitCode {
    child::run().unwrap_or_else(|error| {
        eprintln!("{}", chain(error.as_ref()));
        ExitCode::FAILURE
    })
}
