//! The recordings in `tests/data/profile/`: those of a format in its folder, those of other tools in `foreign`.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::collapsed::read::CollapsedValues;
use super::*;
use crate::profile::ValueType;

fn corpus(folder: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/profile")
        .join(folder);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    assert!(!files.is_empty());
    files
}

/// The folder of a reader's recordings.
fn folder(reader: &dyn Reader) -> &'static str {
    match reader.kind() {
        RecordingKind::Threads => "threads",
        RecordingKind::Goroutines => "goroutines",
        RecordingKind::ClassHistogram => "histogram",
        kind => kind.native_format().name(),
    }
}

/// How many bytes of a recording's beginning could as well begin another one.
fn ambiguous(reader: &dyn Reader, file: &[u8]) -> usize {
    let lines = match reader.kind() {
        RecordingKind::Goroutines | RecordingKind::ClassHistogram => 1,
        RecordingKind::Threads => 2,
        _ => return 0,
    };
    file.split_inclusive(|byte| *byte == b'\n')
        .take(lines)
        .map(<[u8]>::len)
        .sum()
}

fn head(file: &[u8]) -> &[u8] {
    &file[..file.len().min(HEAD)]
}

fn options() -> ReadOptions {
    ReadOptions {
        collapsed: CollapsedValues {
            value: ValueType::new("samples", "count"),
            interval: None,
        },
        names: Names::Normalised,
        stamp: Quality::default(),
        event: Some("cpu".to_owned()),
        slicing: Slicing::default(),
    }
}

#[test]
fn every_reader_recognises_and_reads_its_recordings_and_no_others() {
    for reader in READERS {
        let kind = reader.kind();
        for (path, file) in corpus(folder(*reader)) {
            assert_eq!(recognise(head(&file)), Ok(kind), "{}", path.display());
            assert!(
                READERS
                    .iter()
                    .all(|other| other.recognises(head(&file)) == (other.kind() == kind))
            );
            let profile = reader.read(&mut file.as_slice(), &options()).unwrap();
            assert!(profile.sample_count() > 0, "{}", path.display());
        }
    }
}

#[test]
fn no_beginning_of_a_recording_is_taken_for_another_format() {
    for reader in READERS {
        for (path, file) in corpus(folder(*reader)) {
            for end in ambiguous(*reader, &file) + 1..file.len().min(3000) {
                let kind = recognise(&file[..end]);
                assert!(
                    kind.is_err() || kind == Ok(reader.kind()),
                    "{}, {end} bytes: {kind:?}",
                    path.display()
                );
            }
        }
    }
}

/// Text that is cut behind a line is whole; every other cut must be seen.
#[test]
fn every_truncation_of_a_recording_is_an_error() {
    for reader in READERS {
        for (path, file) in corpus(folder(*reader)) {
            let text = reader.kind() == RecordingKind::Collapsed;
            // Lines are read one by one: what holds for the first holds for all.
            let enough = match reader.kind() {
                RecordingKind::Collapsed => 2000,
                // Behind the list of threads only a deadlock could be missing.
                RecordingKind::Threads => {
                    let text = String::from_utf8_lossy(&file);
                    text.find("\nJNI global ref").unwrap()
                }
                // It has no end of its own: HTTP tells whether it is whole.
                RecordingKind::Goroutines => 0,
                // Its last line is whole without the end of it.
                RecordingKind::ClassHistogram => file.len() - 1,
                _ => file.len(),
            };
            for end in 1..enough.min(file.len()) {
                let read = reader.read(&mut &file[..end], &options());
                assert_eq!(
                    read.is_ok(),
                    text && file[end - 1] == b'\n',
                    "{}, {end} bytes",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn files_of_other_tools_are_refused_with_the_way_out() {
    for (path, file) in corpus("foreign") {
        let Err(refusal) = recognise(&file) else {
            panic!("{} is taken for a recording", path.display());
        };
        let unknown = ["words-and-numbers.txt", "table.csv"].contains(&path.file_name().unwrap().to_str().unwrap());
        assert_eq!(
            refusal == Unrecognised::Unknown,
            unknown,
            "{}: {refusal}",
            path.display()
        );
        let legacy = path.to_str().unwrap().contains("legacy-");
        assert_eq!(
            refusal.to_string().contains("go tool pprof -proto"),
            legacy || path.ends_with("go-mutex-debug1.txt")
        );
    }
}

#[test]
fn recordings_that_are_only_copied_are_recognised() {
    assert_eq!(recognise(b"go 1.26 trace\0\0\0"), Ok(RecordingKind::Trace));
}

#[test]
fn collapsed_stacks_of_any_tool_are_recognised() {
    for text in [
        "",
        "a;b 1\n",
        "[no_Java_frame] 3\n",
        "[main tid=7];Shop.run_[j] 12\n[GC tid=9] 1\n",
        "goroutine 7;main.work 3\nmain;fn=x 1\n",
        "java;Shop;[unknown] 3\r\n",
        "a;b 1\nc;d 2\ne;f 1\ng;h 1\ni;j 1\nk;l 1\nm;n 1\no;p 1\na class with a line\nbreak;x 1\nq;r 1\n",
        "main;[libc.so.6];cut in this li",
    ] {
        let whole = text.ends_with('\n') || text.is_empty();
        assert_eq!(recognise(text.as_bytes()).is_ok(), whole, "{text:?}");
    }
    let cut = recognise(b"main;work 3\nmain;id");
    assert_eq!(cut, Ok(RecordingKind::Collapsed), "the head may end anywhere");
}

proptest! {
    #[test]
    fn no_beginning_panics(noise in prop::collection::vec(any::<u8>(), 0..200), text in "[ -~\n]{0,80}") {
        for head in [noise.as_slice(), text.as_bytes(), &[&[0x1f, 0x8b, 8], noise.as_slice()].concat()] {
            let _ = recognise(head);
        }
    }
}
