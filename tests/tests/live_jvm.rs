//! JVM captures over HTTP: shares of known functions, every format, on each JDK under test.

use std::process::Command;

use e2e::app::{self, App};
use e2e::{Server, jfr, shares};

/// Captures `event` while the app does nothing but that; `more` is added to the query.
fn collapsed_split(jdk: &str, event: &str, more: &str, functions: [(&str, f64); 3]) {
    let app = App::start(app::java(jdk, &[], event));
    let server = Server::default();
    // Bytes and waits are sums over thousands of events; time is sampled, 100 times a second.
    let sampled = matches!(event, "cpu" | "wall");
    let seconds = if sampled { 10 } else { 8 };
    let query = format!(
        "/profile?pid={}&seconds={seconds}&event={event}&format=collapsed{more}",
        app.pid
    );
    let capture = || {
        let answer = server.get(&query).ok();
        let sampler = answer.header("sideflame-sampler");
        assert!(sampler.contains("async-profiler"), "{:?}", answer.headers);
        answer
    };
    let stacks = if sampled {
        shares::enough(capture)
    } else {
        capture().text()
    };
    shares::assert_split(&stacks, functions);
}

#[test]
fn cpu_shares_are_the_known_split() {
    for jdk in ["17", "25"] {
        collapsed_split(jdk, "cpu", "", shares::JAVA_CPU);
    }
}

#[test]
fn wall_shares_are_the_known_split() {
    for jdk in ["17", "25"] {
        collapsed_split(
            jdk,
            "wall",
            // 1,000 samples of the one thread that sleeps in our functions; dozens of others only wait.
            "&interval=10ms&include=*Split.wall*",
            [
                ("Split.wallSixty", 0.6),
                ("Split.wallThirty", 0.3),
                ("Split.wallTen", 0.1),
            ],
        );
    }
}

#[test]
fn alloc_shares_are_the_known_split() {
    for jdk in ["17", "25"] {
        collapsed_split(
            jdk,
            "alloc",
            "",
            [
                ("Split.allocSixty", 0.6),
                ("Split.allocThirty", 0.3),
                ("Split.allocTen", 0.1),
            ],
        );
    }
}

/// Bytes of the stacks with `function`.
fn bytes_of(stacks: &str, function: &str) -> f64 {
    let lines = stacks.lines().filter(|line| line.contains(function));
    let numbers = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    numbers.sum()
}

#[test]
fn live_objects_weigh_their_size_big_or_small() {
    for jdk in ["17", "25"] {
        let mut app = App::start(app::java(jdk, &[], "heap"));
        let server = Server::default();
        // One sample for some hundred small objects, five hundred in all.
        let id = server.capture(&format!("pid={}&event=heap&interval=128k&seconds=60", app.pid));
        server.wait_for(&id, &["sampling"]);
        app.tell("now");
        app.wait_for("allocated");
        assert_eq!(server.send("POST", &format!("/captures/{id}/stop"), &[]).status, 202);
        server.wait_for(&id, &["finished"]);
        let stacks = server
            .get(&format!("/captures/{id}/artifact?format=collapsed"))
            .ok()
            .text();
        for (function, bytes) in [("Split.heapBig", 104_857_616.0), ("Split.heapSmall", 60_000.0 * 1040.0)] {
            let seen = bytes_of(&stacks, function) / bytes;
            assert!((0.8..1.2).contains(&seen), "JDK {jdk} {function}: {seen}\n{stacks}");
        }
    }
}

#[test]
fn lock_shares_are_the_known_split() {
    for jdk in ["17", "25"] {
        collapsed_split(
            jdk,
            "lock",
            "",
            [
                ("Split.lockSixty", 0.6),
                ("Split.lockThirty", 0.3),
                ("Split.lockTen", 0.1),
            ],
        );
    }
}

#[test]
fn threads_are_told_apart_when_asked_for() {
    let app = App::start(app::java("25", &[], "threads"));
    let server = Server::default();
    let answer = server
        .get(&format!(
            "/profile?pid={}&seconds=3&format=collapsed&threads=true",
            app.pid
        ))
        .ok();
    for worker in 1..=4 {
        assert!(
            answer.text().contains(&format!("shop-worker-{worker}")),
            "{}",
            answer.text()
        );
    }
}

#[test]
fn the_default_is_an_svg_with_its_stamp() {
    let app = App::start(app::java("17", &[], "cpu"));
    let server = Server::default();
    let answer = server.get(&format!("/profile?pid={}&seconds=2", app.pid)).ok();
    assert_eq!(answer.header("content-type"), "image/svg+xml");
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    let svg = answer.text();
    assert!(
        svg.contains("demo.shop.Split.sixty") && svg.contains("async-profiler") && svg.trim_end().ends_with("</svg>")
    );
    assert!(!svg.contains("_[j]"), "annotations are for colours, not for people");
}

#[test]
fn a_jfr_file_passes_the_jdks_own_reader() {
    for jdk in ["17", "25"] {
        let app = App::start(app::java(jdk, &[], "cpu"));
        let server = Server::default();
        let answer = server
            .get(&format!("/profile?pid={}&seconds=3&format=jfr", app.pid))
            .ok();
        let summary = jfr::summary(jdk, &answer.body);
        assert!(jfr::number(&summary, "jdk.ExecutionSample", 1) > 0, "{summary}");
    }
}

#[test]
fn go_tool_pprof_reads_a_java_process_over_http() {
    let _app = App::start(app::java("25", &[], "cpu"));
    let server = Server::default();
    let url = format!("{}/debug/pprof/profile?seconds=5&pid={}", server.url, _app.pid);
    let top = Command::new("go")
        .args(["tool", "pprof", "-top", "-nodecount=5", &url])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&top.stdout);
    assert!(top.status.success(), "{}", String::from_utf8_lossy(&top.stderr));
    assert!(text.contains("Split.sixty") || text.contains("Split.spin"), "{text}");
    // Time and not counts, as of a Go program.
    assert!(text.contains("Type: cpu"), "{text}");
}

#[test]
fn scrapers_and_people_wait_for_each_other() {
    let app = App::start(app::java("17", &[], "cpu"));
    let server = Server::default();
    let asked = [
        "/debug/pprof/profile?seconds=2&",
        "/debug/pprof/allocs?seconds=2&",
        "/debug/pprof/mutex?seconds=2&",
        "/debug/pprof/heap?seconds=2&",
        "/profile?seconds=3&",
    ];
    let asked = asked.map(|path| format!("{path}pid={}", app.pid));
    std::thread::scope(|scope| {
        let server = &server;
        let answers: Vec<_> = asked
            .iter()
            .map(|path| (path, scope.spawn(|| server.get(path))))
            .collect();
        for (path, answer) in answers {
            let answer = answer.join().unwrap();
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        }
    });
    let id = server.capture(&format!("pid={}&seconds=300", app.pid));
    let busy = server.get(&format!("/debug/pprof/allocs?seconds=2&pid={}", app.pid));
    assert_eq!(busy.status, 429, "{}", busy.text());
    let wait = busy.header("retry-after").parse::<u64>().unwrap();
    assert!((290..=301).contains(&wait), "{wait}");
    server.send("DELETE", &format!("/captures/{id}"), &[]);
}

#[test]
fn a_jvm_that_is_still_starting_is_waited_for() {
    let server = Server::default();
    let slow = ["-Djava.system.class.loader=demo.shop.SlowStart"];
    let app = App::launch(app::java("25", &slow, "cpu"));
    let query = format!("/profile?pid={}&seconds=1&event=wall&format=collapsed", app.pid);
    let answer = (0..1000)
        .map(|_| server.get(&query))
        // Not a JVM yet: the launcher has not loaded it.
        .find(|answer| answer.status != 422 && answer.status != 400)
        .unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn speedscope_validates_against_its_schema() {
    let app = App::start(app::java("17", &[], "cpu"));
    let server = Server::default();
    let schema = std::fs::read(e2e::cache::file("speedscope/file-format-schema.json")).unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&schema).unwrap();
    for threads in [false, true] {
        let query = format!("/profile?pid={}&seconds=2&format=speedscope&threads={threads}", app.pid);
        let profile = server.get(&query).ok().json();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&profile)
            .map(|error| error.to_string())
            .take(5)
            .collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
}

#[test]
fn one_recording_gives_every_format_that_fits() {
    let app = App::start(app::java("25", &[], "cpu"));
    let server = Server::default();
    let id = server.capture(&format!("pid={}&seconds=2", app.pid));
    let capture = server.wait_for(&id, &["finished", "failed"]);
    assert_eq!(capture["status"], "finished", "{capture}");
    for (format, start) in [
        ("svg", "<?xml"),
        ("collapsed", ""),
        ("speedscope", "{"),
        ("pprof", "\u{1f}"),
    ] {
        let answer = server.get(&format!("/captures/{id}/artifact?format={format}")).ok();
        assert!(
            answer.text().starts_with(start),
            "{format}: {:?}",
            &answer.text().chars().take(20).collect::<String>()
        );
    }
    let whole = server.get(&format!("/captures/{id}/artifact?format=collapsed")).ok();
    let part = server.send(
        "GET",
        &format!("/captures/{id}/artifact?format=collapsed"),
        &[("Range", "bytes=5-14")],
    );
    assert_eq!((part.status, part.body.as_slice()), (206, &whole.body[5..15]));
    let etag = whole.header("etag").to_owned();
    let same = server.send(
        "GET",
        &format!("/captures/{id}/artifact?format=collapsed"),
        &[("If-None-Match", &etag)],
    );
    assert_eq!(same.status, 304);
    assert_eq!(server.get(&format!("/captures/{id}/artifact?format=jfr")).status, 400);
    assert_eq!(server.send("DELETE", &format!("/captures/{id}"), &[]).status, 204);
    assert_eq!(server.get(&format!("/captures/{id}")).status, 404);
}

#[test]
fn a_jvm_near_its_limit_of_descriptors_keeps_them() {
    // 150 threads of its own and some twenty of the JVM's: they would fit, with nothing left for the application.
    let java = app::java("17", &["-XX:-MaxFDLimit"], "threads");
    let mut limited = Command::new("prlimit");
    limited.args(["--nofile=200:200"]).arg(java.get_program());
    limited.args(java.get_args()).arg("150");
    let app = App::start(limited);
    let server = Server::default();
    let answer = server
        .get(&format!("/profile?pid={}&seconds=2&format=collapsed", app.pid))
        .ok();
    let (sampler, degraded) = (answer.header("sideflame-sampler"), answer.header("sideflame-degraded"));
    assert!(sampler.contains("ctimer"), "{sampler}");
    assert!(degraded.contains("file descriptor"), "{degraded}");
    let doctor = server.get(&format!("/doctor?pid={}", app.pid)).ok().text();
    assert!(doctor.contains("too_few_descriptors"), "{doctor}");
}

#[test]
fn a_process_of_another_user_is_captured_with_its_rights() {
    let app = App::start(app::as_user(&app::java("17", &[], "cpu")));
    let server = Server::default();
    let query = format!("/profile?pid={}&seconds=10&format=collapsed", app.pid);
    let capture = || {
        let answer = server.get(&query).ok();
        // Without perf rights the kernel part is missing, and the artifact says so.
        let sampler = answer.header("sideflame-sampler");
        assert!(sampler.contains("ctimer"), "{sampler}");
        assert!(!answer.header("sideflame-degraded").is_empty());
        answer
    };
    shares::assert_split(&shares::enough(capture), shares::JAVA_CPU);
}
