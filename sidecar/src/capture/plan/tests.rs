use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::capture::request::CaptureRequest;
use crate::event::Event;
use crate::process::{CommandLine, Process};
use crate::runtime::{
    GoPprofSettings, JavaVm, JvmSettings, PprofAbsence, PprofEndpoint, RuntimeFacts, RuntimeSettings, Target, Verdict,
};

fn settings(library: bool) -> Settings {
    let library = if library {
        "/proc/self/exe"
    } else {
        "/nowhere/library.so"
    };
    Settings {
        runtimes: RuntimeSettings {
            jvm: JvmSettings::new(Some(library.into())),
            go: GoPprofSettings::default(),
            ..RuntimeSettings::default()
        },
        container_logs: None,
        max_seconds: 600,
        max_running: 1,
        store_directory: None,
        keeps: false,
        store_bytes: 1 << 20,
        store_captures: 1,
        expiry: Duration::ZERO,
    }
}

fn facts() -> impl Strategy<Value = RuntimeFacts> {
    let jvm = RuntimeFacts::Jvm {
        vm: JavaVm::HotSpot,
        version: None,
    };
    let dotnet = |socket: Option<&str>| RuntimeFacts::Dotnet {
        version: None,
        rid: None,
        socket: socket.map(Into::into),
        port: None,
    };
    let go = |authority: Option<&str>| RuntimeFacts::Go {
        version: None,
        module: None,
        pprof: authority.map(|authority| PprofEndpoint {
            scheme: "http".to_owned(),
            authority: authority.to_owned(),
            path: "/debug/pprof/".to_owned(),
            profiles: Vec::new(),
        }),
        pprof_absence: authority.is_none().then_some(PprofAbsence::NoListeningPort),
    };
    select(vec![
        jvm,
        dotnet(Some("/tmp/dotnet-diagnostic-7-1-socket")),
        dotnet(None),
        go(Some("127.0.0.1:6060")),
        go(Some("forged")),
        go(None),
        RuntimeFacts::Native,
    ])
}

/// A process as an inspector may describe it: an inspector that read hostile bytes may say anything.
fn inspections() -> impl Strategy<Value = Vec<Inspection>> {
    let verdict = select(Event::ALL.to_vec()).prop_flat_map(|event| {
        let reason = Reason::new("why", "sentence", "remedy");
        select(vec![
            Verdict::available(event.clone()),
            Verdict::degraded(event.clone(), reason.clone()),
            Verdict::impossible(event, reason),
        ])
    });
    let one = (1..4, facts(), prop::collection::vec(verdict, 0..12));
    let one = one.prop_map(|(pid, facts, verdicts)| Inspection {
        target: Target {
            // Which does not travel to a recorder: it reads the command line itself.
            process: Process {
                command_line: CommandLine::default(),
                ..Process::example(pid)
            },
            name: format!("shop{pid}"),
            facts,
        },
        verdicts: verdicts.into(),
    });
    prop::collection::vec(one, 0..4)
}

/// Parameters with values that they take, and some that they do not.
fn query() -> impl Strategy<Value = Vec<(String, String)>> {
    let text = |values: &[&str]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
    let parameters = CaptureRequest::parameters().map(|(_, parameter)| {
        let mut values = parameter.takes.allowed();
        values.extend(text(match parameter.name {
            "pid" => &["1", "2", "9"],
            "name" => &["shop", "shop1", "1"],
            "pod" | "container" => &["app"],
            "seconds" => &["1", "600", "601", "30s"],
            "event" => &["ctimer", "nativemem", "nativelock", "cache-misses", "a.b.c"],
            "debug" => &["1", "2", "3"],
            "frequency" => &["1", "1000"],
            "interval" => &["1", "1us", "10ms", "512k", "3g", "7b"],
            "include" | "exclude" => &["a/b", "java.*"],
            "providers" => &["A", "A:1:5:k=v", "A:1:5:k=w,B"],
            _ => &["what?"],
        }));
        (parameter.name.to_owned(), values)
    });
    let parameters: Vec<_> = parameters.collect();
    let pair = select(parameters).prop_flat_map(|(name, values)| (Just(name), select(values)));
    prop::collection::vec(pair, 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// HEAD and GET come from this one function: what it refuses is a problem of the request, what it accepts can be
    /// executed as it is.
    #[test]
    fn a_plan_is_whole_and_a_refusal_is_known_before_anything_starts(
        query in query(), (snapshot, scraped) in any::<(bool, bool)>(), library in any::<bool>(), inspections in inspections(),
    ) {
        let settings = settings(library);
        let Ok(request) = CaptureRequest::parse(&query, settings.max_seconds) else { return Ok(()) };
        let request = CaptureRequest { snapshot, scraped, ..request };
        let announced = plan(&request, &inspections, &settings);
        let started = plan(&request, &inspections, &settings);
        prop_assert_eq!(announced.is_ok(), started.is_ok());
        match started {
            Ok(CapturePlan { order, format, .. }) => {
                prop_assert_eq!(announced.unwrap().format, format);
                prop_assert!(order.kind().formats().contains(&format));
                let serving = runtime::served_by(&order.target, &order.event);
                prop_assert!(runtime::recordings(serving, &order.event).contains(&order.kind()));
                prop_assert!(request.format.is_none_or(|asked| asked == format));
                let json = serde_json::to_string(&order).unwrap();
                prop_assert_eq!(serde_json::from_str::<RecordOrder>(&json).unwrap(), order);
            }
            Err(error) => {
                let code = crate::http::Problem::from(error).code();
                let known = [
                    "invalid_parameter", "parameter_not_applicable", "event_not_offered", "format_not_offered",
                    "ambiguous_process", "no_such_process", "impossible", "indivisible",
                ];
                prop_assert!(known.contains(&code), "{}", code);
            }
        }
    }
}

fn jvm(verdicts: Vec<Verdict>) -> Vec<Inspection> {
    vec![Inspection {
        target: Target {
            process: Process::example(7),
            name: "shop".to_owned(),
            facts: RuntimeFacts::Jvm {
                vm: JavaVm::HotSpot,
                version: None,
            },
        },
        verdicts: verdicts.into(),
    }]
}

fn refused(query: &[(&str, &str)], inspections: &[Inspection], library: bool) -> CaptureError {
    let pairs: Vec<_> = query.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let request = CaptureRequest::parse(&pairs, 600).unwrap();
    plan(&request, inspections, &settings(library)).unwrap_err()
}

#[test]
fn without_our_library_a_capture_is_impossible_for_the_reason_the_doctor_gives() {
    let verdicts = vec![Verdict::available(Event::Cpu)];
    match refused(&[], &jvm(verdicts), false) {
        CaptureError::Impossible(reason) => {
            assert_eq!(reason.key, "profiler_library_missing");
            assert!(reason.sentence.contains("/nowhere/library.so"), "{}", reason.sentence);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_only_fits_other_events_is_refused_before_anything_starts() {
    let verdicts = vec![Verdict::available(Event::Alloc), Verdict::available(Event::Cpu)];
    for query in [
        [("event", "alloc"), ("frequency", "99")],
        [("event", "alloc"), ("interval", "10ms")],
        [("event", "cpu"), ("interval", "512k")],
    ] {
        let error = refused(&query, &jvm(verdicts.clone()), true);
        assert!(
            matches!(error, CaptureError::Request(RequestError::Unsuitable { name, .. }) if name == query[1].0),
            "{query:?}: {error:?}"
        );
    }
}

#[test]
fn events_that_only_async_profiler_names_fall_with_cpu_and_counters_with_each_other() {
    let reason = |key| Reason::new(key, "sentence", "remedy");
    let verdicts = vec![
        Verdict::impossible(Event::Cpu, reason("attach_disabled")),
        Verdict::impossible("cycles".parse().unwrap(), reason("no_hardware_counter")),
        Verdict::available(Event::Alloc),
    ];
    for (event, key) in [
        ("page-faults", "attach_disabled"),
        ("cache-misses", "no_hardware_counter"),
        ("alloc,page-faults", "attach_disabled"),
    ] {
        let error = refused(&[("event", event)], &jvm(verdicts.clone()), true);
        assert!(
            matches!(&error, CaptureError::Impossible(given) if given.key == key),
            "{event}: {error:?}"
        );
    }
}

#[test]
fn a_scraper_is_given_a_few_seconds_for_a_total_and_the_locks_of_a_jvm_for_what_blocks() {
    let verdicts = vec![
        Verdict::available(Event::Lock),
        Verdict::impossible(
            Event::Block,
            Reason::new("event_of_another_runtime", "sentence", "remedy"),
        ),
    ];
    let of = |request: CaptureRequest| {
        let planned = plan(&request, &jvm(verdicts.clone()), &settings(true));
        planned.map(|plan| (plan.order.event, plan.order.seconds))
    };
    let block = CaptureRequest {
        event: Event::Block,
        scraped: true,
        snapshot: true,
        ..CaptureRequest::default()
    };
    assert_eq!(of(block.clone()).unwrap(), (Event::Lock, 5));
    let timed = CaptureRequest {
        snapshot: false,
        seconds: 10,
        ..block.clone()
    };
    assert_eq!(of(timed).unwrap(), (Event::Lock, 10));
    let person = CaptureRequest {
        scraped: false,
        ..block
    };
    assert!(matches!(of(person), Err(CaptureError::Impossible(_))));
}

#[test]
fn several_events_are_a_jfr_and_whatever_a_browser_prefers() {
    let verdicts = vec![Verdict::available(Event::Cpu), Verdict::available(Event::Alloc)];
    let request = CaptureRequest {
        event: "cpu,alloc".parse().unwrap(),
        accept: vec![Format::Svg, Format::Pprof],
        ..CaptureRequest::default()
    };
    assert_eq!(
        plan(&request, &jvm(verdicts.clone()), &settings(true)).unwrap().format,
        Format::Jfr
    );
    match refused(&[("event", "cpu,alloc"), ("format", "svg")], &jvm(verdicts), true) {
        CaptureError::FormatNotOffered { allowed, .. } => assert_eq!(allowed, [Format::Jfr]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_profiler_is_looked_for_anew_when_a_capture_begins() {
    let ended = Reason::new(ALREADY_PROFILED, "sentence", "remedy");
    let verdicts = vec![Verdict::impossible(Event::Cpu, ended)];
    let request = CaptureRequest::default();
    assert!(plan(&request, &jvm(verdicts), &settings(true)).is_ok());
}

#[test]
fn a_server_at_a_url_is_asked_for_what_pprof_has_and_nothing_is_sampled_for_it() {
    let planned = |query: &[(&str, &str)]| {
        let query: Vec<_> = query
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let request = CaptureRequest::parse(&query, 600).unwrap();
        let server = Inspection::of_server(request.options.go.url.as_ref().unwrap());
        plan(&request, &[server], &settings(false)).map_err(|error| crate::http::Problem::from(error).code())
    };
    let url = ("url", "http://127.0.0.1:6060");
    for event in ["cpu", "heap", "alloc", "lock", "block", "goroutine", "threadcreate"] {
        let order = planned(&[url, ("event", event)]).unwrap().order;
        assert!(order.plan.is_of_a_server() && !order.plan.needs_network(), "{event}");
        assert!(order.target.id().is_outside());
    }
    for event in ["wall", "offcpu", "cycles", "counters", "exceptions"] {
        assert_eq!(planned(&[url, ("event", event)]), Err("event_not_offered"), "{event}");
    }
    assert_eq!(planned(&[("url", "http://192.0.2.1:6060")]), Err("url_not_allowed"));
    assert_eq!(planned(&[url, ("threads", "true")]), Err("parameter_not_applicable"));
    assert_eq!(planned(&[url, ("secret", "shop/token")]), Err("invalid_parameter"));
    assert!(planned(&[("url", "https://127.0.0.1:6060"), ("secret", "shop/token")]).is_ok());
}
