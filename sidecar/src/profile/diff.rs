//! Two profiles against each other: what each stack and each function has in either, on one scale, and whether a change is more
//! than chance explains.
//!
//! All numbers are in terms of the second one, `after`: those of the first, `before`, are multiplied so that both are per second,
//! or a share of their own total. So a change is a number of `after`, and pictures are as wide as `after` alone would be.
//! Called by [`compare`], which reads the two; the writers are in [`super::format::diff`].

pub mod compare;
pub mod function;
pub mod show;
pub mod widths;

use serde::{Deserialize, Serialize};

use super::ModelError;
use super::amount::precise;
use super::flat_stacks::{FlatStacks, Union};
use super::model::ValueType;
use super::quality::Quality;

/// How two recordings of different lengths are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalise {
    /// What each has per second of its own time.
    PerSecond,
    /// Which share each has of its own total.
    Share,
    /// The numbers as they are.
    None,
}

impl Normalise {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::PerSecond, Self::Share, Self::None];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "per-second",
            Self::Share => "share",
            Self::None => "none",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|normalise| normalise.name() == name)
    }
}

/// Whose widths a picture has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Base {
    /// Those of the second; stacks that are gone have those of the first.
    #[default]
    After,
    /// Those of the first; stacks that are new have those of the second.
    Before,
}

impl Base {
    /// Both.
    pub const ALL: [Self; 2] = [Self::After, Self::Before];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::After => "after",
            Self::Before => "before",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|base| base.name() == name)
    }
}

/// What is known of one of the two beside its stacks.
#[derive(Debug, Clone)]
pub struct Side {
    /// Its stamp.
    pub quality: Quality,
    /// What it adds up to.
    pub total: u64,
    /// Seconds that it is of, if that is known.
    pub seconds: Option<f64>,
    /// Value of one sample on average; `None` if it is not known how many there are.
    pub per_sample: Option<f64>,
}

impl Side {
    fn new(quality: Quality, value: &ValueType, total: u64) -> Self {
        let known = |number: f64| (number > 0.0).then_some(number);
        let counted = value.unit == "count" && value.name == "samples";
        let per_sample = if counted {
            Some(1.0)
        } else if quality.interval > 0 && quality.interval_unit == value.unit {
            known(precise(quality.interval))
        } else {
            let samples = quality.samples.map(precise).and_then(known);
            samples.and_then(|samples| known(precise(total) / samples))
        };
        Self {
            seconds: quality.duration_ms.and_then(|ms| known(precise(ms) / 1000.0)),
            quality,
            total,
            per_sample,
        }
    }
}

/// Two profiles on one scale.
#[derive(Debug)]
pub struct Diff<'a> {
    /// Every stack of either.
    pub union: Union<'a>,
    /// What is compared.
    pub value: ValueType,
    /// The first.
    pub before: Side,
    /// The second.
    pub after: Side,
    /// How.
    pub normalise: Normalise,
    /// A value of the first in terms of the second.
    pub factor: f64,
}

/// They cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiffError {
    /// They are of different things.
    #[error("{0}")]
    Unlike(String),
    /// The values are absurd.
    #[error("the recordings do not fit a profile")]
    Model(#[from] ModelError),
}

impl<'a> Diff<'a> {
    /// Compares the stacks of two profiles, with the stamps that tell what their values are.
    ///
    /// # Errors
    /// See [`DiffError`].
    pub fn new(
        (before, quality_before): (FlatStacks<'a>, Quality),
        (after, quality_after): (FlatStacks<'a>, Quality),
        value: ValueType,
        normalise: Option<Normalise>,
    ) -> Result<Self, DiffError> {
        let union = Union::new(before, after)?;
        let before = Side::new(quality_before, &value, union.total_before());
        let after = Side::new(quality_after, &value, union.total_after());
        let rates = before.seconds.zip(after.seconds);
        let normalise = normalise.unwrap_or(match rates {
            Some(_) => Normalise::PerSecond,
            None => Normalise::Share,
        });
        let factor = match (normalise, rates) {
            (Normalise::None, _) => 1.0,
            (Normalise::PerSecond, Some((before, after))) => after / before,
            (Normalise::PerSecond, None) => {
                let words = "how long a recording took is not known of both; compare shares (normalise=share)";
                return Err(DiffError::Unlike(words.to_owned()));
            }
            // Of nothing there are no shares.
            (Normalise::Share, _) if before.total == 0 || after.total == 0 => 1.0,
            (Normalise::Share, _) => precise(after.total) / precise(before.total),
        };
        Ok(Self {
            union,
            value,
            before,
            after,
            normalise,
            factor,
        })
    }

    /// A value of the first in terms of the second.
    pub fn scaled(&self, before: u64) -> f64 {
        precise(before) * self.factor
    }

    /// The same as a number that can be written where only whole ones can.
    pub fn scaled_whole(&self, before: u64) -> u64 {
        const MOST: u64 = i64::MAX.unsigned_abs();
        if self.factor == 1.0 {
            // No number with a point has all of its digits.
            return before.min(MOST);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "rounded, not negative, and too large a number becomes the largest"
        )]
        let whole = self.scaled(before).round() as u64;
        whole.min(MOST)
    }

    /// What one of the two has of a stack or function by chance: the standard deviation of the change between them, where
    /// samples are counts of independent events.
    pub fn deviation(&self, before: u64, after: u64) -> Option<f64> {
        let (of_before, of_after) = (self.before.per_sample?, self.after.per_sample?);
        let variance = precise(after) * of_after + precise(before) * of_before * self.factor * self.factor;
        Some(variance.sqrt())
    }
}
