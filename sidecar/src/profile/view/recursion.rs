//! Makes one frame of a function that calls itself.
//!
//! Called by [`super::select`], after it has looked at functions: those that match are found wherever they are.

use hashbrown::HashMap;

use super::select::{CutMarks, SelectError, merge};
use crate::profile::builder::{append, push};
use crate::profile::model::{Line, Location, LocationId, Profile, Span};
use crate::profile::strings::StringId;

/// Does so. A stack as deep as `cuts` says lacks its callers, which is to be marked before it becomes shorter.
pub(super) fn fold(profile: &mut Profile, cuts: &mut CutMarks) -> Result<(), SelectError> {
    // What is left of a place of several functions, by whether the one that its first function calls has the same name.
    let mut shorter: HashMap<(LocationId, bool), Option<LocationId>, ahash::RandomState> = HashMap::default();
    for row in 0..profile.rows.len() {
        let Some(&sample) = profile.rows.get(row) else { break };
        let mut stack = sample.stack.of(&profile.stacks).to_vec();
        cuts.mark(profile, &mut stack)?;
        let mut folded = Vec::with_capacity(stack.len());
        let mut called = None;
        for id in stack {
            let Some(&location) = profile.locations.get(id.index()) else {
                continue;
            };
            let (first, last) = ends(profile, &location);
            let is_same = first.is_some() && first == called;
            called = last;
            let left = match shorter.get(&(id, is_same)) {
                Some(&known) => known,
                None => {
                    let left = without(profile, id, location, is_same)?;
                    *shorter.entry((id, is_same)).or_insert(left)
                }
            };
            folded.extend(left);
        }
        let span = match folded.len() <= sample.stack.count() {
            true => Span {
                start: sample.stack.start,
                end: sample.stack.start + u32::try_from(folded.len()).unwrap_or_default(),
            },
            false => append(&mut profile.stacks, &folded, "frames")?,
        };
        if let Some(place) = profile.stacks.get_mut(span.start as usize..span.end as usize) {
            place.copy_from_slice(&folded);
        }
        if let Some(row) = profile.rows.get_mut(row) {
            row.stack = span;
        }
    }
    merge(profile)
}

fn name(profile: &Profile, line: &Line) -> Option<StringId> {
    let function = profile.functions().get(line.function.index())?;
    Some(function.name)
}

/// The names of the innermost and of the outermost function of a place.
fn ends(profile: &Profile, location: &Location) -> (Option<StringId>, Option<StringId>) {
    let lines = profile.lines(location);
    let of = |line: Option<&Line>| name(profile, line?);
    (of(lines.first()), of(lines.last()))
}

/// A place whose functions do not call themselves; nothing is left of it where the only one is that which it calls.
fn without(
    profile: &mut Profile,
    id: LocationId,
    location: Location,
    is_same: bool,
) -> Result<Option<LocationId>, SelectError> {
    let mut lines = profile.lines(&location).to_vec();
    let before = lines.len();
    lines.dedup_by_key(|line| name(profile, line));
    if is_same {
        lines.remove(0);
    }
    if lines.len() == before {
        return Ok(Some(id));
    }
    if lines.is_empty() {
        return Ok(None);
    }
    let location = Location {
        lines: append(&mut profile.lines, &lines, "lines")?,
        ..location
    };
    Ok(Some(LocationId(push(&mut profile.locations, location, "locations")?)))
}
