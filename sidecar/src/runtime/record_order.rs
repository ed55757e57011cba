//! What a recorder child is told.

use serde::{Deserialize, Serialize};

use super::{RuntimePlan, Target};
use crate::event::Event;
use crate::format::RecordingKind;

/// Everything a recorder needs; made and validated by the server, executed by the recorder. Crosses as JSON on stdin
/// because an argument list is readable by every process of the pod and headers are secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordOrder {
    /// The process to profile.
    pub target: Target,
    /// What to sample.
    pub event: Event,
    /// How long to sample. 0 asks a runtime that keeps totals for those since the start of the program.
    pub seconds: u64,
    /// What the store has room for.
    pub room: RoomGrant,
    /// How the target's runtime is made to record.
    pub plan: RuntimePlan,
}

/// Room of a recording in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomGrant {
    /// Bytes reserved at the start; the recorder asks for more.
    pub granted_bytes: u64,
    /// The most it can ever be granted.
    pub max_bytes: u64,
}

impl RecordOrder {
    /// The recording to make.
    pub fn kind(&self) -> RecordingKind {
        self.plan.kind()
    }
}
