//! Leaves of a profile what a [`View`] shows, and says how much that is.
//!
//! Called by the renderer and by the diff, after the stamp has counted the whole.

use hashbrown::{HashMap, HashTable};

use super::split::split;
use super::{Pattern, PatternError, View, recursion};
use crate::profile::builder::{ModelError, append, push};
use crate::profile::frame_name::{CUT, UNKNOWN, is_cut, plain, short_text};
use crate::profile::model::{FrameKind, Function, FunctionId, Line, Location, LocationId, Profile, SampleRow, Span};
use crate::profile::quality::Shown;
use crate::profile::strings::StringId;

/// Names that are told of those that matched.
const MOST_NAMES: usize = 20;
/// Longest of them.
const NAME_CHARS: usize = 200;

/// Nothing can be shown.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// It was not checked before.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// The values are too large to be added up.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Leaves of `profile` what `view` shows. The share is of the value at `value_index`; the sampler takes at most `max_frames` of a
/// stack, and `by_thread` says that the recording itself has its threads at the root.
///
/// # Errors
/// See [`SelectError`].
pub fn select(
    profile: &mut Profile,
    view: &View,
    value_index: usize,
    (max_frames, by_thread): (Option<u32>, bool),
) -> Result<Shown, SelectError> {
    let View { focus, callers, .. } = view;
    let total = sum(profile, value_index);
    split(profile, view, by_thread)?;
    let focus = focus.as_ref().map(|focus| Matches::new(profile, focus)).transpose()?;
    let callers = callers
        .as_ref()
        .map(|callers| Matches::new(profile, callers))
        .transpose()?;
    for matches in [&focus, &callers].into_iter().flatten() {
        retain(profile, |profile, row| matches.innermost(profile, row).is_some());
    }
    let functions = focus.as_ref().or(callers.as_ref());
    let functions = functions.map_or_else(Vec::new, |matches| matches.names(profile, value_index));
    let value = sum(profile, value_index);
    if let Some(callers) = &callers {
        turn(profile, callers, max_frames)?;
    }
    if view.fold.is_some() {
        recursion::fold(profile, &mut CutMarks::new(max_frames.filter(|_| callers.is_none())))?;
    }
    let kind = profile.sample_types.get(value_index);
    Ok(Shown {
        view: view.words(),
        value,
        total,
        share: crate::profile::counts::share(value.into(), total.into()),
        sample_type: kind.map(|kind| kind.name.clone()).unwrap_or_default(),
        unit: kind.map(|kind| kind.unit.clone()).unwrap_or_default(),
        functions,
    })
}

/// The sum of what pictures show: of the positive values.
fn sum(profile: &Profile, value_index: usize) -> u64 {
    let values = profile.samples().map(|sample| weight(sample.values, value_index));
    values.fold(0, u64::saturating_add)
}

fn weight(values: &[i64], value_index: usize) -> u64 {
    let value = values.get(value_index).copied().unwrap_or_default();
    u64::try_from(value).unwrap_or(0)
}

/// Which functions and places match, by their index.
struct Matches {
    functions: Vec<bool>,
    /// The innermost matching line of a location.
    places: Vec<Option<u32>>,
    /// What is shown for a stack without frames matches.
    nothing: bool,
}

impl Matches {
    fn new(profile: &Profile, pattern: &Pattern) -> Result<Self, PatternError> {
        let regex = pattern.regex()?;
        let names = profile
            .functions()
            .iter()
            .map(|function| plain(profile.text(function.name)));
        let functions: Vec<_> = names.map(|name| regex.is_match(&name)).collect();
        let of = |location: &Location| {
            let lines = profile.lines(location);
            if lines.is_empty() {
                return regex.is_match(&format!("0x{:x}", location.address)).then_some(0);
            }
            let matching = |line: &Line| functions.get(line.function.index()).copied().unwrap_or(false);
            lines.iter().position(matching).and_then(|at| u32::try_from(at).ok())
        };
        Ok(Self {
            places: profile.locations().iter().map(of).collect(),
            nothing: regex.is_match(UNKNOWN),
            functions,
        })
    }

    /// Where in a stack the innermost matching frame is: place in the stack, and line there.
    fn innermost(&self, profile: &Profile, row: SampleRow) -> Option<(usize, u32)> {
        let stack = row.stack.of(&profile.stacks);
        if stack.is_empty() {
            return self.nothing.then_some((0, 0));
        }
        let mut places = stack
            .iter()
            .map(|id| self.places.get(id.index()).copied().unwrap_or_default());
        let at = places.position(|place| place.is_some())?;
        let line = self.places.get(stack.get(at)?.index()).copied().flatten()?;
        Some((at, line))
    }

    /// The names that match in what is left, those with the most value first.
    fn names(&self, profile: &Profile, value_index: usize) -> Vec<String> {
        // A name counts once per stack: the last stack that it was counted for, and its sum.
        let mut sums: HashMap<StringId, (usize, u64), ahash::RandomState> = HashMap::default();
        for (row, sample) in profile.samples().enumerate() {
            let value = weight(sample.values, value_index);
            let places = sample.stack.iter().filter_map(|id| profile.locations().get(id.index()));
            for line in places.flat_map(|location| profile.lines(location)) {
                if !self.functions.get(line.function.index()).copied().unwrap_or(false) {
                    continue;
                }
                let Some(function) = profile.functions().get(line.function.index()) else {
                    continue;
                };
                let (last, sum) = sums.entry(function.name).or_insert((usize::MAX, 0));
                if *last != row {
                    *sum = sum.saturating_add(value);
                    *last = row;
                }
            }
        }
        let mut sums: Vec<_> = sums.into_iter().map(|(name, (_, sum))| (sum, name)).collect();
        sums.sort_unstable_by(|one, other| {
            let by_name = || profile.text(one.1).cmp(profile.text(other.1));
            other.0.cmp(&one.0).then_with(by_name)
        });
        let names = sums.iter().take(MOST_NAMES).map(|(_, name)| profile.text(*name));
        names.map(|name| short_text(&plain(name), NAME_CHARS)).collect()
    }
}

/// Leaves the samples that `keep` likes.
pub(super) fn retain(profile: &mut Profile, keep: impl Fn(&Profile, SampleRow) -> bool) {
    let width = profile.sample_types.len();
    let mut kept = 0;
    for row in 0..profile.rows.len() {
        let Some(&sample) = profile.rows.get(row) else { break };
        if keep(profile, sample) {
            profile.values.copy_within(row * width..(row + 1) * width, kept * width);
            profile.rows[kept] = sample;
            kept += 1;
        }
    }
    profile.rows.truncate(kept);
    profile.values.truncate(kept * width);
}

/// Turns every stack around at its innermost match, and adds up those that have become equal.
fn turn(profile: &mut Profile, matches: &Matches, max_frames: Option<u32>) -> Result<(), SelectError> {
    let mut turned = Turned::default();
    let mut cuts = CutMarks::new(max_frames);
    for row in 0..profile.rows.len() {
        let Some(&sample) = profile.rows.get(row) else { break };
        let Some((at, line)) = matches.innermost(profile, sample) else {
            continue;
        };
        let stack = sample.stack.of(&profile.stacks);
        if stack.is_empty() {
            continue;
        }
        let lacks_callers = cuts.is_cut(profile, stack);
        let mut callers: Vec<LocationId> = stack.get(at..).unwrap_or_default().to_vec();
        for (place, id) in callers.iter_mut().enumerate() {
            *id = turned.location(profile, *id, if place == 0 { line } else { 0 })?;
        }
        if lacks_callers {
            cuts.put(profile, &mut callers)?;
        }
        callers.reverse();
        let span = match callers.len() <= stack_length(sample) {
            true => Span {
                start: sample.stack.start,
                end: sample.stack.start + u32::try_from(callers.len()).unwrap_or_default(),
            },
            false => append(&mut profile.stacks, &callers, "frames")?,
        };
        if let Some(place) = profile.stacks.get_mut(span.start as usize..span.end as usize) {
            place.copy_from_slice(&callers);
        }
        if let Some(row) = profile.rows.get_mut(row) {
            row.stack = span;
        }
    }
    merge(profile)
}

fn stack_length(sample: SampleRow) -> usize {
    sample.stack.count()
}

/// Frames of a stack, without its thread.
fn depth(profile: &Profile, stack: &[LocationId]) -> usize {
    let frames = |id: &LocationId| match profile.locations().get(id.index()) {
        Some(_) if is_thread(profile, *id) => 0,
        Some(location) => profile.lines(location).len().max(1),
        None => 0,
    };
    stack.iter().map(frames).sum()
}

pub(super) fn outermost(profile: &Profile, id: LocationId) -> Option<&Function> {
    let location = profile.locations().get(id.index())?;
    let line = profile.lines(location).last()?;
    profile.functions().get(line.function.index())
}

fn is_thread(profile: &Profile, id: LocationId) -> bool {
    outermost(profile, id).is_some_and(|function| function.kind == FrameKind::Thread)
}

/// The recording says itself that callers are missing.
fn ends_cut(profile: &Profile, stack: &[LocationId]) -> bool {
    let ends = stack.iter().rev().take(2);
    let mut names = ends.filter_map(|id| outermost(profile, *id));
    names.any(|function| is_cut(profile.text(function.name)))
}

/// Frames that stand for callers that are missing, in stacks as deep as their sampler takes them.
pub(super) struct CutMarks {
    limit: usize,
    mark: Option<LocationId>,
}

impl CutMarks {
    /// Of a sampler that takes so many frames, if they are not marked yet.
    pub(super) fn new(max_frames: Option<u32>) -> Self {
        Self {
            limit: max_frames.map_or(usize::MAX, |frames| frames as usize),
            mark: None,
        }
    }

    fn is_cut(&self, profile: &Profile, stack: &[LocationId]) -> bool {
        depth(profile, stack) >= self.limit && !ends_cut(profile, stack)
    }

    fn put(&mut self, profile: &mut Profile, stack: &mut Vec<LocationId>) -> Result<(), ModelError> {
        let mark = match self.mark {
            Some(mark) => mark,
            None => *self.mark.insert(new_frame(profile, CUT, FrameKind::Other)?),
        };
        // A thread goes on to be the outermost.
        let end = stack.len() - usize::from(stack.len() > 1 && is_thread(profile, stack[stack.len() - 1]));
        stack.insert(end, mark);
        Ok(())
    }

    /// Marks a stack that lacks callers.
    pub(super) fn mark(&mut self, profile: &mut Profile, stack: &mut Vec<LocationId>) -> Result<(), ModelError> {
        if self.is_cut(profile, stack) {
            self.put(profile, stack)?;
        }
        Ok(())
    }
}

/// A frame that is no more than a name.
pub(super) fn new_frame(profile: &mut Profile, name: &str, kind: FrameKind) -> Result<LocationId, ModelError> {
    let empty = StringId::default();
    let function = Function {
        name: profile.strings.intern(name)?,
        system_name: empty,
        file: empty,
        start_line: 0,
        kind,
    };
    let line = Line {
        function: FunctionId(push(&mut profile.functions, function, "functions")?),
        line: 0,
        column: 0,
    };
    let location = Location {
        mapping: None,
        address: 0,
        folded: false,
        lines: append(&mut profile.lines, &[line], "lines")?,
    };
    Ok(LocationId(push(&mut profile.locations, location, "locations")?))
}

/// Locations of several lines, the other way around, from a line on.
#[derive(Default)]
struct Turned(HashMap<(LocationId, u32), LocationId, ahash::RandomState>);

impl Turned {
    fn location(&mut self, profile: &mut Profile, id: LocationId, from: u32) -> Result<LocationId, ModelError> {
        let Some(location) = profile.locations.get(id.index()).copied() else {
            return Ok(id);
        };
        if location.lines.count() < 2 {
            return Ok(id);
        }
        if let Some(&known) = self.0.get(&(id, from)) {
            return Ok(known);
        }
        let mut lines = profile
            .lines(&location)
            .get(from as usize..)
            .unwrap_or_default()
            .to_vec();
        lines.reverse();
        let location = Location {
            lines: append(&mut profile.lines, &lines, "lines")?,
            ..location
        };
        let new = LocationId(push(&mut profile.locations, location, "locations")?);
        self.0.insert((id, from), new);
        Ok(new)
    }
}

/// Equal stacks with equal labels become one sample.
pub(super) fn merge(profile: &mut Profile) -> Result<(), SelectError> {
    let hasher = ahash::RandomState::new();
    let width = profile.sample_types.len();
    let mut seen: HashTable<usize> = HashTable::new();
    let mut kept = 0;
    for row in 0..profile.rows.len() {
        let hash = |profile: &Profile, row: usize| {
            let sample = profile.rows.get(row).copied();
            let parts = sample.map(|row| (row.stack.of(&profile.stacks), row.labels.of(&profile.labels)));
            hasher.hash_one(parts)
        };
        let same = |profile: &Profile, one: usize, other: usize| {
            let parts = |row: usize| profile.sample(row).map(|sample| (sample.stack, sample.labels));
            parts(one) == parts(other)
        };
        let own = hash(profile, row);
        if let Some(&first) = seen.find(own, |&first| same(profile, first, row)) {
            for column in 0..width {
                let value = profile.values.get(row * width + column).copied().unwrap_or_default();
                if let Some(sum) = profile.values.get_mut(first * width + column) {
                    *sum = sum.checked_add(value).ok_or(ModelError::Overflow)?;
                }
            }
            continue;
        }
        profile.rows[kept] = profile.rows[row];
        profile.values.copy_within(row * width..(row + 1) * width, kept * width);
        seen.insert_unique(own, kept, |&row| hash(profile, row));
        kept += 1;
    }
    profile.rows.truncate(kept);
    profile.values.truncate(kept * width);
    Ok(())
}

#[cfg(test)]
mod tests;
