//! One value of a profile as root-first lists of frame names: what every picture of it starts from.
//!
//! Inlined functions are frames of their own, equal names are one number, and the numbers are in the order of the names,
//! so that comparing stacks compares numbers. Called by the flame tree and the collapsed writer.

mod union;

use std::borrow::Cow;

use super::builder::ModelError;
use super::frame_name::{CUT, UNKNOWN, plain};
use super::model::{FrameKind, Location, Profile};

/// A frame: rank of its name, and kind. Packed, because there may be millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frame(u32);

pub use union::Union;

const KIND_BITS: u32 = 3;
pub(super) const KINDS: [FrameKind; FrameKind::COUNT] = [
    FrameKind::Interpreted,
    FrameKind::Jit,
    FrameKind::Inlined,
    FrameKind::Native,
    FrameKind::Kernel,
    FrameKind::Thread,
    FrameKind::Other,
];

impl Frame {
    fn new(rank: u32, kind: FrameKind) -> Self {
        // Ranks stay below 2^27: the builder allows 2^26 functions and as many locations.
        Self(rank << KIND_BITS | kind as u32)
    }

    /// Index into [`FlatStacks::names`].
    pub fn rank(self) -> usize {
        (self.0 >> KIND_BITS) as usize
    }

    /// Who executes it.
    pub fn kind(self) -> FrameKind {
        KINDS
            .get((self.0 & ((1 << KIND_BITS) - 1)) as usize)
            .copied()
            .unwrap_or_default()
    }
}

/// All stacks with a positive value.
#[derive(Debug)]
pub struct FlatStacks<'a> {
    /// Distinct names, sorted, fit for text.
    pub names: Vec<Cow<'a, str>>,
    /// Value of each stack.
    pub weights: Vec<u64>,
    /// Sum of the values.
    pub total: u64,
    /// The recording told who executes the frames.
    pub has_kinds: bool,
    frames: Vec<Frame>,
    ends: Vec<u32>,
}

impl<'a> FlatStacks<'a> {
    /// The stacks of one value of a profile, whose sampler takes at most `max_frames` of a stack. A stack that reached them
    /// lacks its callers: it begins with [`CUT`], so that what is left of it is not taken for the root.
    ///
    /// # Errors
    /// The values add up to more than an `i64`.
    pub fn new(profile: &'a Profile, value_index: usize, max_frames: Option<u32>) -> Result<Self, ModelError> {
        let told = |kind| {
            matches!(
                kind,
                FrameKind::Interpreted | FrameKind::Jit | FrameKind::Inlined | FrameKind::Kernel
            )
        };
        let has_kinds = profile.functions().iter().any(|function| told(function.kind));
        let FrameTable {
            names,
            frames,
            of_location,
        } = FrameTable::new(profile);
        let mut flat = Self {
            names,
            weights: vec![],
            total: 0,
            has_kinds,
            frames: vec![],
            ends: vec![],
        };
        let unknown = FrameTable::frame(&flat.names, UNKNOWN, FrameKind::Other);
        let cut = FrameTable::frame(&flat.names, CUT, FrameKind::Other);
        let limit = max_frames.map_or(usize::MAX, |frames| frames as usize);
        for sample in profile.samples() {
            let value = sample.values.get(value_index).copied().unwrap_or_default();
            let Ok(weight @ 1..) = u64::try_from(value) else {
                continue;
            };
            for location in sample.stack.iter().rev() {
                let span = of_location.get(location.index()).copied().unwrap_or_default();
                flat.frames
                    .extend_from_slice(frames.get(span.0 as usize..span.1 as usize).unwrap_or_default());
            }
            if sample.stack.is_empty() {
                flat.frames.push(unknown);
            }
            let start = flat.ends.last().map_or(0, |end| *end as usize);
            let threads = flat
                .frames
                .get(start)
                .is_some_and(|root| root.kind() == FrameKind::Thread);
            let root = start + usize::from(threads);
            if flat.frames.len() - root >= limit && flat.frames.get(root).map(|frame| frame.rank()) != Some(cut.rank())
            {
                flat.frames.insert(root, cut);
            }
            flat.total = flat.total.checked_add(weight).ok_or(ModelError::Overflow)?;
            flat.weights.push(weight);
            flat.ends
                .push(u32::try_from(flat.frames.len()).map_err(|_| ModelError::Overflow)?);
        }
        if i64::try_from(flat.total).is_err() {
            return Err(ModelError::Overflow);
        }
        Ok(flat)
    }

    /// The same stacks with other values.
    pub fn weighted(&self, weights: Vec<u64>, total: u64) -> FlatStacks<'_> {
        FlatStacks {
            names: self.names.iter().map(|name| Cow::Borrowed(name.as_ref())).collect(),
            weights,
            total,
            has_kinds: self.has_kinds,
            frames: self.frames.clone(),
            ends: self.ends.clone(),
        }
    }

    /// How many stacks there are.
    pub fn count(&self) -> usize {
        self.weights.len()
    }

    /// The frames of a stack, root first.
    pub fn stack(&self, index: usize) -> &[Frame] {
        let start = if index == 0 {
            0
        } else {
            self.ends.get(index - 1).copied().unwrap_or(0)
        };
        let end = self.ends.get(index).copied().unwrap_or(start);
        self.frames.get(start as usize..end as usize).unwrap_or_default()
    }
}

/// The frames of every location, the outermost inlined one first.
struct FrameTable<'a> {
    names: Vec<Cow<'a, str>>,
    frames: Vec<Frame>,
    of_location: Vec<(u32, u32)>,
}

impl<'a> FrameTable<'a> {
    fn new(profile: &'a Profile) -> Self {
        let address = |location: &Location| Cow::Owned(format!("0x{:x}", location.address));
        let functions = profile
            .functions()
            .iter()
            .map(|function| plain(profile.text(function.name)));
        let unnamed = profile
            .locations()
            .iter()
            .filter(|location| profile.lines(location).is_empty());
        let mut names: Vec<_> = functions
            .chain(unnamed.map(address))
            .chain([Cow::Borrowed(UNKNOWN), Cow::Borrowed(CUT)])
            .collect();
        names.sort_unstable();
        names.dedup();
        let of_function: Vec<_> = profile
            .functions()
            .iter()
            .map(|f| Self::frame(&names, &plain(profile.text(f.name)), f.kind))
            .collect();
        let mut frames = Vec::with_capacity(profile.locations().len());
        let mut of_location = Vec::with_capacity(profile.locations().len());
        for location in profile.locations() {
            let start = frames.len();
            let lines = profile.lines(location);
            frames.extend(
                lines
                    .iter()
                    .rev()
                    .filter_map(|line| of_function.get(line.function.index()).copied()),
            );
            if lines.is_empty() {
                frames.push(Self::frame(&names, &address(location), FrameKind::Other));
            }
            of_location.push((
                u32::try_from(start).unwrap_or_default(),
                u32::try_from(frames.len()).unwrap_or_default(),
            ));
        }
        Self {
            names,
            frames,
            of_location,
        }
    }

    fn frame(names: &[Cow<'_, str>], name: &str, kind: FrameKind) -> Frame {
        let rank = names
            .binary_search_by(|probe| probe.as_ref().cmp(name))
            .unwrap_or_default();
        Frame::new(u32::try_from(rank).unwrap_or_default(), kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{ProfileBuilder, ValueType};

    /// The stacks in words, root first, of a sampler that takes three frames.
    fn stacks(stacks: &[&[(&str, FrameKind)]]) -> Vec<String> {
        let mut builder = ProfileBuilder::new(vec![ValueType::new("samples", "count")]).unwrap();
        for frames in stacks {
            let stack: Vec<_> = frames
                .iter()
                .rev()
                .map(|(name, kind)| builder.frame(name, *kind).unwrap())
                .collect();
            builder.sample(&stack, &[1], &[]).unwrap();
        }
        let profile = builder.finish();
        let flat = FlatStacks::new(&profile, 0, Some(3)).unwrap();
        let words = |index| {
            let names = flat.stack(index).iter().map(|frame| flat.names[frame.rank()].as_ref());
            names.collect::<Vec<_>>().join(";")
        };
        (0..flat.count()).map(words).collect()
    }

    #[test]
    fn what_is_left_of_a_cut_stack_is_not_taken_for_the_root() {
        const THREAD: (&str, FrameKind) = ("[main tid=7]", FrameKind::Thread);
        let f = |name| (name, FrameKind::Jit);
        assert_eq!(
            stacks(&[
                &[f("c"), f("b"), f("a")],
                &[THREAD, f("c"), f("b"), f("a")],
                &[THREAD, f("b"), f("a")],
                &[(CUT, FrameKind::Native), f("b"), f("a")],
            ]),
            [
                "[truncated];c;b;a",
                "[main tid=7];[truncated];c;b;a",
                "[main tid=7];b;a",
                "[truncated];b;a",
            ]
        );
    }
}
