//! Writes speedscope's JSON: one sampled profile per thread if the samples name their threads, else one per sample type.
//!
//! Called by the renderer. Written as it is generated; nothing but the table of frames is built in memory.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, BufWriter, Write};

use serde::ser::{Serialize, Serializer};

use crate::profile::frame_name::{UNIT_CHARS, UNKNOWN, plain_text, short_text};
use crate::profile::model::{LabelValue, LocationId, Profile, Sample};

const SCHEMA: &str = "https://www.speedscope.app/file-format-schema.json";
/// Profiles in one file. speedscope lists them in a menu; the lightest threads share the last entry.
const MAX_THREADS: usize = 256;
/// Longest name of a thread in that menu.
const THREAD_CHARS: usize = 200;

/// Writes a profile. Threads are shown with the value at `value_index`, which is also the sample type shown first.
///
/// # Errors
/// The output fails.
pub fn write(profile: &Profile, value_index: usize, title: &str, stamp: &str, out: &mut impl Write) -> io::Result<()> {
    let frames = Frames::new(profile);
    let threads = by_thread(profile, value_index);
    let profiles = if threads.is_empty() { by_type(profile) } else { threads };
    let by_type = profiles.len() == profile.sample_types.len() && profiles.iter().all(|group| group.rows.is_none());
    let file = File {
        schema: SCHEMA,
        name: format!("{} · {stamp}", plain_text(title)),
        exporter: concat!("sideflame ", env!("CARGO_PKG_VERSION")),
        active_profile_index: if by_type { value_index } else { 0 },
        shared: Shared { frames: &frames.rows },
        profiles: profiles
            .iter()
            .map(|group| Sampled::new(profile, &frames, group))
            .collect(),
    };
    let mut out = BufWriter::new(out);
    serde_json::to_writer(&mut out, &file)?;
    out.flush()
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    name: String,
    exporter: &'static str,
    active_profile_index: usize,
    shared: Shared<'a>,
    profiles: Vec<Sampled<'a>>,
}

#[derive(serde::Serialize)]
struct Shared<'a> {
    frames: &'a [Frame<'a>],
}

#[derive(serde::Serialize)]
struct Frame<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    file: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<i64>,
}

/// All frames, and for every location which ones it is, outermost first.
struct Frames<'a> {
    rows: Vec<Frame<'a>>,
    of_location: Vec<Vec<usize>>,
}

impl<'a> Frames<'a> {
    fn new(profile: &'a Profile) -> Self {
        let functions = profile.functions().iter().map(|function| Frame {
            name: match profile.text(function.name) {
                "" => UNKNOWN.into(),
                name => plain_text(name),
            },
            file: plain_text(profile.text(function.file)),
            line: Some(function.start_line).filter(|&line| line > 0),
        });
        let mut rows: Vec<_> = functions.collect();
        let of_location = profile.locations().iter().map(|location| {
            let lines = profile.lines(location);
            if lines.is_empty() {
                rows.push(Frame {
                    name: format!("0x{:x}", location.address).into(),
                    file: Cow::Borrowed(""),
                    line: None,
                });
                return vec![rows.len() - 1];
            }
            lines.iter().rev().map(|line| line.function.index()).collect()
        });
        let of_location = of_location.collect();
        Self { rows, of_location }
    }

    fn of(&self, location: LocationId) -> &[usize] {
        self.of_location.get(location.index()).map_or(&[], Vec::as_slice)
    }
}

/// Samples that become one profile of the file.
struct Group {
    name: String,
    value_index: usize,
    total: i64,
    /// All rows if `None`.
    rows: Option<Vec<usize>>,
}

fn value(sample: &Sample<'_>, value_index: usize) -> i64 {
    sample.values.get(value_index).copied().unwrap_or_default().max(0)
}

fn by_type(profile: &Profile) -> Vec<Group> {
    let types = profile.sample_types.iter().enumerate();
    let group = |(value_index, kind): (usize, &crate::profile::model::ValueType)| Group {
        name: short_text(&kind.name, UNIT_CHARS),
        value_index,
        total: profile
            .samples()
            .fold(0, |sum, sample| value(&sample, value_index).saturating_add(sum)),
        rows: None,
    };
    types.map(group).collect()
}

/// Heaviest thread first; empty if no sample names its thread.
fn by_thread(profile: &Profile, value_index: usize) -> Vec<Group> {
    let mut groups: HashMap<_, Group> = HashMap::new();
    for (row, sample) in profile.samples().enumerate() {
        let (mut thread, mut tid) = (None, None);
        for label in sample.labels {
            match (profile.text(label.key), label.value) {
                ("thread", LabelValue::Text(name)) => thread = Some(name),
                ("tid", LabelValue::Number(number, _)) => tid = Some(number),
                _ => {}
            }
        }
        let group = groups.entry((thread, tid)).or_insert_with(|| {
            let name = short_text(thread.map_or("no thread", |name| profile.text(name)), THREAD_CHARS);
            let name = tid.map_or(name.clone(), |tid| format!("{name} (tid {tid})"));
            Group {
                name,
                value_index,
                total: 0,
                rows: Some(Vec::new()),
            }
        });
        group.total = value(&sample, value_index).saturating_add(group.total);
        group.rows.get_or_insert_default().push(row);
    }
    if groups.keys().all(|key| *key == (None, None)) {
        return Vec::new();
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.name.cmp(&b.name)));
    if groups.len() > MAX_THREADS {
        let rest = groups.split_off(MAX_THREADS - 1);
        groups.push(Group {
            name: format!("{} other threads", rest.len()),
            value_index,
            total: rest.iter().fold(0, |sum, group| group.total.saturating_add(sum)),
            rows: Some(
                rest.into_iter()
                    .flat_map(|group| group.rows.unwrap_or_default())
                    .collect(),
            ),
        });
    }
    groups
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Sampled<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    unit: &'static str,
    start_value: i64,
    end_value: i64,
    #[serde(serialize_with = "stacks")]
    samples: Rows<'a>,
    #[serde(serialize_with = "weights")]
    weights: Rows<'a>,
}

#[derive(Clone, Copy)]
struct Rows<'a> {
    profile: &'a Profile,
    frames: &'a Frames<'a>,
    group: &'a Group,
}

impl<'a> Sampled<'a> {
    fn new(profile: &'a Profile, frames: &'a Frames<'a>, group: &'a Group) -> Self {
        let rows = Rows { profile, frames, group };
        let unit = match profile
            .sample_types
            .get(group.value_index)
            .map(|kind| kind.unit.as_str())
        {
            Some("nanoseconds") => "nanoseconds",
            Some("microseconds") => "microseconds",
            Some("milliseconds") => "milliseconds",
            Some("seconds") => "seconds",
            Some("bytes") => "bytes",
            _ => "none",
        };
        let name = &group.name;
        Self {
            kind: "sampled",
            name,
            unit,
            start_value: 0,
            end_value: group.total,
            samples: rows,
            weights: rows,
        }
    }
}

impl<'a> Rows<'a> {
    fn samples(self) -> impl Iterator<Item = Sample<'a>> {
        let all = self.group.rows.is_none().then(|| self.profile.samples());
        let some = self
            .group
            .rows
            .iter()
            .flatten()
            .filter_map(move |&row| self.profile.sample(row));
        let value_index = self.group.value_index;
        all.into_iter()
            .flatten()
            .chain(some)
            .filter(move |sample| value(sample, value_index) > 0)
    }
}

struct Stack<'a>(&'a Frames<'a>, &'a [LocationId]);

impl Serialize for Stack<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.1.iter().rev().flat_map(|&location| self.0.of(location)))
    }
}

fn stacks<S: Serializer>(rows: &Rows<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(rows.samples().map(|sample| Stack(rows.frames, sample.stack)))
}

fn weights<S: Serializer>(rows: &Rows<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(rows.samples().map(|sample| value(&sample, rows.group.value_index)))
}
