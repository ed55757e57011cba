//! What the events of a trace add up to, per stack.
//!
//! Called by [`super::collector`], which gives them names at the end.

use hashbrown::HashMap;

use super::stack_tree::StackId;
use crate::profile::ModelError;
use crate::profile::strings::StringId;

/// Distinct sums.
const MOST: usize = 8 << 20;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Measure {
    /// A thread in managed code; its weight is time.
    Managed,
    /// A thread in native code; its weight is time.
    External,
    /// About 100 KiB allocated; its weight is bytes.
    AllocationTick,
    /// An allocation chosen at random; its weight is the bytes it stands for.
    AllocationSampled,
    /// A wait for a monitor; its weight is time.
    Contention,
    /// A thrown exception, without a weight.
    Exception,
}

/// Events that are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) measure: Measure,
    pub(super) stack: StackId,
    /// The type that was allocated or thrown.
    pub(super) type_name: StringId,
    /// Number of the thread; 0 where threads are not told apart.
    pub(super) thread: u64,
    /// The part of the recording's time.
    pub(super) part: u32,
}

/// How many, and their weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sum {
    pub(super) count: u64,
    pub(super) weight: u64,
}

/// All sums.
#[derive(Debug, Default)]
pub(super) struct Sums {
    rows: HashMap<Key, Sum, ahash::RandomState>,
    totals: [Sum; Measure::Exception as usize + 1],
}

impl Sums {
    /// One more event.
    pub(super) fn add(&mut self, key: Key, weight: u64) -> Result<(), ModelError> {
        if self.rows.len() >= MOST && !self.rows.contains_key(&key) {
            return Err(ModelError::TooLarge {
                what: "samples",
                limit: MOST,
            });
        }
        for sum in [
            self.rows.entry(key).or_default(),
            &mut self.totals[key.measure as usize],
        ] {
            sum.count += 1;
            sum.weight = sum.weight.checked_add(weight).ok_or(ModelError::Overflow)?;
        }
        Ok(())
    }

    /// All of one kind together.
    pub(super) fn total(&self, measure: Measure) -> Sum {
        self.totals[measure as usize]
    }

    /// All sums, in an order that does not depend on the run.
    pub(super) fn sorted(&self) -> Vec<(Key, Sum)> {
        let mut rows: Vec<_> = self.rows.iter().map(|(&key, &sum)| (key, sum)).collect();
        rows.sort_unstable_by_key(|(key, _)| *key);
        rows
    }
}
