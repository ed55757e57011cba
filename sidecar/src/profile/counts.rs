//! What can be counted in a profile for its quality stamp: samples, and what they lack.
//!
//! Called by the renderer. What a frame's name says is for [`super::frame_name`] to know.

use super::frame_name::{is_cut, is_failed_walk, is_thread, is_unresolved};
use super::model::{FrameKind, Location, Profile};

/// The counts of one value of a profile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counts {
    /// Samples, where the profile counts them.
    pub samples: Option<u64>,
    /// Share of the value whose leaf has no name or whose stack could not be walked; `None` if there is no value.
    pub unresolved: Option<f64>,
    /// Share of the value whose stack was cut; `None` if there is no value or no way to tell.
    pub truncated: Option<f64>,
}

/// What the functions of one location add to the judgement of a stack.
#[derive(Debug, Clone, Copy)]
struct Place {
    frames: u32,
    unresolved: bool,
    failed_walk: bool,
    cut: bool,
}

impl Place {
    fn new(profile: &Profile, location: &Location) -> Self {
        let lines = profile.lines(location);
        let functions = || {
            lines
                .iter()
                .filter_map(|line| profile.functions().get(line.function.index()))
        };
        let mut names = functions().map(|function| profile.text(function.name));
        let any = |test: fn(&str) -> bool| functions().any(|function| test(profile.text(function.name)));
        let thread = functions().any(|function| function.kind == FrameKind::Thread) || any(is_thread);
        Self {
            frames: if thread {
                0
            } else {
                u32::try_from(lines.len().max(1)).unwrap_or(u32::MAX)
            },
            // Without a function there is only an address.
            unresolved: names.next().is_none_or(is_unresolved),
            failed_walk: any(is_failed_walk),
            cut: any(is_cut),
        }
    }
}

impl Counts {
    /// Counts the value at `value_index` of a profile whose sampler takes at most `max_frames` of a stack.
    pub fn of(profile: &Profile, value_index: usize, max_frames: Option<u32>) -> Self {
        let places: Vec<_> = profile
            .locations()
            .iter()
            .map(|location| Place::new(profile, location))
            .collect();
        let counted = profile
            .sample_types
            .iter()
            .position(|kind| kind.name == "samples" && kind.unit == "count");
        // Most stacks of most profiles need no look at more than their leaf.
        let marks = places.iter().any(|place| place.failed_walk || place.cut);
        let widest = places.iter().map(|place| place.frames as usize).max().unwrap_or(0);
        let may_be_cut = |depth: usize| max_frames.is_some_and(|limit| depth.saturating_mul(widest) >= limit as usize);
        let mut samples = 0_u64;
        let (mut total, mut unresolved, mut truncated) = (0_u128, 0_u128, 0_u128);
        let mut marked = false;
        for sample in profile.samples() {
            let value = |index: usize| {
                sample
                    .values
                    .get(index)
                    .and_then(|&value| u64::try_from(value).ok())
                    .unwrap_or(0)
            };
            samples = samples.saturating_add(counted.map_or(0, value));
            let weight = u128::from(value(value_index));
            total += weight;
            let stack = || sample.stack.iter().filter_map(|id| places.get(id.index()));
            let (mut frames, mut failed, mut cut) = (0_u32, false, false);
            let judged = if marks || may_be_cut(sample.stack.len()) {
                sample.stack.len()
            } else {
                0
            };
            for place in stack().take(judged) {
                frames = frames.saturating_add(place.frames);
                failed |= place.failed_walk;
                cut |= place.cut;
            }
            if failed || stack().next().is_none_or(|leaf| leaf.unresolved) {
                unresolved += weight;
            }
            marked |= cut;
            if cut || max_frames.is_some_and(|limit| frames >= limit) {
                truncated += weight;
            }
        }
        Self {
            samples: counted.map(|_| samples),
            unresolved: share(unresolved, total),
            truncated: share(truncated, total).filter(|_| marked || max_frames.is_some()),
        }
    }
}

/// To six places: what is written as text is then read back as the same number.
pub(super) fn share(part: u128, total: u128) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than f64 has")]
    (total > 0).then(|| (part as f64 / total as f64 * 1e6).round() / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{ProfileBuilder, ValueType};

    /// `root;leaf 3` per line.
    fn counts(text: &str, max_frames: Option<u32>) -> Counts {
        let mut builder = ProfileBuilder::new(vec![ValueType::new("samples", "count")]).unwrap();
        for line in text.lines() {
            let (frames, count) = line.rsplit_once(' ').unwrap();
            let stack: Vec<_> = frames
                .rsplit(';')
                .map(|name| builder.frame(name, FrameKind::Other).unwrap())
                .collect();
            builder.sample(&stack, &[count.parse().unwrap()], &[]).unwrap();
        }
        Counts::of(&builder.finish(), 0, max_frames)
    }

    #[test]
    fn a_failed_walk_is_unresolved_wherever_its_mark_stands() {
        let unresolved = |text| counts(text, None).unresolved;
        assert_eq!(unresolved("[break_interpreted];work;hash 3\nmain;hash 1"), Some(0.75));
        assert_eq!(
            unresolved("[main tid=7];[not_walkable_Java];write 3\nmain;hash 1"),
            Some(0.75)
        );
        assert_eq!(unresolved("main;[GC_active] 3\nmain;hash 1"), Some(0.75));
    }

    #[test]
    fn a_frame_without_a_name_is_unresolved_as_a_leaf_only() {
        let unresolved = |text| counts(text, None).unresolved;
        assert_eq!(unresolved("[unknown];[libc.so.6];main 1"), Some(0.0));
        assert_eq!(unresolved("main;[unknown] 1\nmain 3"), Some(0.25));
    }

    #[test]
    fn stacks_that_reach_the_limit_are_cut() {
        let text = "a;b;c 1\na;b 2\na 5";
        assert_eq!(counts(text, Some(3)).truncated, Some(0.125));
        assert_eq!(counts(text, Some(4)).truncated, Some(0.0));
        assert_eq!(counts(text, None).truncated, None, "not known");
        assert_eq!(
            counts("[x tid=7];a;b 1", Some(3)).truncated,
            Some(0.0),
            "a thread is no frame"
        );
        assert_eq!(counts("[truncated];a 1\nb 1", None).truncated, Some(0.5), "marked");
    }

    #[test]
    fn no_value_has_no_shares() {
        assert_eq!(
            counts("a;b 0", Some(2)),
            Counts {
                samples: Some(0),
                unresolved: None,
                truncated: None
            }
        );
    }
}
