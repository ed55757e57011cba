//! The `sideflame` binary: parses the arguments and runs them.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    sideflame::args::Args::parse().run()
}
