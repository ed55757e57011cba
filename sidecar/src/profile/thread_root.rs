//! A thread by which stacks are split: as the root of its stacks, written as async-profiler does, and as their labels.
//!
//! Called by the reader of nettraces and by the recorder of machine code.

use super::builder::{ModelError, ProfileBuilder};
use super::model::{FrameKind, Label, LabelValue, LocationId};
use super::strings::StringId;
use super::thread_samples::{NAME, TID};

/// What the stacks of one thread have in common.
#[derive(Debug, Clone, Copy)]
pub struct ThreadRoot {
    /// `[name tid=7]`, below the thread's own frames.
    pub frame: LocationId,
    /// Its name, or the frame where it has none, and its number.
    pub labels: [Label; 2],
}

impl ThreadRoot {
    /// The thread with this name, which may be empty, and number.
    ///
    /// # Errors
    /// The profile is too large.
    pub fn new(builder: &mut ProfileBuilder, name: &str, tid: i64) -> Result<Self, ModelError> {
        let space = if name.is_empty() { "" } else { " " };
        let frame = format!("[{name}{space}tid={tid}]");
        let shown = if name.is_empty() { &frame } else { name };
        Ok(Self {
            frame: builder.frame(&frame, FrameKind::Thread)?,
            labels: labels_of(builder, shown, tid)?,
        })
    }
}

/// The labels of a thread with this name and number.
///
/// # Errors
/// The profile is too large.
pub fn labels_of(builder: &mut ProfileBuilder, name: &str, tid: i64) -> Result<[Label; 2], ModelError> {
    Ok([
        Label {
            key: builder.string(NAME)?,
            value: LabelValue::Text(builder.string(name)?),
        },
        Label {
            key: builder.string(TID)?,
            value: LabelValue::Number(tid, StringId::default()),
        },
    ])
}
