//! Every input that was ever interesting, through the function it was interesting for. `make fuzz` looks for more.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up must fail loudly")]

use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use fuzz::TARGETS;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names(&corpus()), targets);
    for target in TARGETS {
        let files = names(&corpus().join(target.name));
        let seeds = (target.seeds)();
        let missing: Vec<_> = seeds
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| !files.contains(*name))
            .collect();
        assert!(!seeds.is_empty() && missing.is_empty(), "{}: {missing:?}", target.name);
    }
}

#[test]
fn no_corpus_is_a_burden() {
    const LARGEST: u64 = 64 << 10;
    const ALL: u64 = 3 << 19;
    let mut sum = 0;
    for target in TARGETS {
        let folder = corpus().join(target.name);
        for name in names(&folder) {
            let size = folder.join(&name).metadata().unwrap().len();
            assert!(size <= LARGEST, "{}/{name}: {size} bytes", target.name);
            sum += size;
        }
    }
    assert!(sum <= ALL, "{sum} bytes");
}

#[test]
fn no_input_of_the_corpora_breaks_a_rule() {
    let mut broken = Vec::new();
    for target in TARGETS {
        let folder = corpus().join(target.name);
        for name in names(&folder) {
            let bytes = std::fs::read(folder.join(&name)).unwrap();
            if catch_unwind(|| (target.run)(&bytes)).is_err() {
                broken.push(format!("{}/{name}", target.name));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
