//! A session's stream with values of counters, whose names and numbers are the app's. How it is cut into pieces does not matter, and what
//! is written is read again.

use std::io::Write;

use sideflame::format::{Format, RecordingKind};
use sideflame::profile::format::counters::read::read;
use sideflame::runtime::dotnet::counters::CounterLines;

use crate::{Seed, rendering};

/// The first byte is the length of a piece.
pub(crate) fn run(bytes: &[u8]) {
    let Some((&piece, stream)) = bytes.split_first() else {
        return;
    };
    let lines = written(stream, stream.len().max(1));
    assert_eq!(written(stream, usize::from(piece).max(1)), lines);
    let all = read(&*lines).expect("our own lines");
    let values: usize = all.iter().map(|series| series.values.len()).sum();
    assert_eq!(values, lines.iter().filter(|byte| **byte == b'\n').count());
    let made = |format| rendering::made(&lines, RecordingKind::Counters, format, None).expect("all formats");
    let _: serde_json::Value = serde_json::from_slice(&made(Format::Json)).expect("JSON");
    let text = String::from_utf8(made(Format::Text)).expect("text");
    for line in text.lines().filter(|line| !line.starts_with("# ")) {
        let name = &line[..line.find(['{', ' ']).expect("a value")];
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(!name.is_empty() && name.chars().all(plain), "{line}");
        let mut numbers = line.rsplitn(3, ' ');
        let (_time, value) = (numbers.next(), numbers.next().expect("a value"));
        assert!(value.parse::<f64>().expect("a number").is_finite());
    }
}

/// What comes of it until it is malformed.
fn written(stream: &[u8], piece: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut lines = CounterLines::new(&mut out, 1);
    // The first malformed block ends it, as it does a recording.
    let _ = stream.chunks(piece).try_for_each(|piece| lines.write_all(piece));
    out
}

pub(crate) fn seeds() -> Vec<Seed> {
    macro_rules! recorded {
        ($($name:literal),*) => { vec![$(($name, [b"\x40", include_bytes!(concat!("../../../sidecar/tests/data/counters/", $name, ".nettrace")).as_slice()].concat())),*] };
    }
    recorded!["dotnet-3.1", "dotnet-10"]
}
