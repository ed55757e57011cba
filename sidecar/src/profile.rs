//! One in-memory model of a profile, its readers and its writers. Knows formats and no runtime.
//!
//! Everything read here was produced inside a target and is hostile: sizes, counts and depths are capped before memory
//! is spent on them. The only callers are the render child process and the CLI, through [`render::render`].

pub mod builder;
pub mod collapsed;
pub mod flame_tree;
pub mod flat_stacks;
pub mod frame_name;
pub mod model;
pub mod pprof;
pub mod quality;
pub mod read_collapsed;
pub mod render;
pub mod speedscope;
pub mod stamp;
pub mod strings;
pub mod svg;

pub use builder::{ModelError, ProfileBuilder};
pub use model::{FrameKind, Profile, ValueType};
pub use quality::Quality;
pub use read_collapsed::CollapsedValues;
pub use render::{RenderError, RenderOptions, Rendered, render};
