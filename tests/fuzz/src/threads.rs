//! What HotSpot prints of all threads, of which the names are the app's.

use sideflame::format::RecordingKind;

use crate::{Seed, rendering};

pub(crate) fn run(bytes: &[u8]) {
    rendering::check(bytes, RecordingKind::Threads);
}

pub(crate) fn seeds() -> Vec<Seed> {
    let deadlock = include_bytes!("../../../sidecar/tests/data/profile/threads/jvm-17-deadlock.txt");
    vec![
        ("jvm-17-deadlock", deadlock.to_vec()),
        (
            "odd",
            b"Full thread dump x\n\"a\"b\" #1 nid=0xz in Object.wait() [0x0]\n   java.lang.Thread.State: X\n\tat (\n\tat )\n\tat a()\n\t- \n\t- <\nJNI global ref\nFound one Java-level deadlock:\n\"\":\nJava stack information for the threads listed above:\n"
                .to_vec(),
        ),
    ]
}
