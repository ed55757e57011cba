//! `sideflame renderer` (hidden): the child that turns a recording into an artifact.
//!
//! Argument: a [`RenderOrder`] as JSON; stdin: the recording; stdout: the artifact; stderr: a [`RenderReport`] as its last
//! line.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::os::fd::AsFd;
use std::process::ExitCode;

use super::exit::chain;
use crate::capture::renderer::{RenderOrder, RenderReport};
use crate::confine;
use crate::profile::Names;
use crate::profile::render::{RenderError, RenderOptions, render};
use crate::runtime::NoRoom;

/// Runs the command.
///
/// # Errors
/// What the renderer says; stderr then tells the server.
pub fn run(order: &str) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let order: RenderOrder = serde_json::from_str(order)?;
    confine::limit(Some(order.max_bytes))?;
    confine::limit_memory()?;
    confine::drop_rights()?;
    let recording = BufReader::new(File::from(std::io::stdin().as_fd().try_clone_to_owned()?));
    let mut artifact = BufWriter::new(File::from(std::io::stdout().as_fd().try_clone_to_owned()?));
    let RenderOrder {
        kind,
        format,
        quality,
        sample_type,
        max_bytes: _,
    } = order;
    let options = RenderOptions {
        title: quality.title(),
        format,
        quality: Some(quality),
        sample_type,
        collapsed: None,
        names: Names::default(),
    };
    let report = match render(recording, kind, &options, &mut artifact) {
        Ok(rendered) => RenderReport::Done(Box::new(rendered.quality)),
        Err(error) => match &error {
            RenderError::Write(cause) => NoRoom::of(cause).map(RenderReport::NoRoom),
            _ => None,
        }
        .unwrap_or_else(|| RenderReport::Failed(chain(&error))),
    };
    eprintln!("{}", serde_json::to_string(&report)?);
    Ok(ExitCode::SUCCESS)
}
