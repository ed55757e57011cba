//! The store's limit and a full disk: a clean 507, and every finished artifact as it was.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up must fail loudly")]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::app::{self, App, MANY_EVENTS};
use e2e::{Answer, Server, cache, target_files};

fn many_events(app: &App) -> String {
    format!("pid={}&seconds=60&{MANY_EVENTS}", app.pid)
}

/// A capture that is finished, with a flame graph of it.
fn finished(server: &Server, app: &App) -> (String, Answer) {
    let id = server.capture(&format!("pid={}&seconds=1", app.pid));
    server.wait_for(&id, &["finished"]);
    let artifact = server.get(&format!("/captures/{id}/artifact")).ok();
    (id, artifact)
}

fn assert_as_it_was(server: &Server, (id, before): &(String, Answer)) {
    let now = server.get(&format!("/captures/{id}/artifact")).ok();
    assert!(now.body == before.body, "the artifact changed");
    assert_eq!(now.header("etag"), before.header("etag"));
}

fn assert_full(answer: &Answer, whose: &str, remedy: &str) {
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (507, "store_full"),
        "{}",
        answer.text()
    );
    let problem = answer.json();
    assert!(problem["detail"].as_str().unwrap().contains(whose), "{problem}");
    assert!(problem["remedy"].as_str().unwrap().contains(remedy), "{problem}");
}

#[test]
fn two_captures_at_once_never_exceed_the_store() {
    const SIZE: u64 = 48 << 20;
    let talkers = ["3.1", "8"].map(|version| App::start(app::dotnet(version, "trace")));
    let java = App::start(app::java("17", &[], "cpu"));
    let server = Server::start(&["--store-size", "48MiB"]);
    let fetched = finished(&server, &java).0;
    let awaited = server.capture(&format!("pid={}&seconds=1", java.pid));
    server.wait_for(&awaited, &["finished"]);

    let ids = talkers.each_ref().map(|app| server.capture(&many_events(app)));
    let running = |id: &String| server.get(&format!("/captures/{id}")).ok().json()["status"] == "running";
    let deadline = Instant::now() + Duration::from_secs(50);
    let mut most = 0;
    while ids.iter().any(running) {
        assert!(Instant::now() < deadline, "{:?}", server.stored());
        // Looking is much faster than asking, and what is looked for lasts for milliseconds.
        for _ in 0..50 {
            most = most.max(server.stored().iter().map(|(_, length)| length).sum());
        }
    }
    for id in ids {
        let answer = server.get(&format!("/captures/{id}/artifact"));
        assert_full(&answer, "its size", "sideflame.io/capture-size");
    }
    assert!(most <= SIZE, "{most} bytes were in a store of {SIZE}");
    // The one that lived longer had nearly all of it to itself.
    assert!(most > SIZE * 9 / 10, "only {most} bytes of {SIZE} could be used");

    // What somebody had made room, what nobody had yet is still there.
    assert_eq!(server.get(&format!("/captures/{fetched}")).status, 404);
    let artifact = server.get(&format!("/captures/{awaited}/artifact")).ok();
    assert!(artifact.text().contains("Split"), "{}", artifact.text());
    for app in talkers {
        server.get(&format!("/profile?pid={}&seconds=1", app.pid)).ok();
    }
    server.get(&format!("/profile?pid={}&seconds=1", java.pid)).ok();
    assert!(target_files::left(java.pid).is_empty());
}

/// async-profiler writes a JFR into the app's own disk, where nobody counts it.
#[test]
fn a_recording_that_outgrows_the_store_ends_in_the_target() {
    const SIZE: u64 = 16 << 20;
    let app = App::start(app::java("25", &["-Xmx512m"], "alloc"));
    let server = Server::start(&["--store-size", "16MiB"]);
    let started = Instant::now();
    let query = "seconds=120&format=jfr&event=alloc&interval=1k";
    let id = server.capture(&format!("pid={}&{query}", app.pid));
    let recording = || {
        let files = target_files::left(app.pid).into_iter();
        let lengths = files.filter_map(|folder| Some(folder.join("out").metadata().ok()?.len()));
        lengths.max().unwrap_or_default()
    };
    let mut most = 0;
    while server.get(&format!("/captures/{id}")).ok().json()["status"] == "running" {
        most = most.max(recording());
        std::thread::sleep(Duration::from_millis(50));
    }
    eprintln!("ended after {:?} with {most} bytes in the target", started.elapsed());
    let answer = server.get(&format!("/captures/{id}/artifact"));
    assert_full(&answer, "its size", "sideflame.io/capture-size");
    assert!(most > SIZE, "the test provokes nothing: {most} bytes");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    assert!(target_files::left(app.pid).is_empty());
    server.get(&format!("/profile?pid={}&seconds=1", app.pid)).ok();
}

/// Runs `script`, then the server in place of the shell, both in a mount namespace of their own: what is mounted there goes
/// when the server does. `$0` is the store.
fn server_after(script: &str, store: &Path, flags: &[&str]) -> Server {
    std::fs::create_dir(store).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c"]);
    command.arg(format!("{script} exec \"$@\""));
    command.arg(store).arg(cache::sideflame());
    let store = store.to_string_lossy();
    let flags = [&["--store-dir", &*store], flags].concat();
    Server::start_by(command, &flags)
}

#[test]
fn a_disk_that_is_full_at_the_start_is_waited_for() {
    let app = App::start(app::java("17", &[], "cpu"));
    let folder = std::env::temp_dir().join(format!("sideflame-full-{}", std::process::id()));
    // Room for one folder, and none for the lock in it.
    let script = "mount -t tmpfs -o nr_inodes=40 tmpfs \"$0\"; n=0; \
        while touch \"$0/$n\" 2>/dev/null; do n=$((n + 1)); done; rm \"$0/0\"; (sleep 3; rm \"$0\"/[0-9]*) &";
    let server = server_after(script, &folder, &["--retry-start"]);
    let log = server.log();
    assert!(log.contains("No space left") && log.contains("trying again"), "{log}");
    let folders = std::fs::read_dir(server.store()).unwrap().count();
    assert_eq!(folders, 1, "a try left something");
    server.get(&format!("/profile?pid={}&seconds=1", app.pid)).ok();
}

#[test]
fn a_full_disk_loses_no_finished_artifact() {
    let mut talker = App::start(app::dotnet("8", "trace"));
    let mut java = App::start(app::java("17", &[], "cpu"));
    let folder = std::env::temp_dir().join(format!("sideflame-disk-{}", std::process::id()));
    let server = server_after("mount -t tmpfs -o size=24m tmpfs \"$0\" &&", &folder, &[]);
    let kept = finished(&server, &java);

    // The disk is full in the middle of a recording.
    let answer = server.get(&format!("/profile?{}", many_events(&talker)));
    assert_full(&answer, "disk", "the node's");
    assert_as_it_was(&server, &kept);

    // The disk is full before anything starts.
    let filler = server.store().join("filler");
    let mut file = File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    let answer = server.get(&format!("/profile?pid={}&seconds=1", java.pid));
    assert_full(&answer, "disk", "the node's");
    assert!(target_files::left(java.pid).is_empty());
    let pprof = format!("/captures/{}/artifact?format=pprof", kept.0);
    assert_full(&server.get(&pprof), "disk", "the node's");
    assert_as_it_was(&server, &kept);

    // There is room again.
    std::fs::remove_file(filler).unwrap();
    server.get(&pprof).ok();
    server.get(&format!("/profile?pid={}&seconds=1", java.pid)).ok();
    server.get(&format!("/profile?pid={}&seconds=1", talker.pid)).ok();
    assert_as_it_was(&server, &kept);
    assert!(java.is_alive() && talker.is_alive());
}

#[test]
fn a_read_only_disk_is_named_and_loses_nothing() {
    let java = App::start(app::java("17", &[], "cpu"));
    let folder = std::env::temp_dir().join(format!("sideflame-readonly-{}", std::process::id()));
    let server = server_after("mount -t tmpfs tmpfs \"$0\" &&", &folder, &[]);
    let kept = finished(&server, &java);
    let remount = |how: &str| {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &server.pid().to_string(), "mount", "-o"]);
        let done = command.arg(format!("remount,{how}")).arg(&folder).status().unwrap();
        assert!(done.success());
    };
    remount("ro");
    let pprof = format!("/captures/{}/artifact?format=pprof", kept.0);
    for path in [&format!("/profile?pid={}&seconds=1", java.pid), &pprof] {
        let answer = server.get(path);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (507, "store_read_only"),
            "{}",
            answer.text()
        );
    }
    assert_as_it_was(&server, &kept);
    assert!(target_files::left(java.pid).is_empty());
    remount("rw");
    server.get(&pprof).ok();
    server.get(&format!("/profile?pid={}&seconds=1", java.pid)).ok();
    assert_as_it_was(&server, &kept);
}

#[test]
fn two_hundred_captures_go_through_a_full_store_and_none_that_is_wanted_is_lost() {
    const SIZE: u64 = 8 << 20;
    let mut go = Command::new(cache::file("apps/go/split"));
    let app = App::start({
        go.args(["-pprof", "127.0.0.1:0", "cpu"]);
        go
    });
    let server = Server::start(&["--store-captures", "8", "--store-size", "8MiB"]);
    let capture = || {
        let id = server.capture(&format!("pid={}&event=goroutine&format=pprof", app.pid));
        server.wait_for(&id, &["finished"]);
        id
    };
    let fetch = |id: &str| server.get(&format!("/captures/{id}/artifact")).whole();
    let pinned = capture();
    let before = (pinned.clone(), fetch(&pinned));
    server
        .send_json("PATCH", &format!("/captures/{pinned}"), r#"{"pinned": true}"#)
        .ok();
    let unfetched = [capture(), capture(), capture()];
    for _ in 0..200 {
        let id = capture();
        fetch(&id);
        let stored: u64 = server.stored().iter().map(|(_, length)| length).sum();
        assert!(stored <= SIZE, "{stored} bytes");
    }
    let captures = server.get("/captures").ok().json();
    assert_eq!(captures.as_array().unwrap().len(), 8, "{captures}");
    assert_as_it_was(&server, &before);
    // What was not fetched and what is pinned make no room.
    let more = [capture(), capture(), capture(), capture()];
    let full = server.send("POST", &format!("/captures?pid={}&event=goroutine", app.pid), &[]);
    assert_full(&full, "at most 8", "sideflame.io/capture-size");
    for id in unfetched.iter().chain(&more) {
        fetch(id);
    }
    fetch(&capture());
    assert_as_it_was(&server, &before);
}
