//! Whole streams, made here and recorded, through the reader. One file of more than 500 lines: most of it is what the streams are made with.

use std::path::Path;

use super::example::{
    begin_version4, begin_version6, block6, bulk_nodes, bulk_types, event_block, heap_stats, object, utf16,
};
use super::framing::TAG_NULL;
use super::read::NettraceReadError;
use crate::format::{Format, RecordingKind};
use crate::profile::quality::ThreadFacts;
use crate::profile::slicing::{Cuts, Slicing};
use crate::profile::{Names, Profile, Quality, RenderOptions, View, render};

/// The whole, as it was recorded.
fn read(input: &mut dyn std::io::Read, stamp: &Quality) -> Result<Profile, NettraceReadError> {
    super::read::read(input, stamp, Slicing::default())
}

const RUNTIME: &str = "Microsoft-Windows-DotNETRuntime";
const RUNDOWN: &str = "Microsoft-Windows-DotNETRuntimeRundown";
const SAMPLES: &str = "Microsoft-DotNETCore-SampleProfiler";

/// What events of the streams below are called in them.
const KINDS: [(u8, &str, u32, u32); 13] = [
    (1, SAMPLES, 0, 0),
    (2, RUNDOWN, 144, 2),
    (3, RUNTIME, 10, 4),
    (4, RUNTIME, 81, 1),
    (5, RUNTIME, 91, 1),
    (6, RUNTIME, 80, 1),
    (7, RUNTIME, 303, 0),
    (8, "Demo-Shop", 1, 0),
    (9, RUNTIME, 144, 2),
    (10, RUNTIME, 15, 0),
    (11, RUNTIME, 18, 0),
    (12, RUNTIME, 2, 1),
    (13, RUNTIME, 4, 2),
];

/// A stream in the making, of version 4 or 6.
struct Made {
    version: u32,
    stream: Vec<u8>,
    rows: Vec<Vec<u8>>,
    time: u64,
    /// Events so far, all written by thread 7.
    count: u64,
}

impl Made {
    fn new(version: u32) -> Self {
        let mut made = Self {
            version,
            stream: if version == 4 {
                begin_version4()
            } else {
                begin_version6()
            },
            rows: Vec::new(),
            time: 0,
            count: 0,
        };
        made.metadata();
        if version == 6 {
            // Index 7 is thread 107 of process 4711, index 8 thread 108.
            made.block(
                "Thread",
                &[7, 0, 7, 2, 0xe7, 0x24, 3, 107, 0, 7, 0, 8, 2, 0xe7, 0x24, 3, 108, 0],
            );
        }
        made
    }

    fn metadata(&mut self) {
        if self.version == 4 {
            let rows: Vec<_> = KINDS
                .iter()
                .map(|(id, provider, event, version)| {
                    let mut payload = u32::from(*id).to_le_bytes().to_vec();
                    payload.extend(utf16(provider));
                    payload.extend(event.to_le_bytes());
                    payload.extend([0; 2 + 8]);
                    payload.extend(version.to_le_bytes());
                    payload.extend([0; 8]);
                    [&[0x80, 0][..], &varint(payload.len() as u64), &payload].concat()
                })
                .collect();
            let rows: Vec<_> = rows.iter().map(Vec::as_slice).collect();
            self.block("MetadataBlock", &event_block(&rows));
        } else {
            let mut block = vec![0, 0];
            for (id, provider, event, version) in KINDS {
                let mut row = vec![id, u8::try_from(provider.len()).unwrap()];
                row.extend(provider.as_bytes());
                row.extend(varint(u64::from(event)));
                row.extend([0, 0, 0, 2, 0, 9, u8::try_from(version).unwrap()]);
                block.extend(u16::try_from(row.len()).unwrap().to_le_bytes());
                block.extend(row);
            }
            self.block("MetadataBlock", &block);
        }
    }

    fn block(&mut self, name: &str, content: &[u8]) {
        if self.version == 4 {
            object(&mut self.stream, name, content);
            return;
        }
        let kind = match name {
            "EventBlock" => 2,
            "MetadataBlock" => 3,
            "SPBlock" => 4,
            "StackBlock" => 5,
            _ => 6,
        };
        block6(&mut self.stream, kind, content);
    }

    /// Stacks with the ids 1, 2, …, leaf first.
    fn stacks(&mut self, stacks: &[&[u64]]) {
        let mut block = 1_u32.to_le_bytes().to_vec();
        block.extend(u32::try_from(stacks.len()).unwrap().to_le_bytes());
        for stack in stacks {
            block.extend(u32::try_from(8 * stack.len()).unwrap().to_le_bytes());
            block.extend(stack.iter().flat_map(|address| address.to_le_bytes()));
        }
        self.block("StackBlock", &block);
    }

    fn event(&mut self, milliseconds: u64, kind: u8, thread: u8, stack: u8, payload: &[u8]) {
        let mut row = vec![0x80 | 1 | 2 | 4 | 8, kind];
        // A block starts from nothing; in it each event is one more than the one before.
        row.extend(varint(if self.rows.is_empty() { self.count } else { 0 }));
        self.count += 1;
        row.extend([7, 0, thread, stack]);
        let now = milliseconds * 1_000_000;
        row.extend(varint(now - self.time));
        self.time = now;
        row.extend(varint(payload.len() as u64));
        row.extend(payload);
        self.rows.push(row);
    }

    fn sample(&mut self, milliseconds: u64, thread: u8, stack: u8, managed: bool) {
        self.event(milliseconds, 1, thread, stack, &[1 + u8::from(managed), 0, 0, 0]);
    }

    fn method(&mut self, kind: u8, start: u64, name: &str) {
        let (type_name, name) = name.rsplit_once('.').unwrap();
        let mut payload = vec![0; 16];
        payload.extend(start.to_le_bytes());
        payload.extend(0x100_u32.to_le_bytes());
        payload.extend([0, 0, 0, 6, 8, 0, 0, 0]);
        payload.extend([utf16(type_name), utf16(name), utf16("void ()")].concat());
        payload.extend([0; 10]);
        self.event(self.time / 1_000_000, kind, 7, 0, &payload);
    }

    fn flush(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        let rows: Vec<_> = rows.iter().map(Vec::as_slice).collect();
        let block = event_block(&rows);
        self.block("EventBlock", &block);
        self.time = 0;
    }

    fn whole(mut self) -> Vec<u8> {
        if !self.rows.is_empty() {
            self.flush();
        }
        if self.version == 4 {
            self.stream.push(TAG_NULL);
        } else {
            self.stream.extend([0; 4]);
        }
        self.stream
    }
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn thread(name: &str, cpu_ms: u64) -> ThreadFacts {
    ThreadFacts {
        name: name.to_owned(),
        cpu_ms,
    }
}

fn of_event(event: &str) -> Quality {
    Quality {
        event: Some(event.to_owned()),
        ..Quality::default()
    }
}

/// `root;leaf values` per sample.
fn lines(profile: &Profile) -> Vec<String> {
    let line = |sample: crate::profile::model::Sample<'_>| {
        let names = sample.stack.iter().rev().map(|id| {
            let location = &profile.locations()[id.index()];
            let function = &profile.functions()[profile.lines(location)[0].function.index()];
            profile.text(function.name)
        });
        format!("{} {:?}", names.collect::<Vec<_>>().join(";"), sample.values)
    };
    let mut lines: Vec<_> = profile.samples().map(line).collect();
    lines.sort();
    lines
}

fn profile(stream: &[u8], stamp: &Quality) -> Profile {
    read(&mut &*stream, stamp).unwrap()
}

/// Thread 7 works, thread 8 sleeps in native code; their stacks are 1 and 2.
fn work_and_sleep(version: u32, working: bool) -> Vec<u8> {
    let mut made = Made::new(version);
    // A thread that is interrupted may be at the first byte of a method, no call returns there.
    let leaf = if working { 0x2000 } else { 0x2010 };
    made.stacks(&[&[leaf, 0x1010], &[0x3010, 0x1010]]);
    for tick in 0..10 {
        made.sample(2 * tick, 7, 1, working);
        made.sample(2 * tick, 8, 2, false);
    }
    made.method(2, 0x1000, "Shop.Main");
    made.method(2, 0x2000, "Shop.Work");
    made.method(2, 0x3000, "System.Threading.Thread.Sleep");
    made.whole()
}

#[test]
fn managed_samples_are_cpu_time_and_all_samples_are_wall_time() {
    for version in [4, 6] {
        let stream = work_and_sleep(version, true);
        let cpu = profile(&stream, &of_event("cpu"));
        // Nine of 2 ms, and the last of one interval.
        assert_eq!(lines(&cpu), ["Shop.Main;Shop.Work [10, 19000000]"], "{version}");
        assert_eq!(cpu.sampled_cpu_ms, Some(19));
        assert_eq!((cpu.lost, cpu.doubts.len()), (Some(0), 1));
        assert!(cpu.doubts[0].1.contains("native code"), "{:?}", cpu.doubts);
        let wall = profile(&stream, &of_event("wall"));
        assert_eq!(
            lines(&wall),
            [
                "Shop.Main;Shop.Work [10, 19000000]",
                "Shop.Main;System.Threading.Thread.Sleep [10, 19000000]"
            ]
        );
        assert_eq!((wall.sampled_cpu_ms, wall.doubts.len()), (None, 0));
    }
}

#[test]
fn a_recording_of_a_moment_has_each_thread_once_with_what_it_does() {
    let made = |stream: &[u8], format| {
        let options = RenderOptions {
            format,
            quality: Some(Quality {
                threads: [(7, thread("buy\u{1b}er", 19)), (8, thread("", 0))].into(),
                ..of_event("goroutine")
            }),
            sample_type: None,
            title: String::new(),
            collapsed: None,
            names: Names::Normalised,
            event: None,
            view: View::default(),
        };
        let mut out = Vec::new();
        render(stream, RecordingKind::NettraceThreads, &options, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let text = made(&work_and_sleep(4, true), Format::Text);
    let (stamp, threads) = text.split_once('\n').unwrap();
    assert!(stamp.contains("0 lost"), "{stamp}");
    let expected = "
\"buy\u{fffd}er\" tid=7 [managed code]:
   at Shop.Work
   at Shop.Main

a thread tid=8 [waiting]:
   at System.Threading.Thread.Sleep
   at Shop.Main
";
    assert_eq!(threads, expected);
    let collapsed = made(&work_and_sleep(6, true), Format::Collapsed);
    assert_eq!(
        collapsed,
        "Shop.Main;Shop.Work 1\nShop.Main;System.Threading.Thread.Sleep 1\n"
    );
}

#[test]
fn a_walk_through_the_heap_is_a_frame_per_type() {
    for version in [4, 6] {
        let mut made = Made::new(version);
        made.event(1, 11, 7, 0, &bulk_nodes(0, &[(70, 24), (80, 400)]));
        made.event(1, 10, 7, 0, &bulk_types(&[(70, "Shop.Order"), (80, "Shop.Order[]")]));
        made.flush();
        made.event(1, 11, 7, 0, &bulk_nodes(1, &[(70, 24)]));
        made.event(1, 12, 7, 0, &[0; 10]);
        made.event(1, 13, 7, 0, &heap_stats([448, 0, 0, 0]));
        let stream = made.whole();
        // One that does not say what it is of is of the heap that it has.
        for stamp in [of_event("heap"), Quality::default()] {
            let heap = profile(&stream, &stamp);
            assert_eq!(lines(&heap), ["Shop.Order [2, 48]", "Shop.Order[] [1, 400]"]);
            assert_eq!(heap.default_sample_type.as_deref(), Some("inuse_space"));
            assert_eq!((heap.live_bytes, heap.lost), (Some(448), Some(0)));
            assert_eq!(heap.doubts, []);
            // No half of it is all of it.
            let half = Slicing {
                cuts: Cuts::Around { from: 0, to: 1 },
                ..Slicing::default()
            };
            let refused = super::read::read(&mut stream.as_slice(), &stamp, half);
            assert!(matches!(refused, Err(NettraceReadError::OfAMoment)), "{refused:?}");
        }
        assert!(matches!(
            read(&mut work_and_sleep(version, true).as_slice(), &of_event("heap")),
            Err(NettraceReadError::NothingToShow)
        ));
    }
}

#[test]
fn stacks_are_split_by_thread_where_the_stamp_says_so() {
    let stamp = Quality {
        by_thread: true,
        threads: [(8, thread("sleeper", 0))].into(),
        ..of_event("wall")
    };
    let wall = profile(&work_and_sleep(4, true), &stamp);
    assert_eq!(
        lines(&wall),
        [
            "[sleeper tid=8];Shop.Main;System.Threading.Thread.Sleep [10, 19000000]",
            "[tid=7];Shop.Main;Shop.Work [10, 19000000]"
        ]
    );
    assert!(wall.samples().all(|sample| sample.labels.len() == 2));
}

#[test]
fn where_the_runtime_calls_no_thread_managed_cpu_is_what_does_not_wait_and_the_profile_says_so() {
    let cpu = profile(&work_and_sleep(4, false), &of_event("cpu"));
    assert_eq!(lines(&cpu), ["Shop.Main;Shop.Work [10, 19000000]"]);
    assert!(
        cpu.doubts[0].1.contains("marks no thread as running"),
        "{:?}",
        cpu.doubts
    );
}

/// Threads 7 and 8 are outside managed code for 19 ms each, in functions that do not wait by their names; 7 also was managed.
fn two_of_many_minds() -> Vec<u8> {
    let mut made = Made::new(4);
    made.stacks(&[&[0x2010], &[0x1010]]);
    for tick in 0..10 {
        made.sample(2 * tick, 7, 1, false);
        made.sample(2 * tick, 8, 2, false);
    }
    for tick in 10..20 {
        made.sample(2 * tick, 7, 1, true);
    }
    made.method(2, 0x1000, "Shop.Main");
    made.method(2, 0x2000, "Shop.Work");
    made.whole()
}

fn used(threads: &[(u64, u64)]) -> Quality {
    Quality {
        threads: threads.iter().map(|&(id, ms)| (id, thread("", ms))).collect(),
        ..of_event("cpu")
    }
}

#[test]
fn the_kernels_count_of_a_thread_says_how_much_of_its_other_time_was_cpu_time() {
    let stream = two_of_many_minds();
    let of = |threads: &[(u64, u64)]| profile(&stream, &used(threads));
    // 20 ms of thread 7 are external, 19 managed.
    let all = of(&[(7, 39), (8, 0)]);
    assert_eq!(lines(&all), ["Shop.Work [20, 39000000]"]);
    assert_eq!(all.sampled_cpu_ms, Some(39));
    assert!(
        all.doubts[0].1.contains("apportioned by the kernel"),
        "{:?}",
        all.doubts
    );
    assert_eq!(lines(&of(&[(7, 29), (8, 0)])), ["Shop.Work [15, 29000000]"]);
    let none = of(&[(7, 10), (8, 0)]);
    assert_eq!(lines(&none), ["Shop.Work [10, 19000000]"], "it shared a CPU");
    assert_eq!(none.doubts.len(), 0);
    assert_eq!(
        lines(&of(&[(7, 39), (8, 19)])),
        ["Shop.Main [10, 19000000]", "Shop.Work [20, 39000000]"]
    );
    // A thread that started or ended meanwhile: the runtime's word is all there is.
    assert_eq!(lines(&of(&[(8, 0)])), ["Shop.Work [10, 19000000]"]);
}

#[test]
fn managed_code_that_waited_for_a_cpu_has_no_more_time_than_the_kernel_counted() {
    let mut made = Made::new(4);
    made.stacks(&[&[0x2010], &[0x1010]]);
    for tick in 0..=10 {
        made.sample(20 * tick, 7, 1, true);
        made.sample(20 * tick, 8, 2, true);
    }
    made.method(2, 0x1000, "Shop.Main");
    made.method(2, 0x2000, "Shop.Work");
    let cpu = profile(&made.whole(), &used(&[(7, 201), (8, 57)]));
    // A hundredth of a second more may have been run than was counted.
    assert_eq!(lines(&cpu), ["Shop.Main [11, 67000000]", "Shop.Work [11, 201000000]"]);
    assert_eq!((cpu.sampled_cpu_ms, cpu.doubts.len()), (Some(268), 0));
}

#[test]
fn threads_that_are_told_apart_for_their_time_are_not_told_apart_in_the_profile() {
    let stream = work_and_sleep(4, true);
    let cpu = profile(&stream, &used(&[(7, 19), (8, 0)]));
    assert_eq!(lines(&cpu), ["Shop.Main;Shop.Work [10, 19000000]"]);
    let wall = Quality {
        event: Some("wall".to_owned()),
        ..used(&[(8, 0)])
    };
    assert_eq!(profile(&stream, &wall).sample_count(), 2);
}

#[test]
fn a_stream_that_does_not_say_what_it_is_for_has_every_value() {
    let profile = profile(&work_and_sleep(4, true), &Quality::default());
    let types: Vec<_> = profile.sample_types.iter().map(|kind| kind.name.as_str()).collect();
    assert_eq!(types, ["samples", "cpu", "wall"]);
    assert_eq!(profile.value_index(None), Some(1));
    assert_eq!(
        lines(&profile),
        [
            "Shop.Main;Shop.Work [10, 19000000, 19000000]",
            "Shop.Main;System.Threading.Thread.Sleep [10, 0, 19000000]"
        ]
    );
    assert_eq!(profile.time_nanos, 1_795_694_400_250_000_000);
}

#[test]
fn allocations_have_their_type_as_leaf_and_random_ones_replace_ticks() {
    let tick = |bytes: u64| {
        let mut payload = vec![0; 10];
        payload.extend(bytes.to_le_bytes());
        payload.extend([0; 8]);
        payload.extend(utf16("System.Byte[]"));
        payload.extend([0; 20]);
        payload
    };
    let mut made = Made::new(4);
    made.stacks(&[&[0x1010]]);
    made.event(1, 3, 7, 1, &tick(106_496));
    made.event(2, 3, 7, 1, &tick(100_000));
    made.method(2, 0x1000, "Shop.Main");
    let ticks = profile(&made.whole(), &of_event("alloc"));
    assert_eq!(lines(&ticks), ["Shop.Main;System.Byte[] [2, 206496]"]);
    assert_eq!(ticks.value_index(None), Some(1));

    let mut made = Made::new(4);
    made.stacks(&[&[0x1010]]);
    made.event(1, 3, 7, 1, &tick(106_496));
    let mut chosen = vec![0; 14];
    chosen.extend(utf16("Shop.Cart"));
    chosen.extend([0; 8]);
    chosen.extend(24_u64.to_le_bytes());
    made.event(2, 7, 7, 1, &chosen);
    made.method(2, 0x1000, "Shop.Main");
    let random = profile(&made.whole(), &of_event("alloc"));
    assert_eq!(lines(&random), ["Shop.Main;Shop.Cart [1, 102412]"]);
}

#[test]
fn contention_is_where_the_wait_began_and_exceptions_have_their_type() {
    let mut made = Made::new(4);
    made.stacks(&[&[0x1010], &[0x2010]]);
    made.event(1, 4, 7, 1, &[0, 0, 0]);
    made.event(4, 5, 7, 2, &[&[0; 3][..], &2_500_000.0_f64.to_le_bytes()].concat());
    made.event(5, 4, 8, 1, &[0, 0, 0]);
    made.event(8, 5, 8, 2, &[0, 0, 0]);
    let thrown = [utf16("System.InvalidOperationException"), utf16("secret"), vec![0; 16]].concat();
    made.event(9, 6, 7, 2, &thrown);
    made.method(2, 0x1000, "Shop.Main");
    made.method(2, 0x2000, "Shop.Work");
    let stream = made.whole();
    let lock = profile(&stream, &of_event("lock"));
    assert_eq!(lines(&lock), ["Shop.Main [2, 5500000]"]);
    let exceptions = profile(&stream, &of_event("exceptions"));
    assert_eq!(lines(&exceptions), ["Shop.Work;System.InvalidOperationException [1]"]);
    assert!(exceptions.strings().iter().all(|text| !text.contains("secret")));
}

#[test]
fn ids_of_stacks_and_addresses_of_code_mean_something_else_later() {
    let mut made = Made::new(4);
    made.stacks(&[&[0x1010]]);
    made.method(2, 0x1000, "Shop.First");
    made.sample(0, 7, 1, true);
    made.sample(1, 7, 1, true);
    made.method(9, 0x1000, "Shop.First");
    made.flush();
    made.block("SPBlock", &[0; 12]);
    made.stacks(&[&[0x1020]]);
    made.sample(2, 7, 1, true);
    made.sample(3, 7, 1, true);
    made.method(2, 0x1000, "Shop.Second");
    let stream = made.whole();
    let cpu = profile(&stream, &of_event("cpu"));
    assert_eq!(lines(&cpu), ["Shop.First [2, 2000000]", "Shop.Second [2, 2000000]"]);
}

#[test]
fn lost_events_are_counted() {
    let mut made = Made::new(4);
    made.stacks(&[&[0x1010]]);
    made.sample(0, 7, 1, true);
    made.flush();
    // Its threads, and the last number that each gave out.
    let point = [&[0; 8][..], &[1, 0, 0, 0], &7_u64.to_le_bytes(), &41_u32.to_le_bytes()].concat();
    made.block("SPBlock", &point);
    assert_eq!(profile(&made.whole(), &of_event("wall")).lost, Some(40));
}

#[test]
fn streams_that_contradict_themselves_are_refused() {
    let refused = |change: &dyn Fn(&mut Made)| {
        let mut made = Made::new(4);
        made.stacks(&[&[0x1010]]);
        made.sample(0, 7, 1, true);
        change(&mut made);
        read(&mut made.whole().as_slice(), &of_event("cpu"))
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&|made| made.sample(1, 7, 2, true)).contains("a stack that is not there"));
    assert!(refused(&|made| made.event(1, 99, 7, 1, &[])).contains("no known kind"));
    assert!(refused(&|made| made.event(1, 1, 7, 1, &[2])).contains("too short"));
    assert!(
        refused(&|made| {
            made.flush();
            made.block("SPBlock", &[0; 12]);
            made.sample(1, 7, 1, true);
        })
        .contains("a stack that is not there")
    );
    let mut endless = Made::new(4);
    endless.block("StackBlock", &[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    let error = read(&mut endless.whole().as_slice(), &of_event("cpu")).unwrap_err();
    assert!(error.to_string().contains("malformed stacks"), "{error}");
}

#[test]
fn a_stream_of_something_else_is_no_empty_picture() {
    let mut made = Made::new(4);
    made.event(0, 8, 7, 0, b"order");
    let stream = made.whole();
    let error = read(&mut stream.as_slice(), &Quality::default()).unwrap_err();
    assert!(matches!(error, NettraceReadError::NothingToShow), "{error}");
    // But one that was to count, and met nothing, is.
    assert_eq!(profile(&stream, &of_event("cpu")).sample_count(), 0);
}

#[test]
fn the_cut_of_the_pieces_does_not_matter() {
    struct Slowly<'a>(&'a [u8], usize);
    impl std::io::Read for Slowly<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }
    for version in [4, 6] {
        let stream = work_and_sleep(version, true);
        let whole = lines(&profile(&stream, &Quality::default()));
        for size in [1, 2, 7, 100] {
            let slowly = read(&mut Slowly(&stream, size), &Quality::default()).unwrap();
            assert_eq!(lines(&slowly), whole);
        }
    }
}

/// Bytes that are changed one by one: an answer or an error, in the time of one reading.
#[test]
fn no_changed_byte_makes_it_panic() {
    for version in [4, 6] {
        let mut stream = work_and_sleep(version, true);
        for at in 0..stream.len() {
            for change in [0x01, 0x80, 0xff] {
                stream[at] ^= change;
                let _ = read(&mut stream.as_slice(), &Quality::default());
                stream[at] ^= change;
            }
        }
    }
}

/// Recordings of `tests/apps/dotnet`, made by this product, of which only the first events and the methods in their stacks
/// were kept.
fn recorded(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/profile/nettrace");
    std::fs::read(folder.join(format!("{name}.nettrace"))).unwrap()
}

#[test]
fn recordings_of_real_runtimes_have_the_methods_of_the_app() {
    const THREAD: &str = "System.Threading.ThreadHelper.ThreadStart;System.Threading.ExecutionContext.RunInternal;\
                          System.Threading.ThreadHelper.ThreadStart_Context;";
    const START: &str = "Demo.Shop.Split+<>c__DisplayClass7_0.<Start>b__0;";
    let expected = |root: &str, rows: [&str; 3]| rows.map(|row| format!("{root}{START}Demo.Shop.Split.{row}"));
    let of = |name: &str, event: &str| {
        let profile = profile(&recorded(name), &of_event(event));
        assert_eq!(profile.lost, Some(0), "{name}");
        lines(&profile)
    };
    let cpu = of("dotnet-3.1-cpu", "cpu");
    let (main, spins) = cpu.split_first().unwrap();
    assert_eq!(main, "Demo.Shop.Split.Main [1, 1166230]");
    assert_eq!(
        spins,
        expected(
            THREAD,
            [
                "Cpu;Demo.Shop.Split.Sixty;Demo.Shop.Split.Spin [118, 128626083]",
                "Cpu;Demo.Shop.Split.Ten;Demo.Shop.Split.Spin [20, 21902520]",
                "Cpu;Demo.Shop.Split.Thirty;Demo.Shop.Split.Spin [62, 67686348]",
            ]
        )
    );
    assert_eq!(
        of("dotnet-3.1-alloc", "alloc"),
        expected(
            THREAD,
            [
                "Alloc;Demo.Shop.Split.AllocSixty;System.Byte[] [24, 2523888]",
                "Alloc;Demo.Shop.Split.AllocTen;System.Byte[] [2, 209200]",
                "Alloc;Demo.Shop.Split.AllocThirty;System.Byte[] [14, 1467688]",
            ]
        )
    );
    assert_eq!(
        of("dotnet-3.1-lock", "lock"),
        expected(
            THREAD,
            [
                "Lock;Demo.Shop.Split.LockSixty;Demo.Shop.Split.Contend [24, 74800528]",
                "Lock;Demo.Shop.Split.LockTen;Demo.Shop.Split.Contend [4, 12405332]",
                "Lock;Demo.Shop.Split.LockThirty;Demo.Shop.Split.Contend [12, 37227342]",
            ]
        )
    );
    assert_eq!(
        of("dotnet-8-exceptions", "exceptions"),
        expected(
            "",
            [
                "Exceptions;Demo.Shop.Split.ThrowSixty;Demo.Shop.Split.Throw;System.InvalidOperationException [24]",
                "Exceptions;Demo.Shop.Split.ThrowTen;Demo.Shop.Split.Throw;System.InvalidOperationException [4]",
                "Exceptions;Demo.Shop.Split.ThrowThirty;Demo.Shop.Split.Throw;System.InvalidOperationException [12]",
            ]
        )
    );
}

#[test]
fn no_changed_byte_of_a_recording_makes_it_panic() {
    let mut stream = recorded("dotnet-3.1-lock");
    for at in 0..stream.len() {
        stream[at] ^= 0xff;
        let _ = read(&mut stream.as_slice(), &of_event("lock"));
        stream[at] ^= 0xff;
    }
}
