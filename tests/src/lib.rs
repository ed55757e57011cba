//! What the live tests stand on: sample apps with a known split, a running `sideflame serve`, shares of stacks, a
//! Kubernetes control plane, and a whole single-node cluster.
//!
//! `make test` installs the components, builds apps and images and starts the cluster; a test that misses one of them
//! fails and says so.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that cannot set up must fail loudly"
)]

pub mod addresses;
pub mod api_proxy;
pub mod app;
pub mod browser;
pub mod cache;
pub mod certificate;
pub mod chart;
pub mod client;
pub mod cluster;
pub mod control_plane;
pub mod dump_request;
pub mod exposition;
pub mod flame;
pub mod forwarder;
pub mod image;
pub mod imports;
pub mod jfr;
pub mod load;
pub mod memory_cgroup;
pub mod nettrace;
pub mod node;
pub mod page;
pub mod pod;
pub mod port_forward;
pub mod resolver;
pub mod server;
pub mod service;
pub mod shares;
pub mod target_files;
pub mod tls_client;
pub mod webhook;

pub use app::App;
pub use browser::Browser;
pub use client::{Answer, Client};
pub use cluster::Cluster;
pub use control_plane::{ControlPlane, Namespace};
pub use dump_request::DumpRequest;
pub use forwarder::Forwarder;
pub use memory_cgroup::MemoryCgroup;
pub use node::{Cgroup, Node, Pod};
pub use page::Page;
pub use port_forward::PortForward;
pub use server::Server;
