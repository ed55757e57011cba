//! Writes the table of functions: text for terminals and agents, JSON for programs.
//!
//! Called by the renderer.

use std::io::{self, BufWriter, Write};

use serde::Serialize;

use crate::profile::amount::{Scale, precise, share};
use crate::profile::flat_stacks::FlatStacks;
use crate::profile::frame_name::plain_text;
use crate::profile::model::ValueType;
use crate::profile::quality::Quality;
use crate::profile::top::{self, Row};

/// Rows of the text: what somebody reads. The rest is in JSON.
const TEXT_ROWS: usize = 60;
/// Rows of the JSON: below them a function has less than 0.1 %.
const JSON_ROWS: usize = 1000;

/// Writes a table below the stamp.
///
/// # Errors
/// The output fails.
pub fn text(
    stacks: &FlatStacks<'_>,
    value: &ValueType,
    quality: &Quality,
    stamp: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    let (rows, scale) = (top::rows(stacks), Scale::of(value, stacks.total));
    let percent = |part: u64| share(precise(part), precise(stacks.total)) * 100.0;
    let mut out = BufWriter::new(out);
    writeln!(out, "{stamp}")?;
    for sentence in &quality.degraded {
        writeln!(out, "DEGRADED: {}", plain_text(sentence))?;
    }
    writeln!(
        out,
        "\n{:>12} {:>6} {:>12} {:>6}  function",
        "self", "share", "total", "share"
    )?;
    for Row { name, own, total } in rows.iter().take(TEXT_ROWS) {
        writeln!(
            out,
            "{:>12} {:>5.1}% {:>12} {:>5.1}%  {}",
            scale.show(*own),
            percent(*own),
            scale.show(*total),
            percent(*total),
            stacks.names.get(*name).map_or("", |name| name)
        )?;
    }
    let of = match scale.of.as_str() {
        "" => String::new(),
        of => format!(" {of}"),
    };
    writeln!(
        out,
        "{:>12} {:>5.1}% {:>12} {:>5.1}%  all{of}: {} functions, {} shown",
        scale.show(stacks.total),
        percent(stacks.total),
        scale.show(stacks.total),
        percent(stacks.total),
        rows.len(),
        rows.len().min(TEXT_ROWS),
    )?;
    out.flush()
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Table<'a> {
    sample_type: &'a str,
    unit: &'a str,
    total: u64,
    functions: Vec<Function<'a>>,
    /// Functions that are not listed.
    omitted: usize,
    quality: &'a Quality,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Function<'a> {
    name: &'a str,
    #[serde(rename = "self")]
    own: u64,
    self_share: f64,
    total: u64,
    total_share: f64,
}

/// Writes JSON.
///
/// # Errors
/// The output fails.
pub fn json(stacks: &FlatStacks<'_>, value: &ValueType, quality: &Quality, out: &mut impl Write) -> io::Result<()> {
    let rows = top::rows(stacks);
    let of_all = |part: u64| share(precise(part), precise(stacks.total));
    let function = |row: &Row| Function {
        name: stacks.names.get(row.name).map_or("", |name| name),
        own: row.own,
        self_share: of_all(row.own),
        total: row.total,
        total_share: of_all(row.total),
    };
    let table = Table {
        sample_type: &value.name,
        unit: &value.unit,
        total: stacks.total,
        functions: rows.iter().take(JSON_ROWS).map(function).collect(),
        omitted: rows.len().saturating_sub(JSON_ROWS),
        quality,
    };
    let mut out = BufWriter::new(out);
    serde_json::to_writer(&mut out, &table)?;
    out.write_all(b"\n")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{FrameKind, Profile, ProfileBuilder};

    fn profile(stacks: &[(&[&str], i64)], value: &ValueType) -> Profile {
        let mut builder = ProfileBuilder::new(vec![value.clone()]).unwrap();
        for (frames, count) in stacks {
            let stack: Vec<_> = frames
                .iter()
                .rev()
                .map(|name| builder.frame(name, FrameKind::Other).unwrap())
                .collect();
            builder.sample(&stack, &[*count], &[]).unwrap();
        }
        builder.finish()
    }

    #[test]
    fn the_text_is_a_table_with_units_and_a_total() {
        let value = ValueType::new("cpu", "nanoseconds");
        let profile = profile(
            &[
                (&["main", "hash"], 6_000_000_000),
                (&["main", "co\u{1b}py"], 4_000_000_000),
            ],
            &value,
        );
        let (stacks, mut out) = (FlatStacks::new(&profile, 0, None).unwrap(), Vec::new());
        let quality = Quality {
            degraded: vec!["some was lost".to_owned()],
            ..Quality::default()
        };
        text(&stacks, &value, &quality, "stamp", &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "stamp\n\
             DEGRADED: some was lost\n\
             \n\
             \x20       self  share        total  share  function\n\
             \x20     6.00 s  60.0%       6.00 s  60.0%  hash\n\
             \x20     4.00 s  40.0%       4.00 s  40.0%  co\u{fffd}py\n\
             \x20     0.00 s   0.0%      10.00 s 100.0%  main\n\
             \x20    10.00 s 100.0%      10.00 s 100.0%  all: 3 functions, 3 shown\n"
        );
    }

    #[test]
    fn long_tables_are_cut_and_say_so() {
        let names: Vec<_> = (0..1500).map(|number| format!("f{number}")).collect();
        let frames: Vec<_> = names.iter().map(|name| [name.as_str()]).collect();
        let stacks: Vec<_> = frames.iter().map(|frames| (&frames[..], 1)).collect();
        let value = ValueType::new("samples", "count");
        let profile = profile(&stacks, &value);
        let stacks = FlatStacks::new(&profile, 0, None).unwrap();
        let (mut lines, mut rows) = (Vec::new(), Vec::new());
        text(&stacks, &value, &Quality::default(), "", &mut lines).unwrap();
        let lines = String::from_utf8(lines).unwrap();
        assert!(lines.ends_with("all samples: 1500 functions, 60 shown\n") && lines.lines().count() == 64);
        assert!(lines.lines().all(|line| line.len() <= 100), "{lines}");
        json(&stacks, &value, &Quality::default(), &mut rows).unwrap();
        let told: serde_json::Value = serde_json::from_slice(&rows).unwrap();
        assert_eq!(
            (told["functions"].as_array().unwrap().len(), &told["omitted"]),
            (1000, &500.into())
        );
    }

    #[test]
    fn json_has_the_numbers_as_they_are_and_their_shares() {
        let value = ValueType::new("samples", "count");
        let profile = profile(&[(&["main", "f", "f"], 3), (&["main"], 1)], &value);
        let mut out = Vec::new();
        let stacks = FlatStacks::new(&profile, 0, None).unwrap();
        json(&stacks, &value, &Quality::default(), &mut out).unwrap();
        let told: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            told["functions"],
            serde_json::json!([
                {"name": "f", "self": 3, "selfShare": 0.75, "total": 3, "totalShare": 0.75},
                {"name": "main", "self": 1, "selfShare": 0.25, "total": 4, "totalShare": 1.0},
            ])
        );
        assert_eq!(
            (&told["total"], &told["unit"], &told["sampleType"]),
            (&4.into(), &"count".into(), &"samples".into())
        );
    }

    #[test]
    fn nothing_is_a_table_without_rows() {
        let (profile, value) = (Profile::default(), ValueType::new("samples", "count"));
        let stacks = FlatStacks::new(&profile, 0, None).unwrap();
        let mut out = Vec::new();
        text(&stacks, &value, &Quality::default(), "", &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().contains("all samples: 0 functions"));
    }
}
