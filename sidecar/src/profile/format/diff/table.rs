//! Writes what functions gained and lost: text for terminals and agents, the sentence first, and JSON for programs.

use std::io::{self, BufWriter, Write};

use serde::Serialize;

use crate::profile::amount::precise;
use crate::profile::diff::function::{Change, Changes};
use crate::profile::diff::show::Show;
use crate::profile::diff::{Diff, Side};
use crate::profile::frame_name::plain_text;
use crate::profile::quality::Quality;
use crate::profile::stamp;

/// Rows of each half of the text.
const TEXT_ROWS: usize = 30;
/// Of them, rows that chance explains: to see that there is nothing, a few are enough.
const NOISE_ROWS: usize = 10;
/// Rows of the JSON.
const JSON_ROWS: usize = 1000;

/// Writes a table of who gained and one of who lost.
///
/// # Errors
/// The output fails.
pub fn text(diff: &Diff<'_>, changes: &Changes, show: &Show, headline: &str, out: &mut impl Write) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    writeln!(out, "{}\n", plain_text(headline))?;
    for (name, side) in [("before", &diff.before), ("after", &diff.after)] {
        writeln!(out, "{name}: {}", stamp::line(&side.quality))?;
        for sentence in &side.quality.degraded {
            writeln!(out, "DEGRADED: {}", plain_text(sentence))?;
        }
    }
    writeln!(out, "compared {}", show.words())?;
    for (verb, sign) in [("gained", 1.0), ("lost", -1.0)] {
        let is_of = |change: &&Change| change.gain() * sign > 0.0;
        let all: Vec<_> = changes.functions.iter().filter(is_of).collect();
        let mut noise = 0;
        let shown = all.iter().filter(|change| {
            noise += usize::from(change.within_noise());
            !change.within_noise() || noise <= NOISE_ROWS
        });
        writeln!(out, "\n{verb:>13} {:>13} {:>13} {:12}  function", "before", "after", "")?;
        for change in shown.take(TEXT_ROWS) {
            let label = if change.within_noise() { "within noise" } else { "" };
            writeln!(
                out,
                "{:>13} {:>13} {:>13} {label:12}  {}",
                show.change(change.gain()),
                show.value(change.before),
                show.value(change.after),
                name(diff, change)
            )?;
        }
        if all.is_empty() {
            writeln!(out, "{:>13}", "none")?;
        }
    }
    let (before, after) = (diff.scaled(diff.before.total), precise(diff.after.total));
    writeln!(
        out,
        "\n{:>13} {:>13} {:>13} {:12}  all: {} functions",
        show.change(after - before),
        show.value(before),
        show.value(after),
        "",
        changes.functions.len()
    )?;
    out.flush()
}

fn name<'a>(diff: &'a Diff<'_>, change: &Change) -> &'a str {
    diff.union.stacks.names.get(change.name).map_or("", |name| name)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Table<'a> {
    headline: &'a str,
    /// No function changed by more than chance explains.
    within_noise: bool,
    normalise: &'static str,
    sample_type: &'a str,
    /// What the numbers of functions are.
    unit: String,
    before: Whole<'a>,
    after: Whole<'a>,
    functions: Vec<Function<'a>>,
    /// Functions that are not listed, which changed less.
    omitted: usize,
}

/// What is known of one of the two.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::profile::format) struct Whole<'a> {
    /// As recorded, in the unit of the recording.
    total: u64,
    unit: &'a str,
    seconds: Option<f64>,
    quality: &'a Quality,
}

impl<'a> Whole<'a> {
    /// One of the two, in its own unit.
    pub(in crate::profile::format) fn of(side: &'a Side, unit: &'a str) -> Self {
        Self {
            total: side.total,
            unit,
            seconds: side.seconds,
            quality: &side.quality,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Function<'a> {
    name: &'a str,
    before: f64,
    after: f64,
    change: f64,
    self_before: f64,
    self_after: f64,
    self_change: f64,
    /// Below this a change is noise; null where it is not known how many samples there are.
    noise: Option<f64>,
    within_noise: bool,
}

/// Writes JSON, those that changed most first.
///
/// # Errors
/// The output fails.
pub fn json(diff: &Diff<'_>, changes: &Changes, show: &Show, headline: &str, out: &mut impl Write) -> io::Result<()> {
    let function = |change: &Change| Function {
        name: name(diff, change),
        before: show.number(change.before),
        after: show.number(change.after),
        change: show.number(change.gain()),
        self_before: show.number(change.own_before),
        self_after: show.number(change.own_after),
        self_change: show.number(change.own_gain()),
        noise: change.noise().map(|noise| show.number(noise)),
        within_noise: change.within_noise(),
    };
    let table = Table {
        headline,
        within_noise: !changes.functions.iter().any(|change| changes.is_real(change)),
        normalise: diff.normalise.name(),
        sample_type: &diff.value.name,
        unit: show.unit(&diff.value),
        before: Whole::of(&diff.before, &diff.value.unit),
        after: Whole::of(&diff.after, &diff.value.unit),
        functions: changes.functions.iter().take(JSON_ROWS).map(function).collect(),
        omitted: changes.functions.len().saturating_sub(JSON_ROWS),
    };
    let mut out = BufWriter::new(out);
    serde_json::to_writer(&mut out, &table)?;
    out.write_all(b"\n")?;
    out.flush()
}
