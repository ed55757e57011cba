//! Recordings of real programs through every reader and writer.

use super::*;
use crate::profile::format::collapsed::read::CollapsedError;
use crate::profile::stamp::tests::quality;

const JVM: &[u8] = include_bytes!("../../../tests/data/profile/collapsed/jvm-cpu-threads.txt");
const GO_CPU: &[u8] = include_bytes!("../../../tests/data/profile/pprof/go-cpu.pb.gz");
const GO_HEAP: &[u8] = include_bytes!("../../../tests/data/profile/pprof/go-heap.pb.gz");
const GO_GOROUTINE: &[u8] = include_bytes!("../../../tests/data/profile/pprof/go-goroutine.pb.gz");

fn options(format: Format) -> RenderOptions {
    RenderOptions {
        event: None,
        view: View::default(),
        format,
        quality: Some(quality()),
        sample_type: None,
        title: "cpu of shop".into(),
        collapsed: None,
        names: Names::default(),
    }
}

fn rendered(input: &[u8], kind: RecordingKind, options: &RenderOptions) -> (Rendered, Vec<u8>) {
    let mut out = Vec::new();
    let rendered = render(input, kind, options, &mut out).unwrap();
    (rendered, out)
}

fn text(input: &[u8], kind: RecordingKind, options: &RenderOptions) -> String {
    String::from_utf8(rendered(input, kind, options).1).unwrap()
}

#[test]
fn a_jvm_recording_gives_every_format_with_its_stamp() {
    let svg = text(JVM, RecordingKind::Collapsed, &options(Format::Svg));
    assert!(
        svg.contains("Shop.hash (") && svg.contains("<title>do_syscall_64 ("),
        "annotations are stripped"
    );
    assert!(svg.contains("async-profiler 4.6 cpu (perf_events) · every 10 ms · "));
    assert!(svg.contains(" ms, "), "nanoseconds are shown as milliseconds");
    assert!(svg.contains("order: worker-1 &quot;x&quot; tid="));
    let speedscope = text(JVM, RecordingKind::Collapsed, &options(Format::Speedscope));
    assert!(speedscope.contains("every 10 ms"));
    let pprof = rendered(JVM, RecordingKind::Collapsed, &options(Format::Pprof)).1;
    let profile = pprof::read::read(&pprof, Names::Raw).unwrap();
    assert_eq!(
        profile.stamp.as_deref().and_then(|stamp| stamp.sampler.clone()),
        quality().sampler
    );
    assert!(profile.comments.is_empty());
    assert_eq!((profile.duration_nanos, profile.period), (30_000_000_000, 10_000_000));
}

#[test]
fn collapsed_to_collapsed_keeps_the_counts_and_drops_the_annotations() {
    let options = RenderOptions {
        sample_type: Some("samples".into()),
        ..options(Format::Collapsed)
    };
    let (rendered, out) = rendered(JVM, RecordingKind::Collapsed, &options);
    let out = String::from_utf8(out).unwrap();
    let count = |text: &str| -> u64 {
        text.lines()
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    };
    let recorded = count(std::str::from_utf8(JVM).unwrap());
    assert_eq!((count(&out), rendered.samples), (recorded, Some(recorded)));
    assert!(!out.contains("_[") && out.contains("[order: worker-1 \"x\" tid="));
    assert!(
        out.lines()
            .is_sorted_by(|a, b| a.split(';').next() <= b.split(';').next())
    );
}

#[test]
fn cpu_values_are_samples_times_interval() {
    let samples = RenderOptions {
        sample_type: Some("samples".into()),
        ..options(Format::Collapsed)
    };
    let first = |options| {
        let out = text(b"a;b 3\n", RecordingKind::Collapsed, &options);
        out.trim_end().rsplit(' ').next().map(str::to_owned)
    };
    assert_eq!(first(samples).as_deref(), Some("3"));
    assert_eq!(first(options(Format::Collapsed)).as_deref(), Some("30000000"));
}

#[test]
fn a_go_recording_gives_every_format() {
    for input in [GO_CPU, GO_HEAP, GO_GOROUTINE] {
        for format in [Format::Svg, Format::Collapsed, Format::Speedscope] {
            assert!(!rendered(input, RecordingKind::Pprof, &options(format)).1.is_empty());
        }
    }
    let cpu = text(GO_CPU, RecordingKind::Pprof, &options(Format::Collapsed));
    assert!(cpu.contains("main.work;main.order;"));
    let rendered = rendered(GO_CPU, RecordingKind::Pprof, &options(Format::Svg)).0;
    assert!(rendered.samples.unwrap() > 400 && rendered.unresolved.unwrap() < 0.01);
}

#[test]
fn native_pprof_is_copied_byte_for_byte() {
    assert_eq!(
        rendered(GO_CPU, RecordingKind::Pprof, &options(Format::Pprof)).1,
        GO_CPU
    );
}

#[test]
fn the_last_sample_type_is_shown_unless_another_is_named() {
    let total = |sample_type: Option<&str>| -> u64 {
        let options = RenderOptions {
            sample_type: sample_type.map(str::to_owned),
            ..options(Format::Collapsed)
        };
        let out = text(GO_HEAP, RecordingKind::Pprof, &options);
        out.lines()
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    };
    assert_eq!(total(None), total(Some("inuse_space")));
    assert!(total(Some("alloc_space")) > total(None));
    let options = RenderOptions {
        sample_type: Some("nope".into()),
        ..options(Format::Svg)
    };
    let error = render(GO_HEAP, RecordingKind::Pprof, &options, &mut Vec::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the recording has no sample type \"nope\"; it has alloc_objects, alloc_space, inuse_objects, inuse_space"
    );
}

#[test]
fn an_impossible_format_names_the_possible_ones() {
    let error = render(&b""[..], RecordingKind::Trace, &options(Format::Svg), &mut Vec::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a trace recording cannot be rendered as svg; possible: trace"
    );
    assert_eq!(rendered(b"FLR", RecordingKind::Jfr, &options(Format::Jfr)).1, b"FLR");
}

/// What the recorder says of a recording of `cpu` and `alloc`.
fn of_two(least_samples: u64) -> Quality {
    let of = |event: &str, clock, unit: &str, doubt: &str| OfEvent {
        event: event.to_owned(),
        interval: 20_000_000,
        interval_unit: unit.to_owned(),
        clock: Some(clock),
        least_samples: (event == "cpu").then_some(least_samples),
        degraded: vec![doubt.to_owned()],
        ..OfEvent::default()
    };
    Quality {
        sampler: Some("async-profiler 4.6 cpu,alloc (ctimer)".to_owned()),
        event: Some("cpu,alloc".to_owned()),
        cpu_ms: Some(1500),
        degraded: vec!["of both".to_owned()],
        events: vec![
            of("cpu", Clock::Cpu, "nanoseconds", "of cpu"),
            of("alloc", Clock::None, "bytes", "of alloc"),
        ],
        ..Quality::default()
    }
}

#[test]
fn each_event_of_a_recording_has_a_stamp_of_its_own() {
    let jfr = crate::profile::format::jfr::example::everything();
    let of = |event: &str| RenderOptions {
        quality: Some(of_two(3)),
        event: Some(event.to_owned()),
        ..options(Format::Pprof)
    };
    let (cpu, pprof) = rendered(&jfr, RecordingKind::Jfr, &of("cpu"));
    let stamp = cpu.quality;
    assert_eq!(
        (stamp.samples, stamp.sampled_cpu_ms, stamp.event.as_deref()),
        (Some(3), Some(60), Some("cpu"))
    );
    let seen = "the samples stand for 0.1 s of the 1.5 s of CPU time that the process used";
    let cut = "33.3% is in stacks that the sampler cut, whose callers are missing";
    assert_eq!(stamp.degraded, ["of both", "of cpu", seen, cut]);
    assert!(stamp.events.is_empty() && stamp.sampler.unwrap().contains("cpu,alloc"));
    let profile = pprof::read::read(&pprof, Names::Raw).unwrap();
    assert_eq!(profile.value_index(None), Some(1), "time is shown first");
    assert_eq!(
        profile.sample_types[1],
        crate::profile::ValueType::new("cpu", "nanoseconds")
    );
    let (alloc, _) = rendered(&jfr, RecordingKind::Jfr, &of("alloc"));
    assert_eq!((alloc.quality.samples, alloc.quality.sampled_cpu_ms), (Some(2), None));
    assert_eq!(alloc.quality.degraded, ["of both", "of alloc"]);
    assert_eq!(of_two(3).of_all().degraded, ["of both", "of cpu", "of alloc"]);
}

#[test]
fn a_recording_of_several_events_with_too_few_samples_of_one_is_an_error_for_that_one() {
    let jfr = crate::profile::format::jfr::example::everything();
    let of = |event: &str| {
        let options = RenderOptions {
            quality: Some(of_two(4)),
            event: Some(event.to_owned()),
            ..options(Format::Collapsed)
        };
        render(jfr.as_slice(), RecordingKind::Jfr, &options, &mut Vec::new())
    };
    assert!(matches!(
        of("cpu"),
        Err(RenderError::SamplerDied { samples: 3, least: 4 })
    ));
    assert!(of("alloc").is_ok());
}

#[test]
fn an_empty_recording_says_no_samples() {
    let svg = text(b"", RecordingKind::Collapsed, &options(Format::Svg));
    assert!(svg.contains(">no samples<") && svg.contains("every 10 ms") && svg.ends_with("</svg>\n"));
    assert_eq!(text(b"", RecordingKind::Collapsed, &options(Format::Collapsed)), "");
    let (rendered, _) = rendered(b"", RecordingKind::Collapsed, &options(Format::Speedscope));
    assert_eq!((rendered.samples, rendered.unresolved), (Some(0), None));
}

#[test]
fn unresolved_is_the_share_of_nameless_leaves() {
    let input = b"[unknown];main 6\nmain;[unknown] 3\nmain;[libc.so.6+0x1f] 1\n";
    let (rendered, _) = rendered(input, RecordingKind::Collapsed, &options(Format::Svg));
    assert_eq!(rendered.unresolved, Some(0.4));
    assert_eq!(rendered.quality.unresolved, Some(0.4));
}

#[test]
fn stacks_cut_at_the_limit_are_confessed() {
    let deep = RenderOptions {
        quality: Some(Quality {
            max_frames: Some(3),
            ..quality()
        }),
        ..options(Format::Pprof)
    };
    let (first, pprof) = rendered(b"a;b;c 1\na;b 7\n", RecordingKind::Collapsed, &deep);
    let sentence = "12.5% is in stacks cut at 3 frames, whose callers are missing";
    assert_eq!(
        (first.quality.truncated, first.quality.degraded.as_slice()),
        (Some(0.125), &[sentence.to_owned()][..])
    );
    let again = RenderOptions {
        quality: None,
        ..options(Format::Svg)
    };
    let again = rendered(&pprof, RecordingKind::Pprof, &again).0.quality;
    assert_eq!(again.degraded, [sentence], "said once, from a file of ours");
}

#[test]
fn a_file_of_ours_carries_its_stamp_and_the_recorders_wins() {
    let (first, pprof) = rendered(JVM, RecordingKind::Collapsed, &options(Format::Pprof));
    let of_file = |quality| {
        let options = RenderOptions {
            quality,
            ..options(Format::Svg)
        };
        rendered(&pprof, RecordingKind::Pprof, &options).0.quality
    };
    assert_eq!(of_file(None), first.quality);
    let recorders = Quality {
        sampler: Some("the recorder".into()),
        ..Quality::default()
    };
    assert_eq!(of_file(Some(recorders)).sampler.as_deref(), Some("the recorder"));
}

#[test]
fn a_file_without_a_stamp_claims_nothing() {
    let unknown = |format| RenderOptions {
        quality: None,
        ..options(format)
    };
    let collapsed = text(b"a;b 3\n", RecordingKind::Collapsed, &unknown(Format::Svg));
    assert!(collapsed.contains(">3 samples · 0.0% unresolved<"), "{collapsed}");
    let go = text(GO_CPU, RecordingKind::Pprof, &unknown(Format::Svg));
    assert!(
        go.contains(">every 10 ms · ") && go.contains("Z +"),
        "what the file tells"
    );
    for svg in [collapsed, go] {
        for claim in ["pid 0", "1970", "unknown sampler", "unknown runtime"] {
            assert!(!svg.contains(claim), "{claim}");
        }
    }
    let pprof = rendered(b"a;b 3\n", RecordingKind::Collapsed, &unknown(Format::Pprof)).1;
    let profile = pprof::read::read(&pprof, Names::Raw).unwrap();
    assert_eq!((profile.time_nanos, profile.stamp.unwrap().pid), (0, None));
}

#[test]
fn two_runs_of_lambdas_give_the_same_stacks_unless_raw_names_are_asked_for() {
    let run = |names, input: &[u8]| {
        let options = RenderOptions {
            names,
            sample_type: Some("samples".into()),
            ..options(Format::Collapsed)
        };
        text(input, RecordingKind::Collapsed, &options)
    };
    let first =
        b"run;Shop$$Lambda$1.0x00007f1ed8000a08.run_[j];Shop.work 3\nrun;Shop$$Lambda$2.0x00007f1ed8000c10.run 1\n";
    let second =
        b"run;Shop$$Lambda$2.0x00007f0001000a08.run_[0];Shop.work 3\nrun;Shop$$Lambda$1.0x00007f0001000c10.run 1\n";
    assert_eq!(
        run(Names::Normalised, first),
        "run;Shop$$Lambda.run 1\nrun;Shop$$Lambda.run;Shop.work 3\n"
    );
    assert_eq!(run(Names::Normalised, first), run(Names::Normalised, second));
    assert!(run(Names::Raw, first).contains("run;Shop$$Lambda$1.0x00007f1ed8000a08.run;Shop.work 3\n"));
    let corpus = text(JVM, RecordingKind::Collapsed, &options(Format::Collapsed));
    assert!(!corpus.contains(".0x") && corpus.contains("Shop$$Lambda.run"));
}

#[test]
fn lines_that_are_none_are_left_out_and_confessed() {
    let (rendered, out) = rendered(
        b"a;b 1\nhostile\nclass 2\n",
        RecordingKind::Collapsed,
        &options(Format::Svg),
    );
    assert_eq!(
        rendered.quality.degraded,
        ["1 lines of the recording were not understood"]
    );
    assert!(String::from_utf8(out).unwrap().contains("DEGRADED: 1 lines"));
    let nonsense = render(
        &b"<html>\n"[..],
        RecordingKind::Collapsed,
        &options(Format::Svg),
        &mut Vec::new(),
    );
    let Err(RenderError::Broken { source, .. }) = nonsense else {
        panic!("{nonsense:?}")
    };
    assert!(matches!(source.downcast_ref(), Some(CollapsedError::NotCollapsed)));
}

#[test]
fn speedscope_has_a_profile_per_thread_or_per_type() {
    let parse = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let threads = parse(text(JVM, RecordingKind::Collapsed, &options(Format::Speedscope)));
    let frames = threads["shared"]["frames"].as_array().unwrap().len() as u64;
    let profiles = threads["profiles"].as_array().unwrap();
    assert!(profiles.len() >= 5 && profiles[0]["name"].as_str().unwrap().contains("(tid "));
    for profile in profiles {
        let (samples, weights) = (
            profile["samples"].as_array().unwrap(),
            profile["weights"].as_array().unwrap(),
        );
        assert_eq!(
            (samples.len(), profile["type"].as_str()),
            (weights.len(), Some("sampled"))
        );
        let sum: i64 = weights.iter().map(|weight| weight.as_i64().unwrap()).sum();
        assert_eq!(
            (profile["endValue"].as_i64(), profile["unit"].as_str()),
            (Some(sum), Some("nanoseconds"))
        );
        let indexes = samples.iter().flat_map(|stack| stack.as_array().unwrap());
        assert!(indexes.map(|index| index.as_u64().unwrap()).all(|index| index < frames));
    }
    let types = parse(text(GO_HEAP, RecordingKind::Pprof, &options(Format::Speedscope)));
    let units: Vec<_> = types["profiles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["unit"].as_str().unwrap())
        .collect();
    assert_eq!(units, ["none", "bytes", "none", "bytes"]);
    assert_eq!(types["activeProfileIndex"], 3);
}

/// Types, units, functions, files, labels and comments full of controls, turned and invisible text.
const HOSTILE: &[u8] = include_bytes!("../../../tests/data/profile/pprof/hostile-strings.pb");
/// A type of 9000 characters in a unit of 16,000.
const LONG_UNIT: &[u8] = include_bytes!("../../../tests/data/profile/pprof/long-unit.pb.gz");

#[test]
fn no_string_of_a_profile_reaches_text_unfiltered() {
    let quality = Quality {
        process: Some("sh\u{202e}op\u{9b}31m".into()),
        interval: 7,
        interval_unit: "\u{200b}unit".into(),
        degraded: vec!["a\u{2066}b".into()],
        ..Quality::default()
    };
    let stamps = [None, Some(quality)];
    for (format, quality) in [Format::Svg, Format::Speedscope, Format::Collapsed]
        .into_iter()
        .flat_map(|format| stamps.clone().map(|stamp| (format, stamp)))
    {
        let options = RenderOptions {
            title: "tit\u{202e}le\u{9b}".into(),
            quality,
            ..options(format)
        };
        let text = text(HOSTILE, RecordingKind::Pprof, &options);
        let bad = |c: char| {
            c.is_control() && c != '\n'
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{e0041}')
        };
        // inferno's own script and style are indented with tabs.
        let found = text.char_indices().find(|&(_, c)| bad(c) && c != '\t');
        assert_eq!(found, None, "{format}");
        assert!(
            !text.contains("\\u00") && text.contains("ma\u{fffd}in\u{fffd}"),
            "{format}: escaped is not filtered"
        );
    }
    let wanted = RenderOptions {
        sample_type: Some("x".into()),
        ..options(Format::Svg)
    };
    let error = render(HOSTILE, RecordingKind::Pprof, &wanted, &mut Vec::new()).unwrap_err();
    assert!(error.to_string().ends_with("it has waits\u{fffd}"), "{error:?}");
}

#[test]
fn a_unit_of_sixteen_kilobytes_is_cut() {
    let unnamed = RenderOptions {
        quality: None,
        ..options(Format::Svg)
    };
    let svg = text(LONG_UNIT, RecordingKind::Pprof, &unnamed);
    assert!(svg.contains(&format!("leaf (5 {}…, 100.00%)", "u".repeat(39))));
    assert!(!svg.contains(&"u".repeat(41)) && svg.len() < 40_000);
    let speedscope = text(LONG_UNIT, RecordingKind::Pprof, &options(Format::Speedscope));
    assert!(speedscope.len() < 2000, "{}", speedscope.len());
}

/// What is doubtful of CPU time is not said of elapsed time, and a recording of events is handed out as it is.
#[test]
fn a_dotnet_recording_gives_every_format_and_says_what_its_value_lacks() {
    const DOTNET: &[u8] = include_bytes!("../../../tests/data/profile/nettrace/dotnet-3.1-cpu.nettrace");
    let of = |format, sample_type: &str| RenderOptions {
        quality: None,
        sample_type: Some(sample_type.to_owned()),
        ..options(format)
    };
    let (cpu, svg) = rendered(DOTNET, RecordingKind::Nettrace, &of(Format::Svg, "cpu"));
    assert!(String::from_utf8(svg).unwrap().contains("Demo.Shop.Split.Sixty ("));
    assert!(cpu.quality.degraded[0].contains("native code"), "{:?}", cpu.quality);
    assert_eq!((cpu.quality.lost, cpu.unresolved), (Some(0), Some(0.0)));
    let (wall, _) = rendered(DOTNET, RecordingKind::Nettrace, &of(Format::Speedscope, "wall"));
    assert_eq!(wall.quality.degraded, [""; 0]);
    let copied = rendered(DOTNET, RecordingKind::Nettrace, &options(Format::Nettrace)).1;
    assert_eq!(copied, DOTNET);
}

fn focused(format: Format, pattern: &str) -> RenderOptions {
    RenderOptions {
        view: View::of_focus(pattern.parse().unwrap()),
        ..options(format)
    }
}

#[test]
fn every_format_of_stacks_shows_a_part_and_says_how_much_it_is() {
    let whole = text(JVM, RecordingKind::Collapsed, &options(Format::Collapsed));
    let of = |text: &str, name: &str| -> u64 {
        let lines = text.lines().filter(|line| line.contains(name));
        lines
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
            .sum()
    };
    let part = text(
        JVM,
        RecordingKind::Collapsed,
        &focused(Format::Collapsed, r"Shop\.hash"),
    );
    assert!(part.lines().all(|line| line.contains("Shop.hash")) && of(&part, "") == of(&whole, "Shop.hash"));
    let words = format!("of {} cpu match focus=Shop", of(&whole, ""));
    for format in [Format::Svg, Format::Speedscope] {
        let options = RenderOptions {
            sample_type: Some("samples".into()),
            ..focused(format, r"Shop\.hash")
        };
        let (rendered, out) = rendered(JVM, RecordingKind::Collapsed, &options);
        let out = String::from_utf8(out).unwrap();
        assert!(
            out.contains("ONLY ") && out.contains(" samples match focus=Shop"),
            "{words} {out}"
        );
        let shown = rendered.quality.shown.unwrap();
        assert_eq!(shown.functions[0], "Shop.hash");
        assert!(0.0 < shown.share.unwrap() && shown.share.unwrap() < 1.0);
    }
    let pprof = rendered(JVM, RecordingKind::Collapsed, &focused(Format::Pprof, r"Shop\.hash")).1;
    let profile = pprof::read::read(&pprof, Names::Raw).unwrap();
    assert!(profile.stamp.unwrap().shown.is_some());
}

#[test]
fn nothing_that_matches_is_an_empty_profile_that_says_of_how_much() {
    let options = RenderOptions {
        sample_type: Some("samples".into()),
        ..focused(Format::Svg, "nowhere")
    };
    let svg = text(JVM, RecordingKind::Collapsed, &options);
    assert!(svg.contains("no samples") && svg.contains("ONLY 0.0%: 0 of "), "{svg}");
    assert_eq!(
        text(JVM, RecordingKind::Collapsed, &focused(Format::Collapsed, "nowhere")),
        ""
    );
}

#[test]
fn a_part_of_a_pprof_file_is_not_the_file_and_a_copied_format_has_no_parts() {
    let (rendered, part) = rendered(GO_CPU, RecordingKind::Pprof, &focused(Format::Pprof, "hash"));
    let share = rendered.quality.shown.unwrap().share.unwrap();
    assert!(part != GO_CPU && 0.0 < share, "{share}");
    let refused = render(
        GO_CPU,
        RecordingKind::Trace,
        &focused(Format::Trace, "hash"),
        &mut Vec::new(),
    );
    assert!(matches!(refused, Err(RenderError::Indivisible { .. })), "{refused:?}");
}

#[test]
fn callers_are_drawn_from_the_match_on() {
    let options = RenderOptions {
        view: View {
            callers: Some(r"^Shop\.hash$".parse().unwrap()),
            ..View::default()
        },
        ..options(Format::Collapsed)
    };
    let text = text(JVM, RecordingKind::Collapsed, &options);
    assert!(
        !text.is_empty() && text.lines().all(|line| line.starts_with("Shop.hash")),
        "{text}"
    );
}
