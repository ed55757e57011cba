//! What a pprof port answers, as it streams by. How it is cut into pieces does not matter.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use sideflame::format::RecordingKind;
use sideflame::runtime::go::fuzz::recording;

use crate::Seed;

/// The first byte is the length of a piece, the second what to do with the rest: as it is, or compressed.
pub(crate) fn run(bytes: &[u8]) {
    let [piece, how, rest @ ..] = bytes else { return };
    let piece = usize::from(*piece).max(1);
    let compressed;
    let (kind, answer) = match how % 3 {
        0 => (RecordingKind::Trace, rest),
        1 => (RecordingKind::Pprof, rest),
        _ => {
            compressed = gzip(rest);
            (RecordingKind::Pprof, compressed.as_slice())
        }
    };
    let check = |piece: usize| recording(kind, answer.chunks(piece)).ok();
    let whole = check(answer.len().max(1));
    assert_eq!(check(piece), whole);
    if let Some((stacks, _)) = whole {
        assert!(how % 3 != 2 || stacks <= rest.len() as u64);
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    // Stored: what the decompressor sees stays close to what the fuzzer changes.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn seeds() -> Vec<Seed> {
    let goroutines = include_bytes!("../../../sidecar/tests/data/profile/pprof/go-goroutine.pb.gz");
    let plain = crate::pprof::plain(goroutines);
    let seed = |piece: u8, how: u8, rest: &[u8]| [&[piece, how], rest].concat();
    vec![
        ("goroutines", seed(16, 1, goroutines)),
        ("goroutines-plain", seed(7, 2, &plain)),
        ("sample", seed(1, 2, &[0x12, 4, 0x08, 7, 0x10, 1, 0x60, 3, 0x50, 9, 0x1d, 1, 2, 3, 4])),
        ("trace", seed(3, 0, b"go 1.26 trace\0\0\0\x01\x02")),
        ("page", seed(5, 1, b"<!DOCTYPE html><html></html>")),
    ]
}
