//! Comparing, the child's side: a parser of hostile recordings without any right.
//!
//! Called by [`crate::child::run`].

use std::error::Error;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read};
use std::process::ExitCode;

use super::{CompareOrder, Source};
use crate::child::channel::Channel;
use crate::child::render::RenderReport;
use crate::child::render::renderer::words;
use crate::confine;
use crate::format::Format;
use crate::profile::diff::DiffError;
use crate::profile::diff::compare::{CompareError, CompareOptions, Input, compare};
use crate::profile::format::HEAD;
use crate::profile::render::RenderOptions;
use crate::profile::{Names, Unrecognised, recognise};
use crate::runtime::NoRoom;

/// Writes the difference of the first two attached files into the third.
///
/// # Errors
/// The rights could not be dropped, or the channel is broken; stderr then tells the server.
pub(in crate::child) fn run(order: CompareOrder, mut channel: Channel) -> Result<ExitCode, Box<dyn Error>> {
    let (before, after) = (channel.file()?, channel.file()?);
    let mut artifact = BufWriter::new(channel.file()?);
    confine::limit_files(order.max_bytes)?;
    confine::limit_memory(1)?;
    confine::drop_rights()?;
    let options = CompareOptions {
        format: order.format,
        normalise: order.normalise,
        base: order.base,
    };
    let compared = input(before, order.before).and_then(|before| {
        let after = input(after, order.after)?;
        Ok(compare(before, after, &options, &mut artifact)?)
    });
    let report = match compared {
        Ok(compared) => RenderReport::Done(Box::new(compared.quality)),
        Err(error) => report(error.as_ref()),
    };
    channel.send(&report)?;
    Ok(ExitCode::SUCCESS)
}

fn report(error: &(dyn Error + 'static)) -> RenderReport {
    match error.downcast_ref::<CompareError>() {
        Some(CompareError::Write(cause)) => NoRoom::of(cause).map(RenderReport::NoRoom),
        Some(CompareError::Diff(DiffError::Unlike(words))) => Some(RenderReport::Unlike(words.clone())),
        _ => None,
    }
    .unwrap_or_else(|| RenderReport::Failed(words(error)))
}

/// A file and what it is to be read as.
fn input(file: File, source: Source) -> Result<Input<impl Read>, Box<dyn Error>> {
    let mut file = BufReader::new(file);
    let mut head = Vec::new();
    let (kind, options) = match source {
        Source::Recording(order) => (order.kind, order.options()),
        Source::File { view, event } => {
            file.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
            let kind = recognise(&head).map_err(|error: Unrecognised| error.to_string())?;
            let options = RenderOptions {
                title: "difference".to_owned(),
                format: Format::Pprof,
                quality: None,
                sample_type: None,
                collapsed: None,
                names: Names::default(),
                event,
                view,
            };
            (kind, options)
        }
    };
    Ok(Input {
        recording: std::io::Cursor::new(head).chain(file),
        kind,
        options,
    })
}
