//! Doors for `tests/fuzz` to what reads executables, socket tables and the answers of pprof ports. Only with the feature
//! `fuzzing`.

use std::fs::File;
use std::io;
use std::net::SocketAddr;

use hyper::StatusCode;

use super::parameters::GoOptions;
use super::recording_check::RecordingCheck;
use super::request::ProfileRequest;
use super::{build_info, listening_sockets, memstats, refusal};
use crate::event::Event;
use crate::format::RecordingKind;
use crate::process::{Process, ProcessTable};
use crate::profile::counter::CounterValue;
use crate::runtime::RecordError;

/// Version, package and module of a Go program; `None` if it is none.
pub fn build_info(executable: &File) -> Option<[Option<String>; 3]> {
    let info = build_info::read(executable)?;
    Some([info.version, info.package, info.module])
}

/// Where to reach what the user of `process` listens on.
///
/// # Errors
/// There is no socket table.
pub fn addresses(table: &ProcessTable, process: &Process) -> io::Result<Vec<SocketAddr>> {
    let bound = listening_sockets::of_user(table, process)?;
    Ok(bound.into_iter().flat_map(listening_sockets::dial_addresses).collect())
}

/// Looks at a recording that comes in `pieces`: how many stacks there are, and the sum of their first values.
///
/// # Errors
/// It is no whole recording of `kind`.
pub fn recording<'a>(kind: RecordingKind, pieces: impl Iterator<Item = &'a [u8]>) -> io::Result<(u64, u64)> {
    let mut check = RecordingCheck::new(kind);
    for piece in pieces {
        check.take(piece)?;
    }
    let facts = check.finish()?;
    Ok((facts.stacks, facts.count))
}

/// What an answer means that is not 200; `None` if nothing would have been asked.
pub fn refusal(event: &Event, status: StatusCode, body: &[u8]) -> Option<RecordError> {
    let options = GoOptions::default();
    let request = ProfileRequest::new(event, 1, RecordingKind::Pprof, &options).ok()??;
    Some(refusal::refusal(&request, status, body))
}

/// What the text of `/debug/vars` counts; `None` if it is none.
pub fn memstats(text: &[u8]) -> Option<Vec<CounterValue>> {
    memstats::values(text)
}
