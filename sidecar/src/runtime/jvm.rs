//! HotSpot, through async-profiler. Called by [`super`].

pub mod agent;
pub mod agent_library;
pub mod async_profiler;
pub mod attach;
pub mod attach_protocol;
pub mod command_line;
pub mod delivery;
pub mod descriptors;
pub mod detect;
pub mod doctor;
pub mod engine;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
pub mod hsperfdata;
pub mod interval;
pub mod outcome;
pub mod parameters;
pub mod plan;
pub mod record;
pub mod run;
pub mod session;
pub mod settings;
pub mod survivors;
pub mod transfer;
pub mod waits;
