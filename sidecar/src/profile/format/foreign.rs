//! Files of other tools that look like ours or are taken for ours, and the way from them to a file we read.
//!
//! A wrong picture is worse than none: much of this is text whose lines end in a number, which is all that collapsed
//! stacks are. Called by [`super::recognise`]; reads none of them.

use super::Unrecognised;

/// Pprof's formats from before 2015, which its own tool still reads.
const LEGACY_PPROF: &str = "convert it with `go tool pprof -proto FILE > profile.pb.gz`";
const COLLAPSE: &str = "collapse its stacks first, e.g. with inferno-collapse-* or stackcollapse-*.pl of FlameGraph";
const RENDERED: &str = "it was made from a recording; render that";

/// A text format, by how one of its first lines begins.
struct Text {
    name: &'static str,
    way_out: &'static str,
    starts: &'static [&'static str],
}

/// Binary formats, by their first bytes.
const BINARY: &[(&[u8], &str, &str)] = &[
    (
        b"PERFILE2",
        "perf.data of Linux perf",
        "run `perf script` on it and collapse that",
    ),
    (
        b"JAVA PROFILE 1.0",
        "a heap dump of a JVM (hprof)",
        "it holds objects, no stacks that were sampled",
    ),
    (b"\x7fELF", "an executable", "give the profile of it, not the program"),
    (b"PK\x03\x04", "a zip archive", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "unpack it first (unzstd)"),
    (b"BZh", "compressed by bzip2", "unpack it first (bunzip2)"),
    (b"\xfd7zXZ\0", "compressed by xz", "unpack it first (unxz)"),
    (
        b"go1.",
        "a binary Go trace of an old version",
        "`go tool trace` reads it",
    ),
];

/// In this order; the first that fits one of the first lines is it.
const TEXT: &[Text] = &[
    Text {
        name: "the legacy text of a heap profile",
        way_out: LEGACY_PPROF,
        starts: &[
            "heap profile:",
            "--- heap",
            "# heap profile",
            "growthz profile:",
            "--- growth",
        ],
    },
    Text {
        name: "the legacy text of a contention, mutex or block profile",
        way_out: LEGACY_PPROF,
        starts: &["--- contention", "--- mutex", "--- block", "cycles/second="],
    },
    Text {
        name: "the legacy text of a thread profile",
        way_out: LEGACY_PPROF,
        starts: &["--- threadz", "--- Thread "],
    },
    Text {
        name: "Go's text form of a profile (debug=1 or 2)",
        way_out: "fetch it again without `debug`",
        starts: &["goroutine profile:", "threadcreate profile:", "allocs profile:"],
    },
    Text {
        name: "callgrind's or cachegrind's output",
        way_out: "it holds costs per line, no stacks; kcachegrind shows it",
        starts: &[
            "# callgrind",
            "version: 1",
            "creator: callgrind",
            "desc: I1 cache",
            "events: ",
            "fl=",
            "fn=",
        ],
    },
    Text {
        name: "massif's output",
        way_out: "ms_print shows it",
        starts: &["desc: --", "time_unit: ", "snapshot="],
    },
    Text {
        name: "gprof's flat profile",
        way_out: "it holds no stacks",
        starts: &["Flat profile:", "Each sample counts as"],
    },
    Text {
        name: "async-profiler's text for people (flat or traces)",
        way_out: "ask it for collapsed, or render its JFR with its own converter",
        starts: &["--- Execution profile ---"],
    },
    Text {
        name: "a report of `go tool pprof`",
        way_out: "give it the profile itself",
        starts: &["Showing nodes accounting for", "PeriodType:"],
    },
    Text {
        name: "an SVG or HTML page",
        way_out: RENDERED,
        starts: &["<svg", "<?xml", "<!DOCTYPE", "<!doctype", "<html"],
    },
];

/// Names a format that we know and do not read.
pub(super) fn recognise(head: &[u8]) -> Option<Unrecognised> {
    let foreign = |name, way_out| Some(Unrecognised::Foreign { name, way_out });
    if let Some((_, name, way_out)) = BINARY.iter().find(|(magic, ..)| head.starts_with(magic)) {
        return foreign(name, way_out);
    }
    let text = String::from_utf8_lossy(head.get(..head.len().min(4096)).unwrap_or_default());
    let text = text.trim_start_matches('\u{feff}');
    let first = || text.lines().map(str::trim_end).filter(|line| !line.is_empty()).take(5);
    let fits = |kind: &&Text| first().any(|line| kind.starts.iter().any(|start| line.starts_with(start)));
    if let Some(kind) = TEXT.iter().find(fits) {
        return foreign(kind.name, kind.way_out);
    }
    match text.trim_start().chars().next() {
        Some('{' | '[') if json(text) => {
            return foreign(
                "JSON",
                "speedscope, Firefox Profiler or Chrome read and show such files",
            );
        }
        _ => {}
    }
    if first().next().is_some_and(perf_script) {
        return foreign("the output of perf script or dtrace", COLLAPSE);
    }
    if differential(text) {
        return foreign(
            "a difference of two collapsed recordings (two counts per line)",
            "`inferno-flamegraph` or flamegraph.pl draws it",
        );
    }
    None
}

/// A brace, or a bracket that begins no frame such as `[main tid=7]`.
fn json(text: &str) -> bool {
    let text = text.trim_start();
    let mut rest = text.chars().skip(1).skip_while(|c| c.is_whitespace());
    match rest.next() {
        Some('"' | '}') => true,
        Some('{') => text.starts_with('['),
        _ => false,
    }
}

/// `java 4711 [001] 12345.678901: cycles:` and what perf prints for every other event, followed by indented frames.
fn perf_script(line: &str) -> bool {
    let time = |word: &str| {
        word.strip_suffix(':')
            .and_then(|word| word.split_once('.'))
            .is_some_and(|(seconds, part)| {
                !seconds.is_empty()
                    && part.len() >= 6
                    && [seconds, part]
                        .iter()
                        .all(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
            })
    };
    line.ends_with(':') && line.split_whitespace().any(time)
}

/// Every line ends in two counts.
fn differential(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    // The last line of a head may be cut.
    let whole = text.lines().count().saturating_sub(usize::from(!text.ends_with('\n')));
    let two = |line: &str| {
        let mut words = line.rsplit(' ');
        let counts = words
            .by_ref()
            .take(2)
            .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()));
        counts && words.next().is_some()
    };
    whole > 0 && lines.by_ref().take(whole).all(two)
}
