//! Leaves of a profile a range of time and some threads, and puts what stacks are split by below them.
//!
//! Called by [`super::select`], before it looks at functions.

use hashbrown::HashMap;

use super::select::{SelectError, merge, new_frame, outermost, retain};
use super::{By, View};
use crate::profile::builder::{ModelError, append};
use crate::profile::frame_name::plain;
use crate::profile::model::{FrameKind, Label, LabelValue, LocationId, Profile, SampleRow, Span};
use crate::profile::slicing::PART;
use crate::profile::strings::StringId;
use crate::profile::thread_samples::{NAME, TID};

/// Rows of values that a label may have in a picture.
const MOST_ROOTS: usize = 100_000;

/// Does so. `by_thread` says that the recording itself has its threads at the root.
pub(super) fn split(profile: &mut Profile, view: &View, by_thread: bool) -> Result<(), SelectError> {
    if view.is_of_time()
        && let Some(part) = profile.strings.find(PART)
    {
        retain(profile, |profile, row| {
            row.labels.of(&profile.labels).iter().all(|label| label.key != part)
        });
    }
    if view.is_of_time() {
        let nanos = |milliseconds: u32| i64::from(milliseconds) * 1_000_000;
        let from = view.from.map_or(0, nanos);
        let to = view.to.map_or(i64::MAX, nanos).min(profile.duration_nanos);
        profile.duration_nanos = to.saturating_sub(from).max(0);
        profile.time_nanos = profile.time_nanos.saturating_add(from);
    }
    let keys = Keys::of(profile);
    if let Some(pattern) = &view.thread {
        let regex = pattern.regex()?;
        retain(profile, |profile, row| {
            let (name, number) = keys.thread(profile, row);
            name.is_some_and(|name| regex.is_match(&plain(name)))
                || number.is_some_and(|number| number.to_string() == pattern.as_str())
        });
    }
    let roots = match &view.by {
        None if by_thread || view.thread.is_none() => return Ok(()),
        by => by.as_ref(),
    };
    let mut made = HashMap::default();
    for row in 0..profile.rows.len() {
        let Some(&sample) = profile.rows.get(row) else { break };
        let root = roots.map(|by| keys.root(profile, sample, by));
        let root = root.map(|text| frame(profile, &mut made, text)).transpose()?;
        put(profile, row, root)?;
    }
    merge(profile)
}

/// True if any sample says which thread it is of.
pub fn tells_threads(profile: &Profile) -> bool {
    let keys = Keys::of(profile);
    profile
        .rows
        .iter()
        .any(|row| keys.thread(profile, *row) != (None, None))
}

/// True if any sample has a label of that key.
pub fn tells_label(profile: &Profile, key: &str) -> bool {
    let Some(key) = profile.strings.find(key) else {
        return false;
    };
    let labels = |row: &SampleRow| row.labels.of(&profile.labels);
    profile.rows.iter().flat_map(labels).any(|label| label.key == key)
}

/// The labels of threads, as far as any sample has them.
#[derive(Debug, Clone, Copy)]
struct Keys {
    name: Option<StringId>,
    number: Option<StringId>,
}

impl Keys {
    fn of(profile: &Profile) -> Self {
        Self {
            name: profile.strings.find(NAME),
            number: profile.strings.find(TID),
        }
    }

    /// Name and number of a sample's thread: by its labels, else by its root as `[name tid=7]`.
    fn thread(self, profile: &Profile, row: SampleRow) -> (Option<&str>, Option<i64>) {
        let labels = row.labels.of(&profile.labels);
        let find = |key: Option<StringId>| {
            labels
                .iter()
                .find(|label| Some(label.key) == key)
                .map(|label| label.value)
        };
        let name = match find(self.name) {
            Some(LabelValue::Text(text)) => Some(profile.text(text)),
            _ => None,
        };
        let number = match find(self.number) {
            Some(LabelValue::Number(number, _)) => Some(number),
            _ => None,
        };
        if name.is_some() || number.is_some() {
            return (name, number);
        }
        let Some(root) = root_of(profile, row) else {
            return (None, None);
        };
        let inside = root.trim_start_matches('[').trim_end_matches(']');
        match inside.rsplit_once("tid=") {
            Some((name, number)) => (Some(name.trim_end()), number.parse().ok()),
            None => (Some(inside), None),
        }
    }

    /// What a sample stands on.
    fn root(self, profile: &Profile, row: SampleRow, by: &By) -> String {
        let thread = |with_number: bool| match self.thread(profile, row) {
            (Some(name), Some(number)) if with_number => format!("[{name} tid={number}]"),
            (Some(name), _) => format!("[{name}]"),
            (None, Some(number)) => format!("[tid={number}]"),
            (None, None) => "[no thread]".to_owned(),
        };
        match by {
            By::Thread => thread(true),
            By::ThreadName => thread(false),
            By::Label(key) => {
                let is_it = |label: &&Label| profile.text(label.key) == key;
                match row
                    .labels
                    .of(&profile.labels)
                    .iter()
                    .find(is_it)
                    .map(|label| label.value)
                {
                    Some(LabelValue::Text(text)) => format!("[{key}: {}]", profile.text(text)),
                    Some(LabelValue::Number(number, unit)) => format!("[{key}: {number}{}]", profile.text(unit)),
                    None => format!("[no {key}]"),
                }
            }
        }
    }
}

/// The thread at the root of a stack.
fn root_of(profile: &Profile, row: SampleRow) -> Option<&str> {
    let id = row.stack.of(&profile.stacks).last()?;
    let function = outermost(profile, *id)?;
    (function.kind == FrameKind::Thread).then(|| profile.text(function.name))
}

/// Puts a root below a stack, in place of the thread that may be there.
fn put(profile: &mut Profile, row: usize, root: Option<LocationId>) -> Result<(), ModelError> {
    let Some(&sample) = profile.rows.get(row) else {
        return Ok(());
    };
    let mut stack = sample.stack.of(&profile.stacks).to_vec();
    if root_of(profile, sample).is_some() {
        stack.pop();
    }
    stack.extend(root);
    let span = append(&mut profile.stacks, &stack, "frames")?;
    if let Some(row) = profile.rows.get_mut(row) {
        row.stack = span;
        if root.is_none() {
            // The thread was told apart for the choice only.
            row.labels = Span::default();
        }
    }
    Ok(())
}

/// The frame of a root, made once.
fn frame(
    profile: &mut Profile,
    made: &mut HashMap<String, LocationId, ahash::RandomState>,
    text: String,
) -> Result<LocationId, ModelError> {
    if let Some(known) = made.get(&text) {
        return Ok(*known);
    }
    if made.len() >= MOST_ROOTS {
        return Err(ModelError::TooLarge {
            what: "values to split by",
            limit: MOST_ROOTS,
        });
    }
    let id = new_frame(profile, &text, FrameKind::Thread)?;
    made.insert(text, id);
    Ok(id)
}
