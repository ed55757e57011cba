//! Round trips, real profiles, and bytes that are none.

use std::io::Write;

use proptest::prelude::*;

use super::moments::Moments;
use super::read::PprofError;
use super::write::{write, write_timed};
use crate::profile::Names;
use crate::profile::builder::ProfileBuilder;
use crate::profile::model::{FrameKind, Function, Label, LabelValue, Line, Mapping, Profile, ValueType};
use crate::profile::quality::{Clock, Quality};
use crate::profile::slicing::{Cuts, Slicing};
use crate::profile::words::words;

const GO_CPU: &[u8] = include_bytes!("../../../../tests/data/profile/pprof/go-cpu.pb.gz");

fn read(bytes: &[u8]) -> Result<Profile, PprofError> {
    super::read::read(bytes, Names::Raw)
}

fn written(profile: &Profile) -> Vec<u8> {
    let mut out = Vec::new();
    write(profile, &mut out).unwrap();
    out
}

fn plain(gzip: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    std::io::copy(&mut flate2::read::GzDecoder::new(gzip), &mut plain).unwrap();
    plain
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_real_profile_survives_the_round_trip() {
    let profile = read(GO_CPU).unwrap();
    assert_eq!(words(&read(&written(&profile)).unwrap()), words(&profile));
    assert_eq!(profile.sample_types[1], ValueType::new("cpu", "nanoseconds"));
    assert!(words(&profile).iter().any(|line| line.contains("endpoint=\"/cart\"")));
}

#[test]
fn threads_and_times_are_told_apart_where_they_are_asked_for() {
    let mut builder = ProfileBuilder::new(vec![ValueType::new("samples", "count")]).unwrap();
    let frame = builder.frame("work", FrameKind::Native).unwrap();
    let row = builder.sample_row(&[frame], &[6], &[]).unwrap();
    let mut moments = Moments::new(10);
    for (interval, thread, samples) in [
        (0, (7, Some("shop")), 1),
        (0, (8, None), 2),
        (300, (7, Some("shop")), 3),
    ] {
        moments.add(row as usize, interval, thread, &[samples]);
    }
    let mut file = Vec::new();
    write_timed(&builder.finish(), &moments, &mut file).unwrap();
    let told = |by_thread, cuts| {
        let slicing = Slicing {
            cuts,
            by_thread,
            ..Slicing::default()
        };
        let profile = super::read::sliced(&file, Names::Raw, slicing).unwrap();
        let samples = words(&profile).split_off(1);
        let labelled = samples.iter().map(|line| {
            let (values, rest) = line.split_once(' ').unwrap();
            format!("{values}{}", rest.split_once(")]").unwrap().1)
        });
        labelled.collect::<Vec<_>>()
    };
    assert_eq!(told(false, Cuts::None), ["[6]"]);
    let by_thread = [r#"[4] thread="shop" tid=7 """#, r#"[2] thread="" tid=8 """#];
    assert_eq!(told(true, Cuts::None), by_thread);
    let first = Cuts::Around { from: 0, to: 1 };
    assert_eq!(told(false, first), ["[3]", r#"[3]  part=1 """#]);
    let both = [
        by_thread[0].replace('4', "1"),
        by_thread[1].to_owned(),
        format!("{}  part=1 \"\"", by_thread[0].replace('4', "3")),
    ];
    assert_eq!(told(true, first), both);
}

#[test]
fn plain_and_gzipped_are_read_alike() {
    assert_eq!(words(&read(&plain(GO_CPU)).unwrap()), words(&read(GO_CPU).unwrap()));
}

#[test]
fn every_truncation_of_a_plain_profile_is_an_error() {
    let plain = plain(GO_CPU);
    // The string table is the last field of Go's profiles; without its end something refers to what is missing.
    for end in 0..plain.len() {
        assert!(read(&plain[..end]).is_err(), "{end}");
    }
}

#[test]
fn code_of_the_kernel_is_known_by_its_mapping() {
    let mut builder = ProfileBuilder::new(vec![ValueType::new("samples", "count")]).unwrap();
    let mut stack = Vec::new();
    for (file, name) in [("[kernel.kallsyms]", "do_syscall_64"), ("/usr/bin/shop", "main")] {
        let mapping = Mapping {
            start: 0,
            limit: 0,
            offset: 0,
            file: builder.string(file).unwrap(),
            build_id: builder.string("").unwrap(),
            has: [true, false, false, false],
        };
        let mapping = builder.mapping(mapping).unwrap();
        let function = Function {
            name: builder.string(name).unwrap(),
            system_name: builder.string("").unwrap(),
            file: builder.string("").unwrap(),
            start_line: 0,
            kind: FrameKind::Other,
        };
        let function = builder.function(function).unwrap();
        let line = Line {
            function,
            line: 0,
            column: 0,
        };
        stack.push(builder.location(Some(mapping), 1, false, &[line]).unwrap());
    }
    builder.sample(&stack, &[1], &[]).unwrap();
    let read = read(&written(&builder.finish())).unwrap();
    let kinds: Vec<_> = read.functions().iter().map(|function| function.kind).collect();
    assert_eq!(kinds, [FrameKind::Kernel, FrameKind::Other]);
}

#[test]
fn a_profile_with_every_comment_it_may_have_is_read_again_with_a_stamp() {
    let mut profile = read(GO_CPU).unwrap();
    profile.comments = vec![String::new(); 1000];
    let again = read(&written(&profile)).unwrap();
    assert_eq!(again.comments.len(), 1000);
    profile.stamp = Some(Box::new(Quality::default()));
    assert!(read(&written(&profile)).unwrap().stamp.is_some());
    profile.comments.push(String::new());
    assert!(read(&written(&profile)).is_err());
}

#[test]
fn an_empty_label_is_the_same_whichever_index_it_has() {
    let of = |index: u8| {
        let types = b"\x0a\x04\x08\x01\x10\x02";
        let sample = [b"\x12\x09\x12\x01\x01\x1a\x04\x08\x03\x10".as_slice(), &[index]].concat();
        let strings = b"\x32\x00\x32\x07samples\x32\x05count\x32\x06thread\x32\x00";
        read(&[types.as_slice(), &sample, strings].concat()).unwrap()
    };
    let another = words(&of(4));
    assert_eq!(another, words(&of(0)));
    assert_eq!(words(&read(&written(&of(4))).unwrap()), another);
}

#[test]
fn trailing_garbage_is_an_error() {
    assert!(read(&[GO_CPU, b"garbage"].concat()).is_err());
}

#[test]
fn what_is_not_there_is_named() {
    // sample_type { type: 0 unit: 0 }, sample { location_id: 7 value: 1 }
    let dangling = [0x0a, 0, 0x12, 4, 0x08, 7, 0x10, 1];
    assert_eq!(
        read(&dangling).unwrap_err().to_string(),
        "the profile refers to location 7, which it does not have"
    );
    // sample_type { type: 9 }
    assert!(matches!(
        read(&[0x0a, 2, 0x08, 9]),
        Err(PprofError::Dangling {
            what: "string",
            index: 9
        })
    ));
    // sample_type {}, two functions { id: 1 }
    let twice = [0x0a, 0, 0x2a, 2, 0x08, 1, 0x2a, 2, 0x08, 1];
    assert!(matches!(
        read(&twice),
        Err(PprofError::BadId {
            what: "function",
            id: 1
        })
    ));
    assert!(matches!(read(&[]), Err(PprofError::NoSampleTypes)));
}

#[test]
fn a_gzip_bomb_is_refused() {
    let bomb = gzip(&vec![0x50; 257 << 20]);
    assert!(matches!(read(&bomb), Err(PprofError::TooLarge)));
}

fn any_stamp() -> impl Strategy<Value = Quality> {
    let text = || prop::option::of(".{0,20}");
    let share = || prop::option::of((0..=1_000_000_u32).prop_map(|share| f64::from(share) / 1e6));
    let texts = (text(), text(), text(), ".{0,9}", prop::collection::vec(".{0,20}", 0..3));
    let counts = (
        any::<u64>(),
        any::<Option<u64>>(),
        any::<Option<i32>>(),
        any::<Option<u32>>(),
    );
    (texts, counts, (share(), share()), any::<bool>()).prop_map(|(texts, counts, shares, cpu)| Quality {
        sampler: texts.0,
        pod: texts.1,
        process: texts.2,
        interval_unit: texts.3,
        degraded: texts.4,
        interval: counts.0,
        started_at_ms: counts.1,
        pid: counts.2,
        max_frames: counts.3,
        unresolved: shares.0,
        truncated: shares.1,
        clock: cpu.then_some(Clock::Cpu),
        ..Quality::default()
    })
}

fn any_profile() -> impl Strategy<Value = Profile> {
    let name = || prop_oneof!["[a-z]{0,4}", ".{0,6}"];
    let head = (
        prop::option::of(Just("cpu".to_owned())),
        any::<[i64; 3]>(),
        prop::collection::vec(name(), 0..3),
        prop::option::of(any_stamp()),
    );
    let functions = prop::collection::vec((name(), name(), name(), any::<i64>()), 1..5);
    let line = (any::<prop::sample::Index>(), any::<i64>(), any::<i64>());
    let location = (
        any::<u64>(),
        any::<bool>(),
        any::<bool>(),
        prop::collection::vec(line, 0..3),
    );
    let locations = prop::collection::vec(location, 1..5);
    let label = (name(), prop::option::of("[a-z]{1,4}"), any::<i64>(), name());
    let stack = prop::collection::vec(any::<prop::sample::Index>(), 0..4);
    let values = (any::<i32>(), any::<i32>());
    let samples = prop::collection::vec((stack, values, prop::collection::vec(label, 0..3)), 0..6);
    (head, functions, locations, samples).prop_map(|(head, functions, locations, samples)| {
        let types = vec![ValueType::new("samples", "count"), ValueType::new("cpu", "nanoseconds")];
        let mut builder = ProfileBuilder::new(types).unwrap();
        (builder.profile.default_sample_type, builder.profile.comments) = (head.0, head.2);
        builder.profile.stamp = head.3.map(Box::new);
        [
            builder.profile.period,
            builder.profile.time_nanos,
            builder.profile.duration_nanos,
        ] = head.1;
        builder.profile.period_type = Some(ValueType::new("cpu", "nanoseconds"));
        builder.profile.doc_url = "https://example.org".into();
        let file = builder.string("/bin/shop").unwrap();
        let mapping = Mapping {
            start: 1,
            limit: 2,
            offset: 3,
            file,
            build_id: file,
            has: [true, false, true, false],
        };
        let mapping = builder.mapping(mapping).unwrap();
        let mut function = |(name, system_name, file, start_line): (String, String, String, i64)| {
            let [name, system_name, file] = [name, system_name, file].map(|text| builder.string(&text).unwrap());
            builder
                .function(Function {
                    name,
                    system_name,
                    file,
                    start_line,
                    kind: FrameKind::Other,
                })
                .unwrap()
        };
        let functions: Vec<_> = functions.into_iter().map(&mut function).collect();
        let mut location = |(address, folded, mapped, lines): (u64, bool, bool, Vec<_>)| {
            let line = |(index, line, column): &(prop::sample::Index, i64, i64)| Line {
                function: *index.get(&functions),
                line: *line,
                column: *column,
            };
            let lines: Vec<_> = lines.iter().map(line).collect();
            builder
                .location(mapped.then_some(mapping), address, folded, &lines)
                .unwrap()
        };
        let locations: Vec<_> = locations.into_iter().map(&mut location).collect();
        for (stack, values, labels) in samples {
            let stack: Vec<_> = stack.iter().map(|index| *index.get(&locations)).collect();
            let mut label = |(key, text, number, unit): (String, Option<String>, i64, String)| {
                let value = match text {
                    Some(text) => LabelValue::Text(builder.string(&text).unwrap()),
                    None => LabelValue::Number(number, builder.string(&unit).unwrap()),
                };
                Label {
                    key: builder.string(&key).unwrap(),
                    value,
                }
            };
            let labels: Vec<_> = labels.into_iter().map(&mut label).collect();
            builder
                .sample(&stack, &[values.0.into(), values.1.into()], &labels)
                .unwrap();
        }
        builder.finish()
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(profile in any_profile()) {
        prop_assert_eq!(words(&read(&written(&profile)).unwrap()), words(&profile));
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&noise);
        let _ = read(&gzip(&noise));
    }

    #[test]
    fn a_flipped_byte_never_panics(at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let mut bytes = plain(GO_CPU);
        let at = at.index(bytes.len());
        bytes[at] = value;
        let _ = read(&bytes);
    }
}
