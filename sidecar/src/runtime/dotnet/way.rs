//! The two ways to a runtime's diagnostic server: the socket it has made, or the connections it makes to ours.
//!
//! A value that the server plans with and the recorder follows. Called by [`super::plan`] and [`super::record`].

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::caller::Caller;
use crate::runtime::RuntimeFacts;

/// Which way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Way {
    /// The diagnostic socket as a path in the target's own mount namespace.
    Socket(PathBuf),
    /// Connections that come to the server's port, handed on over a line.
    Port(Caller),
}

impl Way {
    /// The way to a .NET process, if there is one.
    pub fn to(facts: &RuntimeFacts) -> Option<Self> {
        match facts {
            RuntimeFacts::Dotnet { port: Some(caller), .. } => Some(Self::Port(*caller)),
            RuntimeFacts::Dotnet {
                socket: Some(socket), ..
            } => Some(Self::Socket(socket.clone())),
            _ => None,
        }
    }
}
