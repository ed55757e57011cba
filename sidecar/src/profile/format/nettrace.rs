//! EventPipe's nettrace of versions 4, 5 and 6, and what of .NET's events makes a profile.
//!
//! Two layers. [`framing`], [`decoder`] and what they use know the format alone and nothing of this product, so that they could be a
//! crate: bytes are pushed in as they come, events come out, and no more than one block and the stacks between two sequence
//! points are held. [`read`] and its parts know the events of CoreCLR and our model. The recorder uses the framing to tell
//! a whole stream from a cut one.
//!
//! Format: `NetTraceFormat.md` (version 6) and `NetTraceFormat_v5.md` of microsoft/perfview; .NET Core 3.0 to .NET 10 write
//! version 4. Native events bring no field names (dotnet/runtime#96365), so their layouts stand in `clr`. It is checked
//! against what real runtimes write, by a reader in `tests/` that shares no code with this one.

pub mod cursor;
pub mod decoder;
pub mod event_rows;
#[cfg(any(test, feature = "fuzzing"))]
pub mod example;
pub mod fields;
pub mod framing;
pub mod metadata;
pub mod sequence;
pub mod stack_table;
pub mod threads;
pub mod trace_header;

mod addresses;
mod clr;
mod collector;
mod contention;
mod heap_walk;
mod methods;
mod moment;
mod profile_of;
pub mod read;
mod running;
mod sampled_threads;
mod stack_tree;
mod sums;
mod threads_of;
mod waits;

#[cfg(test)]
mod tests;
