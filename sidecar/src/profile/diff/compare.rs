//! Two recordings in, their difference out: reads both, sees that they are of one thing, picks the writer.
//!
//! Called by the render child process and by the CLI.

use std::io::{self, Read, Write};

use super::function::Changes;
use super::show::{Show, headline};
use super::{Base, Diff, DiffError, Normalise};
use crate::format::{Format, RecordingKind};
use crate::profile::flat_stacks::FlatStacks;
use crate::profile::format::{diff, flame, svg};
use crate::profile::model::{Profile, ValueType};
use crate::profile::quality::Quality;
use crate::profile::render::{Prepared, RenderError, RenderOptions, prepare, read};

/// What can be made of a difference.
pub const FORMATS: [Format; 6] = [
    Format::Svg,
    Format::Top,
    Format::TopJson,
    Format::Pprof,
    Format::Collapsed,
    Format::Flame,
];

/// What to make of two recordings.
#[derive(Debug, Clone)]
pub struct CompareOptions {
    /// What the artifact is: one of [`FORMATS`].
    pub format: Format,
    /// How they are compared: without it per second, or by their shares where it is not known how long one took.
    pub normalise: Option<Normalise>,
    /// Whose widths a picture has.
    pub base: Base,
}

/// One of two recordings.
#[derive(Debug)]
pub struct Input<R> {
    /// Its bytes.
    pub recording: R,
    /// What it is.
    pub kind: RecordingKind,
    /// How it is read; the format does not count.
    pub options: RenderOptions,
}

/// What comparing found out.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// The difference in a sentence.
    pub headline: String,
    /// The function that gained most, if one gained more than chance explains: its name, and what it gained as a share of all that there
    /// was before.
    pub gain: Option<(String, f64)>,
    /// Reasons to doubt either.
    pub quality: Quality,
}

/// No difference.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// Not the one of the two.
    #[error("the first recording (before) cannot be used")]
    Before(#[source] RenderError),
    /// Not the other.
    #[error("the second recording (after) cannot be used")]
    After(#[source] RenderError),
    /// Not together.
    #[error(transparent)]
    Diff(#[from] DiffError),
    /// A difference has no such format.
    #[error("a difference cannot be had as {format}; possible: {}", FORMATS.map(Format::name).join(", "))]
    Unsupported {
        /// What was asked for.
        format: Format,
    },
    /// The artifact could not be written.
    #[error("the artifact cannot be written")]
    Write(#[source] io::Error),
}

/// A recording as stacks are made of it.
struct Side {
    profile: Profile,
    prepared: Prepared,
    value: ValueType,
}

impl Side {
    fn read<R: Read>(input: Input<R>) -> Result<Self, RenderError> {
        let (mut profile, quality) = read(input.recording, input.kind, &input.options)?;
        let prepared = prepare(&mut profile, &input.options, quality)?;
        let value = profile.sample_types.get(prepared.value_index).cloned();
        Ok(Self {
            value: value.unwrap_or_else(|| ValueType::new("", "")),
            profile,
            prepared,
        })
    }

    fn stacks(&self) -> Result<(FlatStacks<'_>, Quality), DiffError> {
        let Prepared {
            value_index,
            max_frames,
            ref rendered,
        } = self.prepared;
        let stacks = FlatStacks::new(&self.profile, value_index, max_frames)?;
        Ok((stacks, rendered.quality.clone()))
    }
}

/// Writes the difference of two recordings.
///
/// # Errors
/// See [`CompareError`]. The output is then incomplete and must be thrown away.
pub fn compare<B: Read, A: Read>(
    before: Input<B>,
    after: Input<A>,
    options: &CompareOptions,
    out: &mut impl Write,
) -> Result<Compared, CompareError> {
    let CompareOptions {
        format,
        normalise,
        base,
    } = *options;
    if !FORMATS.contains(&format) {
        return Err(CompareError::Unsupported { format });
    }
    let title = after.options.title.clone();
    let nodes = after.options.view.nodes;
    let before = Side::read(before).map_err(CompareError::Before)?;
    let after = Side::read(after).map_err(CompareError::After)?;
    alike(&before, &after)?;
    let diff = Diff::new(before.stacks()?, after.stacks()?, after.value.clone(), normalise)?;
    let changes = Changes::of(&diff);
    let show = Show::of(&diff);
    let headline = headline(&diff, &changes, &show);
    match format {
        Format::Svg => svg::diff::write(&diff, base, &title, &headline, out),
        Format::Flame => flame::diff::write(&diff, (base, nodes), &headline, out),
        Format::Collapsed => diff::stacks::collapsed(&diff, out),
        Format::Pprof => diff::stacks::pprof(&diff, &headline, out),
        Format::TopJson => diff::table::json(&diff, &changes, &show, &headline, out),
        _ => diff::table::text(&diff, &changes, &show, &headline, out),
    }
    .and_then(|()| out.flush())
    .map_err(CompareError::Write)?;
    let of_all = diff.scaled(diff.before.total).max(f64::MIN_POSITIVE);
    let gain = changes.gainers().next().map(|change| {
        let name = diff.union.stacks.names.get(change.name);
        (
            name.map_or_else(String::new, ToString::to_string),
            change.gain() / of_all,
        )
    });
    Ok(Compared {
        headline,
        gain,
        quality: doubts(&diff),
    })
}

/// Whether both are of the same.
fn alike(before: &Side, after: &Side) -> Result<(), DiffError> {
    let unlike = |what: &str, before: &str, after: &str| {
        use crate::profile::frame_name::{UNIT_CHARS, short_text};
        let [before, after] = [before, after].map(|text| short_text(text, UNIT_CHARS));
        Err(DiffError::Unlike(format!(
            "the {what} of the first recording is {before}, that of the second is {after}"
        )))
    };
    let event = |side: &Side| side.prepared.rendered.quality.event.clone();
    match (event(before), event(after)) {
        (Some(before), Some(after)) if before != after => return unlike("event", &before, &after),
        _ => {}
    }
    if before.value.name != after.value.name {
        return unlike("sample type", &before.value.name, &after.value.name);
    }
    if before.value.unit != after.value.unit {
        return unlike("unit", &before.value.unit, &after.value.unit);
    }
    Ok(())
}

/// The stamp of the difference: which of the two is doubtful, and why.
fn doubts(diff: &Diff<'_>) -> Quality {
    let of = |side: &super::Side, name: &str| {
        let sentences = side.quality.degraded.iter();
        sentences
            .map(|sentence| format!("{name}: {sentence}"))
            .collect::<Vec<_>>()
    };
    let mut degraded = of(&diff.before, "before");
    degraded.extend(of(&diff.after, "after"));
    Quality {
        degraded,
        ..Quality::default()
    }
}

#[cfg(test)]
pub(crate) mod tests;
