//! `profile.proto` of pprof: the file Go writes and `go tool pprof` reads.

pub mod proto;
pub mod reader;
pub mod wire;
pub mod writer;

pub use reader::{PprofError, read};
pub use writer::write;

#[cfg(test)]
mod tests;
