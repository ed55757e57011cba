//! The app survives, and the answer explains: targets that cannot be profiled, and requests that make no sense.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot set up must fail loudly"
)]

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::app::{self, App};
use e2e::{Answer, Server, cache};
use nix::sys::signal::Signal;

/// A refusal by the doctor with this reason, and a target that did not notice.
fn assert_impossible(server: &Server, app: &mut App, reason: &str) {
    let asked = Instant::now();
    let answer = server.get(&format!("/profile?pid={}&seconds=1", app.pid));
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.text().contains(reason), "no {reason} in {}", answer.text());
    assert!(
        answer.json()["remedy"]
            .as_str()
            .is_some_and(|remedy| !remedy.is_empty()),
        "{}",
        answer.text()
    );
    assert!(
        asked.elapsed() < Duration::from_secs(8),
        "it took {:?}",
        asked.elapsed()
    );
    let doctor = server.get(&format!("/doctor?pid={}", app.pid)).ok().text();
    assert!(doctor.contains(reason) && doctor.contains("impossible"), "{doctor}");
    std::thread::sleep(Duration::from_millis(300));
    assert!(app.is_alive(), "the app died");
    let said = app.said();
    assert!(
        !said.iter().any(|line| line.contains("Full thread dump")),
        "it was sent SIGQUIT: {said:?}"
    );
}

/// `command` in a mount namespace of its own, `/tmp` mounted with `options`.
fn with_tmp(options: &str, command: &Command) -> Command {
    app::in_own_mounts(
        &format!("mount -t tmpfs -o mode=1777,{options} tmpfs /tmp && exec"),
        command,
    )
}

#[test]
fn a_jvm_with_xrs_is_never_sent_sigquit() {
    // It would die of the signal; but it opens its attach socket at start, so it can be captured without one.
    for jdk in ["17", "25"] {
        let mut app = App::start(app::java(jdk, &["-Xrs"], "cpu"));
        let server = Server::default();
        server.get(&format!("/profile?pid={}&seconds=1", app.pid)).ok();
        assert!(app.is_alive(), "the app died");
        // Without the socket only the signal would be left: refused.
        std::fs::remove_file(std::env::temp_dir().join(format!(".java_pid{}", app.pid))).unwrap();
        assert_impossible(&Server::default(), &mut app, "sigquit_unhandled");
    }
}

#[test]
fn a_jvm_without_attach_mechanism_is_left_alone() {
    let mut app = App::start(app::java("17", &["-XX:+DisableAttachMechanism"], "cpu"));
    assert_impossible(&Server::default(), &mut app, "attach_disabled");
    let mut command = app::java("25", &[], "cpu");
    command.env("JAVA_TOOL_OPTIONS", "-XX:+DisableAttachMechanism");
    let mut app = App::start(command);
    assert_impossible(&Server::default(), &mut app, "attach_disabled");
}

#[test]
fn without_our_library_the_doctor_and_the_capture_say_where_it_was_looked_for() {
    let mut app = App::start(app::java("17", &[], "cpu"));
    let server = Server::start(&["--async-profiler", "/nowhere/libasyncProfiler.so"]);
    assert_impossible(&server, &mut app, "profiler_library_missing");
    let answer = server.get(&format!("/profile?pid={}&seconds=1", app.pid));
    assert!(
        answer.text().contains("/nowhere/libasyncProfiler.so"),
        "{}",
        answer.text()
    );
    let head = server.send("HEAD", &format!("/profile?pid={}&seconds=1", app.pid), &[]);
    assert_eq!(head.status, 422);
}

#[test]
fn a_jvm_that_refuses_agents_says_so() {
    for jdk in ["17", "25"] {
        let mut app = App::start(app::java(jdk, &["-XX:-EnableDynamicAgentLoading"], "cpu"));
        assert_impossible(&Server::default(), &mut app, "agent_loading_disabled");
    }
}

#[test]
fn a_read_only_tmp_is_named() {
    let mut app = App::start(with_tmp("ro", &app::java("17", &[], "cpu")));
    assert_impossible(&Server::default(), &mut app, "tmp_read_only");
    let mut app = App::start(with_tmp("ro", &app::dotnet("8", "cpu")));
    assert_impossible(&Server::default(), &mut app, "tmp_read_only");
}

#[test]
fn a_noexec_tmp_is_named_or_worked_around() {
    for jdk in ["17", "25"] {
        let mut app = App::start(with_tmp("noexec", &app::java(jdk, &[], "cpu")));
        let server = Server::default();
        let answer = server.get(&format!("/profile?pid={}&seconds=2&format=collapsed", app.pid));
        match answer.status {
            200 => assert!(answer.text().contains("demo.shop.Split")),
            _ => assert_impossible(&server, &mut app, "tmp_noexec"),
        }
        assert!(app.is_alive());
        e2e::target_files::wait_until_clean(app.pid, Duration::from_secs(2));
    }
}

/// A server of user 1001: no right to look into processes of others.
fn unprivileged() -> Server {
    // The binary and the library lie where root's home may hide them from others.
    let folder = std::env::temp_dir().join(format!("sideflame-plain-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    let binary = folder.join("sideflame");
    if !binary.exists() {
        std::fs::copy(cache::sideflame(), &binary).unwrap();
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", "1001", "--regid", "1001", "--clear-groups"])
        .arg(binary);
    Server::start_by(command, &[])
}

#[test]
fn another_user_without_rights_is_told_what_to_change() {
    let server = unprivileged();
    for command in [
        app::as_user(&app::java("17", &[], "cpu")),
        app::as_user(&app::dotnet("3.1", "cpu")),
    ] {
        let app = App::start(command);
        let answer = server.get(&format!("/profile?pid={}&seconds=1", app.pid));
        assert_eq!(answer.status, 422, "{}", answer.text());
        assert!(answer.text().contains("runAsUser: 1000"), "{}", answer.text());
    }
}

#[test]
fn the_same_user_without_capabilities_is_enough() {
    // As in a pod at Pod Security "restricted": same uid and gid, nothing else.
    let app = App::start(app::as_user(&app::java("17", &[], "cpu")));
    // The server must read the library as this user too.
    let folder = std::env::temp_dir().join(format!("sideflame-same-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    let library = folder.join("libasyncProfiler.so");
    std::fs::copy(cache::file("async-profiler/linux-x64/libasyncProfiler.so"), &library).unwrap();
    std::fs::copy(cache::sideflame(), folder.join("sideflame")).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", "1000", "--regid", "1000", "--clear-groups"])
        .arg(folder.join("sideflame"));
    let server = Server::start_by(command, &["--async-profiler", library.to_str().unwrap()]);
    let answer = server
        .get(&format!("/profile?pid={}&seconds=2&format=collapsed", app.pid))
        .ok();
    assert!(answer.text().contains("demo.shop.Split.sixty"), "{}", answer.text());
    drop(server);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_target_that_exits_during_the_capture_is_an_error() {
    let server = Server::default();
    for command in [app::java("17", &[], "cpu"), app::dotnet("3.1", "cpu"), go()] {
        let app = App::start(command);
        let id = server.capture(&format!("pid={}&seconds=60", app.pid));
        server.wait_for(&id, &["sampling"]);
        app.signal(Signal::SIGKILL);
        drop(app);
        let capture = server.wait_for(&id, &["failed", "finished"]);
        assert!(
            capture["error"].as_str().is_some_and(|error| error.contains("exited")),
            "{capture}"
        );
        let answer = server.get(&format!("/captures/{id}/artifact"));
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "target_exited"),
            "{}",
            answer.text()
        );
    }
}

fn go() -> Command {
    let mut command = Command::new(cache::file("apps/go/split"));
    command.args(["-pprof", "127.0.0.1:0", "cpu"]);
    command
}

#[test]
fn a_stopped_target_is_refused_and_can_be_captured_later() {
    let server = Server::default();
    for command in [app::java("17", &[], "cpu"), app::dotnet("3.1", "cpu"), go()] {
        let mut app = App::start(command);
        app.signal(Signal::SIGSTOP);
        assert_impossible(&server, &mut app, "target_stopped");
        app.signal(Signal::SIGCONT);
        server.get(&format!("/profile?pid={}&seconds=1", app.pid)).ok();
    }
}

#[test]
fn a_target_that_stops_in_mid_capture_times_out_and_survives() {
    let server = Server::default();
    let mut app = App::start(app::java("17", &[], "cpu"));
    let id = server.capture(&format!("pid={}&seconds=2", app.pid));
    server.wait_for(&id, &["sampling"]);
    app.signal(Signal::SIGSTOP);
    let capture = server.wait_for(&id, &["failed", "finished"]);
    assert_eq!(capture["status"], "failed", "{capture}");
    let answer = server.get(&format!("/captures/{id}/artifact"));
    assert_eq!(answer.status, 504, "{}", answer.text());
    app.signal(Signal::SIGCONT);
    server.get(&format!("/profile?pid={}&seconds=1", app.pid)).ok();
    assert!(app.is_alive());
    e2e::target_files::wait_until_clean(app.pid, Duration::from_secs(2));
}

#[test]
fn dotnet_with_diagnostics_off_says_so() {
    let mut command = app::dotnet("8", "cpu");
    command.env("DOTNET_EnableDiagnostics", "0");
    let mut app = App::start(command);
    assert_impossible(&Server::default(), &mut app, "diagnostics_disabled");
}

#[test]
fn a_pid_that_is_gone_or_reused_is_no_process() {
    let server = Server::default();
    let app = App::start(app::java("17", &[], "idle"));
    let pid = app.pid;
    server.get(&format!("/doctor?pid={pid}")).ok();
    drop(app);
    let answer = server.get(&format!("/profile?pid={pid}&seconds=1"));
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (404, "no_such_process"),
        "{}",
        answer.text()
    );
}

/// A process with the given pid, once its old owner is gone: the kernel takes the next one after `ns_last_pid`.
fn reuse(pid: i32) -> std::process::Child {
    for _ in 0..200 {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        if child.id() == u32::try_from(pid).unwrap() {
            return child;
        }
        // Another test forked in between.
        child.kill().unwrap();
        child.wait().unwrap();
    }
    panic!("pid {pid} could not be had again");
}

#[test]
fn a_reused_pid_is_another_process() {
    let server = Server::default();
    let app = App::start(app::java("17", &[], "cpu"));
    let pid = app.pid;
    let id = server.capture(&format!("pid={pid}&seconds=60"));
    server.wait_for(&id, &["sampling"]);
    drop(app);
    let mut heir = reuse(pid);
    let capture = server.wait_for(&id, &["failed", "finished"]);
    assert!(
        capture["error"].as_str().is_some_and(|error| error.contains("exited")),
        "{capture}"
    );
    let answer = server.get(&format!("/profile?pid={pid}&seconds=1"));
    assert!(
        answer.ok().header("sideflame-sampler").contains("perf_events"),
        "the new process is native"
    );
    assert!(matches!(heir.try_wait(), Ok(None)), "it was signalled");
    heir.kill().unwrap();
    heir.wait().unwrap();
}

#[test]
fn two_targets_are_ambiguous_until_one_is_chosen() {
    let server = Server::default();
    let _java = App::start(app::java("17", &[], "idle"));
    let _go = App::start(go());
    let answer = server.get("/profile?seconds=1");
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (400, "ambiguous_process"),
        "{}",
        answer.text()
    );
    assert!(
        answer.json()["candidates"]
            .as_array()
            .is_some_and(|list| list.len() >= 2),
        "{}",
        answer.text()
    );
    let answer = server.get("/profile?seconds=1&name=no-such-thing");
    assert_eq!(answer.status, 404, "{}", answer.text());
}

#[test]
fn processes_are_filtered_by_what_chooses_them_elsewhere() {
    let server = Server::default();
    let app = App::start(app::java("17", &[], "idle"));
    let rows = |query: &str| server.get(&format!("/processes?{query}")).ok().json();
    let chosen = rows(&format!("pid={}", app.pid));
    let all = rows("");
    let row = all.as_array().unwrap().iter().find(|row| row["pid"] == app.pid);
    assert_eq!(chosen.as_array().unwrap().iter().collect::<Vec<_>>(), [row.unwrap()]);
    assert_eq!(rows("name=no-such-thing"), serde_json::json!([]));
    assert_eq!(server.get("/processes?pid=0").status, 400);
}

#[test]
fn what_does_not_fit_the_event_is_refused_before_the_target_notices() {
    let server = Server::default();
    let app = App::start(app::java("17", &[], "idle"));
    for query in ["event=alloc&frequency=99", "event=alloc&interval=10ms", "interval=512k"] {
        let query = format!("/profile?pid={}&{query}", app.pid);
        let (got, announced) = (server.get(&query), server.send("HEAD", &query, &[]));
        assert_eq!((got.status, announced.status), (400, 400), "{}", got.text());
        assert_eq!(got.code(), "invalid_parameter");
    }
    assert_eq!(
        server.get("/captures").ok().json(),
        serde_json::json!([]),
        "none was started"
    );
    assert!(e2e::target_files::left(app.pid).is_empty());
}

#[test]
fn every_wrong_parameter_is_a_4xx_that_says_what_is_allowed() {
    let server = Server::default();
    let app = App::start(app::java("17", &[], "idle"));
    let pid = app.pid;
    let huge = "9".repeat(400);
    for (query, allowed) in [
        ("seconds=0".to_owned(), "1 to"),
        ("seconds=-5".to_owned(), "1 to"),
        (format!("seconds={huge}"), "1 to"),
        ("seconds=ten".to_owned(), "1 to"),
        ("seconds=".to_owned(), "1 to"),
        ("seconds=1&seconds=2".to_owned(), "more than once"),
        ("second=5".to_owned(), "seconds"),
        ("event=cpu%2Cfile%3D%2Ftmp%2Fx".to_owned(), "cpu, wall"),
        ("event=no-such-event".to_owned(), "event"),
        ("event=threadcreate".to_owned(), "java.lang.Thread.start"),
        ("format=gif".to_owned(), "svg"),
        ("format=nettrace".to_owned(), "svg"),
        ("frequency=0".to_owned(), "1 to 1000"),
        ("frequency=99&interval=1ms".to_owned(), "frequency or interval"),
        ("interval=10ms%2Clog%3D%2Fx".to_owned(), "10ms"),
        ("include=a%2Cfile%3Dx".to_owned(), "patterns"),
        ("include=a%0Ab".to_owned(), "patterns"),
        ("threads=maybe".to_owned(), "true or false"),
        ("profile=gc-verbose".to_owned(), "dotnet"),
        ("providers=A:B:C:D:E".to_owned(), "providers"),
        ("name=x%00y".to_owned(), ""),
        ("pid=%zz".to_owned(), ""),
        ("pid=%ff".to_owned(), ""),
    ] {
        let target = if query.starts_with("pid") || query.starts_with("name") {
            String::new()
        } else {
            format!("&pid={pid}")
        };
        let seconds = if query.contains("second") { "" } else { "&seconds=1" };
        let answer: Answer = server.get(&format!("/profile?{query}{target}{seconds}"));
        assert!(
            (400..500).contains(&answer.status),
            "{query}: {} {}",
            answer.status,
            answer.text()
        );
        assert_eq!(answer.header("content-type"), "application/problem+json", "{query}");
        assert!(
            !answer.code().is_empty() && answer.text().contains(allowed),
            "{query}: {}",
            answer.text()
        );
    }
    for bad in ["pid=0", "pid=-1", "pid=4294967296", "pid=abc", "pid="] {
        let answer = server.get(&format!("/profile?{bad}&seconds=1"));
        assert_eq!(answer.status, 400, "{bad}: {}", answer.text());
    }
    assert!(e2e::target_files::left(pid).is_empty());
}

#[test]
fn someone_elses_session_is_a_conflict_and_stays() {
    let app = App::start(app::java("17", &[], "cpu"));
    let library = cache::file("async-profiler/linux-x64/libasyncProfiler.so");
    let jattach = |options: &str| {
        let command = Command::new(cache::file("jattach/jattach"))
            .args([&app.pid.to_string(), "load"])
            .arg(&library)
            .args(["true", options])
            .output()
            .unwrap();
        String::from_utf8_lossy(&command.stdout).into_owned()
    };
    jattach("start,event=cpu,log=/dev/null");
    let server = Server::default();
    let answer = server.get(&format!("/profile?pid={}&seconds=1", app.pid));
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (409, "already_profiled"),
        "{}",
        answer.text()
    );
    let file = std::env::temp_dir().join(format!("sideflame-foreign-{}", app.pid));
    jattach(&format!("stop,collapsed,log=/dev/null,file={}", file.display()));
    let theirs = std::fs::read_to_string(&file).unwrap();
    assert!(theirs.contains("Split"), "their session was disturbed: {theirs}");
    std::fs::remove_file(file).unwrap();
    server.get(&format!("/profile?pid={}&seconds=1", app.pid)).ok();
}
