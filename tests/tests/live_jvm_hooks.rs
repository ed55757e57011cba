//! What async-profiler hooks into beside its clocks: native memory and what of it leaks, native locks, long calls, processes.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up must fail loudly")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::app::{self, App};
use e2e::control_plane::wait;
use e2e::{Server, jfr};

/// A JVM that keeps half of the native memory that it asks for.
fn leaky() -> App {
    let mut command = Command::new(app::jdk_home("17").join("bin/java"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/Leaky.java"));
    App::start(command)
}

/// Bytes of stacks with such a frame, and of all.
fn bytes(collapsed: &str, frame: &str) -> (u64, u64) {
    let of = |line: &str| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    let with = collapsed.lines().filter(|line| line.contains(frame)).map(of).sum();
    (with, collapsed.lines().map(of).sum())
}

#[test]
fn native_memory_is_seen_and_leaks_are_what_was_not_given_back() {
    let app = leaky();
    let server = Server::default();
    let query = |event: &str| {
        format!(
            "/profile?pid={}&seconds=6&event={event}&interval=1k&format=collapsed",
            app.pid
        )
    };
    let all = server.get(&query("nativemem")).ok().text();
    let (kept, freed) = (bytes(&all, "Leaky.kept"), bytes(&all, "Leaky.freed"));
    let share = |part: u64, of: u64| 100.0 * part as f64 / of as f64;
    let half = share(kept.0, kept.0 + freed.0);
    assert!((half - 50.0).abs() < 3.0, "{half} %: {all}");
    let leaks = server.get(&query("leaks")).ok().text();
    let (kept, freed) = (bytes(&leaks, "Leaky.kept"), bytes(&leaks, "Leaky.freed"));
    assert_eq!(freed.0, 0, "{leaks}");
    // 120 blocks in six seconds, without the last tenth.
    let blocks = kept.0 / (256 << 10);
    assert!(
        (60..=112).contains(&blocks) && share(kept.0, kept.1) > 90.0,
        "{blocks}: {leaks}"
    );
    // A picture, unless something else is asked for.
    let svg = server
        .get(&format!("/profile?pid={}&seconds=1&event=leaks", app.pid))
        .ok();
    assert_eq!(svg.header("content-type"), "image/svg+xml");
}

#[test]
fn long_calls_are_recorded_with_their_durations() {
    let app = App::start(app::java("17", &[], "cpu"));
    let server = Server::default();
    let traced = "event=latency&trace=demo.shop.Split.sixty:1ms";
    // Beside other programs none was seen to end within the first capture, while the JVM compiled anew what was changed.
    let text = wait("calls", Duration::from_secs(60), || {
        let query = format!("/profile?pid={}&seconds=3&{traced}&format=collapsed", app.pid);
        Some(server.get(&query).ok().text()).filter(|text| !text.is_empty())
    });
    let (calls, all) = bytes(&text, "demo.shop.Split.sixty");
    assert!(
        calls == all && calls > 100_000_000,
        "nanoseconds of what runs 60 % of 3 s: {text}"
    );
    let missing = server.get(&format!("/profile?pid={}&seconds=1&event=latency", app.pid));
    assert_eq!(
        (missing.status, missing.code().as_str()),
        (400, "invalid_parameter"),
        "{}",
        missing.text()
    );
    let pointless = server.get(&format!("/profile?pid={}&seconds=1&trace=a.b.c", app.pid));
    assert!(
        pointless.status == 400 && pointless.text().contains("event=latency"),
        "{}",
        pointless.text()
    );
    // What was changed for the capture is as it was.
    let after = server
        .get(&format!("/profile?pid={}&seconds=2&format=collapsed", app.pid))
        .ok()
        .text();
    assert!(after.contains("Split.sixty"), "{after}");
}

#[test]
fn processes_are_recorded_beside_the_samples_without_their_command_lines() {
    let app = App::start(app::java("17", &["-Dpassword=hunter2"], "cpu"));
    let server = Server::default();
    let query = format!("/profile?pid={}&seconds=4&proc=1&format=jfr", app.pid);
    let processes = jfr::events("25", &server.get(&query).ok().body, "profiler.ProcessSample");
    assert!(
        processes.contains("vmRss") && processes.contains("cmdLine = \"***"),
        "{processes}"
    );
    assert!(!processes.contains("hunter2"), "{processes}");
    let refused = server.get(&format!("/profile?pid={}&seconds=1&proc=1", app.pid));
    assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_parameter"));
}

#[test]
fn the_doctor_judges_each_hook_and_a_recording_of_several_has_them() {
    let app = App::start(app::java("17", &[], "lock"));
    let server = Server::default();
    let accept = [("Accept", "application/json")];
    let doctor = server
        .send("GET", &format!("/doctor?pid={}", app.pid), &accept)
        .ok()
        .json();
    let verdict = |event: &str| {
        let verdicts = doctor[0]["verdicts"].as_array().unwrap();
        let verdict = verdicts.iter().find(|verdict| verdict["event"] == event).unwrap();
        let reason = verdict["reason"]["key"].as_str().unwrap_or_default().to_owned();
        (verdict["availability"].as_str().unwrap().to_owned(), reason)
    };
    let is = |availability: &str, reason: &str| (availability.to_owned(), reason.to_owned());
    assert_eq!(verdict("nativemem"), is("available", ""));
    assert_eq!(verdict("nativelock"), is("available", ""));
    assert_eq!(verdict("leaks"), is("degraded", "leaks_since_start"));
    assert_eq!(verdict("latency"), is("degraded", "calls_slower"));
    let id = server.capture(&format!(
        "pid={}&seconds=2&event=cpu,nativemem,leaks,nativelock",
        app.pid
    ));
    server.wait_for(&id, &["finished"]);
    for event in ["cpu", "nativemem", "leaks", "nativelock"] {
        server
            .get(&format!("/captures/{id}/artifact?format=svg&event={event}"))
            .ok();
    }
}
