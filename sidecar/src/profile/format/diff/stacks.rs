//! Writes a difference stack by stack, for the tools of others: `difffolded.pl`'s three columns, and what `go tool pprof -diff_base` makes.

use std::io::{self, Write};

use crate::profile::builder::{ModelError, ProfileBuilder};
use crate::profile::diff::Diff;
use crate::profile::flat_stacks::Frame;
use crate::profile::format::pprof::write;
use crate::profile::frame_name::UNKNOWN;
use crate::profile::model::{Label, LabelValue};

/// What pprof calls the samples of a base, of which it takes percentages.
const BASE: (&str, &str) = ("pprof::base", "true");

/// Writes `stack before after` per line, sorted.
///
/// # Errors
/// The output fails.
pub fn collapsed(diff: &Diff<'_>, out: &mut impl Write) -> io::Result<()> {
    let stacks = &diff.union.stacks;
    let ranks = |index: usize| stacks.stack(index).iter().copied().map(Frame::rank);
    let mut order: Vec<usize> = (0..stacks.count()).collect();
    order.sort_unstable_by(|&one, &other| ranks(one).cmp(ranks(other)));
    let mut line = Vec::new();
    for index in order {
        line.clear();
        for (depth, rank) in ranks(index).enumerate() {
            if depth > 0 {
                line.push(b';');
            }
            line.extend_from_slice(stacks.names.get(rank).map_or(UNKNOWN, |name| name).as_bytes());
        }
        let of = |values: &[u64]| values.get(index).copied().unwrap_or_default();
        let before = diff.scaled_whole(of(&diff.union.before));
        writeln!(line, " {before} {}", of(&diff.union.after))?;
        out.write_all(&line)?;
    }
    Ok(())
}

/// Writes both as one profile: the first with values below zero, and the label by which pprof knows a base.
///
/// # Errors
/// The output fails.
pub fn pprof(diff: &Diff<'_>, headline: &str, out: &mut impl Write) -> io::Result<()> {
    let builder = together(diff, headline).map_err(io::Error::other)?;
    write::write(&builder.finish(), out)
}

fn together(diff: &Diff<'_>, headline: &str) -> Result<ProfileBuilder, ModelError> {
    let union = &diff.union;
    let mut builder = ProfileBuilder::new(vec![diff.value.clone()])?;
    let base = Label {
        key: builder.string(BASE.0)?,
        value: LabelValue::Text(builder.string(BASE.1)?),
    };
    let mut stack = Vec::new();
    for index in 0..union.stacks.count() {
        stack.clear();
        for frame in union.stacks.stack(index).iter().rev() {
            let name = union.stacks.names.get(frame.rank()).map_or(UNKNOWN, |name| name);
            stack.push(builder.frame(name, crate::profile::FrameKind::Other)?);
        }
        let of = |values: &[u64]| values.get(index).copied().unwrap_or_default();
        let signed = |value: u64| i64::try_from(value).map_err(|_| ModelError::Overflow);
        let before = signed(diff.scaled_whole(of(&union.before)))?;
        let after = signed(of(&union.after))?;
        if after > 0 {
            builder.sample(&stack, &[after], &[])?;
        }
        if before > 0 {
            builder.sample(&stack, &[-before], &[base])?;
        }
    }
    let nanos = |ms: Option<u64>| i64::try_from(ms.unwrap_or(0).saturating_mul(1_000_000)).unwrap_or_default();
    builder.profile.time_nanos = nanos(diff.after.quality.started_at_ms);
    builder.profile.duration_nanos = nanos(diff.after.quality.duration_ms);
    builder.profile.comments = vec![format!("sideflame diff: {headline}")];
    Ok(builder)
}
