//! Pods that nobody annotated and that must not restart: an ephemeral container beside the app, and a pod on its node
//! that sees the processes of all pods. The commands are those of README.md.

#![expect(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that cannot set up must fail loudly"
)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::cluster::{SIDECAR_IMAGE, container_id, container_status, name};
use e2e::control_plane::{Said, wait};
use e2e::load::Stopping;
use e2e::pod::{self, ROOT_IMAGE, USER_IMAGE};
use e2e::{Client, Cluster, Namespace, PortForward, shares};
use serde_json::{Value, json};

const ROOT: &str = r#"{"securityContext": {"runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": false}}"#;

fn java(image: &str) -> Value {
    pod::limited(pod::container("java", image, "cpu"), "200m")
}

/// `kubectl debug ARGUMENTS -- /sideflame serve FLAGS`; `custom` is what README.md has in a file.
fn kubectl_debug(
    cluster: &Cluster,
    namespace: &Namespace,
    arguments: &[&str],
    custom: Option<&str>,
    flags: &[&str],
) -> Said {
    let image = format!("--image={SIDECAR_IMAGE}");
    let mut all = vec!["--namespace", &namespace.name, "debug", &image, "--container=sideflame"];
    all.extend(arguments);
    all.extend(custom.map(|_| "--custom=/dev/stdin"));
    all.extend(["--", "/sideflame", "serve"]);
    all.extend(flags);
    cluster.plane.kubectl(all, custom.unwrap_or_default()).ok()
}

/// Which start of the app this is, and its pid and start time.
fn incarnation(cluster: &Cluster, namespace: &Namespace, pod: &str) -> Value {
    let object = cluster.plane.get(&namespace.path(&format!("pods/{pod}"))).ok().body;
    let status = container_status(&object, "java");
    let first = cluster.exec(namespace, pod, "java", &["cat", "/proc/1/stat"]);
    let start_time = first.split_whitespace().nth(21).unwrap();
    json!([
        status["restartCount"],
        status["state"],
        container_id(status),
        start_time
    ])
}

/// Adds sideflame to a running pod as `profile` and `customization` say, and captures its JVM.
fn debug(cluster: &Cluster, namespace: &Namespace, app: &Value, profile: &str, customization: Option<&str>) {
    let app = cluster.run(namespace, app);
    let pod = name(&app);
    // Its start time is that of the JVM: without a shared process namespace the app is pid 1.
    let before = incarnation(cluster, namespace, pod);
    let (target, profile) = (format!("pod/{pod}"), format!("--profile={profile}"));
    kubectl_debug(
        cluster,
        namespace,
        &[&target, "--target=java", &profile],
        customization,
        &[],
    );
    cluster.wait_until(
        &namespace.path(&format!("pods/{pod}")),
        Duration::from_secs(30),
        |pod| {
            let ephemeral = &pod["status"]["ephemeralContainerStatuses"][0];
            !ephemeral["state"]["running"].is_null()
        },
    );
    let sidecar = PortForward::when_up(cluster, namespace, &target);
    let graph = sidecar.get("/profile?seconds=2&frequency=499").ok();
    assert!(graph.text().contains("demo.shop.Split"), "{:?}", graph.headers);
    assert_eq!(incarnation(cluster, namespace, pod), before);
}

#[test]
fn an_ephemeral_container_captures_a_pod_that_nobody_annotated() {
    let cluster = Cluster::shared();
    let namespace = &cluster.namespace(&json!({}));
    let restricted = &cluster.namespace(&json!({"pod-security.kubernetes.io/enforce": "restricted"}));
    let user = pod::bare(&[java(USER_IMAGE)]);
    let root = pod::bare(&[java(ROOT_IMAGE)]);
    let mut unknown = pod::bare(&[java(USER_IMAGE)]);
    unknown["spec"]["securityContext"] = json!({"runAsUser": 2345, "runAsGroup": 3456});
    let mut strict = pod::restricted(pod::bare(&[java(USER_IMAGE)]));
    strict["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "tmp", "mountPath": "/tmp"}]);
    strict["spec"]["volumes"] = json!([{"name": "tmp", "emptyDir": {}}]);
    let same = r#"{"securityContext": {"runAsUser": 1001, "runAsGroup": 1001}}"#;
    std::thread::scope(|scope| {
        scope.spawn(|| debug(cluster, namespace, &user, "restricted", Some(same)));
        scope.spawn(|| debug(cluster, namespace, &root, "baseline", Some(ROOT)));
        scope.spawn(|| debug(cluster, namespace, &unknown, "baseline", Some(ROOT)));
        scope.spawn(|| debug(cluster, restricted, &strict, "restricted", None));
    });
}

/// A pod with a JVM and a Go program in another namespace than the one that looks at it.
fn app(cluster: &Cluster, namespace: &Namespace) -> String {
    let go = pod::limited(pod::container("go", ROOT_IMAGE, "idle"), "50m");
    name(&cluster.run(namespace, &pod::bare(&[java(USER_IMAGE), go]))).to_owned()
}

fn assert_captured_by_name(sideflame: &Client, namespace: &Namespace, pod: &str) {
    let place = format!("{}/{pod}", namespace.name);
    let processes = sideflame.get("/processes").ok().json();
    let mut rows = processes.as_array().unwrap().iter();
    let row = rows.find(|row| row["pod"] == place && row["container"] == "java");
    assert!(row.is_some(), "{place} is not in {processes}");
    let table = sideflame.get("/processes?format=text").ok().text();
    assert!(table.contains(&place), "{table}");

    let query = format!("pod={place}&container=java&seconds=2&frequency=499");
    let graph = sideflame.get(&format!("/profile?{query}")).ok();
    assert_eq!(graph.header("sideflame-pod"), place);
    assert_eq!(graph.header("sideflame-container"), "java");
    assert!(graph.text().contains("demo.shop.Split"), "{:?}", graph.headers);
    assert!(graph.text().contains(&format!("{place} java")), "{:?}", graph.headers);
    let capture = sideflame
        .get(&format!("/captures/{}", graph.header("sideflame-capture")))
        .ok()
        .json();
    assert_eq!(
        (&capture["pod"], &capture["container"]),
        (&json!(place), &json!("java")),
        "{capture}"
    );
}

/// The cluster's own API server under load, at every rate.
fn assert_the_api_server_has_names(cluster: &Cluster, sideflame: &Client) {
    let processes = sideflame.get("/processes").ok().json();
    let mut rows = processes.as_array().unwrap().iter();
    // A machine may have other ones, of control planes without nodes. In this rig all of Kubernetes is one program, called kube.
    let row = rows.find(|row| {
        let words = row["commandLine"].to_string();
        words.contains("kube-apiserver") && words.contains("/sideflame-cluster/")
    });
    assert!(row.is_some(), "{processes}");
    let pid = &row.unwrap()["pid"];
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                cluster.plane.get("/api/v1/pods?limit=50").ok();
            }
        });
        let _stopping = Stopping(&stop);
        for event in [
            "cpu&frequency=99",
            "cpu&frequency=999",
            "context-switches&frequency=99",
            "context-switches&frequency=999",
        ] {
            let answer = sideflame
                .get(&format!("/profile?pid={pid}&event={event}&seconds=4&format=collapsed"))
                .ok();
            let stacks = answer.text();
            let named = shares::named(&stacks);
            eprintln!(
                "API server, {event}: {} samples, {named:.4} of frames named",
                answer.header("sideflame-samples")
            );
            assert!(named >= 0.95, "{event}: {named} {stacks}");
            // Most switches are those of Go's scheduler, which looks for work.
            assert!(stacks.contains("k8s.io/apiserver/pkg/"), "{event}: {stacks}");
        }
    });
}

/// `pod` with a JVM and a Go program, and what is in no pod.
fn assert_the_node_is_seen_by_pod(sideflame: &Client, pod: &str) {
    let stacks = sideflame
        .get("/profile?scope=node&seconds=5&format=collapsed")
        .ok()
        .text();
    assert!(stacks.contains(&format!("{pod};java;")), "{stacks}");
    assert!(stacks.contains("node;no container;kube;"), "{stacks}");
}

#[test]
fn a_pod_on_the_node_captures_another_pod_and_names_it() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace(&json!({}));
    let apps = cluster.namespace(&json!({}));
    let app = app(cluster, &apps);
    let readme = include_str!("../../README.md");
    let mut blocks = readme
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let manifest = blocks.find(|block| block.contains("name: sideflame-node")).unwrap();
    let filled = [
        ("IMAGE", SIDECAR_IMAGE),
        ("NODE", "test"),
        ("kube-system", &namespace.name),
    ]
    .into_iter()
    .fold(manifest.to_owned(), |text, (place, value)| text.replace(place, value));
    cluster.plane.kubectl(["apply", "--filename", "-"], &filled).ok();
    cluster.wait_ready(&namespace, "sideflame-node");
    let sideflame = PortForward::when_up(cluster, &namespace, "pod/sideflame-node");
    assert_captured_by_name(&sideflame, &apps, &app);
}

#[test]
fn kubectl_debug_node_captures_another_pod_and_names_it() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace(&json!({}));
    let apps = cluster.namespace(&json!({}));
    let app = app(cluster, &apps);
    // The debug pod has the node's network, and so the ports of whatever else runs here.
    let arguments = ["node/test", "--profile=sysadmin"];
    let flags = ["--listen=127.0.0.1:0", "--log-format=json"];
    let said = kubectl_debug(cluster, &namespace, &arguments, Some(ROOT), &flags);
    let pod = format!("{}{}", said.stdout, said.stderr);
    let pod = pod
        .split_whitespace()
        .find(|word| word.starts_with("node-debugger-test-"))
        .unwrap()
        .to_owned();
    cluster.wait_ready(&namespace, &pod);
    let port = wait("port of sideflame on the node", Duration::from_secs(30), || {
        let log = cluster.kubectl(&namespace, &["logs", &pod]).ok().stdout;
        let mut entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let address: SocketAddr = entries.find_map(|entry| entry["address"].as_str()?.parse().ok())?;
        Some(address.port())
    });
    let sideflame = PortForward::to_ports(cluster, &namespace, &format!("pod/{pod}"), &[port]);
    assert_captured_by_name(&sideflame, &apps, &app);
    assert_the_api_server_has_names(cluster, &sideflame);
    assert_the_node_is_seen_by_pod(&sideflame, &format!("{}/{app}", apps.name));
    // Its pprof port is on its own pod's loopback.
    let goroutines = sideflame
        .get(&format!("/debug/pprof/goroutine?pod={}/{app}&container=go", apps.name))
        .ok();
    assert_eq!(
        goroutines.header("sideflame-pod"),
        format!("{}/{app}", apps.name),
        "{:?}",
        goroutines.headers
    );
}
