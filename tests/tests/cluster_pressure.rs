//! Little memory, a small store, a full disk: the pod survives them all, and what was finished stays.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot set up must fail loudly"
)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::app::MANY_EVENTS;
use e2e::control_plane::wait;
use e2e::{Answer, Client, Cluster, MemoryCgroup, Namespace, PortForward, cluster, nettrace, pod};
use serde_json::{Value, json};

/// A capture that meets a limit before its time is over.
fn endless() -> String {
    format!("seconds=300&{MANY_EVENTS}")
}

/// A .NET app that emits many events, with annotations for its sidecar.
fn talker(annotations: &[(&str, &str)]) -> Value {
    let mut pod = pod::annotated(&[pod::container("dotnet", pod::USER_IMAGE, "trace")]);
    for (name, value) in annotations {
        pod["metadata"]["annotations"][format!("sideflame.io/{name}")] = json!(value);
    }
    pod
}

/// Bytes in the store as the sidecar counts them.
fn stored(sidecar: &Client) -> u64 {
    let page = sidecar.get("/metrics").ok().text();
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix("sideflame_store_bytes "));
    line.unwrap_or_else(|| panic!("{page}")).parse().unwrap()
}

/// Path of the artifact of a short capture that is finished.
fn finished(sidecar: &Client) -> String {
    let id = sidecar.capture("seconds=1&format=nettrace");
    sidecar.wait_for(&id, &["finished"]);
    format!("/captures/{id}/artifact")
}

fn assert_full(answer: &Answer, whose: &str) {
    let status = (answer.status, answer.code());
    assert_eq!(status, (507, "store_full".to_owned()), "{}", answer.text());
    assert!(answer.text().contains(whose), "{}", answer.text());
}

fn assert_unharmed(cluster: &Cluster, namespace: &Namespace, pod: &str) {
    let now = cluster.plane.get(&namespace.path(&format!("pods/{pod}"))).ok().body;
    assert_eq!(now["status"]["phase"], "Running", "{}", now["status"]);
    cluster::assert_never_restarted(&now, &["dotnet", "sideflame"]);
}

#[test]
fn a_trace_of_200_mb_passes_through_32_mib() {
    const LARGE: u64 = 200_000_000;
    let cluster = Cluster::shared();
    let namespace = cluster.namespace(&json!({}));
    let pod = cluster.run(
        &namespace,
        &talker(&[("memory-limit", "32Mi"), ("capture-size", "512Mi")]),
    );
    let sidecar = PortForward::to(cluster, &namespace, &format!("pod/{}", cluster::name(&pod)));
    let started = Instant::now();
    let id = sidecar.capture(&endless());
    wait("large recording", Duration::from_secs(120), || {
        let capture = sidecar.get(&format!("/captures/{id}")).ok().json();
        assert_eq!(capture["status"], "running", "{capture}");
        (stored(&sidecar) >= LARGE).then_some(())
    });
    sidecar.send("POST", &format!("/captures/{id}/stop"), &[]);
    sidecar.wait_for(&id, &["finished"]);
    let recorded = started.elapsed();
    let path = format!("/captures/{id}/artifact");
    let nettrace = nettrace::whole(sidecar.get(&path));
    eprintln!(
        "{} bytes recorded in {recorded:?}, served after {:?}",
        nettrace.body.len(),
        started.elapsed()
    );
    assert!(nettrace.body.len() as u64 >= LARGE);
    let end = sidecar.send("GET", &path, &[("range", "bytes=-1000000")]);
    assert_eq!(end.status, 206);
    assert!(nettrace.body.ends_with(&end.body), "another artifact");

    assert_unharmed(cluster, &namespace, cluster::name(&pod));
    let cgroup = MemoryCgroup::of_container(&pod, "sideflame");
    assert_eq!(cgroup.limit(), 32 << 20);
    // The kernel also kills children, which restarts nothing.
    assert_eq!(cgroup.oom_kills(), 0);
    assert!(cgroup.anonymous() < 8 << 20, "{} bytes stayed", cgroup.anonymous());
}

#[test]
fn a_full_store_is_507_and_never_evicts_the_pod() {
    const SIZE: u64 = 16 << 20;
    let cluster = Cluster::shared();
    let namespace = cluster.namespace(&json!({}));
    let pod = cluster.run(&namespace, &talker(&[("capture-size", "16Mi")]));
    let name = cluster::name(&pod);
    let sidecar = PortForward::to(cluster, &namespace, &format!("pod/{name}"));
    // Not fetched yet: what is fetched makes room for others.
    let kept = finished(&sidecar);

    let volume = Volume::of(&pod, "sideflame-store");
    let witness = cluster.run(&namespace, &glutton());
    let path = namespace.path(&format!("pods/{}", cluster::name(&witness)));
    let mut most = 0;
    let mut refused = 0;
    // Of how often the kubelet looks nothing is promised: that it has looked shows by the pod that it evicts.
    wait("eviction", Duration::from_secs(150), || {
        let id = sidecar.capture(&endless());
        while sidecar.get(&format!("/captures/{id}")).ok().json()["status"] == "running" {
            // Looking is faster than asking, and what is looked for lasts for milliseconds.
            for _ in 0..10 {
                most = most.max(volume.bytes());
            }
        }
        assert_full(
            &sidecar.get(&format!("/captures/{id}/artifact")),
            "sideflame.io/capture-size",
        );
        refused += 1;
        let status = cluster.plane.get(&path).ok().body["status"].clone();
        (status["reason"] == "Evicted").then_some(())
    });
    eprintln!("{refused} captures found the store full; it held {most} bytes at most");
    // Folders are not counted by the store: 4 KiB for each capture, of which there are 64 at most.
    assert!((SIZE * 3 / 4..=SIZE + (1 << 20)).contains(&most), "{most}");
    assert_unharmed(cluster, &namespace, name);
    nettrace::whole(sidecar.get(&kept));
    sidecar.get("/profile?seconds=1").whole();
}

#[test]
fn a_full_disk_loses_no_finished_artifact() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace(&json!({}));
    // What the webhook makes of it, with a volume that is full before the store is.
    let path = namespace.path("pods?dryRun=All");
    let mut injected = cluster.plane.create(&path, &talker(&[])).ok().body;
    let volumes = injected["spec"]["volumes"].as_array_mut().unwrap();
    let store = volumes.iter_mut().find(|volume| volume["name"] == "sideflame-store");
    store.unwrap()["emptyDir"] = json!({"medium": "Memory", "sizeLimit": "16Mi"});
    injected["metadata"].as_object_mut().unwrap().remove("name");
    let pod = cluster.run(&namespace, &injected);
    let name = cluster::name(&pod);
    let sidecar = PortForward::to(cluster, &namespace, &format!("pod/{name}"));

    let kept = finished(&sidecar);
    let before = nettrace::whole(sidecar.get(&kept));
    for _ in 0..3 {
        assert_full(&sidecar.get(&format!("/profile?{}", endless())), "disk");
    }
    assert!(sidecar.get(&kept).whole().body == before.body, "the artifact changed");
    // What failed left its room to the next.
    sidecar.get("/profile?seconds=1").whole();
    assert_unharmed(cluster, &namespace, name);
}

/// A pod that writes more into a volume than it may.
fn glutton() -> Value {
    let mut container = pod::container("c", pod::USER_IMAGE, "idle");
    container["command"] = json!([
        "/bin/sh",
        "-c",
        "dd if=/dev/zero of=/much/zeros bs=1M count=24; exec sleep 600"
    ]);
    container["volumeMounts"] = json!([{"name": "much", "mountPath": "/much"}]);
    let mut pod = pod::bare(&[container]);
    pod["spec"]["volumes"] = json!([{"name": "much", "emptyDir": {"sizeLimit": "16Mi"}}]);
    pod
}

/// An emptyDir as the node has it, which is this machine.
struct Volume(PathBuf);

impl Volume {
    fn of(pod: &Value, name: &str) -> Self {
        let uid = pod["metadata"]["uid"].as_str().unwrap();
        let state = cluster::state();
        let folder = state.join(format!("kubelet/pods/{uid}/volumes/kubernetes.io~empty-dir/{name}"));
        assert!(folder.is_dir(), "{}", folder.display());
        Self(folder)
    }

    /// Bytes on disk, as the kubelet counts them.
    fn bytes(&self) -> u64 {
        let said = std::process::Command::new("du")
            .arg("-sB1")
            .arg(&self.0)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        text.split_whitespace().next().unwrap().parse().unwrap()
    }
}
