//! The Go runtime, through `net/http/pprof`. Called by [`super`].

mod absence;
pub(crate) mod address;
mod build_info;
mod candidates;
mod capture;
pub mod detect;
pub mod doctor;
mod executable;
pub mod expvar;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod listening_sockets;
mod memstats;
pub mod parameters;
pub mod plan;
pub(crate) mod pprof_client;
mod pprof_index;
mod pprof_probe;
mod profile_scan;
pub mod record;
mod recording_check;
mod refusal;
mod request;
pub mod server;
pub mod settings;
mod unix_sockets;
