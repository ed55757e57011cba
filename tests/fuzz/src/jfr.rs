//! A JFR that async-profiler left in the application's `/tmp`: on its way into the store whole or not at all, and then all that is
//! made of it.

use sideflame::format::RecordingKind;
use sideflame::profile::Names;
use sideflame::profile::format::jfr::example;
use sideflame::profile::format::jfr::read::read;
use sideflame::profile::format::jfr::sampled::Sampled;
use sideflame::profile::model::Profile;
use sideflame::profile::slicing::{Cuts, Slicing};
use sideflame::runtime::jvm::transfer::jfr;

use crate::{Seed, parts, rendering};

pub(crate) fn run(bytes: &[u8]) {
    moved(bytes);
    for wanted in [Sampled::Wall, Sampled::Alloc, Sampled::Heap, Sampled::Lock] {
        if let Ok(profile) = read(bytes, Some(wanted), Names::Normalised, Slicing::default()) {
            // An event has a size, a type and a stack.
            assert!(profile.sample_count() <= bytes.len() / 3);
            sliced(bytes, wanted, &profile);
        }
    }
    rendering::check(bytes, RecordingKind::Jfr);
}

/// What is told apart by time and thread is the same in sum.
fn sliced(bytes: &[u8], wanted: Sampled, whole: &Profile) {
    let slicing = Slicing {
        cuts: Cuts::Every(1_000_000),
        by_thread: true,
    };
    let sliced = read(bytes, Some(wanted), Names::Normalised, slicing).expect("as before");
    let sum = |profile: &Profile| {
        let values = profile.samples().filter_map(|sample| sample.values.first().copied());
        values.map(i128::from).sum::<i128>()
    };
    // Survivors are weighed by how many there are of a kind, which is fewer when told apart.
    if wanted != Sampled::Heap && wanted != Sampled::Lock {
        assert_eq!(sum(&sliced), sum(whole));
    }
}

fn moved(bytes: &[u8]) {
    let mut moved = Vec::new();
    let Ok(facts) = jfr(&mut parts::file(bytes), &mut moved) else {
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

pub(crate) fn seeds() -> Vec<Seed> {
    let chunk = |size: usize| {
        let mut bytes = b"FLR\0\0\x02\0\x01".to_vec();
        bytes.extend((size as u64).to_be_bytes());
        bytes.resize(size, 0);
        bytes
    };
    vec![
        ("everything", example::everything()),
        ("one", chunk(100)),
        ("two", [chunk(80), chunk(68)].concat()),
        ("cut", chunk(100)[..90].to_vec()),
    ]
}
