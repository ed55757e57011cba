//! What people meet who profile with perf and a folder of scripts: permission denied, no perf, no pid, an empty graph. Each has an
//! answer of its own that says what to do.

use std::process::Command;

use e2e::app::{App, as_user};
use e2e::{Server, cache};

fn app(scenario: &str) -> App {
    let mut command = Command::new(cache::file("apps/c/split"));
    command.arg(scenario);
    App::start(command)
}

#[test]
fn permission_denied_says_which_right_is_missing_and_how_to_give_it() {
    let app = app("idle");
    let server = Server::start_by(as_user(&Command::new(cache::sideflame())), &[]);
    let answer = server.get(&format!("/profile?pid={}&seconds=1", app.pid));
    let problem = answer.json();
    assert_eq!(
        (answer.status, problem["reason"].as_str()),
        (422, Some("no_access")),
        "{problem}"
    );
    let remedy = problem["remedy"].as_str().unwrap();
    assert!(remedy.contains("securityContext"), "{remedy}");
}

#[test]
fn no_perf_is_needed() {
    let app = app("cpu");
    let mut command = Command::new(cache::sideflame());
    command.env("PATH", "/nonexistent");
    let server = Server::start_by(command, &[]);
    let answer = server
        .get(&format!("/profile?pid={}&seconds=3&format=collapsed", app.pid))
        .ok();
    assert!(answer.text().contains("cpu;"), "{}", answer.text());
}

#[test]
fn no_pid_is_a_404_with_the_processes_there_are() {
    let app = app("idle");
    let server = Server::default();
    for selector in ["name=kube-apiserver-that-is-not-here", "pid=4194303"] {
        let answer = server.get(&format!("/profile?{selector}&seconds=1"));
        let problem = answer.json();
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "no_such_process"),
            "{problem}"
        );
        let candidates = problem["candidates"].as_array().unwrap();
        assert!(!candidates.is_empty(), "{problem}");
        let remedy = problem["remedy"].as_str().unwrap();
        assert!(
            remedy.contains("hostPID: true") && remedy.contains("shareProcessNamespace"),
            "{remedy}"
        );
    }
    drop(app);
}

#[test]
fn an_empty_graph_says_that_there_were_no_samples_and_what_to_do() {
    let app = app("idle");
    let server = Server::default();
    for format in ["svg", "collapsed", "pprof", "speedscope"] {
        let answer = server
            .get(&format!("/profile?pid={}&seconds=1&format={format}", app.pid))
            .ok();
        assert_eq!(answer.header("sideflame-samples"), "0", "{format}");
        let degraded = answer.header("sideflame-degraded");
        for said in ["no samples", "put load on it", "event=wall or offcpu"] {
            assert!(degraded.contains(said), "{format}: {degraded}");
        }
        if format == "svg" {
            assert!(answer.text().contains(">no samples<"), "{}", answer.text());
        }
    }
    // Where it waits is seen.
    let waits = server
        .get(&format!(
            "/profile?pid={}&seconds=1&format=collapsed&event=wall",
            app.pid
        ))
        .ok();
    assert!(!waits.text().is_empty());
}
