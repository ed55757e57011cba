//! What the stamp says of a capture of a JVM, and captures in which that is hard to say.

use std::process::Command;

use e2e::app::{self, App};
use e2e::{Server, jfr, shares};

#[test]
fn samples_are_held_against_the_cpu_time_that_was_used() {
    let server = Server::default();
    for (event, format) in [("cpu", "collapsed"), ("ctimer", "collapsed"), ("cpu", "jfr")] {
        let app = App::start(app::java("17", &[], "cpu"));
        let answer = server
            .get(&format!(
                "/profile?pid={}&seconds=4&event={event}&format={format}",
                app.pid
            ))
            .ok();
        let (seen, used) = (
            answer.number("sideflame-sampled-cpu-ms"),
            answer.number("sideflame-cpu-ms"),
        );
        assert!(used > 0.0, "{:?}", answer.headers);
        assert!(
            (0.8..1.2).contains(&(seen / used)),
            "{event} {format}: {seen} of {used} ms"
        );
    }
    let app = App::start(app::java("17", &[], "alloc"));
    let answer = server
        .get(&format!("/profile?pid={}&seconds=2&event=alloc", app.pid))
        .ok();
    assert!(answer.number("sideflame-cpu-ms") > 0.0);
    assert_eq!(answer.header("sideflame-sampled-cpu-ms"), "", "bytes are no time");
}

#[test]
fn the_engine_that_ran_is_in_the_stamp_and_in_a_jfr() {
    let server = Server::default();
    let app = App::start(app::java("25", &[], "cpu"));
    let answer = server
        .get(&format!("/profile?pid={}&seconds=1&format=jfr", app.pid))
        .ok();
    assert!(
        answer.header("sideflame-sampler").ends_with("cpu (perf_events)"),
        "{:?}",
        answer.headers
    );
    let settings = jfr::events("25", &answer.body, "jdk.ActiveSetting");
    let engine = settings
        .split("jdk.ActiveSetting")
        .find(|setting| setting.contains("\"engine\""));
    assert!(
        engine.is_some_and(|setting| setting.contains("value = \"cpu-clock\"") || setting.contains("\"perf_events\"")),
        "{engine:?}"
    );
}

#[test]
fn a_sampler_that_dies_in_mid_capture_is_an_error() {
    let java = app::java("17", &["-XX:-MaxFDLimit"], "descriptors");
    let mut limited = Command::new("prlimit");
    limited
        .args(["--nofile=512:512"])
        .arg(java.get_program())
        .args(java.get_args());
    let mut app = App::start(limited);
    let server = Server::default();
    let id = server.capture(&format!("pid={}&seconds=15", app.pid));
    server.wait_for(&id, &["sampling"]);
    // perf_events take one descriptor for each thread; without one for a new thread, async-profiler stops them all.
    app.tell("now");
    app.wait_for("full");
    let capture = server.wait_for(&id, &["finished", "failed"]);
    assert_eq!(capture["problem"]["code"], "sampler_died", "{capture}");
    let detail = capture["problem"]["detail"].as_str().unwrap();
    assert!(detail.contains("Too many open files"), "{detail}");
}

#[test]
fn deep_stacks_keep_their_callers_and_deeper_ones_are_counted() {
    let app = App::start(app::java("17", &["-Xss16m"], "recursion"));
    let server = Server::default();
    let capture = |more: &str| {
        let query = format!(
            "/profile?pid={}&seconds=10&format=collapsed&include=*Edges.recursion*{more}",
            app.pid
        );
        shares::enough(|| server.get(&query).ok())
    };
    let whole = capture("");
    shares::assert_split(
        &whole,
        [
            ("Edges.importOrders", 0.6),
            ("Edges.renderReport", 0.3),
            ("Edges.checkHealth", 0.1),
        ],
    );
    assert!(shares::of(&whole, "[truncated]") < 0.01);
    let query = format!("/profile?pid={}&seconds=3&format=collapsed&jstackdepth=2048", app.pid);
    let cut = server.get(&query).ok();
    let degraded = cut.header("sideflame-degraded");
    assert!(degraded.contains("in stacks cut at 2048 frames"), "{degraded}");
    let stacks = cut.text();
    // On its way down it was not that deep.
    let whole = stacks.lines().filter(|line| line.contains("Edges.visit;"));
    let whole = whole.filter(|line| !line.starts_with("[truncated];"));
    let depth = whole.map(|line| line.split(';').count()).max();
    assert!(
        depth.is_none_or(|depth| depth < 2048),
        "{depth:?} frames without a mark"
    );
    assert!(shares::of(&stacks, "[truncated]") > 0.5, "{degraded}");
}

#[test]
fn names_are_alike_in_every_run_unless_raw_ones_are_asked_for() {
    let app = App::start(app::java("17", &[], "names"));
    let server = Server::default();
    let names = |names: &str| {
        let query = format!("/profile?pid={}&seconds=2&format=collapsed{names}", app.pid);
        server.get(&query).ok().text()
    };
    let (plain, raw) = (names(""), names("&names=raw"));
    assert!(plain.contains("demo.shop.Edges$$Lambda.run"), "{plain}");
    assert!(raw.contains("demo.shop.Edges$$Lambda$"), "{raw}");
    // A letter beyond the first plane, of which Java makes two halves.
    assert!(plain.contains("Edges$\u{1d4ae}hop.\u{1d4c7}un"), "{plain}");
}

#[test]
fn several_events_are_one_jfr() {
    let app = App::start(app::java("25", &[], "alloc"));
    let server = Server::default();
    for (events, found) in [
        (
            "cpu,alloc,lock",
            vec!["jdk.ExecutionSample", "jdk.ObjectAllocationInNewTLAB"],
        ),
        (
            "all",
            vec![
                "jdk.ExecutionSample",
                "jdk.ObjectAllocationInNewTLAB",
                "profiler.Malloc",
            ],
        ),
    ] {
        let query = format!("/profile?pid={}&seconds=3&event={events}", app.pid);
        let answer = server.get(&query).ok();
        assert!(
            answer.header("content-disposition").contains(".jfr"),
            "{:?}",
            answer.headers
        );
        let summary = jfr::summary("25", &answer.body);
        for event in found {
            assert!(jfr::number(&summary, event, 1) > 0, "{event}: {summary}");
        }
        let refused = server.get(&format!("{query}&format=svg"));
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (400, "format_not_offered"),
            "{}",
            refused.text()
        );
        assert_eq!(refused.json()["allowed"], serde_json::json!(["jfr"]));
    }
}

#[test]
fn an_option_of_async_profiler_that_could_harm_is_refused_with_the_reason() {
    let server = Server::default();
    let app = App::start(app::java("17", &[], "cpu"));
    let answer = server.get(&format!("/profile?pid={}&loop=1h", app.pid));
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (400, "unknown_parameter"),
        "{}",
        answer.text()
    );
    assert!(answer.text().contains("outlive the capture"), "{}", answer.text());
    let walk = "cstack=vmx&features=vtable,comptask&alluser=true&sched=true&sig=true&simple=true&lib=true&tlab=true&nofree=true";
    let query = format!("/profile?pid={}&seconds=1&format=collapsed&{walk}", app.pid);
    let stacks = server.get(&query).ok().text();
    assert!(stacks.contains("[SCHED_"), "{stacks}");
    assert!(
        stacks
            .lines()
            .any(|line| line.contains("Split.sixty(") && !line.contains("demo.shop.Split")),
        "{stacks}"
    );
}
