//! Samples of native programs in real containers: for each seccomp profile and set of capabilities of a sidecar, what the
//! webhook's planner believes, what the sidecar's doctor says and what a capture does must agree. And the two plans that the
//! webhook makes for such programs, as it injects them.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot set up must fail loudly, and says what it measured"
)]

use std::time::Duration;

use e2e::control_plane::Namespace;
use e2e::{Answer, Client, Cluster, PortForward, cluster, pod, shares};
use serde_json::{Value, json};
use sideflame_webhook::rights;

/// First port of the sidecars.
const PORT: u16 = 7160;
/// The longest a pod may take on a loaded machine.
const READY: Duration = Duration::from_secs(180);

/// A sidecar by its rights, and what they are good for.
struct Row {
    sidecar: &'static str,
    uid: u32,
    capabilities: &'static [&'static str],
    seccomp: &'static str,
    planner: &'static str,
    /// Availability and key of the doctor's verdict on `cpu` of a C program.
    doctor: (&'static str, &'static str),
}

const fn row(
    sidecar: &'static str,
    (uid, capabilities, seccomp): (u32, &'static [&'static str], &'static str),
    planner: &'static str,
    doctor: (&'static str, &'static str),
) -> Row {
    Row {
        sidecar,
        uid,
        capabilities,
        seccomp,
        planner,
        doctor,
    }
}

const DEFAULT: &str = "RuntimeDefault";
const UNCONFINED: &str = "Unconfined";

/// All look at programs of user 1001 without capabilities.
const MATRIX: [Row; 9] = [
    row(
        "same-user",
        (1001, &[], DEFAULT),
        "impossible: perf_seccomp",
        ("impossible", "perf_seccomp"),
    ),
    row(
        "same-user-free",
        (1001, &[], UNCONFINED),
        "degraded: no_kernel_frames",
        ("degraded", "no_kernel_frames"),
    ),
    row(
        "other-user-free",
        (2000, &[], UNCONFINED),
        "impossible: other_user",
        ("impossible", "no_access"),
    ),
    row(
        "switch",
        (0, &["SETUID", "SETGID"], DEFAULT),
        "impossible: perf_seccomp",
        ("impossible", "perf_seccomp"),
    ),
    row(
        "switch-free",
        (0, &["SETUID", "SETGID"], UNCONFINED),
        "impossible: perf_credentials",
        ("impossible", "perf_credentials"),
    ),
    row(
        "ptrace-free",
        (0, &["SETUID", "SETGID", "SYS_PTRACE"], UNCONFINED),
        "degraded: no_kernel_frames",
        ("degraded", "no_kernel_frames"),
    ),
    row(
        "perfmon",
        (0, &["SETUID", "SETGID", "PERFMON"], DEFAULT),
        "degraded: no_kernel_names",
        ("degraded", "no_kernel_names"),
    ),
    row(
        "perfmon-alone",
        (0, &["PERFMON", "SYSLOG"], DEFAULT),
        "impossible: other_user",
        ("impossible", "no_access"),
    ),
    row(
        "perf",
        (0, &["SETUID", "SETGID", "PERFMON", "SYSLOG"], DEFAULT),
        "works",
        ("available", ""),
    ),
];

fn security_context(uid: u32, capabilities: &[&str], seccomp: &str) -> Value {
    json!({
        "runAsUser": uid,
        "runAsGroup": uid,
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"], "add": capabilities},
        "seccompProfile": {"type": seccomp},
    })
}

/// A container of the C program, or of the Go program without a pprof port, as user 1001.
fn native(app: &str, scenario: &str) -> Value {
    let mut container = pod::container("c", pod::USER_IMAGE, scenario);
    if app == "go" {
        container["command"] = json!(["/apps/go/split-nopprof", scenario]);
    }
    pod::shaped(container, app, &security_context(1001, &[], DEFAULT))
}

fn enforcing_nothing() -> Namespace {
    Cluster::shared().namespace(&json!({"pod-security.kubernetes.io/enforce": "privileged"}))
}

fn verdict_on_cpu(client: &Client, pid: &Value) -> Value {
    let diagnoses = client.get(&format!("/doctor?pid={pid}&format=json")).ok().json();
    let verdicts = diagnoses[0]["verdicts"].as_array().into_iter().flatten();
    let mut verdicts = verdicts.filter(|verdict| verdict["event"] == "cpu").cloned();
    verdicts
        .next()
        .unwrap_or_else(|| panic!("no verdict on cpu: {diagnoses}"))
}

/// Compares what a capture did with what the doctor said before.
fn agrees(verdict: &Value, capture: &Answer) -> bool {
    match capture.status {
        200 => verdict["availability"] != "impossible",
        422 => verdict["availability"] == "impossible" && capture.json()["reason"] == verdict["reason"]["key"],
        _ => false,
    }
}

/// What a capture that works must show of the C program's page faults.
fn problems_of(row: &Row, capture: &Answer) -> Option<String> {
    let stacks = capture.text();
    let degraded = capture.header("sideflame-degraded");
    let names = shares::of(&stacks, "vm_munmap");
    let nameless = shares::of(&stacks, "[kernel]");
    let touches = shares::of(&stacks, "touch_");
    let said = match row.doctor.1 {
        "no_kernel_frames" => names + nameless == 0.0 && degraded.contains("kernel.perf_event_paranoid is"),
        "no_kernel_names" => names == 0.0 && nameless > 0.1 && degraded.contains("CAP_SYSLOG"),
        _ => names > 0.01 && nameless == 0.0 && degraded.is_empty(),
    };
    eprintln!(
        "{}: user {touches:.2}, kernel by name {names:.2}, without {nameless:.2}; {degraded}",
        row.sidecar
    );
    (!said || touches < 0.5).then(|| format!("{}: {degraded}\n{stacks}", row.sidecar))
}

fn problem_of(row: &Row, client: &Client, pod: &Value) -> Option<String> {
    let planner = rights::native(pod, row.sidecar, "c").expect("both are there");
    let pid = &cluster::process_of(client, pod, "c")["pid"];
    let verdict = verdict_on_cpu(client, pid);
    let doctor = (
        verdict["availability"].as_str().unwrap_or_default(),
        verdict["reason"]["key"].as_str().unwrap_or_default(),
    );
    // What faults is mostly in the kernel: where that is not seen, 99 a second are three samples.
    let capture = client.get(&format!("/profile?pid={pid}&seconds=3&frequency=999&format=collapsed"));
    eprintln!(
        "{}: planner {planner}, doctor {doctor:?}, capture {}",
        row.sidecar, capture.status
    );
    if (planner.as_str(), doctor) != (row.planner, row.doctor) || !agrees(&verdict, &capture) {
        return Some(format!(
            "{}: planner {planner}, doctor {verdict}, capture {} {}",
            row.sidecar,
            capture.status,
            capture.text()
        ));
    }
    if capture.status == 422 {
        let remedy = capture.json()["remedy"].as_str().unwrap_or_default().to_owned();
        return (!remedy.contains("securityContext") && !remedy.contains("runAsUser"))
            .then(|| format!("{}: no YAML in {remedy}", row.sidecar));
    }
    problems_of(row, &capture)
}

/// A Go program without a pprof port is sampled by the kernel exactly where a C program is.
fn problem_of_go(row: &Row, client: &Client, pod: &Value) -> Option<String> {
    let pid = &cluster::process_of(client, pod, "go")["pid"];
    let verdict = verdict_on_cpu(client, pid);
    let possible = row.doctor.0 != "impossible";
    let capture = client.get(&format!("/profile?pid={pid}&seconds=3&format=collapsed"));
    let right = agrees(&verdict, &capture)
        && (capture.status == 200) == possible
        && (!possible || shares::of(&capture.text(), "main.sixty") > 0.3);
    (!right).then(|| format!("{}: go {verdict}, {} {}", row.sidecar, capture.status, capture.text()))
}

#[test]
fn planner_doctor_and_capture_agree_on_whose_code_the_kernel_samples() {
    let cluster = Cluster::shared();
    let namespace = enforcing_nothing();
    let ports: Vec<u16> = (PORT..).take(MATRIX.len()).collect();
    let mut containers = vec![native("c", "faults"), native("go", "cpu")];
    for (row, port) in MATRIX.iter().zip(&ports) {
        let context = security_context(row.uid, row.capabilities, row.seccomp);
        containers.push(pod::sidecar(row.sidecar, *port, &context));
    }
    let mut pod = pod::bare(&containers);
    pod["spec"]["shareProcessNamespace"] = json!(true);
    pod["spec"]["volumes"] = json!([{"name": "stores", "emptyDir": {}}]);
    let created = cluster.plane.create(&namespace.path("pods"), &pod).ok().body;
    let name = cluster::name(&created);
    let pod = cluster.wait_ready_within(&namespace, name, READY);
    let forward = PortForward::to_ports(cluster, &namespace, &format!("pod/{name}"), &ports);
    let rows = MATRIX.iter().zip(forward.clients());
    let wrong: Vec<String> = rows
        .flat_map(|(row, client)| [problem_of(row, client, &pod), problem_of_go(row, client, &pod)])
        .flatten()
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn both_plans_for_native_programs_profile_one_as_injected() {
    let cluster = Cluster::shared();
    let namespace = enforcing_nothing();
    for (rights, native_verdict) in [("perf", "works"), ("unconfined", "degraded: no_kernel_frames")] {
        let annotated = pod::with_annotation(pod::annotated(&[native("c", "cpu")]), "rights", rights);
        let created = cluster.plane.create(&namespace.path("pods"), &annotated).ok().body;
        let pod = cluster.wait_ready_within(&namespace, cluster::name(&created), READY);
        let status = pod["metadata"]["annotations"]["sideflame.io/status"].as_str();
        let status: Value = serde_json::from_str(status.expect("injected")).expect("JSON");
        assert_eq!(
            (&status["rights"], &status["native"]["c"]),
            (&json!(rights), &json!(native_verdict)),
            "{status}"
        );
        let sidecar = PortForward::to(cluster, &namespace, &format!("pod/{}", cluster::name(&pod)));
        let pid = &cluster::process_of(&sidecar, &pod, "c")["pid"];
        let verdict = verdict_on_cpu(&sidecar, pid);
        let expected = if rights == "perf" { "available" } else { "degraded" };
        assert_eq!(verdict["availability"], expected, "{verdict}");
        let query = format!("/profile?pid={pid}&seconds=10&format=collapsed&frequency=499");
        let stacks = shares::enough(|| sidecar.get(&query));
        shares::assert_split(&stacks, [("sixty", 0.6), ("thirty", 0.3), ("ten", 0.1)]);
    }
}
