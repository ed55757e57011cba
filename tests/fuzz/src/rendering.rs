//! What holds for everything that is made of a recording.

use std::io::{self, Write};

use sideflame::format::{Format, RecordingKind};
use sideflame::profile::format::flame::read::Columns;
use sideflame::profile::format::{ReadOptions, reader};
use sideflame::profile::model::Profile;
use sideflame::profile::quality::{Clock, Quality};
use sideflame::profile::slicing::{MOST_PARTS, Slicing};
use sideflame::profile::{CollapsedValues, Names, RenderOptions, View, render};

use crate::flame_graph;

/// The profile in a recording, if it is one.
pub(crate) fn read(bytes: &[u8], kind: RecordingKind) -> Option<Profile> {
    sliced(bytes, kind, Slicing::default())
}

/// The same, told apart.
pub(crate) fn sliced(bytes: &[u8], kind: RecordingKind, slicing: Slicing) -> Option<Profile> {
    let options = ReadOptions {
        collapsed: CollapsedValues::of(&Quality::default()),
        names: Names::Raw,
        stamp: Quality::default(),
        event: None,
        slicing,
    };
    reader(kind)?.read(&mut &*bytes, &options).ok()
}

/// Makes everything of a recording that can be made of it.
pub(crate) fn check(bytes: &[u8], kind: RecordingKind) {
    // A picture takes longer than all the rest, so it is drawn once, and not for every input with a stamp.
    let quality = bytes.len().is_multiple_of(2).then(stamp);
    if let Some(svg) = made(bytes, kind, Format::Svg, quality) {
        flame_graph::check(&svg);
    }
    if let Some(json) = made(bytes, kind, Format::Speedscope, None) {
        let _: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    }
    for format in [Format::Json, Format::TopJson] {
        if let Some(json) = made(bytes, kind, format, None) {
            let _: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        }
    }
    for format in [Format::Text, Format::Top] {
        if let Some(text) = made(bytes, kind, format, None).filter(|_| kind.native_format() != format) {
            let control = |byte: &u8| byte.is_ascii_control() && *byte != b'\n';
            assert!(!text.iter().any(control), "{}", String::from_utf8_lossy(&text));
        }
    }
    if let Some(tree) = made(bytes, kind, Format::Flame, None) {
        Columns::of(&tree).assert_sound();
    }
    parts(bytes, kind);
    slices(bytes, kind);
    if let Some(text) = made(bytes, kind, Format::Collapsed, None) {
        let again = made(&text, RecordingKind::Collapsed, Format::Collapsed, None);
        let again = again.expect("our own text is read again");
        assert_eq!(sum(&text), sum(&again), "{}", String::from_utf8_lossy(&text));
    }
}

/// Stacks with a match have the same value whichever way they are turned.
fn parts(bytes: &[u8], kind: RecordingKind) {
    let pattern = || Some("a|[.;]".parse().expect("a pattern"));
    let focus = shown(
        bytes,
        kind,
        View {
            focus: pattern(),
            ..View::default()
        },
    );
    let callers = shown(
        bytes,
        kind,
        View {
            callers: pattern(),
            ..View::default()
        },
    );
    // Values that overflow when they are added up are an error of the one that adds them up.
    if let (Some((focus, _)), Some((callers, _))) = (focus, callers) {
        assert_eq!(focus, callers);
    }
}

/// A recording's times and threads: its two halves are all of it, what stacks are split by leaves nothing out, and the intervals of its
/// timeline are what it says they are together.
pub(crate) fn slices(bytes: &[u8], kind: RecordingKind) {
    const HALF: Option<u32> = Some(500);
    let range = |from, to| View {
        from,
        to,
        ..View::default()
    };
    let halves = [range(None, HALF), range(HALF, None), range(Some(0), None)].map(|view| shown(bytes, kind, view));
    if !kind.has_times() {
        assert_eq!(halves, [None; 3], "a range of what has no times");
    }
    if let [Some((early, _)), Some((late, _)), Some((timed, total))] = halves {
        // What has no time is in no part of it.
        assert!(
            early.saturating_add(late) == timed && timed <= total,
            "{early} and {late} of {timed}"
        );
    }
    for by in ["thread", "thread-name", "label:bytes"] {
        let by = Some(by.parse().expect("a word"));
        // Beneath a root values of both signs may meet.
        if let Some((value, total)) = shown(bytes, kind, View { by, ..View::default() }).filter(|_| !has_signs(kind)) {
            assert_eq!(value, total);
        }
    }
    let some = View {
        thread: Some("a|7".parse().expect("a pattern")),
        by: Some("thread".parse().expect("a word")),
        ..if kind.has_times() {
            range(HALF, Some(700))
        } else {
            View::default()
        }
    };
    let _ = shown(bytes, kind, some);
    if let Some(json) = made(bytes, kind, Format::Timeline, None) {
        let timeline: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        let values = timeline["values"].as_array().expect("values");
        assert!(values.len() <= MOST_PARTS as usize);
        let values = values.iter().map(|value| value.as_u64().expect("a number"));
        assert_eq!(
            values.fold(0, u64::saturating_add),
            timeline["total"].as_u64().expect("a sum")
        );
    }
}

fn has_signs(kind: RecordingKind) -> bool {
    matches!(kind, RecordingKind::Pprof | RecordingKind::PprofTimed)
}

/// What a view shows and what all is, if it can be shown: no more than the whole, and what its stacks are together.
fn shown(bytes: &[u8], kind: RecordingKind, view: View) -> Option<(u64, u64)> {
    let options = RenderOptions {
        view,
        ..options(kind, Format::Collapsed, None)
    };
    let mut text = Vec::new();
    let rendered = render(bytes, kind, &options, &mut text).ok()?;
    let shown = rendered.quality.shown.expect("a part says how much it is");
    assert!(shown.value <= shown.total);
    assert_eq!(shown.value, sum(&text), "{}", String::from_utf8_lossy(&text));
    Some((shown.value, shown.total))
}

/// One format of it; `None` if it is no recording.
pub(crate) fn made(bytes: &[u8], kind: RecordingKind, format: Format, quality: Option<Quality>) -> Option<Vec<u8>> {
    let options = options(kind, format, quality);
    let mut out = Bounded {
        bytes: Vec::new(),
        // A frame of two bytes becomes a rectangle of some hundred; a name may be repeated, and is cut.
        limit: (1 << 20) + 4096 * bytes.len(),
    };
    render(bytes, kind, &options, &mut out).ok()?;
    Some(out.bytes)
}

fn options(kind: RecordingKind, format: Format, quality: Option<Quality>) -> RenderOptions {
    RenderOptions {
        format,
        quality,
        sample_type: None,
        title: "shop".to_owned(),
        collapsed: None,
        names: Names::Normalised,
        event: (kind == RecordingKind::Jfr).then(|| "cpu".to_owned()),
        view: View::default(),
    }
}

pub(crate) fn stamp() -> Quality {
    Quality {
        sampler: Some("async-profiler".to_owned()),
        interval: 10_000_000,
        interval_unit: "nanoseconds".to_owned(),
        clock: Some(Clock::Cpu),
        max_frames: Some(3),
        ..Quality::default()
    }
}

/// What a collapsed recording adds up to; 0 if it is none.
pub(crate) fn sum_of(bytes: &[u8]) -> u64 {
    made(bytes, RecordingKind::Collapsed, Format::Collapsed, None).map_or(0, |text| sum(&text))
}

/// Of the numbers at the ends of collapsed lines.
fn sum(text: &[u8]) -> u64 {
    let lines = text.split_inclusive(|byte| *byte == b'\n').map(|line| {
        let line = std::str::from_utf8(line)
            .expect("text")
            .strip_suffix('\n')
            .expect("a line");
        let (frames, count) = line.rsplit_once(' ').expect("a count");
        assert!(!frames.is_empty(), "a line without a frame");
        count.parse::<u64>().expect("a number")
    });
    lines.sum()
}

/// Bytes that may not be more than a multiple of what they were made of.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        assert!(self.bytes.len() <= self.limit, "more than {} bytes", self.limit);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
