//! What the live tests stand on: sample apps with a known split, a running `sideflame serve`, and shares of stacks.
//!
//! `make test` installs the components and builds the apps; a test whose component is missing fails and says so.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that cannot set up must fail loudly"
)]

pub mod app;
pub mod cache;
pub mod server;
pub mod shares;
pub mod target_files;

pub use app::App;
pub use server::{Answer, Server};
