//! What a recorder and the server say to each other after the order. A server that hangs up means cancel.

use serde::{Deserialize, Serialize};

use crate::profile::Quality;
use crate::runtime::{Phase, RecordError};

/// The recorder to the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::child) enum Report {
    /// The capture entered a phase.
    Phase(Phase),
    /// The recording has the bytes it may have. The server answers [`Word::Room`].
    NeedsRoom,
    /// The recording is whole.
    Done(Box<Quality>),
    /// There is no recording.
    Failed(RecordError),
}

/// The server to the recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Word {
    /// End early and keep what there is.
    Stop,
    /// How many bytes the recording may have, all in all.
    Room(u64),
}
