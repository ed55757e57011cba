//! What changed of each function, and whether that is more than chance.

use super::Diff;
use crate::profile::amount::precise;
use crate::profile::top::Tally;

/// A change below so many standard deviations is named noise: one of twenty functions that did not change has a larger one.
const NOISE: f64 = 2.0;

/// The change of one function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Index into the names of the stacks.
    pub name: usize,
    /// Of stacks that have it, on the scale of the second.
    pub before: f64,
    /// The same of the second.
    pub after: f64,
    /// Of stacks that end in it.
    pub own_before: f64,
    /// The same of the second.
    pub own_after: f64,
    /// The standard deviation of the change, if it is known.
    pub deviation: Option<f64>,
}

impl Change {
    /// What it gained, or lost.
    pub fn gain(&self) -> f64 {
        self.after - self.before
    }

    /// What it gained itself, without what it calls.
    pub fn own_gain(&self) -> f64 {
        self.own_after - self.own_before
    }

    /// Below this a change is noise.
    pub fn noise(&self) -> Option<f64> {
        self.deviation.map(|deviation| NOISE * deviation)
    }

    /// Whether chance explains it, looked at by itself.
    pub fn within_noise(&self) -> bool {
        let gain = self.gain().abs();
        // Shares of the same numbers differ by what a float does not hold.
        let nothing = gain <= 1e-9 * self.after.max(self.before);
        nothing || self.noise().is_some_and(|noise| gain < noise)
    }
}

/// What all functions changed.
#[derive(Debug)]
pub struct Changes {
    /// Those that changed most first, callers before what they call.
    pub functions: Vec<Change>,
    /// Deviations that not even the largest of so many changes has by chance.
    threshold: f64,
}

impl Changes {
    /// Adds up both by function.
    pub fn of(diff: &Diff<'_>) -> Self {
        let union = &diff.union;
        let (mut before, mut after) = (Tally::new(&union.stacks.names), Tally::new(&union.stacks.names));
        for index in 0..union.stacks.count() {
            let stack = union.stacks.stack(index);
            before.add(stack, union.before.get(index).copied().unwrap_or_default());
            after.add(stack, union.after.get(index).copied().unwrap_or_default());
        }
        let change = |name: usize| {
            let (before, after) = (before.row(name), after.row(name));
            (before.total > 0 || after.total > 0).then(|| Change {
                name,
                before: diff.scaled(before.total),
                after: precise(after.total),
                own_before: diff.scaled(before.own),
                own_after: precise(after.own),
                deviation: diff.deviation(before.total, after.total),
            })
        };
        let mut functions: Vec<_> = (0..union.stacks.names.len()).filter_map(change).collect();
        functions.sort_by(|one, other| {
            let by = |key: fn(&Change) -> f64| key(other).abs().total_cmp(&key(one).abs());
            by(Change::gain)
                .then_with(|| by(Change::own_gain))
                .then(one.name.cmp(&other.name))
        });
        Self {
            threshold: threshold(functions.len()),
            functions,
        }
    }

    /// Whether a change is more than chance brings about anywhere in a table of so many functions. Without a known number of
    /// samples every change is.
    pub fn is_real(&self, change: &Change) -> bool {
        let beyond = |deviation| change.gain().abs() >= self.threshold * deviation;
        !change.within_noise() && change.deviation.is_none_or(beyond)
    }

    /// Those that are real and gained, the largest first.
    pub fn gainers(&self) -> impl Iterator<Item = &Change> {
        self.functions
            .iter()
            .filter(|change| change.gain() > 0.0 && self.is_real(change))
    }

    /// Those that are real and lost, the largest first.
    pub fn losers(&self) -> impl Iterator<Item = &Change> {
        self.functions
            .iter()
            .filter(|change| change.gain() < 0.0 && self.is_real(change))
    }
}

/// Of `tests` changes by chance the largest is smaller in 19 of 20 tables: the tail of a normal distribution, from above.
fn threshold(tests: usize) -> f64 {
    const BY_CHANCE: f64 = 0.05;
    let tests = precise(tests.max(1) as u64);
    (2.0 * (2.0 * tests / BY_CHANCE).ln()).sqrt().max(NOISE)
}

#[cfg(test)]
mod tests;
