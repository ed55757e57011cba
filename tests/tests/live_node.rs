//! What a sideflame sees that sees all processes of a node: pods by name, in namespaces of their own.
//!
//! The kubelet's part is played by [`e2e::node`]; namespaces, cgroups, mounts and runtimes are real.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot set up must fail loudly"
)]

use std::process::Command;
use std::time::{Duration, Instant};

use e2e::app;
use e2e::control_plane::wait;
use e2e::{Cgroup, Node, Pod, Server, cache};
use serde_json::{Value, json};

fn java(node: &Node, namespace: &str, name: &str, user: u32) -> Pod {
    node.run(namespace, name, "app", user, &app::java("17", &[], "cpu"))
}

fn go(node: &Node, name: &str, scenario: &str) -> Pod {
    let mut command = Command::new(cache::file("apps/go/split"));
    command.args(["-pprof", "127.0.0.1:6060", scenario]);
    node.run("prod", name, "api", 1000, &command)
}

/// A server with all rights of a node's root, or without some.
fn server_on(node: &Node, dropped: &str) -> Server {
    let mut command = Command::new("setpriv");
    let dropped = if dropped.is_empty() { "+all" } else { dropped };
    command.args(["--bounding-set", dropped, "--"]).arg(cache::sideflame());
    let logs = node.container_logs();
    Server::start_by(command, &["--container-logs", logs.to_str().unwrap()])
}

fn row(server: &Server, pid: i32) -> Value {
    let rows = server.get("/processes").ok().json();
    let found = rows.as_array().unwrap().iter().find(|row| row["pid"] == pid).cloned();
    found.unwrap_or_else(|| panic!("no process {pid} in {rows:#}"))
}

#[test]
fn a_jvm_in_another_pod_is_captured_by_the_pods_name() {
    let node = Node::default();
    let (shop, other) = (java(&node, "prod", "shop-1", 1001), java(&node, "test", "shop-1", 1002));
    let server = server_on(&node, "");

    let row = row(&server, shop.pid);
    assert_eq!(
        (&row["pod"], &row["container"]),
        (&json!("prod/shop-1"), &json!("app")),
        "{row:#}"
    );
    assert_eq!(
        (&row["podUid"], &row["containerId"]),
        (&json!(shop.uid), &json!(shop.container_id))
    );

    let ambiguous = server.get("/profile?pod=shop-1&container=app&seconds=1");
    assert_eq!(
        (ambiguous.status, ambiguous.code()),
        (400, "ambiguous_process".to_owned())
    );
    let candidates = ambiguous.json()["candidates"].clone();
    let mut named: Vec<_> = candidates
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["pid"].as_i64().unwrap(), one["pod"].as_str().unwrap().to_owned()))
        .collect();
    named.sort_by_key(|(_, pod)| pod.clone());
    let expected = [(shop.pid, "prod/shop-1"), (other.pid, "test/shop-1")];
    assert_eq!(named, expected.map(|(pid, pod)| (i64::from(pid), pod.to_owned())));

    let id = server.capture("pod=prod/shop-1&seconds=2");
    let capture = server.wait_for(&id, &["finished"]);
    assert_eq!(
        (&capture["pod"], &capture["container"]),
        (&json!("prod/shop-1"), &json!("app"))
    );
    assert_eq!(capture["quality"]["pod"], "prod/shop-1");
    let artifact = |format: &str| server.get(&format!("/captures/{id}/artifact?format={format}")).ok();
    let stacks = artifact("collapsed");
    assert!(stacks.text().contains("Split.sixty"), "{}", stacks.text());
    assert_eq!(stacks.header("sideflame-pod"), "prod/shop-1");
    assert_eq!(stacks.header("sideflame-container"), "app");
    let svg = artifact("svg").text();
    let subtitle = svg
        .lines()
        .find(|line| line.contains("id=\"subtitle\""))
        .unwrap_or(&svg);
    assert!(subtitle.contains("prod/shop-1 app"), "{subtitle}");
    let url = format!("{}/captures/{id}/artifact?format=pprof", server.url);
    let comments = Command::new("go")
        .args(["tool", "pprof", "-comments", &url])
        .output()
        .unwrap();
    let comments = String::from_utf8_lossy(&comments.stdout).into_owned();
    assert!(comments.contains("prod/shop-1 app"), "{comments}");
}

#[test]
fn a_dotnet_process_in_another_pod_is_captured() {
    let node = Node::default();
    let pod = node.run("prod", "bill-1", "worker", 1003, &app::dotnet("8", "cpu"));
    let server = server_on(&node, "");
    let answer = server.get("/profile?pod=bill-1&seconds=2").ok();
    assert!(answer.text().contains("Split.Sixty"), "{:?}", &answer.body[..8]);
    assert_eq!(answer.header("sideflame-container"), "worker");
    assert_eq!(row(&server, pod.pid)["runtime"], "dotnet");
}

#[test]
fn a_go_program_on_the_loopback_of_its_own_pod_is_captured() {
    let node = Node::default();
    let (first, second) = (go(&node, "api-1", "cpu"), go(&node, "api-2", "alloc"));
    let server = server_on(&node, "");
    // Both listen on 127.0.0.1:6060: who asks in the wrong namespace profiles the wrong program.
    for (pod, function) in [(&first, "main.sixty"), (&second, "main.allocSixty")] {
        let query = format!("/profile?pid={}&seconds=3&format=collapsed", pod.pid);
        let stacks = server.get(&query).ok().text();
        assert!(stacks.contains(function), "no {function} in {stacks}");
    }
    drop(first);
    let gone = server.get("/profile?pod=api-1&seconds=1");
    assert_eq!((gone.status, gone.code()), (404, "no_such_process".to_owned()));
}

#[test]
fn without_the_right_to_enter_a_network_the_doctor_says_what_to_do() {
    let node = Node::default();
    let pod = go(&node, "api-1", "idle");
    let server = server_on(&node, "-sys_admin");
    let refused = server.get(&format!("/profile?pid={}&event=heap", pod.pid));
    assert_eq!((refused.status, refused.code()), (422, "impossible".to_owned()));
    assert_eq!(refused.json()["reason"], "other_network_namespace");
    let remedy = refused.json()["remedy"].as_str().unwrap().to_owned();
    assert!(
        remedy.contains("port-forward") && remedy.contains("sysadmin"),
        "{remedy}"
    );
}

/// What `sideflame ps` says of a process in a container, in a pid namespace where only pid 1 sees a directory of container
/// logs, and pid 1 is in `cgroup_of_init`.
fn listed_beside_init(cgroup_of_init: &str) -> Value {
    const ID: &str = "3f5c6e1d0b9a87766554433221100ffeeddccbbaa99887766554433221100abc";
    let cgroup = Cgroup::of_container("1f6a0c3e-8b6d-4a55-9a77-3c1e5f0a9b21", ID);
    let node = r#"
        set -e
        echo $$ > "$1/cgroup.procs"
        mount -t tmpfs tmpfs /var/log
        mkdir /var/log/containers
        ln -s /nowhere "/var/log/containers/shop-1_prod_app-$4.log"
        sh -c 'echo $$ > "$0/cgroup.procs"; exec sleep 60' "$2" &
        until grep -qs "$4" /proc/$!/cgroup; do sleep 0.1; done
        unshare --mount --propagation private sh -c 'mount -t tmpfs tmpfs /var/log; exec "$0" ps --json' "$3"
    "#;
    let mut command = Command::new("unshare");
    command.args([
        "--pid",
        "--mount",
        "--propagation",
        "private",
        "--mount-proc",
        "--fork",
        "--kill-child",
    ]);
    command
        .args(["sh", "-c", node, "sh", cgroup_of_init])
        .arg(&cgroup.path)
        .arg(cache::sideflame())
        .arg(ID);
    let listed = command.output().unwrap();
    let rows: Value = serde_json::from_slice(&listed.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&listed.stderr)));
    let row = rows
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["containerId"] == ID)
        .cloned();
    row.unwrap_or_else(|| panic!("the process is listed: {rows:#}"))
}

#[test]
fn the_nodes_own_pid_1_names_pods_and_a_containers_does_not() {
    let own = std::path::absolute("/sys/fs/cgroup").unwrap();
    let root = [own.join("unified"), own]
        .into_iter()
        .find(|root| root.join("cgroup.procs").exists())
        .unwrap();
    let named = listed_beside_init(root.to_str().unwrap());
    assert_eq!(
        (&named["pod"], &named["container"]),
        (&json!("prod/shop-1"), &json!("app"))
    );

    let contained = Cgroup::of_container("1f6a0c3e-8b6d-4a55-9a77-3c1e5f0a9b22", &"a".repeat(64));
    let unnamed = listed_beside_init(contained.path.to_str().unwrap());
    assert_eq!((&unnamed["pod"], &unnamed["container"]), (&Value::Null, &Value::Null));
}

#[test]
fn in_a_pod_the_kubelets_mounts_name_the_container() {
    let node = Node::default();
    let pod = node.run("prod", "shop-1", "shop-app", 1001, &app::java("25", &[], "cpu"));
    let server = Server::default();
    let row = row(&server, pod.pid);
    assert_eq!(row["container"], "shop-app");
    assert_eq!((&row["pod"], &row["podUid"]), (&Value::Null, &json!(pod.uid)));
    let answer = server.get("/profile?container=shop-app&seconds=1").ok();
    assert_eq!(answer.header("sideflame-container"), "shop-app");
    assert_eq!(answer.header("sideflame-pod"), "");
    let doctor = server.get("/doctor?container=shop-app").ok().text();
    let first = format!("{} demo.shop.Split (jvm", pod.pid);
    assert!(
        doctor.starts_with(&first) && doctor.lines().next().unwrap().ends_with(" in shop-app"),
        "{doctor}"
    );
}

#[test]
fn a_server_nobody_wants_anything_of_ends() {
    let node = Node::default();
    let shop = java(&node, "prod", "shop-1", 1001);
    let mut server = Server::start(&["--exit-when-idle", "3s"]);
    let began = Instant::now();
    let id = server.capture(&format!("pid={}&seconds=8&format=collapsed", shop.pid));
    // Longer than the idle time, in which nobody asks: the capture is use enough.
    wait("recorder", Duration::from_secs(10), || server.recorder());
    wait("end of the recorder", Duration::from_secs(30), || {
        server.recorder().is_none().then_some(())
    });
    server.wait_for(&id, &["finished"]);
    // Probes are no use, and the server goes although they go on.
    while server.try_send("GET", "/healthz", &[]).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", server.log());
        std::thread::sleep(Duration::from_millis(200));
    }
    server.wait_until_ended();
    assert!(server.log().contains("--exit-when-idle"), "{}", server.log());
}
