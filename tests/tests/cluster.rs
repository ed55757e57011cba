//! The whole promise on a real Kubernetes: annotate, port-forward, curl.

use e2e::{Cluster, PortForward, pod, shares};
use serde_json::json;

const JAVA: [(&str, f64); 3] = [("Split.sixty", 0.6), ("Split.thirty", 0.3), ("Split.ten", 0.1)];

#[test]
fn an_annotated_jvm_gives_a_flame_graph_through_port_forward() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace(&json!({}));
    let template = pod::annotated(&[pod::container("java", pod::USER_IMAGE, "cpu")]);
    cluster.deploy(&namespace, "shop", &template);
    let sidecar = PortForward::to(cluster, &namespace, "deployment/shop");
    let svg = sidecar.get("/profile?seconds=2").ok();
    assert_eq!(svg.header("content-type"), "image/svg+xml", "{:?}", svg.headers);
    let stacks = shares::enough(|| sidecar.get("/profile?seconds=5&format=collapsed&frequency=499"));
    shares::assert_split(&stacks, JAVA);
}
