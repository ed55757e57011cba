//! Go captures over HTTP: shares of known functions, every profile type, stripped and not.

use std::process::Command;
use std::time::Duration;

use e2e::app::App;
use e2e::control_plane::wait;
use e2e::{Server, cache, shares};

/// Starts `apps/go/<binary>` with pprof on a free port.
fn start(binary: &str, scenario: &str, flags: &[&str]) -> App {
    let mut command = Command::new(cache::file(&format!("apps/go/{binary}")));
    command.args(flags).arg(scenario);
    App::start(command)
}

const PPROF: [&str; 2] = ["-pprof", "127.0.0.1:0"];

#[test]
fn cpu_shares_are_the_known_split() {
    for binary in ["split", "split-stripped", "split-pie"] {
        let app = start(binary, "cpu", &PPROF);
        let server = Server::default();
        let query = format!("/profile?pid={}&seconds=10&format=collapsed", app.pid);
        shares::assert_split(&shares::enough(|| server.get(&query)), shares::GO_CPU);
    }
}

#[test]
fn every_profile_type_answers_on_the_paths_of_go() {
    let app = start("split", "cpu", &PPROF);
    let server = Server::default();
    for path in [
        "profile?seconds=1&",
        "heap?",
        "allocs?",
        "allocs?seconds=1&",
        "goroutine?",
        "block?",
        "mutex?",
        "mutex?seconds=1&",
        "threadcreate?",
    ] {
        let url = format!("{}/debug/pprof/{path}pid={}", server.url, app.pid);
        let top = Command::new("go")
            .args(["tool", "pprof", "-top", &url])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&top.stderr).into_owned();
        assert!(top.status.success(), "{path}: {said}");
    }
}

#[test]
fn alloc_shares_are_the_known_split() {
    let app = start("split", "alloc", &PPROF);
    let server = Server::default();
    let query = format!("/profile?pid={}&seconds=5&event=alloc&format=collapsed", app.pid);
    let functions = [
        ("main.allocSixty", 0.6),
        ("main.allocThirty", 0.3),
        ("main.allocTen", 0.1),
    ];
    shares::assert_split(&server.get(&query).ok().text(), functions);
}

#[test]
fn an_execution_trace_is_handed_out_as_it_is() {
    let app = start("split", "cpu", &PPROF);
    let server = Server::default();
    let answer = server
        .get(&format!("/debug/pprof/trace?seconds=1&pid={}", app.pid))
        .ok();
    assert!(answer.body.starts_with(b"go 1."), "{:?}", &answer.body[..16]);
    let file = std::env::temp_dir().join(format!("sideflame-{}.trace", std::process::id()));
    std::fs::write(&file, &answer.body).unwrap();
    let parsed = Command::new("go")
        .args(["tool", "trace", "-d=footprint"])
        .arg(&file)
        .output()
        .unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(parsed.status.success(), "{}", String::from_utf8_lossy(&parsed.stderr));
}

#[test]
fn an_svg_needs_no_go_toolchain() {
    let app = start("split-stripped", "cpu", &PPROF);
    let server = Server::default();
    let answer = server.get(&format!("/profile?pid={}&seconds=2", app.pid)).ok();
    assert_eq!(answer.header("content-type"), "image/svg+xml");
    assert!(answer.text().contains("main.sixty"));
}

#[test]
fn https_pprof_needs_the_operators_word() {
    let app = start("split", "cpu", &["-pprof", "127.0.0.1:0", "-tls"]);
    let strict = Server::default();
    let refused = strict.get(&format!("/profile?pid={}&seconds=1", app.pid));
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("--go-pprof-insecure-tls"), "{}", refused.text());
    let lenient = Server::start(&["--go-pprof-insecure-tls"]);
    lenient.get(&format!("/profile?pid={}&seconds=1", app.pid)).ok();
}

#[test]
fn a_path_prefix_is_the_operators_to_name() {
    let app = start("split", "cpu", &["-pprof", "127.0.0.1:0", "-prefix", "/admin"]);
    assert_eq!(
        Server::default()
            .get(&format!("/profile?pid={}&seconds=1", app.pid))
            .status,
        422
    );
    let told = Server::start(&["--go-pprof-path-prefix", "/admin"]);
    told.get(&format!("/profile?pid={}&seconds=1", app.pid)).ok();
}

#[test]
fn a_go_program_without_pprof_says_what_is_missing() {
    for flags in [&["-http", "127.0.0.1:0"][..], &["-tcp", "127.0.0.1:0"]] {
        let mut app = start("split-nopprof", "cpu", flags);
        let server = Server::default();
        let refused = server.get(&format!("/profile?pid={}&seconds=1", app.pid));
        assert_eq!(refused.status, 422, "{}", refused.text());
        assert!(
            refused.json()["remedy"].as_str().unwrap().contains("net/http/pprof"),
            "{}",
            refused.text()
        );
        assert!(app.is_alive());
    }
}

#[test]
fn a_profile_somebody_else_takes_is_a_conflict() {
    let app = start("split", "cpu", &PPROF);
    let one = Server::default();
    let other = Server::default();
    let id = one.capture(&format!("pid={}&seconds=10", app.pid));
    one.wait_for(&id, &["sampling"]);
    // Go's profiler has a timer per thread.
    wait("Go's profiler", Duration::from_secs(5), || {
        let timers = std::fs::read_to_string(format!("/proc/{}/timers", app.pid)).unwrap();
        (!timers.is_empty()).then_some(())
    });
    let refused = other.get(&format!("/profile?pid={}&seconds=1", app.pid));
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (409, "already_profiled"),
        "{}",
        refused.text()
    );
    one.send("DELETE", &format!("/captures/{id}"), &[]);
    other.get(&format!("/profile?pid={}&seconds=1", app.pid)).ok();
}

#[test]
fn who_would_wait_long_for_the_profiler_is_told_for_how_long() {
    let app = start("split", "cpu", &PPROF);
    let server = Server::default();
    let id = server.capture(&format!("pid={}&seconds=300", app.pid));
    let busy = server.get(&format!("/profile?pid={}&seconds=1", app.pid));
    assert_eq!((busy.status, busy.code().as_str()), (429, "busy"), "{}", busy.text());
    let wait = busy.header("retry-after").parse::<u64>().unwrap();
    assert!((290..=301).contains(&wait), "{wait}");
    // A profiler is all that it takes for itself.
    for beside in ["trace?seconds=1&", "allocs?seconds=1&", "heap?"] {
        server.get(&format!("/debug/pprof/{beside}pid={}", app.pid)).ok();
    }
    server.send("DELETE", &format!("/captures/{id}"), &[]);
    server.get(&format!("/profile?pid={}&seconds=1", app.pid)).ok();
}

#[test]
fn scrapers_and_people_do_not_refuse_each_other() {
    let app = start("split", "cpu", &PPROF);
    let server = Server::default();
    let scraped = [
        "profile?seconds=2&",
        "allocs?seconds=2&",
        "goroutine?",
        "mutex?seconds=2&",
        "block?seconds=2&",
        "heap?",
    ];
    let scraped = scraped.map(|path| format!("/debug/pprof/{path}pid={}", app.pid));
    let by_a_person = format!("/profile?pid={}&seconds=3&format=collapsed", app.pid);
    for _ in 0..2 {
        std::thread::scope(|scope| {
            let server = &server;
            let asked = scraped.iter().chain([&by_a_person]);
            let answers: Vec<_> = asked.map(|path| (path, scope.spawn(|| server.get(path)))).collect();
            for (path, answer) in answers {
                let answer = answer.join().unwrap();
                assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            }
        });
    }
}

#[test]
fn an_early_stop_keeps_what_go_can_give() {
    let app = start("split", "cpu", &PPROF);
    let server = Server::default();
    let stopped = |query: &str| {
        let id = server.capture(&format!("pid={}&seconds=300&{query}", app.pid));
        server.wait_for(&id, &["sampling"]);
        // What is stopped early is to be as long as this.
        std::thread::sleep(Duration::from_secs(3));
        server.send("POST", &format!("/captures/{id}/stop"), &[]);
        let end = server.wait_for(&id, &["finished", "failed"]);
        (id, end)
    };
    for query in ["event=cpu", "event=trace&format=trace"] {
        let (id, end) = stopped(query);
        assert_eq!(end["status"], "finished", "{end}");
        assert!(end["expiresAtMs"].as_u64() > end["createdAtMs"].as_u64(), "{end}");
        let artifact = server.get(&format!("/captures/{id}/artifact")).ok();
        let text = if query == "event=cpu" { "main.sixty" } else { "go 1." };
        assert!(artifact.text().contains(text), "{query}: {} bytes", artifact.body.len());
    }
    // A difference exists only at its end, and says so.
    let (_, end) = stopped("event=alloc");
    assert_eq!(end["status"], "failed", "{end}");
    assert!(end["error"].as_str().unwrap().contains("difference"), "{end}");
}
