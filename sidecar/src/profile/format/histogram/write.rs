//! Writes what is in a heap by type, the type with the most bytes first: a table for people, and JSON in one shape for all runtimes.
//!
//! Knows a profile whose leaves are types, or functions that allocated, and whose values are a number of objects and one of bytes, those that
//! live last. Called by the renderer.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

use hashbrown::HashMap;
use serde::Serialize;

use crate::profile::frame_name::{UNKNOWN, plain_text};
use crate::profile::model::{LabelValue, Profile, Sample};
use crate::profile::quality::Quality;

/// A number of objects, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
struct Held {
    objects: u64,
    bytes: u64,
}

impl Held {
    fn add(&mut self, other: Self) {
        self.objects = self.objects.saturating_add(other.objects);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    r#type: Cow<'a, str>,
    #[serde(flatten)]
    held: Held,
}

#[derive(Debug, Serialize)]
struct Histogram<'a> {
    total: Held,
    types: Vec<Row<'a>>,
    quality: &'a Quality,
}

/// What the leaves of the stacks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Types.
    Types,
    /// Functions that allocated. A row is one of them with the size of its objects, which is the nearest to their type that is known.
    Sites,
}

impl Rows {
    fn name(self) -> &'static str {
        match self {
            Self::Types => "type",
            Self::Sites => "allocated by, size of each",
        }
    }

    /// Bytes of one object, where rows are told apart by them: Go has them as a label.
    fn size(self, profile: &Profile, sample: &Sample<'_>, held: Held) -> Option<u64> {
        const SIZE: &str = "bytes";
        if self == Self::Types {
            return None;
        }
        let told = sample.labels.iter().find_map(|label| match label.value {
            LabelValue::Number(size, _) if profile.text(label.key) == SIZE => u64::try_from(size).ok(),
            _ => None,
        });
        told.or_else(|| held.bytes.checked_div(held.objects))
    }
}

impl<'a> Histogram<'a> {
    fn of(profile: &'a Profile, rows: Rows, quality: &'a Quality) -> Self {
        let column = |unit: &str| profile.sample_types.iter().rposition(|kind| kind.unit == unit);
        let (objects, bytes) = (column("count"), column("bytes"));
        let mut held: HashMap<(&str, Option<u64>), Held, ahash::RandomState> = HashMap::default();
        let mut total = Held::default();
        for sample in profile.samples() {
            let value = |column: Option<usize>| {
                let value = column.and_then(|column| sample.values.get(column));
                value.map_or(0, |value| u64::try_from(*value).unwrap_or(0))
            };
            let one = Held {
                objects: value(objects),
                bytes: value(bytes),
            };
            if one == Held::default() {
                // What it allocated is gone.
                continue;
            }
            let key = (leaf(profile, &sample), rows.size(profile, &sample, one));
            held.entry(key).or_default().add(one);
            total.add(one);
        }
        let row = |((name, size), held): ((&'a str, Option<u64>), Held)| Row {
            r#type: match size {
                Some(size) => format!("{}, {size} B", plain_text(name)).into(),
                None => plain_text(name),
            },
            held,
        };
        let mut types: Vec<Row<'_>> = held.into_iter().map(row).collect();
        types.sort_unstable_by(|one, other| {
            let by_size = (other.held.bytes, other.held.objects).cmp(&(one.held.bytes, one.held.objects));
            by_size.then_with(|| one.r#type.cmp(&other.r#type))
        });
        Self { total, types, quality }
    }
}

/// The name of the innermost frame of a stack.
fn leaf<'a>(profile: &'a Profile, sample: &Sample<'_>) -> &'a str {
    let location = sample.stack.first().and_then(|id| profile.locations().get(id.index()));
    let line = location.and_then(|location| profile.lines(location).first());
    let function = line.and_then(|line| profile.functions().get(line.function.index()));
    match function.map(|function| profile.text(function.name)) {
        None | Some("") => UNKNOWN,
        Some(name) => name,
    }
}

/// Writes JSON; `quality` says whose heap it is, and when.
///
/// # Errors
/// The output fails.
pub fn json(profile: &Profile, rows: Rows, quality: &Quality, out: &mut impl Write) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    serde_json::to_writer(&mut out, &Histogram::of(profile, rows, quality))?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Writes a table below the stamp, which is cut nowhere.
///
/// # Errors
/// The output fails.
pub fn text(profile: &Profile, rows: Rows, quality: &Quality, stamp: &str, out: &mut impl Write) -> io::Result<()> {
    let histogram = Histogram::of(profile, rows, quality);
    let total = histogram.total;
    let share = |bytes: u64| {
        #[expect(clippy::cast_precision_loss, reason = "it has one digit behind the point")]
        let share = bytes as f64 * 100.0 / total.bytes.max(1) as f64;
        share
    };
    let mut out = BufWriter::new(out);
    writeln!(out, "{stamp}")?;
    for sentence in &quality.degraded {
        writeln!(out, "DEGRADED: {}", plain_text(sentence))?;
    }
    writeln!(
        out,
        "\n{:>6} {:>12} {:>15} {:>6}  {}",
        "rank",
        "objects",
        "bytes",
        "share",
        rows.name()
    )?;
    for (rank, Row { r#type, held }) in (1..).zip(&histogram.types) {
        let Held { objects, bytes } = held;
        writeln!(
            out,
            "{rank:>6} {objects:>12} {bytes:>15} {:>5.1}%  {type}",
            share(*bytes)
        )?;
    }
    writeln!(
        out,
        "{:>6} {:>12} {:>15} {:>5.1}%  {} types",
        "total",
        total.objects,
        total.bytes,
        share(total.bytes),
        histogram.types.len()
    )?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::model::Label;
    use crate::profile::{FrameKind, ProfileBuilder, ValueType};

    fn heap() -> Profile {
        let types = vec![
            ValueType::new("inuse_objects", "count"),
            ValueType::new("inuse_space", "bytes"),
        ];
        let mut builder = ProfileBuilder::new(types).unwrap();
        for (name, objects, bytes) in [
            ("Shop.Small", 3, 24),
            ("Shop.\u{1b}[2JOrder", 2, 900),
            ("", 1, 76),
            ("Shop.Equal", 1, 24),
        ] {
            let frame = builder.frame(name, FrameKind::Other).unwrap();
            builder.sample(&[frame], &[objects, bytes], &[]).unwrap();
        }
        builder.finish()
    }

    #[test]
    fn the_table_is_ranked_by_bytes_and_gives_a_terminal_no_orders() {
        let mut out = Vec::new();
        let quality = Quality {
            degraded: vec!["some was lost".to_owned()],
            ..Quality::default()
        };
        text(&heap(), Rows::Types, &quality, "EventPipe heap walk", &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "EventPipe heap walk\n\
             DEGRADED: some was lost\n\
             \n\
             \x20 rank      objects           bytes  share  type\n\
             \x20    1            2             900  87.9%  Shop.\u{fffd}[2JOrder\n\
             \x20    2            1              76   7.4%  [unknown]\n\
             \x20    3            3              24   2.3%  Shop.Small\n\
             \x20    4            1              24   2.3%  Shop.Equal\n\
             \x20total            7            1024 100.0%  4 types\n"
        );
    }

    #[test]
    fn json_has_the_same_rows_and_their_sum() {
        let mut out = Vec::new();
        json(&heap(), Rows::Types, &Quality::default(), &mut out).unwrap();
        let told: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(told["total"], serde_json::json!({"objects": 7, "bytes": 1024}));
        let first = serde_json::json!({"type": "Shop.\u{fffd}[2JOrder", "objects": 2, "bytes": 900});
        assert_eq!(told["types"][0], first);
        assert_eq!(told["types"].as_array().unwrap().len(), 4);
        assert!(told["quality"].is_object());
    }

    #[test]
    fn a_site_has_a_row_for_each_size_of_its_objects_that_live() {
        let column = |name, unit| ValueType::new(name, unit);
        let types = vec![
            column("alloc_objects", "count"),
            column("alloc_space", "bytes"),
            column("inuse_objects", "count"),
            column("inuse_space", "bytes"),
        ];
        let mut builder = ProfileBuilder::new(types).unwrap();
        let site = builder.frame("main.forget", FrameKind::Other).unwrap();
        let size = builder.string("bytes").unwrap();
        let callers = ["main.a", "main.b"].map(|name| builder.frame(name, FrameKind::Other).unwrap());
        // As estimates are, they are no multiples of the size.
        for (caller, bytes, values) in [
            (0, 64, [9, 900, 2, 130]),
            (1, 64, [9, 900, 3, 190]),
            (1, 4096, [9, 900, 1, 4096]),
            (0, 8, [9, 900, 0, 0]),
        ] {
            let label = Label {
                key: size,
                value: LabelValue::Number(bytes, size),
            };
            builder.sample(&[site, callers[caller]], &values, &[label]).unwrap();
        }
        let mut out = Vec::new();
        json(&builder.finish(), Rows::Sites, &Quality::default(), &mut out).unwrap();
        let told: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let rows = serde_json::json!([
            {"type": "main.forget, 4096 B", "objects": 1, "bytes": 4096},
            {"type": "main.forget, 64 B", "objects": 5, "bytes": 320},
        ]);
        assert_eq!(
            (&told["types"], &told["total"]),
            (&rows, &serde_json::json!({"objects": 6, "bytes": 4416}))
        );
    }

    #[test]
    fn nothing_is_a_table_without_rows() {
        let mut out = Vec::new();
        text(&Profile::default(), Rows::Types, &Quality::default(), "", &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().contains("0.0%  0 types"));
    }
}
