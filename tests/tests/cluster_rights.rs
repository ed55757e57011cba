//! Who may look into whom, in real containers: for each pair of a target and the rights of a sidecar, what the webhook's
//! planner believes, what the sidecar's doctor says and what a capture does must agree.
//!
//! One pod has them all. Its sidecars are written by hand, as the planner would never choose most of these rights.

use std::thread;
use std::time::Duration;

use e2e::{Client, Cluster, PortForward, cluster, pod};
use serde_json::{Value, json};
use sideflame_webhook::rights;

/// First port of the sidecars.
const PORT: u16 = 7120;

/// Rows of the matrix that this cluster cannot express.
const NOT_HERE: [(&str, &str); 6] = [
    (
        "a user namespace",
        "containerd 1.6 refuses hostUsers: false; cluster_levels.rs asserts that",
    ),
    (
        "ambient capabilities",
        "Kubernetes gives none: capabilities of a container that is not root are lost at its start",
    ),
    (
        "SYS_RESOURCE",
        "this machine does not have it to give, and no rule depends on it",
    ),
    (
        "Yama",
        "this kernel has none; it restricts ptrace(2), which we never use",
    ),
    (
        "perf_event_open at other levels of perf_event_paranoid",
        "it is the node's setting, and its level 2 stays",
    ),
    (
        "root that changes nothing, with SETUID and SETGID",
        "our child becomes the target wherever it can",
    ),
];

/// What the planner, the doctor and a capture say about one pair.
struct Cell {
    sidecar: &'static str,
    target: &'static str,
    planner: &'static str,
    /// Whether the doctor and the capture get at the process.
    reached: bool,
}

fn cell(sidecar: &'static str, target: &'static str, planner: &'static str) -> Cell {
    Cell {
        sidecar,
        target,
        planner,
        reached: planner == "works",
    }
}

/// Some programs of such a container are within reach, some not; here is one of the kind given.
fn partly(sidecar: &'static str, target: &'static str, planner: &'static str, reached: bool) -> Cell {
    Cell {
        reached,
        ..cell(sidecar, target, planner)
    }
}

fn matrix() -> Vec<Cell> {
    const OTHER_USER: &str = "impossible: other_user";
    const OTHER_GROUP: &str = "impossible: other_group";
    const CAPABILITIES: &str = "impossible: more_capabilities";
    const UNKNOWN: &str = "unknown: file_capabilities";
    const DIRECTLY: &str = "degraded: file_capabilities";
    vec![
        // An app without rights.
        cell("same-user", "app", "works"),
        cell("group-0", "app", OTHER_GROUP),
        cell("other-group", "app", OTHER_GROUP),
        cell("other-user", "app", OTHER_USER),
        cell("root-bare", "app", OTHER_USER),
        cell("root-default", "app", "works"),
        cell("switch", "app", "works"),
        cell("ptrace", "app", OTHER_USER),
        cell("master", "app", OTHER_USER),
        cell("lost", "app", OTHER_USER),
        cell("perfmon", "app", OTHER_USER),
        cell("perf", "app", "works"),
        // Root with the runtime's default capabilities.
        cell("root-bare", "root", CAPABILITIES),
        cell("root-default", "root", "works"),
        cell("switch", "root", CAPABILITIES),
        cell("ptrace", "root", CAPABILITIES),
        cell("perf", "root", "works"),
        cell("same-user", "root", OTHER_USER),
        // Root without capabilities.
        cell("root-bare", "bare", "works"),
        cell("switch", "bare", "works"),
        cell("same-user", "bare", OTHER_USER),
        // Root with everything.
        cell("root-default", "privileged", CAPABILITIES),
        cell("perf", "privileged", "works"),
        // Root with an added capability: the same one is what it takes, and kernel sampling does not replace it.
        cell("root-default", "networker", CAPABILITIES),
        cell("perf", "networker", CAPABILITIES),
        cell("net-admin", "networker", "works"),
        cell("net-admin", "root", "works"),
        cell("net-admin", "app", "works"),
        cell("root-default", "debugger", CAPABILITIES),
        cell("tracer", "debugger", "works"),
        cell("net-admin", "debugger", CAPABILITIES),
        // A user with an added capability, which only a file could give it; there is none.
        partly("same-user", "locker", UNKNOWN, true),
        partly("switch", "locker", UNKNOWN, true),
        partly("ipc-lock", "locker", DIRECTLY, true),
        // A program with a file capability, as the container's first process: what it holds is a part of what runc held.
        partly("same-user", "capable", UNKNOWN, false),
        partly("switch", "capable", UNKNOWN, false),
        partly("bind", "capable", DIRECTLY, true),
        partly("root-default", "capable", DIRECTLY, true),
        // The same started by a shell: it gains the capability, so that the kernel makes it non-dumpable.
        partly("bind", "gaining", DIRECTLY, false),
        partly("perf", "gaining", DIRECTLY, false),
        // Root that became 1001 by itself, as a worker of nginx: non-dumpable, which no pod spec tells.
        partly("same-user", "worker", OTHER_USER, false),
        partly("root-default", "worker", "works", false),
        partly("perf", "worker", "works", false),
    ]
}

/// `securityContext` of a user with these capabilities and no others.
fn holding(uid: u32, gid: u32, capabilities: &[&str]) -> Value {
    json!({
        "runAsUser": uid,
        "runAsGroup": gid,
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"], "add": capabilities},
    })
}

/// `securityContext` of root with the runtime's default capabilities and these.
fn root_adding(capabilities: &[&str]) -> Value {
    json!({"runAsUser": 0, "runAsGroup": 0, "capabilities": {"add": capabilities}})
}

fn sidecars() -> [(&'static str, Value); 16] {
    [
        ("same-user", holding(1001, 1001, &[])),
        ("group-0", holding(1001, 0, &[])),
        // 1001 is among its supplementary groups, as of all containers of the pod.
        ("other-group", holding(1001, 2000, &[])),
        ("other-user", holding(2000, 1001, &[])),
        ("root-bare", holding(0, 0, &[])),
        ("root-default", json!({"runAsUser": 0, "runAsGroup": 0})),
        ("switch", holding(0, 0, &["SETUID", "SETGID"])),
        ("bind", holding(0, 0, &["SETUID", "SETGID", "NET_BIND_SERVICE"])),
        ("ptrace", holding(0, 0, &["SYS_PTRACE"])),
        ("master", holding(0, 0, &["SYS_PTRACE", "DAC_OVERRIDE", "KILL"])),
        ("lost", holding(2000, 2000, &["SYS_PTRACE"])),
        ("perfmon", holding(0, 0, &["PERFMON"])),
        ("net-admin", root_adding(&["NET_ADMIN"])),
        ("tracer", root_adding(&["SYS_PTRACE"])),
        ("ipc-lock", holding(0, 0, &["SETUID", "SETGID", "IPC_LOCK"])),
        ("perf", root_adding(&["SYS_PTRACE", "PERFMON"])),
    ]
}

fn targets() -> [Value; 10] {
    let java = |name: &str, security_context: Value| {
        let container = pod::container("java", pod::ROOT_IMAGE, "cpu");
        pod::shaped(container, name, &security_context)
    };
    let busybox = |name: &str, image: &str, command: &[&str], security_context: Value| {
        json!({
            "name": name,
            "image": image,
            "imagePullPolicy": "Never",
            "command": command,
            "securityContext": security_context,
        })
    };
    let bind = json!({"runAsUser": 1001, "runAsGroup": 1001, "capabilities": {"add": ["NET_BIND_SERVICE"]}});
    let directly = ["/bin/busybox", "sleep", "100000"];
    let by_a_shell = ["/bin/sh", "-c", "exec /bin/busybox sleep 100000"];
    let worker = ["/bin/busybox", "httpd", "-f", "-u", "1001:1001", "-p", "127.0.0.1:7119"];
    [
        java("app", holding(1001, 1001, &[])),
        java("root", json!({"runAsUser": 0, "runAsGroup": 0})),
        java("bare", holding(0, 0, &[])),
        java(
            "privileged",
            json!({"runAsUser": 0, "runAsGroup": 0, "privileged": true}),
        ),
        java("networker", root_adding(&["NET_ADMIN"])),
        java("debugger", root_adding(&["SYS_PTRACE"])),
        java(
            "locker",
            json!({"runAsUser": 1001, "runAsGroup": 1001, "capabilities": {"add": ["IPC_LOCK"]}}),
        ),
        busybox("capable", pod::CAPABLE_IMAGE, &directly, bind.clone()),
        busybox("gaining", pod::CAPABLE_IMAGE, &by_a_shell, bind),
        busybox(
            "worker",
            pod::ROOT_IMAGE,
            &worker,
            json!({"runAsUser": 0, "runAsGroup": 0}),
        ),
    ]
}

/// What doctor and capture say; they must agree. `true` if the process is within reach.
fn reached(pid: &Value, client: &Client) -> Result<bool, String> {
    let diagnoses = client.get(&format!("/doctor?pid={pid}&format=json")).ok().json();
    let is_java = diagnoses[0]["runtime"] == "jvm";
    let verdicts = diagnoses[0]["verdicts"].as_array().into_iter().flatten();
    let verdict = verdicts.into_iter().find(|verdict| verdict["event"] == "cpu").cloned();
    let verdict = verdict.ok_or_else(|| format!("no verdict on cpu: {diagnoses}"))?;
    let key = verdict["reason"]["key"].as_str().unwrap_or_default();
    let capture = client.get(&format!("/profile?pid={pid}&seconds=1"));
    let agree = match capture.status {
        200 => verdict["availability"] != "impossible" && (!is_java || capture.text().contains("Split.")),
        422 => verdict["availability"] == "impossible" && capture.json()["reason"] == key,
        _ => false,
    };
    if !agree {
        let said = capture.text();
        return Err(format!(
            "the doctor says {verdict}, the capture {} {}",
            capture.status,
            said.get(..500).unwrap_or(&said)
        ));
    }
    Ok(key != "no_access")
}

#[test]
fn planner_doctor_and_capture_agree_on_who_reaches_whom() {
    for (row, reason) in NOT_HERE {
        eprintln!("not here: {row}: {reason}");
    }
    let cluster = Cluster::shared();
    let namespace = cluster.namespace(&json!({"pod-security.kubernetes.io/enforce": "privileged"}));
    let names = sidecars().map(|(name, _)| name);
    let ports: Vec<u16> = (PORT..).take(names.len()).collect();
    let mut containers = targets().to_vec();
    for ((name, security_context), port) in sidecars().iter().zip(&ports) {
        containers.push(pod::sidecar(name, *port, security_context));
    }
    let mut pod = pod::bare(&containers);
    pod["spec"]["shareProcessNamespace"] = json!(true);
    pod["spec"]["securityContext"] = json!({"supplementalGroups": [1001]});
    pod["spec"]["volumes"] = json!([{"name": "stores", "emptyDir": {}}]);
    let created = cluster.plane.create(&namespace.path("pods"), &pod).ok().body;
    let name = cluster::name(&created);
    let pod = cluster.wait_ready_within(&namespace, name, Duration::from_secs(240));
    let forward = PortForward::to_ports(cluster, &namespace, &format!("pod/{name}"), &ports);

    let matrix = matrix();
    let check = |cell: &Cell, pid: &Value| -> Result<(), String> {
        let pair = format!("{} looks at {}", cell.sidecar, cell.target);
        let at = names.iter().position(|name| *name == cell.sidecar).expect("a sidecar");
        let planner = rights::reach(&pod, cell.sidecar, cell.target).expect("both are there");
        let reached = reached(pid, &forward.clients()[at]).map_err(|problem| format!("{pair}: {problem}"))?;
        eprintln!("{pair}: planner {planner}, reached {reached}");
        if (planner.as_str(), reached) == (cell.planner, cell.reached) {
            Ok(())
        } else {
            Err(format!(
                "{pair}: planner {planner}, reached {reached}; expected {}, {}",
                cell.planner, cell.reached
            ))
        }
    };
    // One after the other: captures of one target would exclude each other.
    let of_target = |target: &str| -> Vec<String> {
        // All sidecars see the same pids.
        let pid = &cluster::process_of(&forward.clients()[0], &pod, target)["pid"];
        let cells = matrix.iter().filter(|cell| cell.target == target);
        cells.filter_map(|cell| check(cell, pid).err()).collect()
    };
    let targets = targets();
    let wrong: Vec<String> = thread::scope(|scope| {
        let of_target = &of_target;
        let names = targets.iter().filter_map(|target| target["name"].as_str());
        let threads: Vec<_> = names.map(|target| scope.spawn(move || of_target(target))).collect();
        let results = threads.into_iter().map(|thread| thread.join().expect("no panic"));
        results.flatten().collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
