//! Sideflame: profiles the JVM, .NET, Go and native processes it can see, and answers with the artifact itself.
//!
//! `ARCHITECTURE.md` has the map. The binary only parses [`args::Args`] and runs them.

pub mod args;
pub mod capture;
pub mod child;
pub mod cli;
pub mod confine;
pub mod descriptors;
pub mod event;
pub mod format;
pub mod http;
pub mod listing;
pub mod parameter;
pub mod process;
pub mod profile;
pub mod redact;
pub mod runtime;
pub mod varint;
