//! Captures that outlast things: ten minutes through one port-forward, and port-forwards that are cut meanwhile.
//!
//! `tests/rig/test.sh` runs this file beside all others.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up must fail loudly")]

use std::time::{Duration, Instant};

use e2e::control_plane::wait;
use e2e::{Cluster, MemoryCgroup, Namespace, PortForward, cluster, jfr, pod};
use serde_json::{Value, json};

/// A JVM that is busy within a tenth of a CPU.
fn throttled_jvm() -> Value {
    let mut container = pod::container("java", pod::USER_IMAGE, "cpu");
    container["resources"]["limits"]["cpu"] = json!("100m");
    pod::annotated(&[container])
}

fn assert_nothing_restarted(cluster: &Cluster, namespace: &Namespace, pod: &str) {
    let now = cluster.plane.get(&namespace.path(&format!("pods/{pod}"))).ok().body;
    cluster::assert_never_restarted(&now, &["java", "sideflame"]);
}

#[test]
fn ten_minutes_pass_through_one_port_forward_and_32_mib() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace(&json!({}));
    let mut pod = throttled_jvm();
    pod["metadata"]["annotations"]["sideflame.io/memory-limit"] = json!("32Mi");
    let pod = cluster.run(&namespace, &pod);
    let name = cluster::name(&pod);
    let sidecar = PortForward::to(cluster, &namespace, &format!("pod/{name}"));
    // Not one byte goes either way until the recording is whole.
    let started = Instant::now();
    let jfr = sidecar.get("/profile?seconds=600&format=jfr").whole();
    let took = started.elapsed();
    eprintln!("{} bytes of JFR after {took:?}", jfr.body.len());
    assert!(took >= Duration::from_secs(600), "{took:?}");

    let summary = jfr::summary("25", &jfr.body);
    let (seconds, samples) = (
        jfr::number(&summary, "Duration:", 1),
        jfr::number(&summary, "jdk.ExecutionSample", 1),
    );
    eprintln!("{seconds} s, {samples} samples");
    assert!((599..=610).contains(&seconds), "{summary}");
    // 60 s of CPU at 100 Hz are 6000; the quota also throttles the JVM's own threads.
    assert!(samples > 1000, "{summary}");
    assert_nothing_restarted(cluster, &namespace, name);
    let cgroup = MemoryCgroup::of_container(&pod, "sideflame");
    // The kernel also kills children, which restarts nothing.
    assert_eq!((cgroup.limit(), cgroup.oom_kills()), (32 << 20, 0));
}

#[test]
fn a_cut_port_forward_costs_no_capture_that_was_posted() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace(&json!({}));
    let pod = cluster.run(&namespace, &throttled_jvm());
    let name = cluster::name(&pod);
    let target = format!("pod/{name}");

    let first = PortForward::to(cluster, &namespace, &target);
    let id = first.capture("seconds=20");
    first.wait_for(&id, &["sampling"]);
    first.cut();
    let second = PortForward::to(cluster, &namespace, &target);
    assert_eq!(second.get(&format!("/captures/{id}")).ok().json()["status"], "running");
    second.wait_for(&id, &["finished"]);
    let path = format!("/captures/{id}/artifact");
    let svg = second.get(&path).whole();
    assert!(svg.text().contains("Split.sixty"), "{}", svg.text());
    // The connection breaks during the download; the rest is fetched.
    let rest = second.send(
        "GET",
        &path,
        &[("range", "bytes=1000-"), ("if-range", svg.header("etag"))],
    );
    assert_eq!(rest.status, 206, "{}", rest.text());
    assert!(rest.body == svg.body[1000..], "another artifact");

    // Nobody else would ever fetch what a GET waits for: it is cancelled, and the JVM left clean.
    let waiting = PortForward::to(cluster, &namespace, &target);
    let client = (*waiting).clone();
    let request = std::thread::spawn(move || client.try_send("GET", "/profile?seconds=300", &[]));
    let running = || {
        let captures = second.get("/captures").ok().json();
        let mut all = captures.as_array().into_iter().flatten();
        all.find(|capture| capture["phase"] == "sampling").cloned()
    };
    wait("capture that samples", Duration::from_secs(30), running);
    let cut = Instant::now();
    waiting.cut();
    assert!(request.join().unwrap().is_err());
    wait("end of the capture", Duration::from_secs(30), || {
        let captures = second.get("/captures").ok().json();
        (captures.as_array().unwrap().len() == 1).then_some(())
    });
    eprintln!("cancelled {:?} after the cut", cut.elapsed());
    let left = cluster.exec(&namespace, name, "java", &["ls", "-A", "/tmp"]);
    assert!(!left.contains("sideflame") && !left.contains(".attach_pid"), "{left}");
    second.get("/profile?seconds=1").whole();
    assert_nothing_restarted(cluster, &namespace, name);
}
