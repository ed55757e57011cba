//! Machine code, by the kernel's sampler (`perf_event_open`): any process, and Go programs without a pprof port.
//! Called by [`super`].
//!
//! One straight line: `perf` gives samples of addresses, `unwind` walks the stacks that have no frame pointers, `collector`
//! adds them up, `symbols` gives names, `record` puts them together. `threads` looks at those that sleep, too, and `dump` at all that the
//! process has in memory.

pub mod address_spaces;
mod collector;
pub mod detect;
pub mod doctor;
pub mod dump;
pub mod events;
mod groups;
pub mod mapping;
mod maps;
pub mod node;
pub mod parameters;
pub mod perf;
pub mod plan;
mod profile_of;
pub mod record;
pub mod sample;
pub mod stacks;
pub mod symbols;
pub mod threads;
pub mod unwind;
