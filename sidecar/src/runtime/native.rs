//! Machine code without a runtime that we know. Called by [`super`].

pub mod detect;
pub mod doctor;
