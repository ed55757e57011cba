//! What HotSpot prints of its heap by class.

use sideflame::format::RecordingKind;

use crate::{Seed, rendering};

pub(crate) fn run(bytes: &[u8]) {
    rendering::check(bytes, RecordingKind::ClassHistogram);
}

pub(crate) fn seeds() -> Vec<Seed> {
    let histogram = include_bytes!("../../../sidecar/tests/data/profile/histogram/jdk17.txt");
    vec![
        ("jdk17", histogram.to_vec()),
        (
            "odd",
            b"num #instances #bytes class name\n 1: 9223372036854775807 1 [[[\n 2: 0 0 [L;\n x: 1 1 a\n 3: 1 -1 b (c\n 4: 1\nTotal 9223372036854775807 1\n"
                .to_vec(),
        ),
    ]
}
