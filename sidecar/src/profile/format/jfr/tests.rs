//! A small recording of ours, bent in every way that other readers fell for.

use std::collections::BTreeMap;

use super::example::*;
use super::sampled::Sampled;
use super::*;
use crate::profile::model::{FrameKind, Profile};
use crate::profile::slicing::Slicing;
use crate::profile::{Names, View};

/// The whole, without threads.
fn read(file: impl std::io::Read, wanted: Option<Sampled>, names: Names) -> Result<Profile, JfrError> {
    read::read(file, wanted, names, Slicing::default())
}

/// What stands on the lines of a text of it: the last value of each stack, root first.
fn lines(profile: &Profile) -> BTreeMap<String, i64> {
    let name = |id: &crate::profile::model::LocationId| {
        let location = &profile.locations()[id.index()];
        let function = profile.lines(location)[0].function;
        profile.text(profile.functions()[function.index()].name).to_owned()
    };
    let mut lines = BTreeMap::new();
    for sample in profile.samples() {
        let frames: Vec<_> = sample.stack.iter().rev().map(name).collect();
        *lines.entry(frames.join(";")).or_default() += sample.values.last().unwrap();
    }
    lines
}

fn of(file: &[u8], wanted: Sampled) -> BTreeMap<String, i64> {
    lines(&read(file, Some(wanted), Names::Raw).unwrap())
}

fn expected(lines: &[(&str, i64)]) -> BTreeMap<String, i64> {
    lines
        .iter()
        .map(|(stack, value)| ((*stack).to_owned(), *value))
        .collect()
}

fn failure(file: &[u8]) -> JfrError {
    read(file, Some(Sampled::Cpu), Names::Raw).unwrap_err()
}

#[test]
fn each_event_has_its_own_samples_with_the_values_of_a_text() {
    let file = everything();
    let (work, class) = ("demo.shop.Split.main;demo.shop.Split.work", "demo.shop.Cart[]");
    assert_eq!(
        of(&file, Sampled::Cpu),
        expected(&[(work, 40_000_000), ("[truncated];[no_Java_frame]", 20_000_000)])
    );
    assert_eq!(
        of(&file, Sampled::Wall),
        expected(&[(work, 1)]),
        "its interval is not known"
    );
    assert_eq!(
        of(&file, Sampled::Alloc),
        expected(&[(&format!("{work};{class}"), 6000)])
    );
    assert_eq!(
        of(&file, Sampled::Heap),
        expected(&[(&format!("{work};{class}"), 1_000_000)])
    );
    assert_eq!(
        of(&file, Sampled::Lock),
        expected(&[(work, 250_000_000)]),
        "ticks are nanoseconds"
    );
    assert_eq!(of(&file, Sampled::Nativemem), expected(&[]));
    let profile = read(file.as_slice(), Some(Sampled::Alloc), Names::Raw).unwrap();
    assert_eq!(profile.recorded_samples, Some(2));
    assert_eq!(
        (profile.time_nanos, profile.duration_nanos),
        (5_000_000_000, 1_000_000_000)
    );
    let kinds: Vec<_> = profile.functions().iter().map(|function| function.kind).collect();
    assert_eq!(kinds, [FrameKind::Native, FrameKind::Jit, FrameKind::Interpreted]);
}

#[test]
fn without_a_choice_there_must_be_one_event() {
    let one = chunk(&[event(104, &numbers(&[250, STACK, 0])), pools()]);
    let profile = read(one.as_slice(), None, Names::Raw).unwrap();
    assert_eq!(profile.sample_types[0].name, "delay");
    let several = [one.as_slice(), &chunk(&[cpu(STACK), pools()])].concat();
    let error = read(several.as_slice(), None, Names::Raw).unwrap_err();
    assert!(error.to_string().contains("cpu, lock"), "{error}");
    assert!(
        read(chunk(&[pools()]).as_slice(), None, Names::Raw).is_ok(),
        "nothing is no choice"
    );
}

#[test]
fn chunks_are_summed_and_have_their_own_keys() {
    let first = chunk(&[cpu(STACK), pools()]);
    // The same keys for other things.
    let frames = |key| (26, key);
    let (stacks, key) = frames(STACK);
    let second = chunk(&[
        cpu(STACK),
        checkpoint(&[
            (stacks, &[(key, numbers(&[0, 1, 1, 0, 9]))]),
            (28, &[(1, numbers(&[1, 2, 0]))]),
        ]),
        checkpoint(&[(31, &[(2, text("other"))]), (25, &[(DEFAULT, text("STATE_DEFAULT"))])]),
    ]);
    let both = [first.as_slice(), &second, &first].concat();
    assert_eq!(
        of(&both, Sampled::Cpu),
        expected(&[("demo.shop.Split.main;demo.shop.Split.work", 2), ("other", 1)])
    );
}

#[test]
fn a_type_may_come_twice_in_a_pool_and_again_in_another() {
    let half = |key: u64, name: &str| (key, text(name));
    let twice = checkpoint(&[(31, &[half(1, "main")]), (31, &[half(2, "work")])]);
    let file = chunk(&[
        cpu(STACK),
        twice,
        checkpoint(&[
            (26, &[(STACK, numbers(&[0, 1, 1, 0, 0]))]),
            (28, &[(1, numbers(&[0, 2, 0]))]),
            (25, &[(DEFAULT, text("STATE_DEFAULT"))]),
        ]),
    ]);
    assert_eq!(of(&file, Sampled::Cpu), expected(&[("work", 1)]));
}

#[test]
fn a_stack_that_is_not_there_is_unknown() {
    let file = chunk(&[cpu(99), cpu(0), pools()]);
    assert_eq!(of(&file, Sampled::Cpu), expected(&[("[unknown]", 2)]));
}

#[test]
fn an_event_of_no_size_ends_the_reading() {
    for size in [0_u64, 1] {
        let file = chunk(&[number(size), cpu(STACK), pools()]);
        assert!(matches!(failure(&file), JfrError::EventSize), "{size}");
    }
    let file = chunk(&[number(1 << 20)]);
    assert!(matches!(failure(&file), JfrError::Cut));
}

#[test]
fn long_recordings_and_odd_clocks_do_not_overflow() {
    let file = chunk(&[event(104, &numbers(&[i64::MAX as u64, STACK, 0])), pools()]);
    assert!(
        read(file.as_slice(), Some(Sampled::Lock), Names::Raw).is_err(),
        "it is no time"
    );
    let backwards = chunk(&[event(104, &numbers(&[u64::MAX, STACK, 0])), pools()]);
    assert_eq!(of(&backwards, Sampled::Lock).into_values().collect::<Vec<_>>(), [0]);
    let year = 365 * 24 * 3600 * 1000;
    let file = chunk(&[event(104, &numbers(&[year, STACK, 0])), pools()]);
    assert_eq!(
        of(&file, Sampled::Lock).into_values().collect::<Vec<_>>(),
        [365 * 24 * 3600 * 1_000_000_000]
    );
}

#[test]
fn a_number_of_things_that_cannot_be_there_is_refused_before_memory_is_taken() {
    let many = number(1 << 40);
    let pool = |content: &[u8]| {
        let head = [numbers(&[0, 0, 0]), vec![1], number(1)].concat();
        event(1, &[head.as_slice(), content].concat())
    };
    let stack = [numbers(&[26, 1, STACK, 0]), many.clone()].concat();
    for broken in [
        event(1, &[numbers(&[0, 0, 0]), vec![1], many.clone()].concat()),
        pool(&[number(31), many.clone()].concat()),
        pool(&stack),
        pool(&[numbers(&[31, 1, 1]), vec![3], many.clone()].concat()),
    ] {
        assert!(matches!(failure(&chunk(&[broken])), JfrError::Count(_)));
    }
    let strings = [numbers(&[0, 0, 1]), many].concat();
    assert!(matches!(
        failure(&chunk_of(&event(0, &strings), &[])),
        JfrError::Count(_)
    ));
}

#[test]
fn types_within_types_have_an_end() {
    let itself = metadata(&[(26, "jdk.types.StackTrace", &[("frames", 26, "")])]);
    let file = chunk_of(&itself, &[checkpoint(&[(26, &[(1, vec![1; 40])])])]);
    assert!(matches!(failure(&file), JfrError::TooDeep));
    // Nothing would ever be read of it, as often as is said.
    let nothing = metadata(&[
        (26, "jdk.types.StackTrace", &[("frames", 30, "array")]),
        (30, "empty", &[]),
    ]);
    let file = chunk_of(&nothing, &[checkpoint(&[(26, &[(1, numbers(&[3, 1, 1, 1]))])])]);
    assert!(matches!(failure(&file), JfrError::UnknownType(30)));
    let unknown = chunk(&[checkpoint(&[(99, &[(1, vec![1])])])]);
    assert!(matches!(failure(&unknown), JfrError::UnknownType(99)));
    // A root with a child with a child, and so on.
    let nest: Vec<u8> = std::iter::repeat_n([0, 0, 1], 100_000).flatten().collect();
    let content = [numbers(&[0, 0, 1, 1]), text("x"), nest].concat();
    let size = number(content.len() as u64 + 4);
    let deep = [size.as_slice(), &[0], &content].concat();
    assert!(matches!(failure(&chunk_of(&deep, &[])), JfrError::TooDeep));
}

#[test]
fn what_is_no_finished_recording_says_so() {
    let file = chunk(&[pools()]);
    let with = |at: usize, byte: u8| {
        let mut file = file.clone();
        file[at] = byte;
        failure(&file)
    };
    assert!(matches!(with(0, b'G'), JfrError::NotJfr));
    assert!(matches!(with(5, 1), JfrError::Version(1)));
    assert!(
        matches!(with(31, 0), JfrError::Unfinished),
        "it does not say where its types are"
    );
    assert!(matches!(failure(b""), JfrError::Cut));
}

/// Every bit of a small recording, which has all there is.
#[test]
fn no_bit_that_flips_does_harm() {
    let file = chunk(&[
        setting("event", "cpu-clock"),
        cpu(STACK),
        event(102, &numbers(&[STACK, CLASS, 16, 1000])),
        pools(),
    ]);
    for bit in 0..file.len() * 8 {
        let mut bent = file.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        for wanted in [Sampled::Cpu, Sampled::Alloc] {
            if let Ok(profile) = read(bent.as_slice(), Some(wanted), Names::Normalised) {
                assert!(profile.sample_count() <= 2);
            }
        }
    }
}

/// Value and samples of the stacks with this function, and of all.
fn sums(file: &[u8], wanted: Sampled, function: &str) -> (i64, u64) {
    let profile = read(file, Some(wanted), Names::Normalised).unwrap();
    let lines = lines(&profile);
    let with = lines.iter().filter(|(stack, _)| stack.contains(function));
    (with.map(|(_, value)| value).sum(), profile.recorded_samples.unwrap())
}

/// The numbers are those of `jfr print` of JDK 17, whose reader shares nothing with ours. Live objects are estimated from
/// their sizes: 1,040 bytes each, which stand for an interval each.
#[test]
fn real_recordings_are_read_as_the_jdk_reads_them() {
    let alloc = include_bytes!("../../../../tests/data/profile/jfr/jvm-alloc.jfr");
    let lock = include_bytes!("../../../../tests/data/profile/jfr/jvm-lock.jfr");
    assert_eq!(sums(alloc, Sampled::Alloc, ""), (561_511_377, 1071));
    assert_eq!(sums(alloc, Sampled::Alloc, "Split.allocSixty"), (335_543_680, 1071));
    assert_eq!(sums(alloc, Sampled::Alloc, "Split.allocThirty"), (170_917_562, 1071));
    assert_eq!(sums(alloc, Sampled::Alloc, "Split.allocTen"), (55_050_135, 1071));
    let (live, samples) = sums(alloc, Sampled::Heap, "Split.allocSixty");
    assert_eq!((live / (524_287 + 519), samples), (101, 168));
    assert_eq!(sums(alloc, Sampled::Cpu, ""), (70_000_000, 7));
    for (function, nanos) in [
        ("", 1_568_102_147),
        ("Split.lockSixty", 990_750_851),
        ("Split.lockTen", 157_434_277),
    ] {
        let (waited, samples) = sums(lock, Sampled::Lock, function);
        // The JDK rounds each wait, we round their sum.
        assert!((waited - nanos).abs() < 422, "{function}: {waited}");
        assert_eq!(samples, 422);
    }
    let stacks = lines(&read(&alloc[..], Some(Sampled::Alloc), Names::Normalised).unwrap());
    assert_eq!(stacks.len(), 3);
    assert!(stacks.keys().all(|stack| stack.ends_with(";byte[]")), "{stacks:?}");
}

/// What is left of a profile in a view, as lines.
fn viewed(mut profile: Profile, view: &View) -> BTreeMap<String, i64> {
    crate::profile::view::select::select(&mut profile, view, 0, (None, false)).unwrap();
    lines(&profile)
}

#[test]
fn samples_are_told_apart_by_when_they_were_and_the_rest_is_counted() {
    let at = |time: u64, stack: u64| event(101, &numbers(&[time, stack, DEFAULT]));
    // The second chunk begins a second after the first one; a tick is a millisecond.
    let mut later = chunk(&[at(39_950, STACK), at(40_100, OTHER_STACK), pools()]);
    later[32..40].copy_from_slice(&6_000_000_000_u64.to_be_bytes());
    // Its clock has another zero, so that one of its samples began before it did.
    later[48..56].copy_from_slice(&40_000_u64.to_be_bytes());
    let file = [
        chunk(&[at(1, STACK), at(500, STACK), at(900, OTHER_STACK), pools()]),
        later,
    ]
    .concat();
    let window = |from: u32, to: u32| {
        let view = View {
            from: Some(from),
            to: Some(to),
            ..View::default()
        };
        let profile = read::read(file.as_slice(), Some(Sampled::Cpu), Names::Raw, view.slicing()).unwrap();
        assert_eq!(profile.recorded_samples, Some(5), "of the whole");
        viewed(profile, &view)
    };
    let [work, cut] = [
        "demo.shop.Split.main;demo.shop.Split.work",
        "[truncated];[no_Java_frame]",
    ];
    let expect = |pairs: &[(&str, i64)]| {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect::<BTreeMap<_, _>>()
    };
    assert_eq!(window(0, 500), expect(&[(work, 1)]));
    assert_eq!(window(500, 1000), expect(&[(work, 2), (cut, 1)]));
    assert_eq!(window(950, 1000), expect(&[(work, 1)]));
    assert_eq!(window(1100, 2000), expect(&[(cut, 1)]));
    assert_eq!(window(3000, 9000), expect(&[]));
}

#[test]
fn threads_are_chosen_by_name_or_number_and_split_by() {
    const THREAD: u64 = 22;
    let mut types: Vec<Described<'_>> = TYPES.to_vec();
    types.retain(|(id, ..)| *id != 101);
    types.push((
        THREAD,
        "java.lang.Thread",
        &[("osName", 20, ""), ("osThreadId", 11, ""), ("javaName", 20, "")],
    ));
    types.push((
        101,
        "jdk.ExecutionSample",
        &[
            ("startTime", 11, ""),
            ("sampledThread", THREAD, "pool"),
            ("stackTrace", 26, "pool"),
            ("state", 25, "pool"),
        ],
    ));
    let thread = |system: &str, id: u64, java: &str| [text(system), number(id), text(java)].concat();
    let threads = checkpoint(&[(
        THREAD,
        &[
            (1, thread("worker", 71, "shop-worker-1")),
            (2, thread("GC Thread#0", 72, "")),
        ],
    )]);
    let sample = |of: u64| event(101, &numbers(&[1, of, STACK, DEFAULT]));
    let file = chunk_of(&metadata(&types), &[sample(1), sample(1), sample(2), pools(), threads]);
    let shown = |thread: Option<&str>, by: Option<&str>| {
        let view = View {
            thread: thread.map(|text| text.parse().unwrap()),
            by: by.map(|text| text.parse().unwrap()),
            ..View::default()
        };
        let profile = read::read(file.as_slice(), Some(Sampled::Cpu), Names::Raw, view.slicing()).unwrap();
        viewed(profile, &view).into_iter().collect::<Vec<_>>()
    };
    let work = "demo.shop.Split.main;demo.shop.Split.work";
    assert_eq!(shown(Some("^shop-"), None), [(work.to_owned(), 2)]);
    assert_eq!(shown(Some("72"), None), [(work.to_owned(), 1)]);
    assert_eq!(
        shown(None, Some("thread")),
        [
            (format!("[GC Thread#0 tid=72];{work}"), 1),
            (format!("[shop-worker-1 tid=71];{work}"), 2)
        ]
    );
    assert_eq!(
        shown(Some("GC"), Some("thread-name")),
        [(format!("[GC Thread#0];{work}"), 1)]
    );
    assert_eq!(
        shown(None, Some("label:endpoint")),
        [(format!("[no endpoint];{work}"), 3)]
    );
}

#[test]
fn samples_are_split_by_the_spans_that_they_are_in() {
    let file = spanned();
    let shown = |by: &str, from: Option<u32>| {
        let view = View {
            from,
            by: Some(by.parse().unwrap()),
            ..View::default()
        };
        let profile = read::read(file.as_slice(), Some(Sampled::Cpu), Names::Raw, view.slicing()).unwrap();
        assert_eq!(profile.recorded_samples, Some(8));
        viewed(profile, &view).into_iter().collect::<Vec<_>>()
    };
    let of = |root: &str, samples: i64| (format!("{root};demo.shop.Split.main;demo.shop.Split.work"), samples);
    let by_span = [of("[no span]", 3), of("[span: /cart]", 3), of("[span: /price]", 2)];
    assert_eq!(shown("label:span", None), by_span);
    assert_eq!(
        shown("label:span", Some(14)),
        [of("[no span]", 1), of("[span: /cart]", 1)]
    );
    assert_eq!(shown("label:endpoint", None), [of("[no endpoint]", 8)]);
}

#[test]
fn what_the_jdk_records_by_two_events_is_counted_once() {
    let mut types: Vec<Described<'_>> = TYPES.to_vec();
    types.retain(|(_, name, _)| !name.starts_with("profiler."));
    types.push((
        130,
        "jdk.ObjectAllocationSample",
        &[
            ("stackTrace", 26, "pool"),
            ("objectClass", 21, "pool"),
            ("weight", 11, ""),
        ],
    ));
    types.push((131, "jdk.CPUTimeSample", &[("stackTrace", 26, "pool")]));
    let buffer = event(102, &numbers(&[STACK, CLASS, 16, 1000]));
    let sampled = event(130, &numbers(&[OTHER_STACK, CLASS, 900]));
    let by_time = event(131, &numbers(&[STACK]));
    let sum = |events: &[&Vec<u8>], wanted: Sampled| {
        let events: Vec<_> = events.iter().copied().cloned().chain([pools()]).collect();
        let profile = read(
            chunk_of(&metadata(&types), &events).as_slice(),
            Some(wanted),
            Names::Raw,
        )
        .unwrap();
        (lines(&profile).values().sum::<i64>(), profile.recorded_samples)
    };
    assert_eq!(sum(&[&sampled, &buffer, &sampled], Sampled::Alloc), (1000, Some(1)));
    assert_eq!(sum(&[&sampled, &sampled], Sampled::Alloc), (1800, Some(2)));
    let executed = cpu(OTHER_STACK);
    assert_eq!(sum(&[&executed, &by_time, &executed], Sampled::Cpu), (1, Some(1)));
    assert_eq!(sum(&[&executed, &executed], Sampled::Cpu), (2, Some(2)));
}

#[test]
fn of_two_types_of_one_name_it_is_always_the_same_that_counts() {
    let mut types: Vec<Described<'_>> = TYPES.to_vec();
    types.push((140, "jdk.ActiveSetting", &[("id", 11, "")]));
    let file = chunk_of(&metadata(&types), &[setting("event", "cpu-clock"), cpu(STACK), pools()]);
    for _ in 0..32 {
        assert_eq!(of(&file, Sampled::Cpu).into_values().collect::<Vec<_>>(), [10_000_000]);
    }
}
