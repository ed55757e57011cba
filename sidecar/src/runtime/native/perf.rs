//! The kernel's sampler (`perf_event_open`): what happens in a process, as addresses and in order.
//!
//! `sys` has the system calls, `attr` what the kernel is asked and the ladder of what it may refuse, `descriptors` a set of
//! open events with their rings, `merge` and `decode` make records of bytes, `sampler` follows a process. Must not know
//! names, files, or how stacks are unwound. Called by the recorder, and by the inspector for what is allowed.

mod attr;
mod decode;
mod descriptors;
mod error;
mod machine;
mod merge;
mod rights;
mod sampler;
mod sys;

pub use error::{PerfError, Sight, no_kernel_frames, no_samples};
pub use rights::PerfRights;
pub use sampler::{Facts, Sampler};
pub use sys::{now, register_set};
