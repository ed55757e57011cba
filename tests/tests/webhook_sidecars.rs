//! Which pods run an old sidecar: the webhook's metrics against the pods that a real API server has.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::api_proxy::ApiProxy;
use e2e::chart;
use e2e::control_plane::{ControlPlane, Namespace, wait};
use e2e::webhook::{Installation, RELEASE, Replica, annotated_pod, is_injected, outdated, sidecar};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const OURS: &str = env!("CARGO_PKG_VERSION");
const OLD: &str = "0.0.9";
/// Longer than a pause after failures that a test waits for, and a slow machine.
const TIMEOUT: Duration = Duration::from_secs(30);

/// In a request for the list of injected pods.
const LIST: &str = "labelSelector=sideflame.io%2Fversion&limit=";

/// Creates a pod with the sidecar.
fn inject(namespace: &Namespace, plane: &ControlPlane, name: &str) {
    let mut pod = annotated_pod(&json!({}));
    pod["metadata"] = json!({"name": name, "annotations": {"sideflame.io/inject": "true"}});
    pod["spec"]["containers"][0]["env"] = json!([{"name": "PASSWORD", "value": "hunter2"}]);
    let pod = plane.create(&namespace.path("pods"), &pod).ok().body;
    assert!(is_injected(&pod), "{name}");
}

/// Makes it a pod of an older webhook.
fn age(namespace: &Namespace, plane: &ControlPlane, name: &str) {
    let labels = json!({"metadata": {"labels": {"sideflame.io/version": OLD}}});
    plane.patch(&namespace.path(&format!("pods/{name}")), &labels).ok();
}

fn wait_for_outdated(replica: &Replica, namespace: &Namespace, pods: &[(&str, &str)]) {
    let expected: BTreeSet<_> = pods
        .iter()
        .map(|(pod, version)| ((*pod).into(), (*version).into()))
        .collect();
    wait(&format!("{expected:?}"), TIMEOUT, || {
        (outdated(&replica.metrics(), namespace) == expected).then_some(())
    });
}

/// Samples of injected pods by their labels, against the API server's own count.
fn wait_for_counts(replica: &Replica, plane: &ControlPlane) {
    let selected = |selector: &str| {
        let running = "fieldSelector=status.phase%21%3DSucceeded,status.phase%21%3DFailed";
        let path = format!("/api/v1/pods?{running}&labelSelector={selector}");
        plane.get(&path).ok().body["items"].as_array().unwrap().len()
    };
    wait("the API server's count", TIMEOUT, || {
        let page = replica.metrics();
        let samples = page
            .lines()
            .filter_map(|line| line.strip_prefix("sideflame_webhook_sidecars{"));
        let sum: f64 = samples
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
            .sum();
        let old = format!("sideflame_webhook_sidecars{{version=\"{OLD}\",outdated=\"true\"}} ");
        let old = page.lines().find_map(|line| line.strip_prefix(&old)).unwrap_or("0");
        let counted = (sum.to_string(), old.to_owned());
        let there = (
            selected("sideflame.io/version"),
            selected(&format!("sideflame.io/version%3D{OLD}")),
        );
        (counted == (there.0.to_string(), there.1.to_string())).then_some(())
    });
}

const WATCHED: &str = "webhook.watchSidecars=true";

/// One replica that speaks to the API server through a proxy, with these values of the chart.
fn start_behind_proxy(values: &[&str]) -> (Installation, ApiProxy) {
    let mut installation = Installation::install(values);
    let proxy = ApiProxy::listen(installation.plane);
    installation.launch_through(&proxy);
    installation.serve_all();
    (installation, proxy)
}

#[test]
fn pods_of_an_older_webhook_are_told_until_they_end_or_go() {
    let mut installation = Installation::start(&[WATCHED], 2);
    let plane = installation.plane;
    let namespace = plane.namespace(&json!({}));
    for name in ["current", "old", "ends", "fails"] {
        inject(&namespace, plane, name);
    }
    // Nobody injected it, so it is not counted.
    let mut plain = annotated_pod(&json!({}));
    plain["metadata"] = json!({"name": "plain"});
    plane.create(&namespace.path("pods"), &plain).ok();
    for name in ["old", "ends", "fails"] {
        age(&namespace, plane, name);
    }
    let all = [("ends", OLD), ("fails", OLD), ("old", OLD)];
    for replica in &installation.replicas {
        wait_for_outdated(replica, &namespace, &all);
        wait_for_counts(replica, plane);
    }
    // No kubelet here: this is what it writes.
    for (name, phase) in [("ends", "Succeeded"), ("fails", "Failed"), ("current", "Running")] {
        let path = namespace.path(&format!("pods/{name}/status"));
        plane.patch(&path, &json!({"status": {"phase": phase}})).ok();
    }
    // A new replica sees them by its list, the others by their watch.
    installation.launch(&[]);
    installation.serve_all();
    for replica in &installation.replicas {
        wait_for_outdated(replica, &namespace, &[("old", OLD)]);
        wait_for_counts(replica, plane);
    }
    plane.delete(&namespace.path("pods/old?gracePeriodSeconds=0")).ok();
    for replica in &installation.replicas {
        wait_for_outdated(replica, &namespace, &[]);
        wait_for_counts(replica, plane);
    }
}

/// The operator's way: `helm upgrade` with another image, new webhook pods, then the apps one after the other.
#[test]
fn after_an_upgrade_pods_with_the_image_before_are_told_until_they_are_made_anew() {
    let mut installation = Installation::start(&[WATCHED], 1);
    let plane = installation.plane;
    let namespace = plane.namespace(&json!({}));
    for name in ["first", "second"] {
        inject(&namespace, plane, name);
    }
    wait_for_counts(&installation.replicas[0], plane);
    wait_for_outdated(&installation.replicas[0], &namespace, &[]);

    let values = [WATCHED, "sidecar.image.tag=\"next\""];
    chart::helm(plane, &["upgrade", RELEASE], &installation.namespace.name, &values).ok();
    let new = installation.launch(&[]);
    installation.replicas[0].signal(Signal::SIGTERM);
    installation.replicas[0].wait_for_end();
    installation.serve_all();
    let new = &installation.replicas[new];
    wait_for_outdated(new, &namespace, &[("first", OURS), ("second", OURS)]);
    plane.delete(&namespace.path("pods/first?gracePeriodSeconds=0")).ok();
    inject(&namespace, plane, "first");
    wait_for_outdated(new, &namespace, &[("second", OURS)]);
    wait_for_counts(new, plane);
}

#[test]
fn a_cut_watch_catches_up_and_one_that_is_too_old_lists_anew() {
    let (installation, proxy) = start_behind_proxy(&[WATCHED, "webhook.probeIntervalSeconds=0"]);
    let plane = installation.plane;
    let namespace = plane.namespace(&json!({}));
    inject(&namespace, plane, "a");
    age(&namespace, plane, "a");
    wait_for_outdated(&installation.replicas[0], &namespace, &[("a", OLD)]);
    let lists = proxy.requests(LIST);
    assert!(lists > 0, "the test knows its list");
    let replica = &installation.replicas[0];

    // Missed events come when the watch goes on. Meanwhile the last numbers stay, and pods are injected.
    proxy.cut();
    inject(&namespace, plane, "b");
    age(&namespace, plane, "b");
    plane.delete(&namespace.path("pods/a?gracePeriodSeconds=0")).ok();
    wait("a failure", TIMEOUT, || {
        let failures = replica.metric("sideflame_webhook_sidecar_watch_failures_total", "");
        (failures >= 1.0).then_some(())
    });
    wait_for_outdated(replica, &namespace, &[("a", OLD)]);
    proxy.mend();
    wait_for_outdated(replica, &namespace, &[("b", OLD)]);
    assert_eq!(proxy.requests(LIST), lists, "it went on where it was");

    // Missed events are lost: a list has to tell what is gone.
    proxy.cut();
    inject(&namespace, plane, "c");
    plane.delete(&namespace.path("pods/b?gracePeriodSeconds=0")).ok();
    proxy.expire_next_watch();
    proxy.mend();
    wait_for_outdated(replica, &namespace, &[]);
    wait_for_counts(replica, plane);
    assert!(proxy.requests(LIST) > lists, "it listed anew");
    age(&namespace, plane, "c");
    wait_for_outdated(replica, &namespace, &[("c", OLD)]);

    let answers = proxy.answers();
    assert!(answers.contains("\"name\":\"c\""), "the test sees what is sent");
    assert!(!answers.contains("hunter2"), "an environment was sent");
}

/// Annotated after it was made, as a pod that is older than the webhook.
#[test]
fn a_running_pod_that_asks_and_has_no_sidecar_is_told() {
    let installation = Installation::start(&[WATCHED], 1);
    let plane = installation.plane;
    let replica = &installation.replicas[0];
    let namespace = plane.namespace(&json!({}));
    let annotate = |name: &str, value: &str| {
        let annotations = json!({"metadata": {"annotations": {"sideflame.io/inject": value}}});
        plane.patch(&namespace.path(&format!("pods/{name}")), &annotations).ok();
    };
    let phase = |name: &str, phase: &str| {
        let path = namespace.path(&format!("pods/{name}/status"));
        plane.patch(&path, &json!({"status": {"phase": phase}})).ok();
    };
    for name in ["old", "pending", "silent"] {
        let mut pod = annotated_pod(&json!({}));
        pod["metadata"] = json!({"name": name});
        plane.create(&namespace.path("pods"), &pod).ok();
    }
    inject(&namespace, plane, "injected");
    ["old", "silent", "injected"]
        .iter()
        .for_each(|name| phase(name, "Running"));
    ["old", "pending"].iter().for_each(|name| annotate(name, "true"));
    let row = |name: &str| {
        let namespace = &namespace.name;
        format!("sideflame_webhook_missing_sidecar_info{{namespace=\"{namespace}\",pod=\"{name}\"}} 1\n")
    };
    let wait_for = |expected: &[&str]| {
        let expected: BTreeSet<String> = expected.iter().map(|name| row(name)).collect();
        wait(&format!("{expected:?}"), TIMEOUT, || {
            let page = replica.metrics();
            let rows = page
                .lines()
                .filter(|line| line.starts_with("sideflame_webhook_missing_sidecar_info{"));
            let rows = rows
                .filter(|line| line.contains(&namespace.name))
                .map(|line| format!("{line}\n"));
            (rows.collect::<BTreeSet<String>>() == expected).then_some(())
        });
    };
    wait_for(&["old"]);
    phase("pending", "Running");
    wait_for(&["old", "pending"]);
    annotate("old", "false");
    phase("pending", "Succeeded");
    wait_for(&[]);
}

/// What asks is the label of the namespace, which is younger than the pod.
#[test]
fn a_running_pod_of_a_namespace_that_is_opted_in_later_is_told() {
    let installation = Installation::start(&[WATCHED], 1);
    let plane = installation.plane;
    let namespace = plane.namespace(&json!({}));
    for (name, annotations) in [("old", json!({})), ("never", json!({"sideflame.io/inject": "false"}))] {
        let mut pod = annotated_pod(&json!({}));
        pod["metadata"] = json!({"name": name, "annotations": annotations});
        let pod = plane.create(&namespace.path("pods"), &pod).ok().body;
        assert!(!is_injected(&pod));
        let path = namespace.path(&format!("pods/{name}/status"));
        plane.patch(&path, &json!({"status": {"phase": "Running"}})).ok();
    }
    let missing = |expected: &[&str]| {
        wait(&format!("{expected:?}"), TIMEOUT, || {
            let page = installation.replicas[0].metrics();
            let before = format!(
                "sideflame_webhook_missing_sidecar_info{{namespace=\"{}\",pod=\"",
                namespace.name
            );
            let rows = page
                .lines()
                .filter_map(|line| line.strip_prefix(&before)?.strip_suffix("\"} 1"));
            (page.contains("sideflame_webhook_missing_sidecars ") && rows.eq(expected.iter().copied())).then_some(())
        });
    };
    let label = |value: &str| {
        let labels = json!({"metadata": {"labels": {"sideflame.io/inject": value}}});
        plane
            .patch(&format!("/api/v1/namespaces/{}", namespace.name), &labels)
            .ok();
    };
    missing(&[]);
    label("enabled");
    missing(&["old"]);
    label("disabled");
    missing(&[]);
}

/// Says of a pod's sidecar what the kubelet says.
fn report(namespace: &Namespace, plane: &ControlPlane, pod: &Value, reason: &str, message: &str) {
    let event = json!({
        "metadata": {"generateName": "kubelet-"},
        "involvedObject": {"kind": "Pod", "namespace": namespace.name, "name": pod["metadata"]["name"],
            "fieldPath": "spec.initContainers{sideflame}"},
        "reason": reason, "message": message, "type": "Warning", "count": 1, "source": {"component": "kubelet"},
        "firstTimestamp": pod["metadata"]["creationTimestamp"], "lastTimestamp": pod["metadata"]["creationTimestamp"],
    });
    plane.create(&namespace.path("events"), &event).ok();
}

#[test]
fn while_a_pod_waits_for_the_image_no_further_one_of_its_namespace_does() {
    let installation = Installation::start(&[WATCHED], 2);
    let plane = installation.plane;
    let (namespace, other) = (plane.namespace(&json!({})), plane.namespace(&json!({})));
    let create = |namespace: &Namespace| plane.create(&namespace.path("pods"), &annotated_pod(&json!({}))).ok();
    let held = create(&namespace).body;
    let image = sidecar(&held).unwrap()["image"].as_str().unwrap().to_owned();
    let row = format!(
        "sideflame_webhook_held_pod_info{{namespace=\"{}\",pod=\"{}\"}} 1\n",
        namespace.name,
        held["metadata"]["name"].as_str().unwrap()
    );
    let rows = |expected: bool| {
        for replica in &installation.replicas {
            wait(&format!("{expected} {row}"), TIMEOUT, || {
                (replica.metrics().contains(&row) == expected).then_some(())
            });
        }
    };
    // Another image is none of its pods' business.
    report(
        &namespace,
        plane,
        &held,
        "Failed",
        "Failed to pull image \"other:1\": not found",
    );
    rows(true);
    assert!(is_injected(&create(&namespace).body));

    let message = format!("Failed to pull image \"{image}\": unauthorized");
    report(&namespace, plane, &held, "Failed", &message);
    let reply = wait("a pod without it", TIMEOUT, || {
        let reply = create(&namespace);
        (!is_injected(&reply.body)).then_some(reply)
    });
    let warned = reply.warnings.iter().any(|warning| warning.contains("could not pull"));
    assert!(warned, "{:?}", reply.warnings);
    assert!(is_injected(&create(&other).body), "its nodes may have it");

    let message = format!("Successfully pulled image \"{image}\" in 2s");
    report(&namespace, plane, &held, "Pulled", &message);
    rows(false);
    assert!(is_injected(&create(&namespace).body));
}

#[test]
fn without_the_right_it_says_so_once_and_injects() {
    let mut installation = Installation::install(&[WATCHED]);
    let plane = installation.plane;
    let role = format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{RELEASE}");
    let rules = plane.get(&role).ok().body["rules"].as_array().unwrap().clone();
    let others: Vec<_> = rules
        .iter()
        .filter(|rule| rule["resources"] != json!(["pods"]))
        .collect();
    assert_eq!(others.len() + 1, rules.len());
    plane.patch(&role, &json!({"rules": others})).ok();
    let index = installation.launch(&[]);
    installation.serve_all();
    let replica = &installation.replicas[index];
    wait("three failures", TIMEOUT, || {
        let failures = replica.metric("sideflame_webhook_sidecar_watch_failures_total", "");
        (failures >= 3.0).then_some(())
    });
    let log = replica.log();
    assert_eq!(log.matches("injected pods cannot be watched").count(), 1, "{log}");
    assert!(
        log.contains("forbidden") && log.contains("list and watch pods"),
        "{log}"
    );
    // Nothing is better than a wrong 0.
    assert!(!replica.metrics().contains("sideflame_webhook_sidecars"));
    let namespace = plane.namespace(&json!({}));
    inject(&namespace, plane, "a");

    plane.patch(&role, &json!({"rules": rules})).ok();
    age(&namespace, plane, "a");
    wait_for_outdated(replica, &namespace, &[("a", OLD)]);
}

#[test]
fn unless_switched_on_it_asks_for_no_pods_and_has_no_metric() {
    let (installation, proxy) = start_behind_proxy(&[]);
    let plane = installation.plane;
    let namespace = plane.namespace(&json!({}));
    inject(&namespace, plane, "a");
    age(&namespace, plane, "a");
    let replica = &installation.replicas[0];
    // Known namespaces: the other watch of this replica has come through the proxy.
    wait("the namespaces", TIMEOUT, || {
        (replica.metric("sideflame_webhook_namespaces", "") > 0.0).then_some(())
    });
    assert_eq!(proxy.requests(""), 0);
    let page = replica.metrics();
    for name in [
        "sideflame_webhook_sidecar",
        "sideflame_webhook_outdated",
        "sideflame_webhook_missing",
        "sideflame_webhook_held",
    ] {
        assert!(!page.contains(name), "{page}");
    }
}
