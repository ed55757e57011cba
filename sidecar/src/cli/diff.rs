//! `sideflame diff`: two recordings on disk against each other.

use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::exit;
use super::output::{self, FileFlag, Output};
use super::parameters::ViewFlags;
use super::render::{RenderFrom, parse_event, parse_format, parse_names, source};
use crate::format::{Format, RecordingKind};
use crate::profile::diff::compare::{CompareOptions, Compared, FORMATS, Input, compare};
use crate::profile::diff::{Base, Normalise};
use crate::profile::render::RenderOptions;
use crate::profile::{Names, View};

const HELP: &str = "\
Without --filename tables and stacks go to stdout, the rest into a new file, e.g. diff.svg.
A change that chance explains is called noise: below 2 sqrt(a + b) of a and b samples.
Exit codes: 0 done, 1 not compared, 2 usage, 5 a function gained more than --fail-over allows, beyond
what chance brings about in a table of so many functions.";

/// Flags of `diff`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct DiffCommand {
    /// The recording that is compared with: collapsed text, pprof, JFR or nettrace
    before: PathBuf,
    /// The recording that is compared
    after: PathBuf,
    /// What both are; without it, their content decides
    #[arg(long = "input", value_name = "FORMAT")]
    kind: Option<RenderFrom>,
    /// top, top.json, svg, pprof, collapsed or flame [default: by the ending of FILE, else top]
    #[arg(short, long, visible_alias = "format", value_name = "FORMAT", value_parser = parse_diff_format)]
    output: Option<Format>,
    #[command(flatten)]
    file: FileFlag,
    /// How they are compared: per-second, share or none [default: per-second where both say how long they took, else share]
    #[arg(long, value_name = "HOW", value_parser = parse_normalise)]
    normalise: Option<Normalise>,
    /// Whose widths a picture has: after, or before
    #[arg(long, value_name = "WHICH", value_parser = parse_base, default_value = Base::default().name())]
    base: Base,
    /// Exit with 5 if a function gained more than this share of all there was before, e.g. 5%
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    fail_over: Option<f64>,
    /// Which sample type of the files to compare, e.g. alloc_space of pprof files
    #[arg(long, value_name = "TYPE")]
    sample_type: Option<String>,
    /// Which event of JFR files that have several
    #[arg(long, value_name = "EVENT", value_parser = parse_event)]
    event: Option<String>,
    /// Names of a JVM's lambdas and hidden classes: normalised, so that two runs compare, or raw
    #[arg(long, value_name = "NAMES", value_parser = parse_names, default_value = Names::default().name())]
    names: Names,
    #[command(flatten)]
    view: ViewFlags,
}

fn parse_diff_format(text: &str) -> Result<Format, String> {
    let format = parse_format(text)?;
    let names = FORMATS.map(Format::name).join(", ");
    match FORMATS.contains(&format) {
        true => Ok(format),
        false => Err(format!("not one of {names}")),
    }
}

fn parse_normalise(text: &str) -> Result<Normalise, String> {
    Normalise::named(text).ok_or_else(|| format!("not one of {}", Normalise::ALL.map(Normalise::name).join(", ")))
}

fn parse_base(text: &str) -> Result<Base, String> {
    Base::named(text).ok_or_else(|| format!("not one of {}", Base::ALL.map(Base::name).join(", ")))
}

fn parse_share(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let share = number.parse::<f64>().ok().filter(|share| (0.0..=1e6).contains(share));
    share
        .map(|share| share / 100.0)
        .ok_or_else(|| "a share of all there was before, e.g. 5%".to_owned())
}

/// Runs the command. stdout gets the table or the name of the file, stderr everything else.
pub fn run(command: DiffCommand) -> ExitCode {
    let DiffCommand {
        before,
        after,
        kind,
        output,
        file: FileFlag { filename },
        normalise,
        base,
        fail_over,
        sample_type,
        event,
        names,
        view,
    } = command;
    let view = match view.view() {
        Ok(view) => view,
        Err(error) => return exit::report(&error.into()),
    };
    let by_name = || output::format_of(filename.as_deref()?).filter(|format| FORMATS.contains(format));
    let format = output.or_else(by_name).unwrap_or(Format::Top);
    let options = CompareOptions {
        format,
        normalise,
        base,
    };
    let chosen = Chosen {
        kind: kind.map(Into::into),
        sample_type,
        event,
        names,
        view,
    };
    let is_text = matches!(format, Format::Top | Format::TopJson | Format::Collapsed);
    let filename = filename.or_else(|| is_text.then(|| PathBuf::from("-")));
    match difference((&before, &after), filename.as_deref(), &options, &chosen) {
        Ok((compared, path)) => {
            if let Some(path) = path {
                println!("{}", path.display());
            }
            judged(&compared, fail_over)
        }
        Err(error) => {
            let (before, after) = (before.display(), after.display());
            eprintln!(
                "error: failed to compare {before} with {after}: {}",
                exit::chain(error.as_ref())
            );
            ExitCode::FAILURE
        }
    }
}

/// What a pipeline is told.
fn judged(compared: &Compared, fail_over: Option<f64>) -> ExitCode {
    match (&compared.gain, fail_over) {
        (Some((name, gain)), Some(limit)) if *gain > limit => {
            eprintln!(
                "{} gained {:.1} % of all there was before, more than {:.1} %",
                crate::listing::printable(name),
                gain * 100.0,
                limit * 100.0
            );
            ExitCode::from(exit::TOO_DIFFERENT)
        }
        _ => ExitCode::SUCCESS,
    }
}

/// What of the recordings is wanted.
#[derive(Debug)]
struct Chosen {
    kind: Option<RecordingKind>,
    sample_type: Option<String>,
    event: Option<String>,
    names: Names,
    view: View,
}

fn difference(
    (before, after): (&Path, &Path),
    filename: Option<&Path>,
    options: &CompareOptions,
    chosen: &Chosen,
) -> Result<(Compared, Option<PathBuf>), Box<dyn std::error::Error>> {
    let title = [before, after].map(|path| path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy());
    let title = title.join(" → ");
    let (before, after) = (input(before, chosen, &title)?, input(after, chosen, &title)?);
    let mut output = Output::create(filename, &format!("diff.{}", options.format.extension()))?;
    let compared = {
        let mut writer = BufWriter::new(output.writer());
        compare(before, after, options, &mut writer)
            .map_err(Box::<dyn std::error::Error>::from)
            .and_then(|compared| writer.flush().map(|()| compared).map_err(Into::into))
    };
    match compared {
        Ok(compared) => Ok((compared, output.publish()?)),
        Err(error) => {
            output.discard();
            Err(error)
        }
    }
}

fn input(path: &Path, chosen: &Chosen, title: &str) -> Result<Input<impl Read>, Box<dyn std::error::Error>> {
    let (recording, kind) = source(path, chosen.kind).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Input {
        recording,
        kind,
        options: RenderOptions {
            format: Format::Pprof,
            quality: None,
            sample_type: chosen.sample_type.clone(),
            title: title.to_owned(),
            collapsed: None,
            names: chosen.names,
            event: chosen.event.clone(),
            view: chosen.view.clone(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_number_of_percent() {
        assert_eq!((parse_share("5%"), parse_share("2.5")), (Ok(0.05), Ok(0.025)));
        for bad in ["", "%", "-1%", "NaN", "five", "1e9%"] {
            assert!(parse_share(bad).is_err(), "{bad}");
        }
    }
}
