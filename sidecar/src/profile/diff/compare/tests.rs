use std::io::Cursor;

use super::*;
use crate::profile::format::flame::read::Columns;
use crate::profile::format::pprof;
use crate::profile::{Names, View};

/// A profile of collapsed text.
pub(crate) fn collapsed(text: &str) -> Profile {
    let options = options();
    read(lines(text).as_slice(), RecordingKind::Collapsed, &options)
        .unwrap()
        .0
}

/// Whole lines: half of one would be a cut recording.
fn lines(text: &str) -> Vec<u8> {
    match text {
        "" => Vec::new(),
        text => format!("{}\n", text.trim_end()).into_bytes(),
    }
}

/// What `told` says of the functions of two profiles of samples.
pub(crate) fn changes<T>(
    before: &Profile,
    after: &Profile,
    normalise: Option<Normalise>,
    told: impl FnOnce(&Diff<'_>, &Changes) -> T,
) -> T {
    let side = |profile| (FlatStacks::new(profile, 0, None).unwrap(), Quality::default());
    let value = ValueType::new("samples", "count");
    // Two borrows of different lives are one.
    let diff = Diff::new(side(before), side(after), value, normalise).unwrap();
    told(&diff, &Changes::of(&diff))
}

fn options() -> RenderOptions {
    RenderOptions {
        format: Format::Collapsed,
        quality: None,
        sample_type: None,
        title: "shop".to_owned(),
        collapsed: None,
        names: Names::default(),
        event: None,
        view: View::default(),
    }
}

fn stamped(text: &str, quality: Quality) -> Input<Cursor<Vec<u8>>> {
    Input {
        recording: Cursor::new(lines(text)),
        kind: RecordingKind::Collapsed,
        options: RenderOptions {
            quality: Some(quality),
            ..options()
        },
    }
}

fn seconds(seconds: u64) -> Quality {
    Quality {
        duration_ms: Some(seconds * 1000),
        ..Quality::default()
    }
}

fn made(
    before: Input<Cursor<Vec<u8>>>,
    after: Input<Cursor<Vec<u8>>>,
    format: Format,
    base: Base,
) -> (Compared, Vec<u8>) {
    let options = CompareOptions {
        format,
        normalise: None,
        base,
    };
    let mut out = Vec::new();
    let compared = compare(before, after, &options, &mut out).unwrap();
    (compared, out)
}

fn text(before: Input<Cursor<Vec<u8>>>, after: Input<Cursor<Vec<u8>>>, format: Format) -> String {
    String::from_utf8(made(before, after, format, Base::After).1).unwrap()
}

const BEFORE: &str = "main;sixty 700\nmain;thirty 300\nmain;old;gone 50";
const AFTER: &str = "main;sixty 800\nmain;thirty 1200\nmain;fresh 40";

#[test]
fn the_sentence_names_who_gained_and_who_lost_per_second() {
    let (compared, out) = made(
        stamped(BEFORE, seconds(10)),
        stamped(AFTER, seconds(20)),
        Format::Top,
        Base::After,
    );
    assert_eq!(
        compared.headline,
        "thirty gained 30.00/s: 30.00/s → 60.00/s; sixty lost 30.00/s: 70.00/s → 40.00/s"
    );
    let (name, gain) = compared.gain.unwrap();
    assert!(name == "thirty" && (gain - 30.0 / 105.0).abs() < 1e-9, "{gain}");
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.starts_with("thirty gained") && text.contains("per second of each recording"),
        "{text}"
    );
    for row in ["+30.00/s", "-30.00/s", "gone", "fresh"] {
        assert!(text.contains(row), "{row}: {text}");
    }
}

#[test]
fn without_durations_shares_are_compared() {
    let (compared, _) = made(
        stamped("a 700\nb 300", Quality::default()),
        stamped("a 80\nb 120", seconds(3)),
        Format::Top,
        Base::After,
    );
    assert_eq!(
        compared.headline,
        "b gained 30.0 points: 30.0% → 60.0%; a lost 30.0 points: 70.0% → 40.0%"
    );
    let refused = compare(
        stamped("a 1", Quality::default()),
        stamped("a 1", seconds(3)),
        &CompareOptions {
            format: Format::Top,
            normalise: Some(Normalise::PerSecond),
            base: Base::After,
        },
        &mut Vec::new(),
    );
    assert!(
        matches!(refused, Err(CompareError::Diff(DiffError::Unlike(_)))),
        "{refused:?}"
    );
}

#[test]
fn equal_recordings_are_within_noise() {
    for (before, after) in [(BEFORE, BEFORE), ("a 100\nb 200", "a 104\nb 198"), ("a 1", "a 1\nb 1")] {
        let side = |text| stamped(text, seconds(10));
        let (compared, out) = made(side(before), side(after), Format::Top, Base::After);
        assert!(compared.headline.starts_with("within noise: "), "{}", compared.headline);
        assert_eq!(compared.gain, None);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("within noise"), "{text}");
    }
    let side = || stamped("", seconds(10));
    assert_eq!(
        made(side(), side(), Format::Top, Base::After).0.headline,
        "neither has samples"
    );
}

#[test]
fn json_has_what_the_table_has_and_more() {
    let json = text(
        stamped(BEFORE, seconds(10)),
        stamped(AFTER, seconds(20)),
        Format::TopJson,
    );
    let told: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&told["normalise"], &told["unit"]),
        (&"per-second".into(), &"count/second".into())
    );
    let of = |name: &str| {
        let all = told["functions"].as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap().clone()
    };
    let thirty = of("thirty");
    assert_eq!((&thirty["name"], &thirty["change"]), (&"thirty".into(), &30.0.into()));
    assert_eq!(thirty["withinNoise"], false);
    let gone = of("gone");
    assert_eq!(
        (&gone["before"], &gone["after"], &gone["selfChange"]),
        (&5.0.into(), &0.0.into(), &(-5.0).into())
    );
    assert_eq!(
        (&told["before"]["total"], &told["after"]["seconds"]),
        (&1050.into(), &20.0.into())
    );
}

#[test]
fn stacks_have_three_columns_on_the_scale_of_the_second() {
    assert_eq!(
        text(
            stamped(BEFORE, seconds(10)),
            stamped(AFTER, seconds(20)),
            Format::Collapsed
        ),
        "main;fresh 0 40\nmain;old;gone 100 0\nmain;sixty 1400 800\nmain;thirty 600 1200\n"
    );
}

#[test]
fn pprof_gets_the_base_with_its_label_and_less_than_nothing() {
    let (_, bytes) = made(
        stamped(BEFORE, seconds(10)),
        stamped(AFTER, seconds(20)),
        Format::Pprof,
        Base::After,
    );
    let profile = pprof::read::read(&bytes, Names::Raw).unwrap();
    let mut sums = [0, 0];
    for sample in profile.samples() {
        let base = sample
            .labels
            .iter()
            .any(|label| profile.text(label.key) == "pprof::base");
        sums[usize::from(base)] += sample.values[0];
    }
    assert_eq!(sums, [2040, -2100]);
    assert!(profile.comments.iter().any(|comment| comment.contains("thirty gained")));
}

#[test]
fn pictures_show_what_is_gone_and_what_is_new_in_both_directions() {
    for base in Base::ALL {
        let sides = (stamped(BEFORE, seconds(10)), stamped(AFTER, seconds(20)));
        let svg = String::from_utf8(made(sides.0, sides.1, Format::Svg, base).1).unwrap();
        for word in ["gone [gone", "fresh [new", "thirty [+", "sixty [-", "red", "blue"] {
            assert!(svg.contains(word), "{base:?} {word}: {svg}");
        }
    }
    let svg = text(stamped("", seconds(1)), stamped("", seconds(1)), Format::Svg);
    assert!(svg.contains("no samples"));
}

#[test]
fn unlike_recordings_are_refused_with_what_differs() {
    let event = |event: &str| Quality {
        event: Some(event.to_owned()),
        ..seconds(1)
    };
    let timed = Quality {
        interval: 10_000_000,
        interval_unit: "nanoseconds".to_owned(),
        clock: Some(crate::profile::quality::Clock::Cpu),
        ..seconds(1)
    };
    for (before, after, words) in [
        (
            event("cpu"),
            event("alloc"),
            "the event of the first recording is cpu, that of the second is alloc",
        ),
        (seconds(1), timed, "sample type"),
    ] {
        let options = CompareOptions {
            format: Format::Svg,
            normalise: None,
            base: Base::After,
        };
        let refused = compare(stamped("a 1", before), stamped("a 1", after), &options, &mut Vec::new());
        let error = refused.unwrap_err();
        assert!(matches!(error, CompareError::Diff(DiffError::Unlike(_))), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_part_of_both_is_compared() {
    let of = |text| {
        let mut input = stamped(text, seconds(10));
        input.options.view = View::of_focus("thirty|fresh".parse().unwrap());
        input
    };
    assert_eq!(
        text(of(BEFORE), of(AFTER), Format::Collapsed),
        "main;fresh 0 40\nmain;thirty 300 1200\n"
    );
}

#[test]
fn a_broken_recording_is_named() {
    let pprof = |recording| Input {
        recording,
        kind: RecordingKind::Pprof,
        options: options(),
    };
    let options = CompareOptions {
        format: Format::Svg,
        normalise: None,
        base: Base::After,
    };
    let good = stamped("a 1", Quality::default());
    let refused = compare(good, pprof(&b"\x1f\x8bnothing"[..]), &options, &mut Vec::new());
    assert!(matches!(refused, Err(CompareError::After(_))), "{refused:?}");
    let options = CompareOptions {
        format: Format::Jfr,
        ..options
    };
    let good = || stamped("a 1", Quality::default());
    let refused = compare(good(), good(), &options, &mut Vec::new());
    assert!(
        matches!(refused, Err(CompareError::Unsupported { format: Format::Jfr })),
        "{refused:?}"
    );
}

#[test]
fn what_is_not_scaled_keeps_all_its_digits() {
    let (before, after) = (collapsed("a 9007199254740993"), collapsed("a 1"));
    let first = changes(&before, &after, Some(Normalise::None), |diff, _| {
        diff.scaled_whole(diff.before.total)
    });
    assert_eq!(first, 9_007_199_254_740_993);
}

#[test]
fn columns_have_both_values_of_what_is_there_gone_and_new() {
    let columns = |base| {
        let sides = [stamped(BEFORE, seconds(10)), stamped(AFTER, seconds(20))];
        let [before, after] = sides;
        let columns = Columns::of(&made(before, after, Format::Flame, base).1);
        columns.assert_sound();
        columns
    };
    let by_name = |columns: &Columns, name: &str| {
        let node = (0..columns.width.len())
            .find(|node| columns.name_of(*node) == name)
            .unwrap();
        (columns.width[node], columns.both[0][node], columns.both[1][node])
    };
    let after = columns(Base::After);
    for (name, values) in [
        // What is gone is as wide as it was.
        ("all", (2140.0, 2100.0, 2040.0)),
        ("sixty", (800.0, 1400.0, 800.0)),
        ("thirty", (1200.0, 600.0, 1200.0)),
        ("old", (100.0, 100.0, 0.0)),
        ("fresh", (40.0, 0.0, 40.0)),
    ] {
        assert_eq!(by_name(&after, name), values, "{name}");
    }
    assert_eq!(
        (
            &after.head["base"],
            &after.head["normalise"],
            &after.head["before"]["total"]
        ),
        (&"after".into(), &"per-second".into(), &1050.into())
    );
    assert!(after.head["headline"].as_str().unwrap().starts_with("thirty gained"));
    let before = columns(Base::Before);
    assert_eq!(by_name(&before, "sixty"), (1400.0, 1400.0, 800.0));
    assert_eq!(by_name(&before, "fresh"), (40.0, 0.0, 40.0));
}
