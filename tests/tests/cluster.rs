//! The whole promise on a real Kubernetes: annotate, port-forward, curl.

use e2e::{Client, Cluster, PortForward, nettrace, pod, shares};
use serde_json::json;

/// Deploys an annotated app and forwards a port to its sidecar.
fn forward_to(app: &str) -> (PortForward, impl Drop) {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace(&json!({}));
    let template = pod::annotated(&[pod::container(app, pod::USER_IMAGE, "cpu")]);
    cluster.deploy(&namespace, app, &template);
    let sidecar = PortForward::to(cluster, &namespace, &format!("deployment/{app}"));
    (sidecar, namespace)
}

/// `go tool pprof` fetches by HTTP as a user would type it, and its shares of what we serve are right.
fn assert_pprof_shares(sidecar: &Client, split: [(&str, f64); 3]) {
    let url = format!("{}/debug/pprof/profile?seconds=1", sidecar.url);
    assert!(!shares::go_tool(&[url]).is_empty());
    let captures = shares::enough_captures(|| sidecar.get("/debug/pprof/profile?seconds=10"));
    shares::assert_split(&shares::by_go_tool(&captures), split);
}

fn assert_flame_graph(sidecar: &Client, function: &str) {
    let svg = sidecar.get("/profile?seconds=2").ok();
    assert_eq!(svg.header("content-type"), "image/svg+xml", "{:?}", svg.headers);
    assert!(svg.text().contains(function), "no {function} in the flame graph");
}

#[test]
fn an_annotated_jvm_is_profiled_through_port_forward() {
    let (sidecar, _namespace) = forward_to("java");
    assert_flame_graph(&sidecar, "Split.sixty");
    let stacks = shares::enough(|| sidecar.get("/profile?seconds=10&format=collapsed&frequency=499"));
    shares::assert_split(&stacks, shares::JAVA_CPU);
    assert_pprof_shares(&sidecar, shares::JAVA_CPU);
}

#[test]
fn an_annotated_go_program_is_profiled_through_port_forward() {
    let (sidecar, _namespace) = forward_to("go");
    assert_flame_graph(&sidecar, "main.sixty");
    assert_pprof_shares(&sidecar, shares::GO_CPU);
}

#[test]
fn an_annotated_dotnet_app_is_profiled_through_port_forward() {
    let (sidecar, _namespace) = forward_to("dotnet");
    assert_flame_graph(&sidecar, "Split.Sixty");
    nettrace::assert_split(|| sidecar.get("/profile?seconds=10&format=nettrace"));
}
