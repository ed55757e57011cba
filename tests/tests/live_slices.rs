//! Parts of one recording: a range of its time, some of its threads, and how much there was when.

#![expect(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that cannot set up must fail loudly"
)]

use std::time::{Duration, Instant};

use e2e::app::{self, App, alone};
use e2e::{Server, cache, shares};

const OLD: [(&str, f64); 2] = [("Split.favourite", 0.7), ("Split.other", 0.3)];
const NEW: [(&str, f64); 2] = [("Split.favourite", 0.4), ("Split.other", 0.6)];

/// An artifact of a capture as collapsed stacks.
fn collapsed(server: &Server, id: &str, view: &str) -> String {
    let path = format!("/captures/{id}/artifact?format=collapsed&{view}");
    server.get(&path).ok().text()
}

/// The sum of all stacks.
fn total(stacks: &str) -> f64 {
    let values = stacks.lines().filter_map(|line| line.rsplit_once(' '));
    values.map(|(_, value)| value.parse::<f64>().unwrap()).sum()
}

fn assert_shares(stacks: &str, expected: [(&str, f64); 2]) {
    for (function, share) in expected {
        let found = shares::of(stacks, function);
        eprintln!("{function}: {found:.3}, expected {share}");
        assert!((found - share).abs() < 0.03, "{function} has {found}: {stacks}");
    }
}

#[test]
fn one_recording_of_a_jvm_is_seen_before_and_after_a_change_and_by_thread() {
    let _alone = alone();
    let mut app = App::start(app::java("25", &[], "change"));
    let server = Server::default();
    let id = server.capture(&format!("pid={}&event=cpu,alloc&seconds=12&frequency=499", app.pid));
    let begun = Instant::now();
    e2e::control_plane::wait("the middle of the capture", Duration::from_secs(60), || {
        (begun.elapsed() > Duration::from_secs(6)).then_some(())
    });
    app.tell("now");
    let changed = begun.elapsed().as_secs_f64();
    let quality = server.wait_for(&id, &["finished"])["quality"].clone();
    assert!(quality["durationMs"].as_u64().unwrap() > 10_000, "{quality}");

    let whole = collapsed(&server, &id, "event=cpu");
    let before = collapsed(&server, &id, &format!("event=cpu&to={:.3}", changed - 1.0));
    let after = collapsed(&server, &id, &format!("event=cpu&from={:.3}", changed + 1.0));
    let between = collapsed(
        &server,
        &id,
        &format!("event=cpu&from={:.3}&to={:.3}", changed - 1.0, changed + 1.0),
    );
    assert_shares(&before, OLD);
    assert_shares(&after, NEW);
    let parts: f64 = [&before, &between, &after].map(|part| total(part)).iter().sum();
    assert!((parts - total(&whole)).abs() < 0.5, "{parts} of {}", total(&whole));

    let by_thread = collapsed(&server, &id, "event=cpu&by=thread-name");
    let root = by_thread.lines().find(|line| line.contains("Split.favourite")).unwrap();
    let thread = root.split(';').next().unwrap();
    let name = thread.trim_matches(['[', ']']);
    let of_it = collapsed(&server, &id, &format!("event=cpu&thread=^{name}$"));
    assert!(total(&of_it) > 0.9 * total(&whole), "{name}: {of_it}");
    // A walk that failed may begin with a mark in brackets, too.
    assert!(of_it.lines().all(|line| !line.starts_with(thread)), "{of_it}");
    assert!(total(&collapsed(&server, &id, "event=cpu&thread=no-such-thread")) < 0.5);

    let timeline = server.get(&format!("/captures/{id}/timeline")).ok().json();
    let events = timeline["events"].as_array().unwrap();
    assert_eq!(events.len(), 2, "{timeline}");
    let cpu = events.iter().find(|event| event["event"] == "cpu").unwrap();
    let values = cpu["values"].as_array().unwrap();
    let sum: u64 = values.iter().map(|value| value.as_u64().unwrap()).sum();
    assert_eq!(Some(sum), cpu["total"].as_u64());
    let intervals = quality["durationMs"].as_u64().unwrap() / cpu["intervalMs"].as_u64().unwrap();
    assert!(values.len() as u64 >= intervals, "{} of {intervals}", values.len());
    // One thread that is never idle.
    let busy = values.iter().filter(|value| value.as_u64() > Some(0)).count();
    assert!(busy * 10 > values.len() * 8, "{timeline}");
}

#[test]
fn one_recording_of_a_jvm_is_split_by_the_spans_that_its_program_told() {
    let _alone = alone();
    // The API of async-profiler, which the program has from somewhere.
    let api = format!("-Xbootclasspath/a:{}", cache::file("async-profiler").display());
    for jdk in ["17", "25"] {
        let app = App::start(app::java(jdk, &[&api], "spans"));
        let server = Server::default();
        let id = server.capture(&format!("pid={}&event=cpu&format=jfr&seconds=6&frequency=499", app.pid));
        server.wait_for(&id, &["finished"]);
        let by_span = collapsed(&server, &id, "by=label:span");
        eprintln!("JDK {jdk}");
        for (endpoint, expected) in [
            ("/cart", 0.6),
            ("/search", 0.15),
            ("/search/price", 0.15),
            ("/health", 0.1),
        ] {
            let root = format!("[span: {endpoint}]");
            // Compilers and collectors have no spans.
            let share = shares::of(&by_span, &root) / (1.0 - shares::of(&by_span, "[no span]"));
            eprintln!("{endpoint}: {share:.3}, expected {expected}");
            assert!((share - expected).abs() < 0.03, "{endpoint} has {share}: {by_span}");
        }
        let half = collapsed(&server, &id, "by=label:span&from=3");
        let share = shares::of(&half, "[span: /cart]") / (1.0 - shares::of(&half, "[no span]"));
        assert!((share - 0.6).abs() < 0.05, "{share}: {half}");
        assert!((total(&by_span) - total(&collapsed(&server, &id, ""))).abs() < 0.5);
        let answer = server
            .get(&format!("/captures/{id}/artifact?format=svg&by=label:endpoint"))
            .ok();
        let said = answer.header("sideflame-degraded").to_owned();
        assert!(said.contains("no sample has a label endpoint"), "{said}");
    }
}

#[test]
fn one_recording_of_several_events_has_the_split_of_each() {
    let _alone = alone();
    for jdk in ["17", "25"] {
        let app = App::start(app::java(jdk, &[], "cpu,alloc,lock"));
        let server = Server::default();
        let id = server.capture(&format!("pid={}&event=cpu,alloc,lock&seconds=15", app.pid));
        server.wait_for(&id, &["finished"]);
        for (event, functions) in [
            ("cpu", ["Split.sixty", "Split.thirty", "Split.ten"]),
            ("alloc", ["Split.allocSixty", "Split.allocThirty", "Split.allocTen"]),
            ("lock", ["Split.lockSixty", "Split.lockThirty", "Split.lockTen"]),
        ] {
            let [sixty, thirty, ten] = functions;
            let split = [(sixty, 0.6), (thirty, 0.3), (ten, 0.1)];
            eprintln!("JDK {jdk}");
            shares::assert_split(&collapsed(&server, &id, &format!("event={event}")), split);
            let picture = server
                .get(&format!("/captures/{id}/artifact?format=svg&event={event}"))
                .ok()
                .text();
            assert!(functions.iter().all(|function| picture.contains(function)), "{event}");
        }
        let half = collapsed(&server, &id, "event=alloc&from=8");
        shares::assert_split(
            &half,
            [
                ("Split.allocSixty", 0.6),
                ("Split.allocThirty", 0.3),
                ("Split.allocTen", 0.1),
            ],
        );
    }
}

#[test]
fn one_recording_of_dotnet_is_seen_in_parts_and_by_thread() {
    let _alone = alone();
    let app = App::start(app::dotnet("8", "cpu"));
    let server = Server::default();
    let id = server.capture(&format!("pid={}&event=cpu&seconds=12", app.pid));
    server.wait_for(&id, &["finished"]);
    let whole = collapsed(&server, &id, "");
    let [early, late] = ["to=6", "from=6"].map(|view| collapsed(&server, &id, view));
    for part in [&early, &late] {
        shares::assert_split(part, [("Split.Sixty", 0.6), ("Split.Thirty", 0.3), ("Split.Ten", 0.1)]);
        let share = total(part) / total(&whole);
        assert!((share - 0.5).abs() < 0.2, "{share}");
    }
    let worker = collapsed(&server, &id, "thread=shop-worker-1&by=thread");
    assert!(total(&worker) > 0.95 * total(&whole), "{worker}");
    assert!(
        worker.lines().all(|line| line.starts_with("[shop-worker-1 tid=")),
        "{worker}"
    );
}

#[test]
fn one_recording_of_machine_code_is_seen_in_parts_and_by_thread() {
    let _alone = alone();
    let split = [("sixty", 0.6), ("thirty", 0.3), ("ten", 0.1)];
    let mut command = std::process::Command::new(cache::file("apps/c/split"));
    command.args(["cpu", "2"]);
    let app = App::start(command);
    let server = Server::default();
    // Threads are told apart when it is asked for, too.
    for asked in ["", "&threads=true"] {
        let id = server.capture(&format!("pid={}&event=cpu&seconds=6&frequency=499{asked}", app.pid));
        server.wait_for(&id, &["finished"]);
        let whole = collapsed(&server, &id, "");
        assert_eq!(whole.contains("[cpu-0 tid="), !asked.is_empty(), "{whole}");
        let [early, late] = ["to=3", "from=3"].map(|view| collapsed(&server, &id, view));
        let [first, second] = [0, 1].map(|thread| {
            let view = format!("thread=^cpu-{thread}$&by=thread-name");
            let stacks = collapsed(&server, &id, &view);
            let root = format!("[cpu-{thread}];");
            assert!(stacks.lines().all(|line| line.starts_with(&root)), "{stacks}");
            stacks
        });
        for [one, other] in [[&early, &late], [&first, &second]] {
            shares::assert_split(one, split);
            shares::assert_split(other, split);
            // Neither threads nor halves get the same of a CPU that others want, too.
            let share = total(one) / total(&whole);
            assert!((share - 0.5).abs() < 0.2, "{share}");
            let parts = total(one) + total(other);
            assert!(
                (parts / total(&whole) - 1.0).abs() < 0.001,
                "{parts} of {}",
                total(&whole)
            );
        }
        let numbers = collapsed(&server, &id, "by=thread&to=2");
        let is_one = |line: &str| line.starts_with("[cpu-0 tid=") || line.starts_with("[cpu-1 tid=");
        assert!(numbers.lines().all(is_one), "{numbers}");
        let timeline = server.get(&format!("/captures/{id}/timeline")).ok().json();
        let values = timeline["events"][0]["values"].as_array().unwrap();
        let busy = values.iter().filter(|value| value.as_u64() > Some(0)).count();
        assert!(values.len() >= 100 && busy * 10 > values.len() * 8, "{timeline}");
        // Others read it as any profile.
        let url = format!("{}/captures/{id}/artifact?format=pprof", server.url);
        shares::assert_split(&shares::go_tool(&[url]), split);
    }
}

#[test]
fn what_has_no_times_says_how_to_have_them() {
    let app = App::start(app::java("17", &[], "cpu"));
    let server = Server::default();
    let refused = server.get(&format!("/profile?pid={}&seconds=1&from=0.5", app.pid));
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("format=jfr"), "{}", refused.text());
    let plain = server
        .get(&format!(
            "/profile?pid={}&seconds=1&thread=main&format=collapsed",
            app.pid
        ))
        .ok();
    let said = plain.header("sideflame-degraded");
    assert!(said.contains("threads=true"), "{said}");
}
