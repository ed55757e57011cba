//! However a capture ends, afterwards no profiler runs in the target, no file of ours is in it, and the next works.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up must fail loudly")]

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::app::{self, App};
use e2e::{Server, cache, target_files};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Nothing left within a few seconds, and a new capture by a new server works.
fn assert_clean(app: &App) {
    target_files::wait_until_clean(app.pid, Duration::from_secs(10));
    let server = Server::default();
    let next = server.get(&format!("/profile?pid={}&seconds=1", app.pid));
    assert_eq!(next.status, 200, "the next capture: {}", next.text());
    target_files::wait_until_clean(app.pid, Duration::from_secs(2));
}

fn apps() -> Vec<App> {
    let mut go = Command::new(cache::file("apps/go/split"));
    go.args(["-pprof", "127.0.0.1:0", "cpu"]);
    let commands = [
        app::java("17", &[], "cpu"),
        app::as_user(&app::java("25", &[], "cpu")),
        app::dotnet("3.1", "cpu"),
        go,
    ];
    commands.into_iter().map(App::start).collect()
}

/// A capture of `app` that samples now.
fn sampling(server: &Server, app: &App) -> String {
    let id = server.capture(&format!("pid={}&seconds=120", app.pid));
    server.wait_for(&id, &["sampling"]);
    id
}

/// async-profiler's own word on whether it runs.
fn assert_no_profiler(app: &App) {
    let library = std::fs::read_to_string(format!("/proc/{}/maps", app.pid)).unwrap();
    let Some(path) = library
        .lines()
        .filter_map(|line| line.find('/').map(|at| &line[at..]))
        .find(|path| path.contains(".sideflame") || path.contains("libasyncProfiler"))
    else {
        return;
    };
    let path = path.trim_end_matches(" (deleted)");
    let log = std::env::temp_dir().join(format!("sideflame-status-{}", app.pid));
    std::fs::write(&log, "").unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(&log, open).unwrap();
    let options = format!("status,file={}", log.display());
    Command::new(cache::file("jattach/jattach"))
        .args([&app.pid.to_string(), "load", path, "true", &options])
        .output()
        .unwrap();
    let status = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    assert!(!status.contains("is running"), "{status}");
}

#[test]
fn after_a_client_went_away() {
    for app in apps() {
        let server = Server::default();
        let address = server.url.strip_prefix("http://").unwrap().to_owned();
        let mut client = TcpStream::connect(&address).unwrap();
        write!(
            client,
            "GET /profile?pid={}&seconds=120 HTTP/1.1\r\nHost: {address}\r\n\r\n",
            app.pid
        )
        .unwrap();
        let id = loop {
            let captures = server.get("/captures").ok().json();
            let sampling = captures
                .as_array()
                .unwrap()
                .iter()
                .find(|capture| capture["phase"] == "sampling")
                .cloned();
            if let Some(capture) = sampling {
                break capture["id"].as_str().unwrap().to_owned();
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        drop(client);
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while server.get(&format!("/captures/{id}")).status != 404 {
            assert!(std::time::Instant::now() < deadline, "the capture goes on");
            std::thread::sleep(Duration::from_millis(50));
        }
        target_files::wait_until_clean(app.pid, Duration::from_secs(1));
        assert_no_profiler(&app);
        assert_clean(&app);
    }
}

#[test]
fn after_a_delete() {
    for app in apps() {
        let server = Server::default();
        let id = sampling(&server, &app);
        let answer = server.send("DELETE", &format!("/captures/{id}"), &[]);
        assert_eq!(answer.status, 204, "{}", answer.text());
        // The answer means: it is clean now.
        assert!(
            target_files::left(app.pid).is_empty(),
            "{:?}",
            target_files::left(app.pid)
        );
        assert_no_profiler(&app);
        assert_clean(&app);
    }
}

#[test]
fn after_sigterm_of_the_server() {
    for app in apps() {
        let mut server = Server::default();
        sampling(&server, &app);
        server.end(Signal::SIGTERM);
        assert!(
            target_files::left(app.pid).is_empty(),
            "{:?}",
            target_files::left(app.pid)
        );
        assert_no_profiler(&app);
        assert_clean(&app);
    }
}

#[test]
fn after_sigkill_of_the_server() {
    for app in apps() {
        let mut server = Server::default();
        sampling(&server, &app);
        server.end(Signal::SIGKILL);
        target_files::wait_until_clean(app.pid, Duration::from_secs(10));
        assert_no_profiler(&app);
        assert_clean(&app);
    }
}

#[test]
fn after_sigkill_of_the_recorder() {
    for app in apps() {
        let server = Server::default();
        let id = sampling(&server, &app);
        let score = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        let recorder = server.recorder().unwrap();
        // What the kernel would take first when memory runs out.
        assert_eq!(score(recorder).trim(), "1000");
        let ours = score(nix::unistd::getpid().as_raw());
        assert_eq!((score(server.pid()), score(app.pid)), (ours.clone(), ours));
        kill(Pid::from_raw(recorder), Signal::SIGKILL).unwrap();
        assert_eq!(server.wait_for(&id, &["failed", "finished"])["status"], "failed");
        let answer = server.get(&format!("/captures/{id}/artifact"));
        assert_eq!((answer.status, answer.code().as_str()), (503, "child_killed"));
        target_files::wait_until_clean(app.pid, Duration::from_secs(10));
        assert_no_profiler(&app);
        server.get(&format!("/profile?pid={}&seconds=1", app.pid)).ok();
    }
}

#[test]
fn after_sigkill_of_both_at_once() {
    for app in apps() {
        let mut server = Server::default();
        sampling(&server, &app);
        // As a cgroup's OOM kill does it.
        let recorder = server.recorder().unwrap();
        kill(Pid::from_raw(server.pid()), Signal::SIGSTOP).unwrap();
        kill(Pid::from_raw(recorder), Signal::SIGKILL).unwrap();
        server.end(Signal::SIGKILL);
        // Nobody was left to clean: the next server sweeps when it starts.
        let next = Server::default();
        target_files::wait_until_clean(app.pid, Duration::from_secs(30));
        assert_no_profiler(&app);
        next.get(&format!("/profile?pid={}&seconds=1", app.pid)).ok();
        target_files::wait_until_clean(app.pid, Duration::from_secs(2));
    }
}

#[test]
fn after_ctrl_c_of_the_command_line() {
    for app in apps() {
        let folder = std::env::temp_dir().join(format!("sideflame-cli-{}", app.pid));
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = record(&app, &folder);
        command.signal(Signal::SIGTERM);
        let (discarded, said) = command.wait_for_end();
        assert!(!discarded.success(), "{said:?}");
        target_files::wait_until_clean(app.pid, Duration::from_secs(1));
        assert_no_profiler(&app);

        // One Ctrl-C stops early and keeps what there is.
        let mut command = record(&app, &folder);
        // What is kept is to be as long as this.
        std::thread::sleep(Duration::from_secs(2));
        command.signal(Signal::SIGINT);
        let (kept, said) = command.wait_for_end();
        assert!(kept.success(), "{said:?}");
        assert!(said.iter().any(|line| folder.join(line).is_file()), "{said:?}");
        target_files::wait_until_clean(app.pid, Duration::from_secs(1));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn a_second_ctrl_c_discards_what_the_first_could_not_keep() {
    let app = App::start(app::java("25", &[], "cpu"));
    let folder = std::env::temp_dir().join(format!("sideflame-twice-{}", app.pid));
    std::fs::create_dir_all(&folder).unwrap();
    let mut command = record(&app, &folder);
    // A stopped JVM cannot hand out the recording, so the first press has no end.
    app.signal(Signal::SIGSTOP);
    command.signal(Signal::SIGINT);
    command.wait_for("stopping the profiler");
    command.signal(Signal::SIGINT);
    // It says nothing about the second one, which must be there before the JVM goes on.
    std::thread::sleep(Duration::from_secs(1));
    app.signal(Signal::SIGCONT);
    let (discarded, said) = command.wait_for_end();
    assert_eq!(discarded.code(), Some(130), "{said:?}");
    target_files::wait_until_clean(app.pid, Duration::from_secs(1));
    assert_no_profiler(&app);
    assert_eq!(
        std::fs::read_dir(&folder)
            .unwrap()
            .filter(|entry| !entry.as_ref().unwrap().path().ends_with("store"))
            .count(),
        0
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

/// `sideflame record` of `app`, in `folder`, longer than any test runs; it samples now.
fn record(app: &App, folder: &Path) -> App {
    let mut command = Command::new(cache::sideflame());
    command
        .args(["record", "--pid", &app.pid.to_string(), "-d", "120", "--store-dir"])
        .arg(folder.join("store"))
        .arg("--async-profiler")
        .arg(cache::file("async-profiler/linux-x64/libasyncProfiler.so"))
        .current_dir(folder);
    let mut command = App::launch(command);
    command.wait_for("sampling");
    command
}

#[test]
fn after_many_captures_the_target_has_not_grown() {
    let app = App::start(app::java("25", &[], "cpu"));
    let server = Server::default();
    let count = |folder: &str| {
        std::fs::read_dir(format!("/proc/{}/{folder}", app.pid))
            .unwrap()
            .count()
    };
    let libraries = || {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", app.pid)).unwrap();
        maps.lines()
            .filter(|line| line.contains("sideflame") || line.contains("asyncProfiler"))
            .count()
    };
    let capture = || server.get(&format!("/profile?pid={}&seconds=1", app.pid)).ok();
    capture();
    capture();
    let before = (count("fd"), libraries());
    for _ in 0..8 {
        capture();
    }
    let after = (count("fd"), libraries());
    assert!(
        after.0 <= before.0 + 2,
        "descriptors grew from {} to {}",
        before.0,
        after.0
    );
    assert_eq!(after.1, before.1, "the library was loaded again");
}
