//! The stream of an EventPipe session. How it is cut into pieces does not matter, what is whole has as many bytes as came, and what
//! the reader understands can be drawn; of a heap also as a table. Who waits for the end of a walk through a heap takes what the
//! reader takes.

use sideflame::format::RecordingKind;
use sideflame::profile::format::nettrace::example::{version4, version6};
use sideflame::runtime::dotnet::completeness::{CompletenessCheck, Flaw, Stream};
use sideflame::runtime::dotnet::heap_watch::HeapWatch;

use crate::{Seed, rendering};

/// The first byte is the length of a piece.
pub(crate) fn run(bytes: &[u8]) {
    let Some((&piece, stream)) = bytes.split_first() else {
        return;
    };
    let whole = check(stream, stream.len().max(1));
    if let Ok(facts) = &whole {
        assert_eq!(facts.bytes, stream.len() as u64);
        assert!(facts.blocks <= facts.bytes);
    }
    assert_eq!(check(stream, usize::from(piece).max(1)), whole);
    let profile = rendering::read(stream, RecordingKind::Nettrace);
    assert!(whole.is_ok() || profile.is_none(), "a cut stream is no profile");
    if profile.is_some() {
        rendering::check(stream, RecordingKind::Nettrace);
        rendering::check(stream, RecordingKind::Heap);
    }
    rendering::check(stream, RecordingKind::NettraceThreads);
    let watched = stream
        .chunks(usize::from(piece).max(1))
        .try_fold(HeapWatch::default(), |mut watch, piece| watch.feed(piece).map(|()| watch));
    assert!(watched.is_ok() || profile.is_none());
}

fn check(stream: &[u8], piece: usize) -> Result<Stream, Flaw> {
    let mut check = CompletenessCheck::default();
    for piece in stream.chunks(piece) {
        check.feed(piece)?;
    }
    check.finish()
}

pub(crate) fn seeds() -> Vec<Seed> {
    macro_rules! recorded {
        ($($name:literal),*) => { vec![$(($name, [b"\x10", include_bytes!(concat!("../../../sidecar/tests/data/profile/nettrace/", $name, ".nettrace")).as_slice()].concat())),*] };
    }
    let mut seeds = recorded!["dotnet-3.1-cpu", "dotnet-3.1-alloc", "dotnet-3.1-heap", "dotnet-3.1-lock", "dotnet-8-exceptions"];
    seeds.extend([
        ("version4", [b"\x07", version4(&[b"x", b"", b"12345"]).as_slice()].concat()),
        ("version6", [b"\x03", version6(&[b"abc", b"d"]).as_slice()].concat()),
        ("another", b"\x40FLR\0\0\x02\0\x01".to_vec()),
    ]);
    seeds
}
