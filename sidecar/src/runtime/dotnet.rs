//! CoreCLR, through its diagnostics IPC and EventPipe. Called by [`super`].

pub mod caller;
pub mod capture;
pub mod client;
pub mod completeness;
pub mod counters;
pub mod detect;
pub mod doctor;
pub mod dump;
pub mod event_pipe;
pub mod heap_snapshot;
pub mod heap_watch;
pub mod introduction;
pub mod ipc;
pub mod line;
mod memory_room;
pub mod parameters;
pub mod perf_map;
pub mod plan;
pub mod process_info;
pub mod provider_syntax;
pub mod providers;
mod reach;
pub mod record;
mod startup;
mod threads;
pub mod way;
