//! What can be wrong with a JFR.

use std::io;

use super::sampled::Sampled;
use crate::profile::builder::ModelError;

/// The file is no JFR that can be read, or not as it was asked to be.
#[derive(Debug, thiserror::Error)]
pub enum JfrError {
    /// The input could not be read.
    #[error("the recording cannot be read")]
    Read(#[source] io::Error),
    /// It does not begin as one.
    #[error("a chunk does not begin with FLR")]
    NotJfr,
    /// A version that is not written any more, or none that is known.
    #[error("version {0} of the format is not known")]
    Version(u64),
    /// A chunk, an event or a text is longer than what is there.
    #[error("the recording is cut off")]
    Cut,
    /// Its recorder has not ended a chunk.
    #[error("a chunk was never finished")]
    Unfinished,
    /// An event of no size, or of less than its own head.
    #[error("an event has an impossible size")]
    EventSize,
    /// A number of things that cannot be there.
    #[error("{0} things in less than as many bytes")]
    Count(u64),
    /// A string.
    #[error("a text is encoded in way {0}, which is not known")]
    Encoding(u8),
    /// The description of the types makes no sense.
    #[error("its description of itself is broken")]
    Metadata,
    /// Something of a type that is not described, or of which there is nothing to read.
    #[error("type {0} is not described")]
    UnknownType(u64),
    /// Something within something, without an end.
    #[error("it is nested too deeply")]
    TooDeep,
    /// Something that is to be blanked is written where it cannot be.
    #[error("it has a secret that cannot be blanked")]
    Secret,
    /// A part of its time was asked for, of what only the whole tells.
    #[error("leaks are what was not given back until the end: they are of the whole recording, without from and to")]
    WholeOnly,
    /// It does not fit the model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// It was not said which of its events is wanted.
    #[error("it has samples of {}: choose one", names(.0))]
    Several(Vec<Sampled>),
}

fn names(events: &[Sampled]) -> String {
    events.iter().map(|event| event.name()).collect::<Vec<_>>().join(", ")
}
