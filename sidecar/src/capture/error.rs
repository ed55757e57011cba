//! Why a request has no artifact. Knows no status code: `http/problem.rs` maps it, the command line picks exit codes.

use std::io;

use super::remarks::InvalidRemark;
use super::request::RequestError;
use crate::child::{ChildError, InspectError, RenderFailure};
use crate::event::Event;
use crate::format::Format;
use crate::runtime::{NoRoom, Reason, RecordError, Runtime, Who};

/// Every text is for the caller and says what to change.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CaptureError {
    /// The parameters are wrong whatever runs in the pod.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A parameter the chosen runtime does not have.
    #[error("{parameter} is a parameter for {of} processes; this one is {runtime}")]
    ParameterNotApplicable {
        /// Which.
        parameter: &'static str,
        /// The target's.
        runtime: Runtime,
        /// Whose it is.
        of: Runtime,
    },
    /// The runtime does not have the event.
    #[error("{runtime} processes have no event {event}; {}", offered(.allowed))]
    EventNotOffered {
        /// The target's.
        runtime: Runtime,
        /// Asked for.
        event: Event,
        /// What it has.
        allowed: Vec<String>,
    },
    /// The recording cannot be had in the format.
    #[error("this {runtime} capture is not available as {format}; {}", offered(.allowed))]
    FormatNotOffered {
        /// The target's.
        runtime: Runtime,
        /// Asked for.
        format: Format,
        /// What there is.
        allowed: Vec<Format>,
    },
    /// A part was asked for of what can only be had whole.
    #[error("{format} is all of the recording, not what matches {view}; {}", offered(.allowed))]
    Indivisible {
        /// What was asked for, in words.
        view: String,
        /// As what.
        format: Format,
        /// Formats that show parts.
        allowed: Vec<Format>,
    },
    /// Nothing matches the selector.
    #[error("no such process")]
    NoSuchProcess {
        /// What could be meant, the first [`selector::SHOWN`](super::selector::SHOWN).
        candidates: Vec<Who>,
    },
    /// Nothing is seen at all, and no runtime has connected to our port.
    #[error("no .NET runtime is connected to {0}")]
    NotConnected(String),
    /// Several match.
    #[error("{matches} processes match; choose one by pid=, a longer name=, pod= or container=")]
    Ambiguous {
        /// How many.
        matches: usize,
        /// Which, the first [`selector::SHOWN`](super::selector::SHOWN).
        candidates: Vec<Who>,
    },
    /// The doctor says no.
    #[error("{}", .0.sentence)]
    Impossible(Reason),
    /// A capture of ours runs already.
    #[error("{what}; try again in {retry_after} s")]
    Busy {
        /// What is busy.
        what: String,
        /// Seconds.
        retry_after: u64,
    },
    /// A name or a note that is not taken.
    #[error(transparent)]
    Remark(#[from] InvalidRemark),
    /// Enough is pinned.
    #[error("{detail}")]
    TooMuchPinned {
        /// Figures.
        detail: String,
    },
    /// No room in the store for another capture.
    #[error("the store is full: {detail}")]
    StoreFull {
        /// Figures and what to do.
        detail: String,
    },
    /// No room for a file that was being written.
    #[error("no room: {0}")]
    NoRoom(NoRoom),
    /// A child of ours owes an answer.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// No capture of that id (any more).
    #[error("there is no capture {0}; it may have expired")]
    NoSuchCapture(String),
    /// The artifact of a capture that still runs.
    #[error("the capture is not finished; its state is at GET /captures/{0}")]
    NotFinished(String),
    /// Recording failed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Rendering failed.
    #[error("failed to render the recording: {0}")]
    Render(String),
    /// Two recordings cannot be compared.
    #[error("{0}")]
    Unlike(String),
    /// A file that was sent is none that we read.
    #[error("{0}")]
    Unreadable(String),
    /// The recording is whole, an artifact of it could not be made.
    #[error("{cause}")]
    NotRendered {
        /// The capture that is kept.
        capture: String,
        /// Its other formats.
        others: Vec<Format>,
        /// Why.
        cause: Box<Self>,
    },
    /// The server is going down.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// Our own fault or the machine's.
    #[error("failed to {step}: {detail}")]
    Internal {
        /// What we tried.
        step: &'static str,
        /// Why it failed.
        detail: String,
    },
}

impl CaptureError {
    /// What helps against [`Self::NotConnected`].
    pub(crate) const CONNECT: &str = "restart the app, whose runtime reads DOTNET_DiagnosticPorts at its start; .NET Core 3.1 and older know no \
                                      such ports";

    /// A step of ours failed.
    pub(crate) fn internal(step: &'static str, error: &dyn std::fmt::Display) -> Self {
        Self::Internal {
            step,
            detail: error.to_string(),
        }
    }

    /// Writing into the store failed; a full disk is told apart.
    pub(crate) fn store(error: &io::Error) -> Self {
        match NoRoom::of(error) {
            Some(limit) => Self::NoRoom(limit),
            None => Self::internal("write into the store", error),
        }
    }
}

impl From<InspectError> for CaptureError {
    fn from(error: InspectError) -> Self {
        Self::internal("look at the processes", &error)
    }
}

impl From<RenderFailure> for CaptureError {
    fn from(failure: RenderFailure) -> Self {
        match failure {
            RenderFailure::NoRoom(limit) => Self::NoRoom(limit),
            RenderFailure::Unlike(words) => Self::Unlike(words),
            RenderFailure::Failed(words) => Self::Render(words),
            RenderFailure::Child(error @ (ChildError::OutOfMemory { .. } | ChildError::Killed { .. })) => error.into(),
            failure => Self::Render(failure.to_string()),
        }
    }
}

fn offered<T: ToString>(allowed: &[T]) -> String {
    if allowed.is_empty() {
        return "it offers nothing yet".to_owned();
    }
    format!(
        "allowed are: {}",
        allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )
}
