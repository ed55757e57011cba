//! `sideflame render`: a recording on disk in another format.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::exit;
use super::output::{self, FileFlag, Output};
use crate::format::{Format, RecordingKind, UnknownFormat};
use crate::profile::Quality;
use crate::profile::quality::Clock;
use crate::profile::render::{RenderOptions, render};

/// What a recording file can be.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RenderFrom {
    /// `a;b;c 12` lines
    Collapsed,
    /// profile.proto, gzipped or not
    Pprof,
}

impl From<RenderFrom> for RecordingKind {
    fn from(from: RenderFrom) -> Self {
        match from {
            RenderFrom::Collapsed => Self::Collapsed,
            RenderFrom::Pprof => Self::Pprof,
        }
    }
}

/// Flags of `render`.
#[derive(Debug, Args)]
pub struct RenderCommand {
    /// The recording; - reads stdin
    input: PathBuf,
    /// What the recording is; without it, its content decides
    #[arg(long, value_name = "FORMAT")]
    from: Option<RenderFrom>,
    /// svg, collapsed, pprof or speedscope [default: by the ending of FILE, else svg]
    #[arg(short, long, visible_alias = "format", value_name = "FORMAT", value_parser = parse_format)]
    output: Option<Format>,
    #[command(flatten)]
    file: FileFlag,
    /// Which sample type of a pprof file to draw, e.g. alloc_space
    #[arg(long, value_name = "TYPE")]
    sample_type: Option<String>,
}

fn parse_format(text: &str) -> Result<Format, String> {
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
        from,
        output,
        file: FileFlag { filename },
        sample_type,
    } = command;
    match convert(&input, from.map(Into::into), output, filename, sample_type) {
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

fn convert(
    input: &Path,
    kind: Option<RecordingKind>,
    format: Option<Format>,
    filename: Option<PathBuf>,
    sample_type: Option<String>,
) -> Result<Option<PathBuf>, Box<dyn std::error::Error>> {
    let source: Box<dyn Read> = if input == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(input)?)
    };
    let mut source = BufReader::new(source);
    let kind = match kind {
        Some(kind) => kind,
        None => recognise(source.fill_buf()?),
    };
    let format = format
        .or_else(|| output::format_of(filename.as_deref()?))
        .unwrap_or(Format::Svg);
    let stem = input
        .file_stem()
        .map_or_else(|| "stdin".into(), |stem| stem.to_string_lossy().into_owned());
    let options = RenderOptions {
        format,
        quality: unknown_quality(&stem),
        sample_type,
        title: stem.clone(),
        collapsed: None,
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

/// A gzip magic or a protobuf tag (field 1, sample_type) begins a pprof file; anything else is text.
fn recognise(start: &[u8]) -> RecordingKind {
    if start.starts_with(&[0x1f, 0x8b]) || start.first() == Some(&0x0a) {
        RecordingKind::Pprof
    } else {
        RecordingKind::Collapsed
    }
}

/// A file does not tell how it was recorded.
fn unknown_quality(name: &str) -> Quality {
    Quality {
        sampler: "unknown sampler".to_owned(),
        interval: 0,
        interval_unit: "count".to_owned(),
        clock: Clock::None,
        samples: None,
        expected_samples: None,
        lost: None,
        unresolved: None,
        pid: 0,
        process: name.to_owned(),
        pod: None,
        container: None,
        runtime: "unknown runtime".to_owned(),
        event: "samples".to_owned(),
        started_at_ms: 0,
        duration_ms: 0,
        degraded: Vec::new(),
    }
}
