//! One file per command.

pub mod annotations;
mod documents;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
pub mod inject;
mod object;
pub mod serve;
mod yaml;
