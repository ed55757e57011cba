//! What Go prints of all goroutines.

use sideflame::format::RecordingKind;

use crate::{Seed, rendering};

pub(crate) fn run(bytes: &[u8]) {
    rendering::check(bytes, RecordingKind::Goroutines);
}

pub(crate) fn seeds() -> Vec<Seed> {
    let dump = include_bytes!("../../../sidecar/tests/data/profile/goroutines/go-1.26.txt");
    vec![
        ("go-1.26", dump.to_vec()),
        (
            "odd",
            b"goroutine 9223372036854775807 [, -1 minutes, 3 minutes]:\n(...)\n\t:1\nmain.f(\nmain.g()\nmain.h()\n\tx +0x\ngoroutine 1 [[]]:\n"
                .to_vec(),
        ),
    ]
}
