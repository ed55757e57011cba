//! The beginning of a file that somebody gives to `render`. What is recognised as one of ours is asked for by that reader.

use sideflame::profile::format::HEAD;
use sideflame::profile::{Unrecognised, recognise};

use crate::Seed;

pub(crate) fn run(bytes: &[u8]) {
    let head = &bytes[..bytes.len().min(HEAD)];
    if let Err(Unrecognised::Foreign { name, way_out }) = recognise(head) {
        assert!(!name.is_empty() && !way_out.is_empty());
    }
}

pub(crate) fn seeds() -> Vec<Seed> {
    macro_rules! foreign {
        ($($name:literal),*) => { vec![$(($name, include_bytes!(concat!("../../../sidecar/tests/data/profile/foreign/", $name)).to_vec())),*] };
    }
    foreign![
        "async-profiler-flat.txt",
        "callgrind.out",
        "chrome-trace.json",
        "collapsed.gz",
        "differential.txt",
        "flame.svg",
        "go-goroutine-debug1.txt",
        "gprof.txt",
        "heap.hprof",
        "legacy-contention.txt",
        "legacy-heap.gz",
        "legacy-heap.txt",
        "legacy-thread.txt",
        "massif.out",
        "perf-script.txt",
        "perf.data",
        "pprof-top.txt",
        "speedscope.json",
        "table.csv",
        "words-and-numbers.txt"
    ]
}
