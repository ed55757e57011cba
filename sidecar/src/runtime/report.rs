//! What there is to say of a capture at work: where it is, and why it failed.
//!
//! Must not know how it reaches the server. Made by every runtime's `record`.

use std::io::ErrorKind;

use serde::{Deserialize, Serialize};

use crate::runtime::Reason;

/// Where a capture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Getting the profiler into the target.
    Attaching,
    /// The profiler runs.
    Sampling,
    /// Ending the session; .NET writes its rundown now.
    Stopping,
    /// Bytes move from the target into the store.
    Transferring,
}

/// Why a recorder has nothing to show. The texts are for the caller of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase", tag = "error")]
pub enum RecordError {
    /// The target, as it runs now, cannot do this. The doctor would have said the same, or it changed since.
    #[error("{}", .0.sentence)]
    Impossible(Reason),
    /// Somebody else's profiling session runs in the target.
    #[error("{what} is already running in the target")]
    AlreadyProfiled {
        /// Which profiler, e.g. `async-profiler (cpu)`.
        what: String,
    },
    /// The target exited before the recording was whole.
    #[error("the process exited during the capture")]
    TargetExited,
    /// A step did not end in time.
    #[error("{step} did not end within {seconds} s")]
    Timeout {
        /// E.g. `attach`.
        step: String,
        /// The bound.
        seconds: u64,
    },
    /// The target broke the protocol.
    #[error("unexpected answer of the target while trying to {step}: {detail}")]
    Protocol {
        /// What we tried.
        step: String,
        /// What came instead.
        detail: String,
    },
    /// The profiler inside the target refused.
    #[error("{tool} failed: {message}")]
    Tool {
        /// E.g. `async-profiler`.
        tool: String,
        /// Its own words.
        message: String,
    },
    /// The profiler ceased to sample in mid-capture.
    #[error(
        "the sampler stopped in mid-capture: it saw {:.1} s of the {:.1} s of CPU time that lasting threads used{}",
        *.sampled_ms as f64 / 1000.0, *.cpu_ms as f64 / 1000.0, .cause.as_ref().map_or(String::new(), |cause| format!(" ({cause})"))
    )]
    SamplerDied {
        /// CPU time that its samples stand for, milliseconds.
        sampled_ms: u64,
        /// CPU time of the threads that lived from the start to the end, milliseconds.
        cpu_ms: u64,
        /// Its own words, if it had any.
        cause: Option<String>,
    },
    /// An argument only the runtime could judge, e.g. an event async-profiler does not know.
    #[error("{message}")]
    BadArgument {
        /// The query parameter.
        parameter: String,
        /// What is wrong with it and what is allowed.
        message: String,
    },
    /// The recording is larger than the store allows, or the disk is full.
    #[error("no room for the recording: {limit}")]
    StoreFull {
        /// Whose room it is.
        limit: NoRoom,
    },
    /// The target's own disk has no room for what its runtime would write there.
    #[error("{}", .0.sentence)]
    TargetDiskFull(Reason),
    /// The recorder was refused memory, or killed because the container has no more.
    #[error("the recorder ran out of memory")]
    OutOfMemory,
    /// Somebody killed the recorder, and it was not the kernel for want of memory.
    #[error("the recorder was killed (SIGKILL)")]
    Killed,
    /// A stop was asked for before there was anything to keep, or the runtime cannot keep a part.
    #[error("{detail}")]
    NothingToKeep {
        /// Why.
        detail: String,
    },
    /// The server gave up on the capture.
    #[error("the capture was cancelled")]
    Cancelled,
    /// The server ended before the capture did; its successor says so.
    #[error("sideflame was restarted in mid-capture")]
    Interrupted,
    /// Our own fault or the machine's.
    #[error("failed to {step}: {detail}")]
    Internal {
        /// What we tried.
        step: String,
        /// Why it failed.
        detail: String,
    },
}

impl RecordError {
    /// An I/O error of ours, with "no room" told apart.
    pub fn io(step: &str, error: &std::io::Error) -> Self {
        match (NoRoom::of(error), error.kind()) {
            (Some(limit), _) => Self::StoreFull { limit },
            // What a `MeteredFile` says when the server hung up.
            (None, ErrorKind::BrokenPipe) => Self::Cancelled,
            (None, _) => Self::Internal {
                step: step.to_owned(),
                detail: error.to_string(),
            },
        }
    }
}

/// What is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum NoRoom {
    /// The store has the size the operator gave it.
    #[error("the store has reached its size")]
    Store,
    /// The file system below it has no room, or the user's quota is used up.
    #[error("the disk below the store is full")]
    Disk,
    /// Nothing can be written into that file system at all, as after an error of its disk.
    #[error("the disk below the store is read-only")]
    ReadOnly,
}

impl NoRoom {
    /// Tells "no room" from other errors of writing. EFBIG comes from our own limits only.
    pub fn of(error: &std::io::Error) -> Option<Self> {
        match error.kind() {
            ErrorKind::FileTooLarge => Some(Self::Store),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(Self::Disk),
            ErrorKind::ReadOnlyFilesystem => Some(Self::ReadOnly),
            _ => None,
        }
    }
}

/// Says where a capture is.
pub struct Reporter(Box<dyn FnMut(Phase) + Send>);

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reporter").finish_non_exhaustive()
    }
}

impl Reporter {
    /// Reports to `listener`.
    pub fn new(listener: impl FnMut(Phase) + Send + 'static) -> Self {
        Self(Box::new(listener))
    }

    /// The capture entered `phase`.
    pub fn phase(&mut self, phase: Phase) {
        (self.0)(phase);
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_full_store_and_both_from_other_errors() {
        let cases = [
            (Errno::ENOSPC, Some(NoRoom::Disk)),
            (Errno::EDQUOT, Some(NoRoom::Disk)),
            (Errno::EFBIG, Some(NoRoom::Store)),
            (Errno::EROFS, Some(NoRoom::ReadOnly)),
            (Errno::EIO, None),
        ];
        for (errno, expected) in cases {
            assert_eq!(NoRoom::of(&errno.into()), expected, "{errno}");
        }
    }
}
