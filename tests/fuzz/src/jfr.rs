//! A JFR that async-profiler left in the application's `/tmp`: on its way into the store whole or not at all, and then all that is
//! made of it.

use std::io::Cursor;

use sideflame::format::RecordingKind;
use sideflame::profile::Names;
use sideflame::profile::format::jfr::example;
use sideflame::profile::format::jfr::read::read;
use sideflame::profile::format::jfr::sampled::Sampled;
use sideflame::profile::format::jfr::secrets;
use sideflame::profile::model::Profile;
use sideflame::profile::slicing::{Cuts, Slicing};
use sideflame::runtime::jvm::transfer::jfr;

use crate::{Seed, parts, rendering};

pub(crate) fn run(bytes: &[u8]) {
    moved(bytes);
    for wanted in Sampled::ALL {
        if let Ok(profile) = read(bytes, Some(wanted), Names::Normalised, Slicing::default()) {
            // An event has a size, a type and a stack.
            assert!(profile.sample_count() <= bytes.len() / 3);
            if wanted != Sampled::Leaks {
                sliced(bytes, wanted, &profile);
            }
        }
    }
    rendering::check(bytes, RecordingKind::Jfr);
}

/// What is told apart by time and thread is the same in sum.
fn sliced(bytes: &[u8], wanted: Sampled, whole: &Profile) {
    let slicing = Slicing {
        cuts: Cuts::Every(1_000_000),
        by_thread: true,
        by_span: false,
    };
    let sliced = read(bytes, Some(wanted), Names::Normalised, slicing).expect("as before");
    let spanned = Slicing { by_span: true, ..slicing };
    // Spans are not looked at otherwise, and may be broken.
    let by_span = read(bytes, Some(wanted), Names::Normalised, spanned).ok();
    let sum = |profile: &Profile| {
        let values = profile.samples().filter_map(|sample| sample.values.first().copied());
        values.map(i128::from).sum::<i128>()
    };
    // Others are weighed, or rounded, a sum at a time.
    if matches!(wanted, Sampled::Cpu | Sampled::Wall | Sampled::Alloc | Sampled::Nativemem) {
        assert_eq!(sum(&sliced), sum(whole));
        assert!(by_span.is_none_or(|by_span| sum(&by_span) == sum(whole)));
    }
}

fn moved(bytes: &[u8]) {
    let mut moved = Vec::new();
    blanked(bytes);
    let Ok(facts) = jfr(&mut parts::file(bytes), true, &mut moved) else {
        assert!(moved.is_empty());
        return;
    };
    assert_eq!((moved.as_slice(), facts.bytes), (bytes, bytes.len() as u64));
    let mut rest = bytes;
    while !rest.is_empty() {
        assert!(rest.starts_with(b"FLR\0"));
        let size = u64::from_be_bytes(rest[8..16].try_into().unwrap());
        rest = &rest[usize::try_from(size).unwrap()..];
    }
}

/// What is blanked is as long as it was, has nothing else to blank, and is the same to who reads the samples.
fn blanked(bytes: &[u8]) {
    let mut blanked = Vec::new();
    if jfr(&mut parts::file(bytes), false, &mut blanked).is_err() {
        return;
    }
    assert_eq!(blanked.len(), bytes.len());
    let found = secrets::find(&mut Cursor::new(bytes)).unwrap();
    // Asterisks are a text as any other.
    let again = secrets::find(&mut Cursor::new(&blanked));
    assert_eq!(again.unwrap(), found);
    for secret in &found {
        let from = usize::try_from(secret.at).unwrap();
        let text = &blanked[from..from + usize::try_from(secret.length).unwrap()];
        assert!(text.iter().all(|byte| *byte == b'*'));
    }
    for wanted in Sampled::ALL {
        let samples = |bytes: &[u8]| {
            let profile = read(bytes, Some(wanted), Names::Normalised, Slicing::default()).ok()?;
            let said = format!("{profile:?}");
            // The order of a table of hashes is another each time.
            let (before, table) = said.split_once("table: {").unwrap();
            let (_, after) = table.split_once('}').unwrap();
            Some(format!("{before}{after}"))
        };
        assert_eq!(samples(bytes), samples(&blanked));
    }
}

pub(crate) fn seeds() -> Vec<Seed> {
    let chunk = |size: usize| {
        let mut bytes = b"FLR\0\0\x02\0\x01".to_vec();
        bytes.extend((size as u64).to_be_bytes());
        bytes.resize(size, 0);
        bytes
    };
    vec![
        ("everything", example::everything()),
        ("leaking", example::leaking()),
        ("secret", example::secret()),
        ("spanned", example::spanned()),
        ("one", chunk(100)),
        ("two", [chunk(80), chunk(68)].concat()),
        ("cut", chunk(100)[..90].to_vec()),
    ]
}
