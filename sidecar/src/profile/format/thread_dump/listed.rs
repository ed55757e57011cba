//! A thread of a profile as it is listed: its labels and frames, without what a terminal or a browser would obey.
//!
//! Called by the writers beside it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::profile::frame_name::{UNKNOWN, plain_text};
use crate::profile::model::{LabelValue, Profile, Sample};
use crate::profile::thread_samples as key;

/// A sample of [`crate::profile::thread_samples`].
pub(super) struct Thread<'a> {
    pub(super) profile: &'a Profile,
    pub(super) sample: Sample<'a>,
}

impl<'a> Thread<'a> {
    /// All threads.
    pub(super) fn all(profile: &'a Profile) -> impl Iterator<Item = Self> {
        profile.samples().map(move |sample| Thread { profile, sample })
    }

    fn labels(&self, name: &'static str) -> impl Iterator<Item = LabelValue> {
        let labels = self.sample.labels.iter();
        let named = labels.filter(move |label| self.profile.text(label.key) == name);
        named.map(|label| label.value)
    }

    /// The first text of that name.
    pub(super) fn text(&self, name: &'static str) -> Option<Cow<'a, str>> {
        self.texts(name).next()
    }

    /// All of that name.
    pub(super) fn texts(&self, name: &'static str) -> impl Iterator<Item = Cow<'a, str>> {
        let profile = self.profile;
        self.labels(name).filter_map(move |label| match label {
            LabelValue::Text(text) => Some(plain_text(profile.text(text))),
            LabelValue::Number(..) => None,
        })
    }

    /// The number of that name.
    pub(super) fn number(&self, name: &'static str) -> Option<i64> {
        match self.labels(name).next()? {
            LabelValue::Number(number, _) => Some(number),
            LabelValue::Text(_) => None,
        }
    }

    /// Leaf first, as every dump of threads is written.
    pub(super) fn frames(&self) -> impl Iterator<Item = Frame<'a>> {
        let Thread { profile, sample } = self;
        let profile: &'a Profile = profile;
        let locations = sample.stack.iter().filter_map(|id| profile.locations().get(id.index()));
        let lines = locations.flat_map(|location| profile.lines(location));
        lines.filter_map(|line| {
            let function = profile.functions().get(line.function.index())?;
            let name = match profile.text(function.name) {
                "" => UNKNOWN.into(),
                name => plain_text(name),
            };
            Some(Frame {
                function: name,
                file: plain_text(profile.text(function.file)),
                line: line.line,
            })
        })
    }
}

/// The names of the threads that wait for each other, or their numbers if they have no names.
pub(super) fn deadlocks(profile: &Profile) -> Vec<Vec<String>> {
    let mut deadlocks = BTreeMap::<i64, Vec<String>>::new();
    for thread in Thread::all(profile) {
        if let Some(number) = thread.number(key::DEADLOCK) {
            let name = thread.text(key::NAME).map(Cow::into_owned);
            let name = name.or_else(|| thread.number(key::ID).map(|id| id.to_string()));
            deadlocks.entry(number).or_default().extend(name);
        }
    }
    deadlocks.into_values().collect()
}

/// A call.
#[derive(serde::Serialize)]
pub(super) struct Frame<'a> {
    pub(super) function: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) file: Cow<'a, str>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) line: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(line: &i64) -> bool {
    *line == 0
}
