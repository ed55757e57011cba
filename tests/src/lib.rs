//! What the live tests stand on: sample apps with a known split, a running `sideflame serve`, shares of stacks, and a
//! Kubernetes control plane.
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
pub mod chart;
pub mod control_plane;
pub mod server;
pub mod service;
pub mod shares;
pub mod target_files;
pub mod tls_client;
pub mod webhook;

pub use app::App;
pub use control_plane::{ControlPlane, Namespace};
pub use server::{Answer, Server};
