//! Writes the threads of a profile as JSON, each with its stack: one shape for all runtimes.
//!
//! Called by the renderer, for recordings of a moment. Written as it is generated.

use std::io::{self, BufWriter, Write};

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::listed::{Thread, deadlocks};
use crate::profile::model::Profile;
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

struct Threads<'a>(&'a Profile);

impl Serialize for Threads<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(Thread::all(self.0))
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
        if self.number(key::VIRTUAL) == Some(1) {
            map.serialize_entry("virtual", &true)?;
        }
        let held: Vec<_> = self.texts(key::HOLDS).collect();
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

struct Frames<'a>(&'a Thread<'a>);

impl Serialize for Frames<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.frames())
    }
}
