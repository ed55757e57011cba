//! `sideflame render`: a recording on disk in another format.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::exit;
use super::output::{self, FileFlag, Output};
use super::parameters::ViewFlags;
use crate::format::{Format, RecordingKind, UnknownFormat};
use crate::profile::format::HEAD;
use crate::profile::format::jfr::sampled::Sampled;
use crate::profile::render::{RenderOptions, render};
use crate::profile::{Names, View, recognise};

/// What a recording file can be.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RenderFrom {
    /// `a;b;c 12` lines
    Collapsed,
    /// profile.proto, gzipped or not
    Pprof,
    /// EventPipe's stream of .NET
    Nettrace,
    /// Java Flight Recorder
    Jfr,
}

impl From<RenderFrom> for RecordingKind {
    fn from(from: RenderFrom) -> Self {
        match from {
            RenderFrom::Collapsed => Self::Collapsed,
            RenderFrom::Pprof => Self::Pprof,
            RenderFrom::Nettrace => Self::Nettrace,
            RenderFrom::Jfr => Self::Jfr,
        }
    }
}

/// Flags of `render`.
#[derive(Debug, Args)]
pub struct RenderCommand {
    /// The recording; - reads stdin
    input: PathBuf,
    /// What the recording is; without it, its content decides
    #[arg(long = "input", value_name = "FORMAT")]
    kind: Option<RenderFrom>,
    /// svg, collapsed, pprof, speedscope, top, top.json or flame [default: by the ending of FILE, else svg]
    #[arg(short, long, visible_alias = "format", value_name = "FORMAT", value_parser = parse_format)]
    output: Option<Format>,
    #[command(flatten)]
    file: FileFlag,
    /// Which sample type of a file to draw, e.g. alloc_space of a pprof file or wall of a nettrace
    #[arg(long, value_name = "TYPE")]
    sample_type: Option<String>,
    /// Which event of a JFR file that has several: cpu (or what else interrupted threads), wall, alloc, heap, lock, nativemem,
    /// nativelock
    #[arg(long, value_name = "EVENT", value_parser = parse_event)]
    event: Option<String>,
    /// Names of a JVM's lambdas and hidden classes: normalised, so that two runs compare, or raw
    #[arg(long, value_name = "NAMES", value_parser = parse_names, default_value = Names::default().name())]
    names: Names,
    #[command(flatten)]
    view: ViewFlags,
}

pub(super) fn parse_names(text: &str) -> Result<Names, String> {
    Names::named(text).ok_or_else(|| format!("not one of {}", Names::ALL.map(Names::name).join(", ")))
}

pub(super) fn parse_event(text: &str) -> Result<String, String> {
    let names = Sampled::ALL.map(Sampled::name);
    match names.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!("not one of {}", names.join(", "))),
    }
}

pub(super) fn parse_format(text: &str) -> Result<Format, String> {
    let tip = |error: UnknownFormat| match output::is_file_name(text) {
        true => output::not_a_format(text),
        false => error.to_string(),
    };
    text.parse().map_err(tip)
}

/// Runs the command. stdout gets the name of the file (or its bytes), stderr everything else.
pub fn run(command: RenderCommand) -> ExitCode {
    let RenderCommand {
        input,
        kind,
        output,
        file: FileFlag { filename },
        sample_type,
        event,
        names,
        view,
    } = command;
    let view = match view.view() {
        Ok(view) => view,
        Err(error) => return exit::report(&error.into()),
    };
    let chosen = Chosen {
        sample_type,
        event,
        names,
        view,
    };
    match convert(&input, kind.map(Into::into), output, filename, chosen) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(path)) => {
            println!("{}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!(
                "error: failed to render {}: {}",
                input.display(),
                exit::chain(error.as_ref())
            );
            ExitCode::FAILURE
        }
    }
}

/// What of a recording is wanted.
#[derive(Debug, Default)]
struct Chosen {
    sample_type: Option<String>,
    event: Option<String>,
    names: Names,
    view: View,
}

/// A file's bytes, and what it is: as it is told, else by its content.
///
/// # Errors
/// It cannot be read, or is nothing that we know.
pub(super) fn source(
    input: &Path,
    kind: Option<RecordingKind>,
) -> Result<(impl Read, RecordingKind), Box<dyn std::error::Error>> {
    let file: Box<dyn Read> = if input == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(input)?)
    };
    let mut file = BufReader::new(file);
    let mut head = Vec::new();
    let kind = match kind {
        Some(kind) => kind,
        None => {
            file.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
            recognise(&head)
                .map_err(|error| format!("{error} (--input collapsed, pprof, nettrace or jfr reads it all the same)"))?
        }
    };
    Ok((std::io::Cursor::new(head).chain(file), kind))
}

fn convert(
    input: &Path,
    kind: Option<RecordingKind>,
    format: Option<Format>,
    filename: Option<PathBuf>,
    chosen: Chosen,
) -> Result<Option<PathBuf>, Box<dyn std::error::Error>> {
    let (source, kind) = source(input, kind)?;
    let format = format
        .or_else(|| output::format_of(filename.as_deref()?))
        .unwrap_or(Format::Svg);
    let stem = input
        .file_stem()
        .map_or_else(|| "stdin".into(), |stem| stem.to_string_lossy().into_owned());
    let options = RenderOptions {
        format,
        quality: None,
        sample_type: chosen.sample_type,
        title: stem.clone(),
        collapsed: None,
        names: chosen.names,
        event: chosen.event,
        view: chosen.view,
    };
    let mut output = Output::create(filename.as_deref(), &format!("{stem}.{}", format.extension()))?;
    let rendered = {
        let mut writer = BufWriter::new(output.writer());
        render(source, kind, &options, &mut writer)
            .map_err(Box::<dyn std::error::Error>::from)
            .and_then(|_| Ok(writer.flush()?))
    };
    match rendered {
        Ok(()) => Ok(output.publish()?),
        Err(error) => {
            output.discard();
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_tool_is_refused_with_the_way_out_and_input_overrides() {
        let folder = tempfile::tempdir().unwrap();
        let (input, output) = (folder.path().join("heap.txt"), folder.path().join("heap.svg"));
        std::fs::write(&input, "heap profile: 1: 2 [3: 4] @ heap/1\n1: 1024 [1: 1024] @ 16\n").unwrap();
        let render = |kind| convert(&input, kind, Some(Format::Svg), Some(output.clone()), Chosen::default());
        let refusal = render(None).unwrap_err().to_string();
        assert!(
            refusal.contains("legacy text") && refusal.contains("go tool pprof -proto"),
            "{refusal}"
        );
        assert!(refusal.contains("--input") && !output.exists());
        assert!(render(Some(RecordingKind::Collapsed)).is_ok() && output.exists());
    }
}
