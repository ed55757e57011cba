//! The `sideflame-webhook` binary: parses the arguments and runs them.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    sideflame_webhook::args::Args::parse().run()
}
