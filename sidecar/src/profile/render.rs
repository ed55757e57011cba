//! Recording in, artifact out: picks the reader and the writer, counts what the stamp needs, caps the input.
//!
//! Called by the render child process and the CLI. Knows no runtime: what the numbers of a collapsed recording mean is in
//! the [`Quality`] the recorder filled.

use std::io::{self, Read, Write};
use std::time::Duration;

use super::counts::Counts;
use super::flat_stacks::FlatStacks;
use super::format::collapsed::read::CollapsedValues;
use super::format::jfr::JfrError;
use super::format::{
    ReadError, ReadOptions, collapsed, counters, flame, histogram, pprof, reader, speedscope, svg, thread_dump,
    timeline, top,
};
use super::frame_name::{UNIT_CHARS, short_text};
use super::hidden_class::Names;
use super::model::Profile;
use super::quality::{Clock, OfEvent, Quality};
use super::view::select::{SelectError, select};
use super::view::{By, View, tells_label, tells_threads};
use super::{ModelError, stamp};
use crate::format::{Format, RecordingKind};

/// Largest recording that is parsed as a whole. Those that are read as a stream and those that are only copied have no limit here.
const MAX_INPUT: u64 = 256 << 20;

/// Said where threads were asked for, and no sample has one.
const NO_THREADS: &str =
    "the recording does not tell threads apart: capture with threads=true, or of a JVM with format=jfr";

/// Said where no sample has the label by which stacks are to be split.
const NO_LABEL: &str = "no sample has a label {}: Go programs set labels by pprof.Do; of a JVM there is span, of the spans of async-profiler's API, with format=jfr";

/// What to make of a recording.
#[derive(Debug, Clone)]
pub struct RenderOptions {
    /// What the artifact is.
    pub format: Format,
    /// The recorder's stamp; if `None`, the one that the file carries, else the little that a file tells of itself. Counts it
    /// lacks are completed before it is printed.
    pub quality: Option<Quality>,
    /// Which value to show, by pprof's `type`; else the recording's default, else its last (pprof's rule).
    pub sample_type: Option<String>,
    /// Title of the picture.
    pub title: String,
    /// What the numbers of a collapsed recording are; if `None`, [`CollapsedValues::of`] the stamp.
    pub collapsed: Option<CollapsedValues>,
    /// How names that differ from run to run are read. A recording that is only copied keeps them.
    pub names: Names,
    /// Which event of a recording of several, by its name.
    pub event: Option<String>,
    /// Which part of it.
    pub view: View,
}

/// What rendering found out.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// Samples in the recording; `None` where it does not count them (bytes, durations) or was only copied.
    pub samples: Option<u64>,
    /// As [`Quality::unresolved`]; `None` if the value is 0 throughout or the recording was only copied.
    pub unresolved: Option<f64>,
    /// The stamp as printed, completed with the two above.
    pub quality: Quality,
}

/// No artifact.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// This recording has no such format.
    #[error("a {} recording cannot be rendered as {format}; possible: {}", .kind.native_format(), names(.formats))]
    Unsupported {
        /// The recording.
        kind: RecordingKind,
        /// What was asked for.
        format: Format,
        /// What can be had.
        formats: &'static [Format],
    },
    /// A part of it was asked for, in a format that has all of it.
    #[error("{format} shows all of the recording; {view} can be had in: {}", names(.formats))]
    Indivisible {
        /// What was asked for.
        format: Format,
        /// Of what, in words.
        view: String,
        /// Formats that show parts.
        formats: Vec<Format>,
    },
    /// A range of time was asked for, of a recording without times.
    #[error("a {} recording has no times; a JFR has, and a nettrace", .0.native_format())]
    NoTimes(RecordingKind),
    /// The recording has no such value.
    #[error("the recording has no sample type {name:?}; it has {}", .available.join(", "))]
    NoSuchSampleType {
        /// What was asked for.
        name: String,
        /// What there is.
        available: Vec<String>,
    },
    /// The recording is larger than we parse.
    #[error("the recording is larger than {MAX_INPUT} bytes")]
    TooLarge,
    /// It could not be read.
    #[error("the recording cannot be read")]
    Read(#[source] io::Error),
    /// It is cut or malformed, or something else.
    #[error("the {} recording is broken", .kind.native_format())]
    Broken {
        /// What it was said to be.
        kind: RecordingKind,
        /// What is wrong with it.
        source: ReadError,
    },
    /// It is of several events, and none was chosen.
    #[error(transparent)]
    Several(JfrError),
    /// Too few samples for what the process did.
    #[error(
        "the sampler stopped in mid-capture: {samples} samples where {least} are the least that the process must have had"
    )]
    SamplerDied {
        /// In the recording.
        samples: u64,
        /// For the CPU time of lasting threads.
        least: u64,
    },
    /// A part of it cannot be made.
    #[error("no part of the recording can be shown")]
    View(#[from] SelectError),
    /// Its values are absurd.
    #[error("the recording does not fit a profile")]
    Model(#[from] ModelError),
    /// The artifact could not be written.
    #[error("the artifact cannot be written")]
    Write(#[source] io::Error),
}

fn names(formats: &[Format]) -> String {
    formats
        .iter()
        .map(|format| format.name())
        .collect::<Vec<_>>()
        .join(", ")
}

/// Renders a recording. Nothing is written before the whole recording was understood; a pprof recording asked for as pprof
/// is then copied byte for byte, and formats that are not parsed here are only copied.
///
/// # Errors
/// See [`RenderError`]. The output is then incomplete and must be thrown away.
pub fn render(
    mut input: impl Read,
    kind: RecordingKind,
    options: &RenderOptions,
    out: &mut impl Write,
) -> Result<Rendered, RenderError> {
    let format = options.format;
    let (quality, _) = of_event(options);
    let recorded = || quality.clone().unwrap_or_default();
    if !kind.formats().contains(&format) {
        return Err(unsupported(kind, format));
    }
    if !options.view.is_all() && !format.is_of_stacks() {
        return Err(RenderError::Indivisible {
            format,
            view: options.view.words(),
            formats: kind
                .formats()
                .iter()
                .copied()
                .filter(|format| format.is_of_stacks())
                .collect(),
        });
    }
    if kind == RecordingKind::Counters && format != kind.native_format() {
        return counted(input, format, recorded(), out);
    }
    // A pprof is parsed nevertheless, for what its stamp lacks.
    let as_it_is = kind.is_handed_out_as(format) && format != Format::Pprof;
    if as_it_is || reader(kind).is_none() {
        io::copy(&mut input, out).map_err(RenderError::Write)?;
        return Ok(Rendered {
            samples: None,
            unresolved: None,
            quality: recorded(),
        });
    }
    if kind.native_format() == Format::Pprof && format == Format::Pprof && options.view.is_all() {
        let mut bytes = Vec::new();
        let mut input = input.take(MAX_INPUT + 1);
        input.read_to_end(&mut bytes).map_err(RenderError::Read)?;
        if input.limit() == 0 {
            return Err(RenderError::TooLarge);
        }
        let (mut profile, quality) = read(bytes.as_slice(), kind, options)?;
        return write(&mut profile, kind, options, quality, Some(&bytes), out);
    }
    let (mut profile, quality) = read(input, kind, options)?;
    write(&mut profile, kind, options, quality, None, out)
}

fn unsupported(kind: RecordingKind, format: Format) -> RenderError {
    RenderError::Unsupported {
        kind,
        format,
        formats: kind.formats(),
    }
}

/// The recorder's stamp, of the event that is asked for.
fn of_event(options: &RenderOptions) -> (Option<Quality>, Option<OfEvent>) {
    match (options.quality.clone(), &options.event) {
        (Some(quality), Some(event)) => {
            let (quality, of_event) = quality.of_event(event);
            (Some(quality), of_event)
        }
        (quality, _) => (quality, None),
    }
}

/// The whole profile in a recording, with the stamp of it that is known beside it.
///
/// # Errors
/// It is too large, cut, malformed or something else, or no recording of stacks.
pub(super) fn read(
    input: impl Read,
    kind: RecordingKind,
    options: &RenderOptions,
) -> Result<(Profile, Option<Quality>), RenderError> {
    let (quality, of_event) = of_event(options);
    let recorded = || quality.clone().unwrap_or_default();
    let Some(reader) = reader(kind) else {
        return Err(unsupported(kind, options.format));
    };
    if options.view.is_of_time() && !kind.has_times() {
        return Err(RenderError::NoTimes(kind));
    }
    let mut slicing = options.view.slicing();
    if options.format == Format::Timeline {
        slicing.cuts = timeline::write::cuts(&recorded());
    }
    let read_options = ReadOptions {
        collapsed: options
            .collapsed
            .clone()
            .unwrap_or_else(|| CollapsedValues::of(&recorded())),
        names: options.names,
        stamp: recorded(),
        event: options.event.clone(),
        slicing,
    };
    let most = if reader.streams() { u64::MAX } else { MAX_INPUT + 1 };
    let mut input = input.take(most);
    let profile = reader.read(&mut input, &read_options);
    if input.limit() == 0 {
        return Err(RenderError::TooLarge);
    }
    let mut profile = profile.map_err(|source| unreadable(kind, source))?;
    if let (RecordingKind::Collapsed | RecordingKind::Jfr, Some(quality)) = (kind, &quality) {
        let nanos = |ms: Option<u64>| i64::try_from(ms.unwrap_or(0).saturating_mul(1_000_000)).unwrap_or_default();
        profile.time_nanos = nanos(quality.started_at_ms);
        profile.duration_nanos = nanos(quality.duration_ms);
    }
    let quality = match (quality, of_event) {
        (Some(quality), Some(of_event)) => Some(judged(&profile, quality, &of_event)?),
        (quality, _) => quality,
    };
    Ok((profile, quality))
}

/// Counters are no profile.
fn counted(input: impl Read, format: Format, quality: Quality, out: &mut impl Write) -> Result<Rendered, RenderError> {
    let all = counters::read::read(input).map_err(|source| RenderError::Broken {
        kind: RecordingKind::Counters,
        source: source.into(),
    })?;
    let mut out = io::BufWriter::new(out);
    let written = match format {
        Format::Json => counters::write::json(&all, &quality, &mut out),
        _ => counters::write::prometheus(&all, &quality, &mut out),
    };
    written.and_then(|()| out.flush()).map_err(RenderError::Write)?;
    let samples = all.iter().map(|series| series.values.len() as u64).sum();
    Ok(Rendered {
        samples: Some(samples),
        unresolved: None,
        quality: Quality {
            samples: Some(samples),
            ..quality
        },
    })
}

fn unreadable(kind: RecordingKind, source: ReadError) -> RenderError {
    match source.downcast() {
        Ok(error) if matches!(*error, JfrError::Several(_)) => RenderError::Several(*error),
        Ok(error) => RenderError::Broken { kind, source: error },
        Err(source) => RenderError::Broken { kind, source },
    }
}

/// The stamp of one of several events, of which only its reader could count the samples.
fn judged(profile: &Profile, mut quality: Quality, of_event: &OfEvent) -> Result<Quality, RenderError> {
    let samples = profile.recorded_samples.unwrap_or(0);
    if quality.clock == Some(Clock::Cpu) && quality.interval_unit == "nanoseconds" {
        let sampled = Duration::from_nanos(samples.saturating_mul(quality.interval));
        quality.sampled_cpu_ms = u64::try_from(sampled.as_millis()).ok();
        if let Some(least) = of_event.least_samples {
            if samples < least {
                return Err(RenderError::SamplerDied { samples, least });
            }
            let used = quality.cpu_ms.map(Duration::from_millis);
            quality
                .degraded
                .extend(used.and_then(|used| stamp::unseen_cpu(sampled, used)));
        }
    }
    Ok(quality)
}

/// A profile as its stacks are shown.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Which of its values.
    pub(super) value_index: usize,
    /// How many frames of a stack its sampler takes, where cut stacks are still to be marked.
    pub(super) max_frames: Option<u32>,
    /// The stamp of all of it, and how much is shown.
    pub(super) rendered: Rendered,
}

/// Counts what the stamp needs, and leaves of the profile what is asked for.
///
/// # Errors
/// There is no such value, or no such part.
pub(super) fn prepare(
    profile: &mut Profile,
    options: &RenderOptions,
    quality: Option<Quality>,
) -> Result<Prepared, RenderError> {
    let RenderOptions { sample_type, view, .. } = options;
    let Some(value_index) = profile.value_index(sample_type.as_deref()) else {
        let names = profile
            .sample_types
            .iter()
            .map(|kind| short_text(&kind.name, UNIT_CHARS));
        let available = names.collect();
        return Err(RenderError::NoSuchSampleType {
            name: sample_type.clone().unwrap_or_default(),
            available,
        });
    };
    let stamp = profile.stamp.take();
    let quality = quality.or(stamp.map(|stamp| *stamp));
    let mut rendered = completed(profile, value_index, quality.unwrap_or_else(|| told(profile)));
    let mut max_frames = rendered.quality.max_frames;
    if !view.is_all() {
        if view.is_of_threads() && !tells_threads(profile) {
            rendered.quality.degraded.push(NO_THREADS.to_owned());
        }
        if let Some(By::Label(key)) = &view.by
            && !tells_label(profile, key)
        {
            rendered.quality.degraded.push(NO_LABEL.replace("{}", key));
        }
        rendered.quality.shown = Some(Box::new(select(
            profile,
            view,
            value_index,
            (max_frames, rendered.quality.by_thread),
        )?));
        // Stacks that were turned around end in what is missing of them, and say so themselves.
        max_frames = max_frames.filter(|_| view.callers.is_none() && view.fold.is_none());
    }
    Ok(Prepared {
        value_index,
        max_frames,
        rendered,
    })
}

fn write(
    profile: &mut Profile,
    kind: RecordingKind,
    options: &RenderOptions,
    quality: Option<Quality>,
    native: Option<&[u8]>,
    out: &mut impl Write,
) -> Result<Rendered, RenderError> {
    let RenderOptions {
        format,
        ref title,
        ref sample_type,
        ..
    } = *options;
    let Prepared {
        value_index,
        max_frames,
        rendered,
    } = prepare(profile, options, quality)?;
    let stamp = stamp::line(&rendered.quality);
    match (format, native) {
        (Format::Pprof, Some(bytes)) => out.write_all(bytes),
        (Format::Pprof, None) => {
            profile.default_sample_type = sample_type.clone().or(profile.default_sample_type.take());
            profile.stamp = Some(Box::new(rendered.quality.clone()));
            pprof::write::write(profile, out)
        }
        (Format::Speedscope, _) => speedscope::write::write(profile, value_index, title, &stamp, out),
        (Format::Collapsed, _) => collapsed::write::write(&FlatStacks::new(profile, value_index, max_frames)?, out),
        (Format::Svg | Format::Top | Format::TopJson | Format::Flame, _) => {
            let (stacks, quality) = (FlatStacks::new(profile, value_index, max_frames)?, &rendered.quality);
            match (profile.sample_types.get(value_index), format) {
                (None, _) => Ok(()),
                (Some(value), Format::Svg) => svg::write::write(&stacks, value, title, &stamp, out),
                (Some(value), Format::Top) => top::write::text(&stacks, value, quality, &stamp, out),
                (Some(value), Format::TopJson) => top::write::json(&stacks, value, quality, out),
                (Some(value), _) => flame::write::write(&stacks, value, quality, options.view.nodes, out),
            }
        }
        (Format::Timeline, _) => {
            let cuts = timeline::write::cuts(&rendered.quality);
            timeline::write::write(profile, value_index, (cuts, &rendered.quality), out)
        }
        (Format::Json | Format::Text, _) if kind.is_histogram() => {
            let rows = match kind {
                RecordingKind::AllocationSites => histogram::write::Rows::Sites,
                _ => histogram::write::Rows::Types,
            };
            match format {
                Format::Json => histogram::write::json(profile, rows, &rendered.quality, out),
                _ => histogram::write::text(profile, rows, &rendered.quality, &stamp, out),
            }
        }
        (Format::Json, _) => thread_dump::write::write(profile, &rendered.quality, out),
        (Format::Text, _) => thread_dump::text::write(profile, &stamp, out),
        // `formats()` of the kinds that come here has none of these, or they are copied.
        (
            Format::Jfr
            | Format::Nettrace
            | Format::Trace
            | Format::Jsonl
            | Format::Dump
            | Format::Hprof
            | Format::HprofGz,
            _,
        ) => Ok(()),
    }
    .and_then(|()| out.flush())
    .map_err(RenderError::Write)?;
    Ok(rendered)
}

/// What a file without a stamp tells of how it was recorded.
fn told(profile: &Profile) -> Quality {
    let positive = |number: i64| u64::try_from(number).ok().filter(|&number| number > 0);
    let unit = profile.period_type.as_ref().map(|kind| kind.unit.clone());
    Quality {
        interval: positive(profile.period).unwrap_or(0),
        interval_unit: unit.unwrap_or_default(),
        started_at_ms: positive(profile.time_nanos).map(|nanos| nanos / 1_000_000),
        duration_ms: positive(profile.duration_nanos).map(|nanos| nanos / 1_000_000),
        ..Quality::default()
    }
}

/// The stamp with what can be counted only now.
fn completed(profile: &Profile, value_index: usize, quality: Quality) -> Rendered {
    let counts = Counts::of(profile, value_index, quality.max_frames);
    let mut quality = Quality {
        samples: counts.samples.or(profile.recorded_samples).or(quality.samples),
        lost: profile.lost.or(quality.lost),
        live_bytes: profile.live_bytes.or(quality.live_bytes),
        sampled_cpu_ms: profile.sampled_cpu_ms.or(quality.sampled_cpu_ms),
        unresolved: counts.unresolved,
        truncated: counts.truncated,
        ..quality.shown()
    };
    let skipped = match profile.skipped_lines {
        0 => None,
        lines => Some(format!("{lines} lines of the recording were not understood")),
    };
    // A file of ours that is rendered again has said it.
    let shown = profile.sample_types.get(value_index);
    let of_shown = profile
        .doubts
        .iter()
        .filter(|(of, _)| shown.is_some_and(|kind| kind.name == *of));
    let doubts = of_shown.map(|(_, sentence)| sentence.clone());
    for sentence in doubts.chain(skipped).chain(stamp::truncated(&quality)) {
        if !quality.degraded.contains(&sentence) {
            quality.degraded.push(sentence);
        }
    }
    Rendered {
        samples: counts.samples.or(profile.recorded_samples),
        unresolved: counts.unresolved,
        quality,
    }
}

#[cfg(test)]
mod tests;
