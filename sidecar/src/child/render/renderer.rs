//! Rendering, the child's side: a parser of hostile recordings without any right.
//!
//! Called by [`crate::child::run`].

use std::error::Error;
use std::io::{BufReader, BufWriter};
use std::process::ExitCode;

use super::{RenderOrder, RenderReport};
use crate::child::channel::Channel;
use crate::confine;
use crate::profile::render::{RenderError, render};
use crate::runtime::NoRoom;

/// Renders the first attached file into the second.
///
/// # Errors
/// The rights could not be dropped, or the channel is broken; stderr then tells the server.
pub(in crate::child) fn run(order: RenderOrder, mut channel: Channel) -> Result<ExitCode, Box<dyn Error>> {
    let recording = BufReader::new(channel.file()?);
    let mut artifact = BufWriter::new(channel.file()?);
    confine::limit_files(order.max_bytes)?;
    confine::limit_memory(1)?;
    confine::drop_rights()?;
    let report = match render(recording, order.kind, &order.options(), &mut artifact) {
        Ok(rendered) => RenderReport::Done(Box::new(rendered.quality)),
        Err(error) => match &error {
            RenderError::Write(cause) => NoRoom::of(cause).map(RenderReport::NoRoom),
            _ => None,
        }
        .unwrap_or_else(|| RenderReport::Failed(words(&error))),
    };
    channel.send(&report)?;
    Ok(ExitCode::SUCCESS)
}

/// An error with its causes, as much of it as anybody reads: parts of a recording may be repeated in it.
pub(in crate::child) fn words(error: &dyn Error) -> String {
    const MOST: usize = 2000;
    let causes = std::iter::successors(Some(error), |&error| error.source());
    let words = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    words.chars().take(MOST).collect()
}
