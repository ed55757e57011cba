//! The stacks of two profiles together, each once: what only one of them has is there, too.

use std::borrow::Cow;

use hashbrown::HashTable;

use super::{FlatStacks, Frame};
use crate::profile::builder::ModelError;

/// Stacks by the names of their frames, with what each has in either profile.
#[derive(Debug)]
pub struct Union<'a> {
    /// The weights are those of both together.
    pub stacks: FlatStacks<'a>,
    /// The value of each stack in the first one.
    pub before: Vec<u64>,
    /// And in the second one.
    pub after: Vec<u64>,
}

impl<'a> Union<'a> {
    /// Joins two. Frames of one name are one frame, whoever executes them: the same function is interpreted in one recording and
    /// compiled in the other.
    ///
    /// # Errors
    /// The values add up to more than an `i64`, or the frames are too many.
    pub fn new(before: FlatStacks<'a>, after: FlatStacks<'a>) -> Result<Self, ModelError> {
        let (names, ranks) = merged(before.names, after.names);
        let mut union = Self {
            stacks: FlatStacks {
                names,
                weights: vec![],
                total: 0,
                has_kinds: before.has_kinds || after.has_kinds,
                frames: vec![],
                ends: vec![],
            },
            before: vec![],
            after: vec![],
        };
        let mut known: HashTable<usize> = HashTable::new();
        let hasher = ahash::RandomState::new();
        let sides = [
            (before.frames, before.ends, before.weights, &ranks[0]),
            (after.frames, after.ends, after.weights, &ranks[1]),
        ];
        for (side, (mut frames, ends, weights, ranks)) in sides.into_iter().enumerate() {
            for frame in &mut frames {
                let rank = ranks.get(frame.rank()).copied().unwrap_or_default();
                *frame = Frame::new(rank, frame.kind());
            }
            let mut start = 0;
            for (end, weight) in ends.into_iter().zip(weights) {
                let stack = frames.get(start..end as usize).unwrap_or_default();
                start = end as usize;
                let index = union.index(&mut known, &hasher, stack)?;
                let place = if side == 0 { &mut union.before } else { &mut union.after };
                if let (Some(sum), Some(both)) = (place.get_mut(index), union.stacks.weights.get_mut(index)) {
                    *sum = sum.checked_add(weight).ok_or(ModelError::Overflow)?;
                    *both = both.checked_add(weight).ok_or(ModelError::Overflow)?;
                }
                union.stacks.total = union.stacks.total.checked_add(weight).ok_or(ModelError::Overflow)?;
            }
        }
        Ok(union)
    }

    /// Where a stack is, which is added if it is new.
    fn index(
        &mut self,
        known: &mut HashTable<usize>,
        hasher: &ahash::RandomState,
        stack: &[Frame],
    ) -> Result<usize, ModelError> {
        let hash = |stack: &[Frame]| {
            // The kinds of frames do not count.
            let mut state = std::hash::BuildHasher::build_hasher(hasher);
            for frame in stack {
                std::hash::Hash::hash(&frame.rank(), &mut state);
            }
            std::hash::Hasher::finish(&state)
        };
        let same = |one: &[Frame], other: &[Frame]| {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.rank() == other.rank())
        };
        let own = hash(stack);
        if let Some(&index) = known.find(own, |&index| same(self.stacks.stack(index), stack)) {
            return Ok(index);
        }
        let index = self.before.len();
        self.stacks.frames.extend_from_slice(stack);
        let end = u32::try_from(self.stacks.frames.len()).map_err(|_| ModelError::Overflow)?;
        self.stacks.ends.push(end);
        self.stacks.weights.push(0);
        self.before.push(0);
        self.after.push(0);
        known.insert_unique(own, index, |&index| hash(self.stacks.stack(index)));
        Ok(index)
    }

    /// What the first one has in all.
    pub fn total_before(&self) -> u64 {
        self.before.iter().fold(0, |sum, value| sum.saturating_add(*value))
    }

    /// What the second one has in all.
    pub fn total_after(&self) -> u64 {
        self.after.iter().fold(0, |sum, value| sum.saturating_add(*value))
    }
}

/// Two sorted lists of names as one, and where the names of each are in it.
fn merged<'a>(before: Vec<Cow<'a, str>>, after: Vec<Cow<'a, str>>) -> (Vec<Cow<'a, str>>, [Vec<u32>; 2]) {
    let mut ranks = [Vec::with_capacity(before.len()), Vec::with_capacity(after.len())];
    let mut names = Vec::with_capacity(before.len().max(after.len()));
    let (mut before, mut after) = (before.into_iter().peekable(), after.into_iter().peekable());
    loop {
        let (in_before, in_after) = match (before.peek(), after.peek()) {
            (Some(one), Some(other)) => (one <= other, other <= one),
            (one, other) => (one.is_some(), other.is_some()),
        };
        let rank = u32::try_from(names.len()).unwrap_or(u32::MAX);
        let (one, other) = (before.next_if(|_| in_before), after.next_if(|_| in_after));
        if one.is_some() {
            ranks[0].push(rank);
        }
        if other.is_some() {
            ranks[1].push(rank);
        }
        match one.or(other) {
            Some(name) => names.push(name),
            None => return (names, ranks),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{FrameKind, Profile, ProfileBuilder, ValueType};

    fn profile(stacks: &[(&str, i64)], kind: FrameKind) -> Profile {
        let mut builder = ProfileBuilder::new(vec![ValueType::new("samples", "count")]).unwrap();
        for (frames, value) in stacks {
            let stack: Vec<_> = frames
                .rsplit(';')
                .map(|name| builder.frame(name, kind).unwrap())
                .collect();
            builder.sample(&stack, &[*value], &[]).unwrap();
        }
        builder.finish()
    }

    #[test]
    fn stacks_of_either_are_there_once_with_both_values() {
        let before = profile(&[("main;a", 3), ("main;gone", 2), ("z", 1)], FrameKind::Interpreted);
        let after = profile(&[("main;a", 4), ("main;new", 5), ("b;z", 1)], FrameKind::Jit);
        let flat = |profile| FlatStacks::new(profile, 0, None).unwrap();
        let union = Union::new(flat(&before), flat(&after)).unwrap();
        let words = |index: usize| {
            let names = union.stacks.stack(index).iter();
            let names: Vec<_> = names.map(|frame| union.stacks.names[frame.rank()].as_ref()).collect();
            format!("{} {} {}", names.join(";"), union.before[index], union.after[index])
        };
        let mut all: Vec<_> = (0..union.stacks.count()).map(words).collect();
        all.sort();
        assert_eq!(all, ["b;z 0 1", "main;a 3 4", "main;gone 2 0", "main;new 0 5", "z 1 0"]);
        assert!(union.stacks.names.is_sorted() && union.stacks.names.iter().any(|name| name == "[unknown]"));
        assert_eq!(
            (union.total_before(), union.total_after(), union.stacks.total),
            (6, 10, 16)
        );
    }
}
