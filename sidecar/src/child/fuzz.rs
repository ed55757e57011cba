//! Doors for `tests/fuzz` to what the server hears from a child. Only with the feature `fuzzing`.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::Decoder;

use super::channel;
use super::inspect::Inspection;
use super::inspect::finding::InspectorReport;
use super::record::report::Report;
use super::render::RenderReport;
use crate::process::Process;

/// The whole frames at the beginning of `bytes`.
///
/// # Errors
/// A frame announces more than a child may say.
pub fn frames(bytes: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let (mut codec, mut rest) = (channel::codec(), BytesMut::from(bytes));
    let mut frames = Vec::new();
    while let Some(frame) = codec.decode(&mut rest)? {
        frames.push(frame.to_vec());
    }
    Ok(frames)
}

/// A frame again of every message that `frame` is: of a recorder, an inspector, a renderer.
pub fn rewritten(frame: &[u8]) -> [Option<Vec<u8>>; 3] {
    [
        again::<Report>(frame),
        again::<InspectorReport>(frame),
        again::<RenderReport>(frame),
    ]
}

fn again<M: Serialize + DeserializeOwned>(frame: &[u8]) -> Option<Vec<u8>> {
    let message: M = serde_json::from_slice(frame).ok()?;
    channel::frame(&message).ok()
}

/// What the server makes of a finding about the process in `row`; `None` if `frame` is none.
pub fn joined(frame: &[u8], row: Process) -> Option<Inspection> {
    match serde_json::from_slice(frame).ok()? {
        InspectorReport::Finding(finding) => Some(finding.join(row)),
        InspectorReport::ContainerLogs(_) => None,
    }
}
