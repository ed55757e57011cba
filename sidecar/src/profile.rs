//! One in-memory model of a profile, its readers and its writers. Knows formats and no runtime.
//!
//! Everything read here was produced inside a target and is hostile: sizes, counts and depths are capped before memory
//! is spent on them. The only callers are the render child process and the CLI, through [`render::render`].

pub mod amount;
pub mod builder;
pub mod counter;
pub mod counts;
pub mod diff;
pub mod flame_tree;
pub mod flat_stacks;
pub mod format;
pub mod frame_name;
pub mod hidden_class;
pub mod model;
pub mod modified_utf8;
pub mod quality;
pub mod render;
pub mod slicing;
pub mod stamp;
pub mod strings;
pub mod survivors;
pub mod thread_root;
pub mod thread_samples;
pub mod top;
pub mod view;
#[cfg(any(test, feature = "fuzzing"))]
pub mod words;

pub use builder::{ModelError, ProfileBuilder};
pub use format::collapsed::read::CollapsedValues;
pub use format::{Unrecognised, recognise};
pub use hidden_class::Names;
pub use model::{FrameKind, Profile, ValueType};
pub use quality::Quality;
pub use render::{RenderError, RenderOptions, Rendered, render};
pub use view::{Fold, Pattern, View};
