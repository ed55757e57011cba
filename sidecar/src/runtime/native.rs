//! Machine code, by the kernel's sampler (`perf_event_open`): any process, and Go programs without a pprof port.
//! Called by [`super`].
//!
//! One straight line: `perf` gives samples of addresses, `unwind` walks the stacks that have no frame pointers, `symbols`
//! gives names, `record` puts them together.

pub mod detect;
pub mod doctor;
pub mod events;
pub mod mapping;
pub mod parameters;
pub mod perf;
pub mod plan;
pub mod sample;
pub mod symbols;
