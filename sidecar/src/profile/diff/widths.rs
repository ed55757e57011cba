//! How wide the stacks of a difference are drawn, and what each node of their tree has in either profile. Called by the writers of pictures.
//!
//! Widths are those of one of the two, the base; a stack that this one does not have is as wide as it was in the other, so that what is
//! gone or new is seen.

use super::{Base, Diff};
use crate::profile::flame_tree::FlameTree;
use crate::profile::flat_stacks::FlatStacks;

/// inferno multiplies values by colours and subtracts them: far below what its numbers hold they are as exact as a picture.
const MOST: u64 = 1 << 50;

/// Both values of a stack or node, on the scale of the second.
#[derive(Debug, Clone, Copy, Default)]
pub struct Both {
    /// In the first.
    pub before: u64,
    /// In the second.
    pub after: u64,
}

impl Both {
    /// Adds another.
    pub fn add(&mut self, other: Self) {
        self.before = self.before.saturating_add(other.before);
        self.after = self.after.saturating_add(other.after);
    }

    /// What is left without another.
    pub fn less(self, other: Self) -> Self {
        Self {
            before: self.before.saturating_sub(other.before),
            after: self.after.saturating_sub(other.after),
        }
    }

    fn width(self, base: Base) -> u64 {
        let (own, other) = match base {
            Base::After => (self.after, self.before),
            Base::Before => (self.before, self.after),
        };
        if own > 0 { own } else { other }
    }
}

/// The stacks of a difference as they are drawn.
#[derive(Debug)]
pub struct Widths {
    /// What all values are counted in: 1, unless they are absurdly large.
    pub unit: u64,
    /// What all stacks are wide together.
    pub total: u64,
    both: Vec<Both>,
    widths: Vec<u64>,
}

impl Widths {
    /// With the widths of one of the two.
    pub fn of(diff: &Diff<'_>, base: Base) -> Self {
        let unit = (diff.scaled_whole(diff.before.total) / MOST + diff.after.total / MOST).saturating_add(1);
        // A little is not nothing.
        let counted = |value: u64, is_there: bool| if is_there { (value / unit).max(1) } else { 0 };
        let values = diff.union.before.iter().zip(&diff.union.after);
        let both = values.map(|(before, after)| Both {
            before: counted(diff.scaled_whole(*before), *before > 0),
            after: counted(*after, *after > 0),
        });
        let both: Vec<_> = both.collect();
        let widths: Vec<_> = both.iter().map(|both| both.width(base)).collect();
        Self {
            unit,
            total: widths.iter().fold(0, |sum: u64, width| sum.saturating_add(*width)),
            both,
            widths,
        }
    }

    /// All stacks with their widths.
    pub fn stacks<'a>(&self, diff: &'a Diff<'_>) -> FlatStacks<'a> {
        diff.union.stacks.weighted(self.widths.clone(), self.total)
    }

    /// Both values of each node of their tree.
    pub fn sums(&self, diff: &Diff<'_>, tree: &FlameTree) -> Vec<Both> {
        let mut sums = vec![Both::default(); tree.nodes.len()];
        for (index, values) in self.both.iter().enumerate() {
            let mut node = 0;
            let mut frames = diff.union.stacks.stack(index).iter();
            loop {
                if let Some(sum) = sums.get_mut(node) {
                    sum.add(*values);
                }
                let Some(frame) = frames.next() else { break };
                let children = tree.nodes.get(node).map_or(&[][..], |node| &node.children);
                // Children are in the order of their names, as ranks are.
                let rank_of = |child: &usize| tree.nodes.get(*child).map_or(usize::MAX, |child| child.rank);
                match children.binary_search_by_key(&frame.rank(), rank_of) {
                    Ok(at) => node = children.get(at).copied().unwrap_or_default(),
                    // Too small to be shown.
                    Err(_) => break,
                }
            }
        }
        sums
    }
}
