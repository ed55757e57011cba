//! One file per command.

pub mod annotations;
mod documents;
pub mod inject;
mod object;
pub mod serve;
mod yaml;
