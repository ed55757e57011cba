//! All processes of a node in one graph: `scope=node`.
//!
//! The kubelet's part is played by [`e2e::node`]; the node is this machine, with whatever else runs on it.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use e2e::app::alone;
use e2e::control_plane::wait;
use e2e::{Answer, Node, Pod, Server, cache, shares};

fn server_on(node: &Node, dropped: &str) -> Server {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", dropped, "--"]).arg(cache::sideflame());
    let logs = node.container_logs();
    Server::start_by(command, &["--container-logs", logs.to_str().unwrap()])
}

/// Pods whose programs have a known split, each with a name of its own.
fn pods(node: &Node) -> [Pod; 2] {
    let command = |path: &str| {
        let mut command = Command::new(cache::file(&format!("apps/{path}")));
        command.arg("cpu");
        command
    };
    [
        node.run("prod", "shop-1", "app", 1001, &command("c/split")),
        node.run("test", "api-1", "worker", 1002, &command("go/split-nopprof")),
    ]
}

/// User and system time of a process, in ticks.
fn ticks(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    [11, 12].iter().map(|at| fields[*at].parse::<u64>().unwrap()).sum()
}

/// The value below each of the first `rows` rows.
fn by_rows(stacks: &str, rows: usize) -> BTreeMap<String, f64> {
    let mut values = BTreeMap::new();
    for line in stacks.lines() {
        let (stack, value) = line.rsplit_once(' ').unwrap();
        let row: Vec<&str> = stack.split(';').take(rows).collect();
        *values.entry(row.join(";")).or_default() += value.parse::<f64>().unwrap();
    }
    values
}

fn only(stacks: &str, root: &str) -> String {
    let lines = stacks.lines().filter(|line| line.starts_with(root));
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn a_graph_of_the_node_has_each_pod_with_its_share_of_cpu_time() {
    let _alone = alone();
    let node = Node::default();
    let pods = pods(&node);
    let server = server_on(&node, "+all");
    let capture = server.capture("scope=node&seconds=20&frequency=499&format=collapsed");
    // What is used while names are looked up is of another share where the machine does other things by then.
    let used_at = |phase: &str| {
        wait(phase, Duration::from_secs(60), || {
            let state = server.get(&format!("/captures/{capture}")).ok().json();
            (state["phase"] == phase).then(|| pods.each_ref().map(|pod| ticks(pod.pid)))
        })
    };
    let (before, used) = (used_at("sampling"), used_at("transferring"));
    let quality = server.wait_for(&capture, &["finished"])["quality"].clone();
    let artifact = |format: &str| {
        let path = format!("/captures/{capture}/artifact?format={format}");
        server.get(&path).ok()
    };
    let stacks = artifact("collapsed").text();

    let rows = by_rows(&stacks, 3);
    let of_pod = |row: &str| rows.get(row).copied().unwrap_or_default();
    let sampled = [of_pod("prod/shop-1;app;split"), of_pod("test/api-1;worker;split")];
    assert!(sampled.iter().all(|value| *value > 0.0), "{rows:#?}");
    let used = [0, 1].map(|at| f64::from(u32::try_from(used[at] - before[at]).unwrap()));
    let share = |[one, other]: [f64; 2]| one / (one + other);
    eprintln!(
        "share of the first pod {:.4} sampled, {:.4} used; {} rows; {quality:#}",
        share(sampled),
        share(used),
        rows.len()
    );
    assert!((share(sampled) - share(used)).abs() < 0.03, "{rows:#?}");
    shares::assert_split(
        &only(&stacks, "prod/shop-1;"),
        [("sixty", 0.6), ("thirty", 0.3), ("ten", 0.1)],
    );
    shares::assert_split(&only(&stacks, "test/api-1;"), shares::GO_CPU);
    let called = |root: &str, caller: &str| {
        // Whole names, as `;` ends one.
        let stacks = only(&stacks, root).replace(';', "; ");
        shares::of(&stacks.replace(&format!("; {caller};"), "; <called>;"), "<called>")
    };
    let whole = [called("prod/shop-1;", "cpu"), called("test/api-1;", "main.cpu")];
    assert!(whole.iter().all(|share| *share > 0.95), "{whole:?} {stacks}");
    // What is in no pod is there, too: this test, and the kernel's own threads.
    assert!(
        rows.keys().any(|row| row.starts_with("node;no container;")),
        "{rows:#?}"
    );

    let total: f64 = rows.values().sum();
    // Whatever else runs here may have stacks that are too deep for the kernel.
    let unnamed = by_rows(&stacks, 1)
        .into_keys()
        .filter(|row| row.starts_with('[') && row != "[truncated]");
    assert_eq!(unnamed.count(), 0, "{rows:#?}");
    let (cpu, seen) = (
        quality["cpuMs"].as_f64().unwrap(),
        quality["sampledCpuMs"].as_f64().unwrap(),
    );
    assert!(
        (seen / cpu - 1.0).abs() < 0.1,
        "{seen} of {cpu} ms, {total} in the graph"
    );
    assert_eq!(quality["process"], "node");

    let svg = artifact("svg").text();
    assert!(svg.contains("prod/shop-1") && svg.contains("test/api-1"), "{svg}");
    let url = format!("{}/captures/{capture}/artifact?format=pprof", server.url);
    let tags = Command::new("go")
        .args(["tool", "pprof", "-tags", &url])
        .output()
        .unwrap();
    let tags = String::from_utf8_lossy(&tags.stdout).into_owned();
    for tag in ["pod:", "prod/shop-1", "container:", "worker", "process:", "split"] {
        assert!(tags.contains(tag), "no {tag} in {tags}");
    }
}

#[test]
fn counters_of_a_node_are_by_pod_and_waits_are_not_measured() {
    let node = Node::default();
    let _pods = pods(&node);
    let server = server_on(&node, "+all");
    let get = |query: &str| server.get(&format!("/profile?scope=node&seconds=2&format=collapsed&{query}"));
    let switches = get("event=context-switches").ok().text();
    assert!(switches.lines().all(|line| line.split(';').count() > 3), "{switches}");
    assert!(switches.contains("node;"), "{switches}");
    get("event=page-faults").ok();
    let by_thread = get("threads=true").ok().text();
    let root = only(&by_thread, "prod/shop-1;app;split;[cpu-0 tid=");
    assert!(!root.is_empty(), "{by_thread}");
    let wall = get("event=wall");
    assert_eq!(
        (wall.status, wall.code()),
        (400, "invalid_parameter".to_owned()),
        "{}",
        wall.text()
    );
}

#[test]
fn a_node_and_a_process_of_it_are_not_asked_for_at_once() {
    let server = Server::default();
    for query in [
        "scope=node&pid=1",
        "name=x&scope=node",
        "scope=node&pod=a",
        "scope=node&container=a",
    ] {
        let refused = server.get(&format!("/profile?{query}"));
        assert_eq!(
            (refused.status, refused.code()),
            (400, "conflicting_parameters".to_owned()),
            "{query}"
        );
    }
    let other = server.get("/profile?scope=pod");
    assert_eq!((other.status, other.code()), (400, "invalid_parameter".to_owned()));
}

fn assert_impossible(answer: &Answer, reason: &str, remedy: &str) {
    assert_eq!(
        (answer.status, answer.code()),
        (422, "impossible".to_owned()),
        "{}",
        answer.text()
    );
    let problem = answer.json();
    assert_eq!(problem["reason"], reason, "{problem:#}");
    assert!(problem["remedy"].as_str().unwrap().contains(remedy), "{problem:#}");
}

#[test]
fn without_the_nodes_rights_the_reason_says_which() {
    let node = Node::default();
    let _pods = pods(&node);
    let asked = |dropped: &str| server_on(&node, dropped).get("/profile?scope=node&seconds=2");
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap();
    let level: i32 = paranoid.trim().parse().unwrap();
    assert!(
        level > 0,
        "this test needs kernel.perf_event_paranoid above 0, as machines have it"
    );
    assert_impossible(&asked("-perfmon,-sys_admin"), "perf_paranoid_machine", "PERFMON");
    // Who may sample but not look into processes has their shares, and no names.
    let nameless = asked("-sys_ptrace").ok();
    let said = nameless.header("sideflame-degraded");
    assert!(
        said.contains("may not be looked into") && said.contains("SYS_PTRACE"),
        "{said}"
    );
}

#[test]
fn in_a_pid_namespace_of_its_own_there_is_no_node() {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--mount-proc", "--fork", "--kill-child", "--"]);
    command.arg(cache::sideflame());
    let server = Server::start_by(command, &[]);
    assert_impossible(
        &server.get("/profile?scope=node&seconds=1"),
        "not_on_node",
        "hostPID: true",
    );
}

#[test]
fn one_view_of_the_node_at_a_time_beside_captures_of_processes() {
    let node = Node::default();
    let pods = pods(&node);
    let server = server_on(&node, "+all");
    let long = server.capture("scope=node&seconds=60");
    wait("recorder", Duration::from_secs(20), || server.recorder());
    let beside = server
        .get(&format!("/profile?pid={}&seconds=1&format=collapsed", pods[0].pid))
        .ok();
    assert!(beside.text().contains("sixty"), "{}", beside.text());
    let second = server.get("/profile?scope=node&seconds=60");
    assert_eq!(
        (second.status, second.code()),
        (429, "busy".to_owned()),
        "{}",
        second.text()
    );
    server.send("DELETE", &format!("/captures/{long}"), &[]);
}
