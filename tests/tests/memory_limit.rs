//! The sidecar in little memory: it streams what is large, and says so when something cannot be done.

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
