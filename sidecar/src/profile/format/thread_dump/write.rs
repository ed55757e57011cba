//! Writes the threads of a profile as JSON, each with its stack: one shape for all runtimes.
//!
//! Called by the renderer, for recordings of a moment. Written as it is generated.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::profile::frame_name::{UNKNOWN, plain_text};
use crate::profile::model::{LabelValue, Profile, Sample};
use crate::profile::quality::Quality;
use crate::profile::thread_samples as key;

/// Writes all threads; `quality` says whose they are, and when.
///
/// # Errors
/// The output fails.
pub fn write(profile: &Profile, quality: &Quality, out: &mut impl Write) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    serde_json::to_writer(&mut out, &Dump { profile, quality })?;
    out.write_all(b"\n")?;
    out.flush()
}

struct Dump<'a> {
    profile: &'a Profile,
    quality: &'a Quality,
}

impl Serialize for Dump<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("deadlocks", &deadlocks(self.profile))?;
        map.serialize_entry("threads", &Threads(self.profile))?;
        map.serialize_entry("quality", self.quality)?;
        map.end()
    }
}

/// The names of the threads that wait for each other, or their numbers if they have no names.
fn deadlocks(profile: &Profile) -> Vec<Vec<String>> {
    let mut deadlocks = BTreeMap::<i64, Vec<String>>::new();
    for sample in profile.samples() {
        let thread = Thread { profile, sample };
        if let Some(LabelValue::Number(number, _)) = thread.label(key::DEADLOCK) {
            let name = thread.text(key::NAME).map(Cow::into_owned);
            let name = name.or_else(|| thread.number(key::ID).map(|id| id.to_string()));
            deadlocks.entry(number).or_default().extend(name);
        }
    }
    deadlocks.into_values().collect()
}

struct Threads<'a>(&'a Profile);

impl Serialize for Threads<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut threads = serializer.serialize_seq(None)?;
        for sample in self.0.samples() {
            let profile = self.0;
            threads.serialize_element(&Thread { profile, sample })?;
        }
        threads.end()
    }
}

struct Thread<'a> {
    profile: &'a Profile,
    sample: Sample<'a>,
}

impl<'a> Thread<'a> {
    fn labels(&self, name: &'static str) -> impl Iterator<Item = LabelValue> {
        let labels = self.sample.labels.iter();
        let named = labels.filter(move |label| self.profile.text(label.key) == name);
        named.map(|label| label.value)
    }

    fn label(&self, name: &'static str) -> Option<LabelValue> {
        self.labels(name).next()
    }

    fn text(&self, name: &'static str) -> Option<Cow<'a, str>> {
        match self.label(name)? {
            LabelValue::Text(text) => Some(plain_text(self.profile.text(text))),
            LabelValue::Number(..) => None,
        }
    }

    fn number(&self, name: &'static str) -> Option<i64> {
        match self.label(name)? {
            LabelValue::Number(number, _) => Some(number),
            LabelValue::Text(_) => None,
        }
    }
}

impl Serialize for Thread<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut text = |name, key| match self.text(key) {
            Some(text) => map.serialize_entry(name, &text),
            None => Ok(()),
        };
        text("name", key::NAME)?;
        text("state", key::STATE)?;
        text("waitsFor", key::WAITS_FOR)?;
        for (name, key) in [("id", key::ID), ("tid", key::TID), ("waitedMinutes", key::MINUTES)] {
            if let Some(number) = self.number(key) {
                map.serialize_entry(name, &number)?;
            }
        }
        let held = self.labels(key::HOLDS).filter_map(|label| match label {
            LabelValue::Text(text) => Some(plain_text(self.profile.text(text))),
            LabelValue::Number(..) => None,
        });
        let held: Vec<_> = held.collect();
        if !held.is_empty() {
            map.serialize_entry("holds", &held)?;
        }
        // Equal threads without anything that tells them apart are one sample.
        if let Some(count) = self.sample.values.first().filter(|count| **count != 1) {
            map.serialize_entry("count", count)?;
        }
        map.serialize_entry("frames", &Frames(self))?;
        map.end()
    }
}

/// Leaf first, as every dump of threads is written.
struct Frames<'a>(&'a Thread<'a>);

impl Serialize for Frames<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Thread { profile, sample } = self.0;
        let mut frames = serializer.serialize_seq(None)?;
        let locations = sample.stack.iter().filter_map(|id| profile.locations().get(id.index()));
        for line in locations.flat_map(|location| profile.lines(location)) {
            if let Some(function) = profile.functions().get(line.function.index()) {
                let name = match profile.text(function.name) {
                    "" => UNKNOWN.into(),
                    name => plain_text(name),
                };
                frames.serialize_element(&Frame {
                    function: name,
                    file: plain_text(profile.text(function.file)),
                    line: line.line,
                })?;
            }
        }
        frames.end()
    }
}

#[derive(serde::Serialize)]
struct Frame<'a> {
    function: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    file: Cow<'a, str>,
    #[serde(skip_serializing_if = "is_zero")]
    line: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(line: &i64) -> bool {
    *line == 0
}
