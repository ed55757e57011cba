//! Numbers of a difference in words, in the unit in which the two were compared.

use super::function::{Change, Changes};
use super::{Diff, Normalise};
use crate::profile::amount::{Scale, precise, share};
use crate::profile::frame_name::short_text;
use crate::profile::model::ValueType;

/// Longest name in a sentence.
const NAME_CHARS: usize = 80;

/// How a value is shown.
#[derive(Debug)]
pub struct Show {
    normalise: Normalise,
    /// A value divided by this is a rate, a share, or the value.
    divisor: f64,
    scale: Scale,
}

impl Show {
    /// For the values of this difference.
    pub fn of(diff: &Diff<'_>) -> Self {
        let largest = precise(diff.after.total).max(diff.scaled(diff.before.total));
        let divisor = match diff.normalise {
            Normalise::None => 1.0,
            Normalise::Share => largest,
            Normalise::PerSecond => diff.after.seconds.unwrap_or(1.0),
        };
        let divisor = if divisor > 0.0 { divisor } else { 1.0 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it only chooses a unit"
        )]
        let total = (largest / divisor) as u64;
        Self {
            normalise: diff.normalise,
            divisor,
            scale: Scale::of(&diff.value, total),
        }
    }

    /// The value as a number of [`Self::unit`].
    pub fn number(&self, value: f64) -> f64 {
        value / self.divisor
    }

    /// What [`Self::number`] counts.
    pub fn unit(&self, value: &ValueType) -> String {
        match self.normalise {
            Normalise::None => value.unit.clone(),
            Normalise::Share => "share".to_owned(),
            Normalise::PerSecond => format!("{}/second", value.unit),
        }
    }

    /// The value for people: `30.2%`, `0.30 s/s`, `59.80/s`, `17`.
    pub fn value(&self, value: f64) -> String {
        let number = self.number(value);
        match self.normalise {
            Normalise::Share => format!("{:.1}%", number * 100.0),
            Normalise::PerSecond => format!("{}/s", self.scale.show_part(number)),
            Normalise::None => self.scale.show_part(number),
        }
    }

    /// The same of a change, with its sign.
    pub fn change(&self, gain: f64) -> String {
        let sign = if gain < 0.0 { '-' } else { '+' };
        format!("{sign}{}", self.value(gain.abs()))
    }

    /// How the two were compared.
    pub fn words(&self) -> &'static str {
        match self.normalise {
            Normalise::Share => "as shares of their totals",
            Normalise::PerSecond => "per second of each recording",
            Normalise::None => "as they are",
        }
    }
}

/// The difference in a sentence.
pub fn headline(diff: &Diff<'_>, changes: &Changes, show: &Show) -> String {
    let name = |change: &Change| {
        let name = diff.union.stacks.names.get(change.name);
        short_text(name.map_or("", |name| name), NAME_CHARS)
    };
    let told = |change: &Change, verb: &str| {
        let gain = match diff.normalise {
            Normalise::Share => format!("{:.1} points", show.number(change.gain().abs()) * 100.0),
            _ => show.value(change.gain().abs()),
        };
        let (before, after) = (show.value(change.before), show.value(change.after));
        format!("{} {verb} {gain}: {before} → {after}", name(change))
    };
    let gained = changes.gainers().next().map(|change| told(change, "gained"));
    let lost = changes.losers().next().map(|change| told(change, "lost"));
    let sentences: Vec<_> = gained.into_iter().chain(lost).collect();
    if !sentences.is_empty() {
        return sentences.join("; ");
    }
    if diff.before.total == 0 && diff.after.total == 0 {
        return "neither has samples".to_owned();
    }
    let count = changes.functions.len();
    format!("within noise: none of {count} functions changed by more than chance explains")
}

/// Points of a share, for a frame of a picture.
pub fn points(gain: f64, diff: &Diff<'_>) -> f64 {
    let largest = precise(diff.after.total).max(diff.scaled(diff.before.total));
    share(gain.abs(), largest) * 100.0 * gain.signum()
}
