//! .NET captures over HTTP: whole nettrace files with the shares of our methods.

use std::process::Command;

use e2e::app::{self, App};
use e2e::{Server, cache, nettrace};

/// FastSerialization's NullReference tag ends a nettrace of version 4 and 5.
const END: u8 = 1;

fn assert_whole(nettrace: &[u8]) {
    assert!(
        nettrace.starts_with(b"Nettrace"),
        "{:?}",
        &nettrace[..nettrace.len().min(32)]
    );
    assert_eq!(nettrace.last(), Some(&END));
}

#[test]
fn a_nettrace_has_the_shares_of_our_methods() {
    for version in ["3.1", "8"] {
        let app = App::start(app::dotnet(version, "cpu"));
        let server = Server::default();
        eprintln!(".NET {version}");
        nettrace::assert_split(|| server.get(&format!("/profile?pid={}&seconds=10", app.pid)));
    }
}

#[test]
fn a_modern_runtime_gives_a_whole_nettrace() {
    let mut command = Command::new(cache::file("dotnet-10/dist/azmcp"));
    command
        .args(["server", "start"])
        .env("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", "1");
    let app = App::launch(command);
    let server = Server::default();
    // It says nothing when it is ready: the diagnostic socket is what we wait for.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let answer = loop {
        let answer = server.get(&format!("/profile?pid={}&seconds=3&format=nettrace", app.pid));
        if answer.status == 200 || std::time::Instant::now() > deadline {
            break answer.ok();
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
    };
    assert_whole(&answer.body);
}

#[test]
fn the_other_events_are_whole_too() {
    let app = App::start(app::dotnet("8", "alloc"));
    let server = Server::default();
    for event in ["alloc", "lock", "exceptions", "wall"] {
        assert_whole(
            &server
                .get(&format!("/profile?pid={}&seconds=1&event={event}", app.pid))
                .ok()
                .body,
        );
    }
    let profile = server
        .get(&format!("/profile?pid={}&seconds=1&profile=gc-verbose", app.pid))
        .ok();
    assert_whole(&profile.body);
    let provider = "providers=Microsoft-Windows-DotNETRuntime:0x1:4";
    assert_whole(
        &server
            .get(&format!("/profile?pid={}&seconds=1&{provider}", app.pid))
            .ok()
            .body,
    );
}

#[test]
fn formats_it_cannot_give_are_named_with_those_it_can() {
    let app = App::start(app::dotnet("3.1", "cpu"));
    let server = Server::default();
    let refused = server.get(&format!("/profile?pid={}&seconds=1&format=svg", app.pid));
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("nettrace"), "{}", refused.text());
}

#[test]
fn an_early_stop_keeps_a_whole_file() {
    let app = App::start(app::as_user(&app::dotnet("3.1", "cpu")));
    let server = Server::default();
    let id = server.capture(&format!("pid={}&seconds=300", app.pid));
    server.wait_for(&id, &["sampling"]);
    // What is stopped early is to be as long as this.
    std::thread::sleep(std::time::Duration::from_secs(2));
    server.send("POST", &format!("/captures/{id}/stop"), &[]);
    assert_eq!(server.wait_for(&id, &["finished", "failed"])["status"], "finished");
    assert_whole(&server.get(&format!("/captures/{id}/artifact")).ok().body);
}

#[test]
fn a_runtime_that_waits_at_its_start_is_not_recorded_and_the_doctor_names_its_port() {
    let mut command = app::dotnet("8", "cpu");
    command.env("DOTNET_DiagnosticPorts", "/tmp/sideflame-no-such.sock");
    let mut app = App::launch(command);
    app.wait_for("The runtime has been configured to pause");
    let server = Server::default();
    let doctor = server.get(&format!("/doctor?format=json&pid={}", app.pid)).ok().json();
    let verdict = &doctor[0]["verdicts"][0];
    assert_eq!(verdict["reason"]["key"], "paused_at_startup", "{doctor}");
    let refused = server.get(&format!("/profile?pid={}&seconds=1", app.pid)).json();
    assert_eq!(refused["reason"], "paused_at_startup", "{refused}");
    assert_eq!(refused["detail"], verdict["reason"]["sentence"]);
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("/tmp/sideflame-no-such.sock")
    );
}

#[test]
fn a_tmpdir_too_long_for_a_socket_is_named() {
    let long = std::env::temp_dir().join(format!("sideflame-{}-{}", std::process::id(), "long".repeat(20)));
    std::fs::create_dir(&long).unwrap();
    let mut command = app::dotnet("8", "idle");
    command.env("TMPDIR", &long);
    let app = App::start(command);
    let refused = Server::default()
        .get(&format!("/profile?pid={}&seconds=1", app.pid))
        .json();
    drop(app);
    std::fs::remove_dir_all(&long).unwrap();
    assert_eq!(refused["reason"], "tmpdir_too_long", "{refused}");
}
