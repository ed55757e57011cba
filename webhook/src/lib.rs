//! Adds the Sideflame sidecar to annotated pods. ARCHITECTURE.md has the map.

pub mod admission;
pub mod annotations;
pub mod args;
pub mod authority;
pub mod choices;
pub mod cli;
pub mod cluster;
pub mod container;
mod dns;
pub mod endpoint;
pub mod events;
pub mod health;
pub mod inject;
pub mod limits;
pub mod metrics;
pub mod namespaces;
pub mod outcome;
mod pod;
pub mod probe;
pub mod readiness;
pub mod rights;
pub mod settings;
pub mod sidecars;
pub mod tls;
mod watch;
