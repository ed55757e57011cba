//! The `sideflame-webhook` binary: parses the arguments and runs them.

use std::process::ExitCode;

use clap::Parser;

/// With musl's own a review of a small pod takes 170 to 210 µs of CPU, with this one 80 to 110, as with glibc's.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    sideflame_webhook::args::Args::parse().run()
}
