//! Lines as async-profiler writes them, and lines as an enemy would.

use proptest::prelude::*;

use super::*;
use crate::profile::flat_stacks::FlatStacks;
use crate::profile::format::collapsed::write::write;

fn samples() -> CollapsedValues {
    CollapsedValues {
        value: ValueType::new("samples", "count"),
        interval: None,
    }
}

fn read_text(text: &[u8]) -> Result<Profile, CollapsedError> {
    read(text, &samples(), Names::Raw)
}

/// `leaf(Kind) < caller(Kind) = value {label=…}` per sample.
fn words(profile: &Profile) -> Vec<String> {
    let name = |id: &LocationId| {
        let function = profile.functions()[profile.lines(&profile.locations()[id.index()])[0].function.index()];
        format!("{}({:?})", profile.text(function.name), function.kind)
    };
    let label = |label: &Label| match label.value {
        LabelValue::Text(value) => format!(" {}={}", profile.text(label.key), profile.text(value)),
        LabelValue::Number(value, _) => format!(" {}={value}", profile.text(label.key)),
    };
    let sample = |sample: crate::profile::model::Sample<'_>| {
        let stack: Vec<_> = sample.stack.iter().map(name).collect();
        let labels: String = sample.labels.iter().map(label).collect();
        format!("{} = {:?}{labels}", stack.join(" < "), sample.values)
    };
    profile.samples().map(sample).collect()
}

#[test]
fn annotations_become_kinds() {
    let profile = read_text(b"a_[0];b_[1];c_[j];d_[i];e;f_[k] 3\nx_[z] 1\n").unwrap();
    assert_eq!(
        words(&profile),
        [
            "f(Kernel) < e(Native) < d(Inlined) < c(Jit) < b(Jit) < a(Interpreted) = [3]",
            "x_[z](Native) = [1]"
        ]
    );
}

#[test]
fn equal_lines_are_summed_and_names_may_contain_spaces() {
    let profile = read_text(b"a;b c 5 3\na;b c 5 4\r\n\n").unwrap();
    assert_eq!(words(&profile), ["b c 5(Native) < a(Native) = [7]"]);
}

#[test]
fn the_thread_frame_stays_and_is_a_label() {
    let profile = read_text(b"[main tid=7];a 1\n[tid=8];a 1\n[GC tid=9] 1\n").unwrap();
    assert_eq!(
        words(&profile),
        [
            "a(Native) < [main tid=7](Thread) = [1] thread=main tid=7",
            "a(Native) < [tid=8](Thread) = [1] thread=[tid=8] tid=8",
            "[GC tid=9](Thread) = [1] thread=GC tid=9",
        ]
    );
}

#[test]
fn a_thread_may_be_called_anything() {
    let profile = read_text(b"[a; b tid=x] tid=7];run_[j] 1\n[unknown];a 2\n[tid=5]x;a 3\n").unwrap();
    assert_eq!(
        words(&profile),
        [
            "run(Jit) < [a; b tid=x] tid=7](Thread) = [1] thread=a; b tid=x] tid=7",
            "a(Native) < [unknown](Native) = [2]",
            "a(Native) < [tid=5]x(Native) = [3]",
        ]
    );
}

#[test]
fn a_cut_recording_is_an_error() {
    assert!(matches!(
        read_text(b"a 1\nb 12"),
        Err(CollapsedError::Truncated { line: 2 })
    ));
    assert!(matches!(
        read_text(&vec![b'a'; 9 << 20]),
        Err(CollapsedError::LineTooLong { line: 1 })
    ));
}

#[test]
fn lines_without_a_count_are_skipped_but_not_all_of_them() {
    let profile = read_text(b"a 1\nb\nc -1\nd +1\ne 99999999999999999999\n").unwrap();
    assert_eq!((words(&profile).len(), profile.skipped_lines), (1, 4));
    assert!(matches!(read_text(b"nothing\n"), Err(CollapsedError::NotCollapsed)));
    assert_eq!(read_text(b"").unwrap().sample_count(), 0);
}

#[test]
fn names_that_are_no_text_are_shown_as_far_as_they_are() {
    assert_eq!(
        words(&read_text(b"a\xff;b 1\n").unwrap()),
        ["b(Native) < a\u{fffd}(Native) = [1]"]
    );
}

#[test]
fn absurd_sums_and_names_are_errors() {
    let values = CollapsedValues {
        value: ValueType::new("cpu", "nanoseconds"),
        interval: NonZeroU64::new(10),
    };
    let sum = read(&b"a 9223372036854775807\n"[..], &values, Names::Raw);
    assert!(matches!(sum, Err(CollapsedError::Model(ModelError::Overflow))));
    let name = [vec![b'a'; MAX_NAME + 1], b" 1\n".to_vec()].concat();
    assert!(matches!(
        read_text(&name),
        Err(CollapsedError::Model(ModelError::TooLarge { .. }))
    ));
}

#[test]
fn the_stamp_tells_what_the_numbers_are() {
    let of = |event: &str, clock, interval, unit: &str| {
        let quality = Quality {
            event: Some(event.into()),
            clock: Some(clock),
            interval,
            interval_unit: unit.into(),
            ..crate::profile::stamp::tests::quality()
        };
        let types = CollapsedValues::of(&quality).sample_types();
        types
            .iter()
            .map(|kind| format!("{}/{}", kind.name, kind.unit))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        of("cpu", Clock::Cpu, 10_000_000, "nanoseconds"),
        "samples/count cpu/nanoseconds"
    );
    assert_eq!(
        of("wall", Clock::Wall, 50_000_000, "nanoseconds"),
        "samples/count wall/nanoseconds"
    );
    assert_eq!(of("cpu", Clock::Cpu, 0, "nanoseconds"), "samples/count");
    assert_eq!(of("alloc", Clock::None, 524_287, "bytes"), "alloc_space/bytes");
    assert_eq!(of("heap", Clock::None, 524_287, "bytes"), "inuse_space/bytes");
    assert_eq!(of("lock", Clock::None, 10_000, "nanoseconds"), "delay/nanoseconds");
    assert_eq!(of("cache-misses", Clock::None, 1000, "count"), "cache-misses/count");
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        stacks in prop::collection::vec((prop::collection::vec("[a-c ;:=\n\\[\\]\u{202e}]{0,4}", 1..4), 1..99_i64), 0..9),
    ) {
        let written = |profile: &Profile| {
            let mut out = Vec::new();
            write(&FlatStacks::new(profile, 0, None).unwrap(), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let mut builder = ProfileBuilder::new(samples().sample_types()).unwrap();
        for (frames, value) in &stacks {
            let stack: Vec<_> = frames.iter().map(|name| builder.frame(name, FrameKind::Other).unwrap()).collect();
            builder.sample(&stack, &[*value], &[]).unwrap();
        }
        let first = written(&builder.finish());
        prop_assert_eq!(written(&read_text(first.as_bytes()).unwrap()), first);
    }
}
