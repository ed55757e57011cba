//! Two recordings against each other, and a part of one: whatever they are, their sums come out.

use sideflame::format::{Format, RecordingKind};
use sideflame::profile::diff::compare::{CompareOptions, Input, compare};
use sideflame::profile::diff::{Base, Normalise};
use sideflame::profile::format::flame::read::Columns;
use sideflame::profile::{Names, Pattern, RenderOptions, View, render};

use crate::{Seed, flame_graph, rendering};

/// What parts a seed: the pattern, the first text, the second text.
const BORDER: u8 = 0xff;

pub(crate) fn run(bytes: &[u8]) {
    let mut parts = bytes.splitn(3, |byte| *byte == BORDER);
    let mut next = || parts.next().unwrap_or_default();
    let (pattern, before, after) = (next(), next(), next());
    if let Ok(pattern) = String::from_utf8_lossy(pattern).parse::<Pattern>() {
        part(before, &pattern);
    }
    for (normalise, base) in [(Normalise::None, Base::After), (Normalise::Share, Base::Before)] {
        let made = |format| difference(before, after, format, normalise, base);
        let Some(columns) = made(Format::Collapsed) else { return };
        let text = std::str::from_utf8(&columns).expect("text");
        if normalise == Normalise::None {
            let sums = text.lines().map(numbers).fold((0, 0), |(b, a), (before, after)| (b + before, a + after));
            assert_eq!(sums, (rendering::sum_of(before), rendering::sum_of(after)), "{text}");
        }
        flame_graph::check(&made(Format::Svg).expect("a picture"));
        Columns::of(&made(Format::Flame).expect("columns")).assert_sound();
        let _: serde_json::Value = serde_json::from_slice(&made(Format::TopJson).expect("JSON")).expect("JSON");
        let table = made(Format::Top).expect("a table");
        let control = |byte: &u8| byte.is_ascii_control() && *byte != b'\n';
        assert!(!table.iter().any(control), "{}", String::from_utf8_lossy(&table));
        let profile = rendering::read(&made(Format::Pprof).expect("a profile"), RecordingKind::Pprof);
        assert!(profile.is_some(), "our own file is read again");
    }
}

/// A part is no more than the whole, and one with the callers of a match has as much as one with the match.
fn part(bytes: &[u8], pattern: &Pattern) {
    let focus = View::of_focus(pattern.clone());
    let callers = View {
        callers: Some(pattern.clone()),
        ..View::default()
    };
    let shown = |view: View| {
        let options = RenderOptions {
            view,
            ..options()
        };
        let mut out = Vec::new();
        let rendered = render(bytes, RecordingKind::Collapsed, &options, &mut out).ok()?;
        let shown = rendered.quality.shown.expect("a part says how much it is");
        assert!(shown.value <= shown.total);
        assert_eq!(shown.value, rendering::sum_of(&out));
        Some(shown.value)
    };
    assert_eq!(shown(focus), shown(callers));
}

fn options() -> RenderOptions {
    RenderOptions {
        format: Format::Collapsed,
        quality: None,
        sample_type: None,
        title: "shop".to_owned(),
        collapsed: None,
        names: Names::Raw,
        event: None,
        view: View::default(),
    }
}

fn difference(before: &[u8], after: &[u8], format: Format, normalise: Normalise, base: Base) -> Option<Vec<u8>> {
    let input = |recording| Input {
        recording,
        kind: RecordingKind::Collapsed,
        options: options(),
    };
    let options = CompareOptions {
        format,
        normalise: Some(normalise),
        base,
    };
    let mut out = Vec::new();
    compare(input(before), input(after), &options, &mut out).ok()?;
    Some(out)
}

/// The two at the end of a line.
fn numbers(line: &str) -> (u64, u64) {
    let (rest, after) = line.rsplit_once(' ').expect("a column");
    let (frames, before) = rest.rsplit_once(' ').expect("another column");
    assert!(!frames.is_empty(), "a line without a frame");
    (before.parse().expect("a number"), after.parse().expect("a number"))
}

pub(crate) fn seeds() -> Vec<Seed> {
    let seed = |pattern: &[u8], before: &[u8], after: &[u8]| [pattern, before, after].join(&[BORDER][..]);
    vec![
        ("changed", seed(b"sixty|new", b"main;sixty 70\nmain;thirty 30\nmain;gone 5\n", b"main;sixty 40\nmain;thirty 60\nmain;new 5\n")),
        ("equal", seed(b"^a$", b"a;b;a 3\na 1\n", b"a;b;a 3\na 1\n")),
        ("odd", seed(b"[^x]{3}", b"[a tid=1];b_[j] 1\n\xe2\x80\xae;b 2\n", b"b_[i] 9223372036854775807\n")),
        ("large", seed(b"a", b"a 9223372036854775807\n", b"a 1\nb 9223372036854775000\n")),
        ("hashes", seed(b"#", b"#;a 3\n# 1\n", b"# 2\n#;# b 1\n")),
        ("nothing", Vec::new()),
    ]
}
