//! Pod Security levels in real namespaces: the API server admits the injected pod, the sidecar holds what the level lets it
//! hold, and captures work.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot set up must fail loudly"
)]

use std::time::Duration;

use e2e::control_plane::{Namespace, wait};
use e2e::{Cluster, PortForward, cluster, nettrace, pod, shares};
use serde_json::{Value, json};

/// Where every container but the sidecar finds the service account's token.
const API_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The longest a pod may take on a loaded machine; three containers start one after the other.
const READY: Duration = Duration::from_secs(120);

fn enforcing(level: &str) -> Namespace {
    Cluster::shared().namespace(&json!({"pod-security.kubernetes.io/enforce": level}))
}

/// Starts a pod whose containers are all to be profiled, and gives it as it runs.
fn run(namespace: &Namespace, mut pod: Value) -> Value {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let names: Vec<&str> = containers.filter_map(|container| container["name"].as_str()).collect();
    pod["metadata"]["annotations"]["sideflame.io/container"] = json!(names.join(","));
    let cluster = Cluster::shared();
    let created = cluster.plane.create(&namespace.path("pods"), &pod).ok().body;
    cluster.wait_ready_within(namespace, cluster::name(&created), READY)
}

/// What the webhook says it planned.
fn status(pod: &Value) -> Value {
    let status = pod["metadata"]["annotations"]["sideflame.io/status"].as_str();
    serde_json::from_str(status.expect("injected")).expect("JSON")
}

/// A shell command in a container of the pod; `$sidecar` is the folder of the sidecar's server in `/proc`.
fn shell(namespace: &Namespace, pod: &Value, container: &str, command: &str) -> String {
    let find =
        "for comm in /proc/[0-9]*/comm; do read -r name <$comm; [ $name = sideflame ] && sidecar=${comm%/comm}; done";
    let command = format!("{find}; {command}");
    Cluster::shared().exec(namespace, cluster::name(pod), container, &["sh", "-c", &command])
}

/// One field of the sidecar's `/proc/PID/status`, as an app sees it.
fn field<'a>(status: &'a str, name: &str) -> Vec<&'a str> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let line = line.unwrap_or_else(|| panic!("no {name} in {status}"));
    line.split_whitespace().collect()
}

/// The capability sets that a process holds or could come to hold.
fn capabilities(status: &str) -> [u64; 5] {
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|set| {
        let mask = field(status, set)[0];
        u64::from_str_radix(mask, 16).expect("hexadecimal")
    })
}

/// A capture of a container's process: a flame graph with our methods.
fn assert_captured(sidecar: &PortForward, pod: &Value, container: &str) {
    let process = cluster::process_of(sidecar, pod, container);
    let answer = sidecar.get(&format!("/profile?pid={}&seconds=2", process["pid"])).ok();
    let name = if process["runtime"] == "jvm" {
        "Split.sixty"
    } else {
        "Split.Sixty"
    };
    let named = answer.text().contains(name);
    assert!(named, "{container}: {} bytes without our methods", answer.body.len());
}

#[test]
fn restricted_a_sidecar_without_any_capability_profiles_jvm_and_dotnet() {
    let namespace = enforcing("restricted");
    let apps = ["java", "dotnet"].map(|app| pod::container(app, pod::USER_IMAGE, "cpu"));
    let pod = run(&namespace, pod::restricted(pod::annotated(&apps)));
    assert_eq!(status(&pod)["rights"], "same-user");

    let seen = shell(&namespace, &pod, "java", "cat $sidecar/status");
    assert_eq!(capabilities(&seen), [0; 5], "{seen}");
    assert_eq!(field(&seen, "Uid"), ["1001"; 4]);
    assert_eq!(field(&seen, "Gid"), ["1001"; 4]);
    assert_eq!(field(&seen, "NoNewPrivs"), ["1"]);
    assert_eq!(field(&seen, "Seccomp"), ["2"]);

    // The app has a token, its sidecar has none.
    assert!(shell(&namespace, &pod, "java", &format!("ls {API_TOKEN}")).contains("token"));
    let of_sidecar = shell(&namespace, &pod, "java", &format!("ls -A $sidecar/root{API_TOKEN}"));
    assert_eq!(of_sidecar, "");

    let sidecar = PortForward::to(Cluster::shared(), &namespace, &format!("pod/{}", cluster::name(&pod)));
    let stacks = shares::enough(|| sidecar.get("/profile?name=demo.shop&seconds=10&format=collapsed&frequency=499"));
    shares::assert_split(&stacks, shares::JAVA_CPU);
    nettrace::assert_split(|| sidecar.get("/profile?name=Split&seconds=10&format=nettrace"));
}

#[test]
fn baseline_root_and_a_user_that_only_the_image_tells_are_profiled() {
    /// The runtime's 14.
    const DEFAULT: u64 = 0xa804_25fb;
    let namespace = enforcing("baseline");
    let java = |image, name| pod::shaped(pod::container("java", image, "cpu"), name, &json!({}));
    let apps = [java(pod::USER_IMAGE, "unstated"), java(pod::ROOT_IMAGE, "root")];
    let pod = run(&namespace, pod::annotated(&apps));
    assert_eq!(status(&pod)["rights"], "switch-user");

    let seen = shell(&namespace, &pod, "unstated", "cat $sidecar/status");
    assert_eq!(field(&seen, "Uid"), ["0"; 4]);
    assert_eq!(capabilities(&seen)[1..4], [DEFAULT; 3], "{seen}");
    assert_store_is_closed(&namespace, &pod, "unstated");

    let sidecar = PortForward::to(Cluster::shared(), &namespace, &format!("pod/{}", cluster::name(&pod)));
    assert_captured(&sidecar, &pod, "unstated");
    assert_captured(&sidecar, &pod, "root");
}

#[test]
fn baseline_two_users_are_profiled_by_setuid_and_setgid_alone() {
    const SETGID_SETUID: u64 = 1 << 6 | 1 << 7;
    let namespace = enforcing("baseline");
    let user = |uid: u32| json!({"runAsUser": uid, "runAsGroup": uid});
    let app = |app, uid| pod::shaped(pod::container(app, pod::USER_IMAGE, "cpu"), app, &user(uid));
    let pod = run(&namespace, pod::annotated(&[app("java", 1001), app("dotnet", 2002)]));
    assert_eq!(status(&pod)["rights"], "switch-user");

    let seen = shell(&namespace, &pod, "java", "cat $sidecar/status");
    assert_eq!(capabilities(&seen)[1..4], [SETGID_SETUID; 3], "{seen}");
    assert_store_is_closed(&namespace, &pod, "java");

    let sidecar = PortForward::to(Cluster::shared(), &namespace, &format!("pod/{}", cluster::name(&pod)));
    assert_captured(&sidecar, &pod, "java");
    assert_captured(&sidecar, &pod, "dotnet");
    // With recordings of another user in it.
    assert_store_is_closed(&namespace, &pod, "java");
}

/// An app that is not root sees no file, descriptor or variable of a sidecar in switch-user mode.
fn assert_store_is_closed(namespace: &Namespace, pod: &Value, container: &str) {
    for path in ["root/var/lib/sideflame", "fd/0", "environ"] {
        let said = shell(namespace, pod, container, &format!("cat $sidecar/{path} 2>&1 || true"));
        assert!(said.contains("Permission denied"), "{path}: {said:?}");
    }
}

#[test]
fn a_user_namespace_is_profiled_or_refused_by_the_node_itself() {
    let namespace = enforcing("baseline");
    let app = pod::container("java", pod::USER_IMAGE, "cpu");
    let mut pod = pod::annotated(&[pod::shaped(
        app,
        "java",
        &json!({"runAsUser": 1001, "runAsGroup": 1001}),
    )]);
    pod["spec"]["hostUsers"] = json!(false);
    let cluster = Cluster::shared();
    let created = cluster.plane.create(&namespace.path("pods"), &pod).ok().body;
    let name = cluster::name(&created);
    // Who answers first: the pod, or the node that cannot start it.
    let refusal = wait("running pod or refusal", READY, || {
        let pod = cluster.plane.get(&namespace.path(&format!("pods/{name}"))).ok().body;
        if pod["status"]["phase"] == "Running" {
            return Some(None);
        }
        let events = cluster.plane.get(&namespace.path("events")).ok().body;
        let events = events["items"].as_array().cloned().unwrap_or_default();
        let failed = events.iter().find(|event| event["reason"] == "FailedCreatePodSandBox");
        failed.map(|event| event["message"].as_str().map(str::to_owned))
    });
    let Some(refusal) = refusal else {
        let pod = cluster.wait_ready_within(&namespace, name, READY);
        let sidecar = PortForward::to(cluster, &namespace, &format!("pod/{name}"));
        return assert_captured(&sidecar, &pod, "java");
    };
    eprintln!("not here: this node cannot start hostUsers: false: {refusal}");
    assert!(
        refusal.contains("runtime does not support user namespaces"),
        "{refusal}"
    );
}
