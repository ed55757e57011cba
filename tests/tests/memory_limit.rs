//! The sidecar in little memory: it streams what is large, and says so when something cannot be done.

use std::process::Command;
use std::time::{Duration, Instant};

use e2e::app::{self, App, MANY_EVENTS};
use e2e::{MemoryCgroup, Server, cache, jfr, nettrace};

#[test]
fn large_recordings_pass_through_32_mib() {
    const LARGE: u64 = 200_000_000;
    let dotnet = App::start(app::dotnet("8", "trace"));
    let java = App::start(app::java("17", &[], "cpu"));
    let cgroup = MemoryCgroup::new(32 << 20);
    let server = Server::start_by(cgroup.command(&cache::sideflame()), &["--store-size", "1GiB"]);

    let id = server.capture(&format!("pid={}&seconds=60&{MANY_EVENTS}", dotnet.pid));
    let deadline = Instant::now() + Duration::from_secs(50);
    while server.stored().iter().all(|(_, length)| *length < LARGE) {
        assert!(Instant::now() < deadline, "too slow: {:?}", server.stored());
        std::thread::sleep(Duration::from_millis(20));
    }
    server.send("POST", &format!("/captures/{id}/stop"), &[]);
    server.wait_for(&id, &["finished"]);
    let path = format!("/captures/{id}/artifact");
    let nettrace = nettrace::whole(server.get(&path));
    assert!(nettrace.body.len() as u64 >= LARGE);
    let end = server.send("GET", &path, &[("range", "bytes=-1000000")]);
    assert_eq!(end.status, 206);
    assert!(nettrace.body.ends_with(&end.body));

    let jfr = server
        .get(&format!("/profile?pid={}&seconds=3&format=jfr", java.pid))
        .whole();
    let summary = jfr::summary("17", &jfr.body);
    assert!(jfr::number(&summary, "jdk.ExecutionSample", 1) > 0, "{summary}");

    let svg = server.get(&format!("/profile?pid={}&seconds=2", java.pid)).whole();
    assert!(svg.text().contains("Split"));
    let svg = server
        .get(&format!("/profile?pid={}&seconds=2&event=wall", dotnet.pid))
        .whole();
    assert!(svg.text().contains("Split.Trace"));
    assert_eq!(cgroup.oom_kills(), 0, "{}", server.log());
    // All of it went through the server; none of it stayed.
    assert!(cgroup.anonymous() < 8 << 20, "{} bytes", cgroup.anonymous());
    drop(server);
}

#[test]
fn a_profile_too_large_for_the_memory_says_so() {
    let java = App::start(app::java("17", &[], "deep"));
    let cgroup = MemoryCgroup::new(16 << 20);
    let server = Server::start_by(cgroup.command(&cache::sideflame()), &[]);
    let answer = server.get(&format!("/profile?pid={}&seconds=5&event=alloc&interval=1k", java.pid));
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (503, "out_of_memory"),
        "{}",
        answer.text()
    );
    assert!(answer.text().contains("sideflame.io/memory-limit"), "{}", answer.text());
    server.get(&format!("/profile?pid={}&seconds=1", java.pid)).ok();
    // It was refused memory; had the kernel been asked to kill, it might have taken the server as well.
    assert_eq!(cgroup.oom_kills(), 0, "{}", server.log());
    drop(server);
}

/// Before, eight such processes made it 245 MB. Ten thousand of them are listed by the released binary with a peak of 28.5 MB.
#[test]
fn three_hundred_processes_with_131_000_arguments_are_listed_in_24_mib_more() {
    const PROCESSES: usize = 300;
    // Subshells share the memory of the command line; each waits for the end of our pipe.
    let forks = "exec 3<&0; number=0
        while [ $number -lt $0 ]; do (read line <&3) & number=$((number + 1)); done
        echo ready; read line <&3";
    let mut command = Command::new("dash");
    command.args(["-c", forks, &PROCESSES.to_string()]);
    command.args(std::iter::repeat_n("s", 131_000));
    let app = App::start(command);
    let server = Server::start(&[]);
    let kib = |field: &str| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap()
    };
    let before = kib("VmRSS:");
    let began = Instant::now();
    let processes = server.get("/processes").ok().json();
    let took = began.elapsed();
    let rows: Vec<_> = processes
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["name"] == "dash" && row["commandLine"][1] == "-c")
        .collect();
    assert_eq!(rows.len(), PROCESSES + 1);
    for row in rows {
        assert_eq!(row["commandLineCut"], true, "{row}");
    }
    let grown = kib("VmHWM:") - before;
    eprintln!("{PROCESSES} processes: {grown} KiB above {before} KiB, {took:?}");
    assert!(grown <= 24 << 10, "{grown} KiB above {before} KiB");
    drop(app);
}
