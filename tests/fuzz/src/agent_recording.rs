//! Collapsed text that async-profiler left in the application's `/tmp`, on its way into the store: what arrives is read as
//! what was counted.

use sideflame::format::RecordingKind;
use sideflame::runtime::jvm::transfer::{Scale, collapsed, survivors};

use crate::{Seed, parts, rendering};

/// A text, and another one with the sizes of its survivors.
pub(crate) fn run(bytes: &[u8]) {
    let [text, sizes] = parts::split(bytes);
    let mut moved = Vec::new();
    if let Ok(facts) = collapsed(&mut parts::file(text), Scale::Keep, &mut moved) {
        assert_eq!(facts.bytes, text.len() as u64);
        let profile = rendering::read(&moved, RecordingKind::Collapsed);
        if let Some(profile) = profile.filter(|_| facts.sum < 1 << 62) {
            let read: i64 = profile.samples().map(|sample| sample.values[0]).sum();
            assert_eq!((u64::try_from(read), profile.skipped_lines), (Ok(facts.sum), 0));
        }
        let mut divided = Vec::new();
        let again = collapsed(&mut parts::file(text), Scale::Divide(3), &mut divided).expect("the same text");
        assert_eq!(again, facts);
        assert!(divided.len() <= moved.len());
    }
    let mut joined = Vec::new();
    let _ = survivors(&parts::file(text), &parts::file(sizes), 524_287, &mut joined);
    assert!(joined.len() <= 20 * bytes.len());
}

pub(crate) fn seeds() -> Vec<Seed> {
    let seed = |text: &[u8], sizes: &[u8]| parts::join(&[text, sizes]);
    vec![
        (
            "survivors",
            seed(
                b"main;a;byte[]_[i] 3\nmain;b;byte[]_[i] 1\n[t 1];odd\nname;x 2\n",
                b"main;a;byte[]_[i] 30\nmain;b;byte[]_[i] 100000\n[t 1];odd\nname;x 2\n",
            ),
        ),
        ("thread", seed(b"[evil\nname tid=3];a 5\n", b"")),
        ("endless", seed(b"a 999999999999999999999999\nb 1\n", b"a 1\n")),
        ("numbers", seed(b"a 1 2 3\nb 007\n", b"a 1 2 3\nb 007\n")),
    ]
}
