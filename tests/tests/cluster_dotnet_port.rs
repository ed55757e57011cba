//! .NET in a *restricted* namespace, without any capability, by the port of its sidecar: with a read-only root, without `/tmp`, and
//! without a shared process namespace.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that cannot set up must fail loudly"
)]

use std::time::Duration;

use e2e::control_plane::{Namespace, wait};
use e2e::{Cluster, PortForward, pod, shares};
use serde_json::{Value, json};

/// A container of the split on .NET 8.
fn dotnet(scenario: &str) -> Value {
    json!({
        "name": "shop",
        "image": pod::DOTNET_IMAGE,
        "imagePullPolicy": "Never",
        "command": ["/Sarif.Multitool"],
        "env": [
            {"name": "DOTNET_STARTUP_HOOKS", "value": "/apps/dotnet/StartupHook.dll"},
            {"name": "SPLIT_SCENARIO", "value": scenario},
        ],
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
    })
}

/// The only row, once the runtime is connected.
fn row(sidecar: &PortForward) -> Value {
    wait("the runtime at the port", Duration::from_secs(60), || {
        let rows = sidecar.get("/processes").ok().json();
        let mut rows = rows.as_array().unwrap().iter().filter(|row| row["runtime"] == "dotnet");
        rows.next().cloned()
    })
}

fn deployed(namespace: &Namespace, shares_processes: bool) -> (PortForward, Value) {
    let mut pod = pod::restricted(pod::annotated(&[dotnet("cpu")]));
    pod = pod::with_annotation(pod, "dotnet-port", "true");
    if !shares_processes {
        pod["spec"]["shareProcessNamespace"] = json!(false);
        // The app has the user of its image, and the sidecar that of its own.
        let context = pod["spec"]["securityContext"].as_object_mut().unwrap();
        context.remove("runAsUser");
        context.remove("runAsGroup");
    }
    let cluster = Cluster::shared();
    let name = cluster.deploy(namespace, "shop", &pod);
    let created = cluster.plane.get(&namespace.path(&format!("pods/{name}"))).ok().body;
    (PortForward::to(cluster, namespace, "deployment/shop"), created)
}

fn assert_captured(sidecar: &PortForward) {
    let svg = sidecar.get("/profile?seconds=2").ok();
    assert_eq!(svg.header("content-type"), "image/svg+xml");
    assert!(svg.text().contains("Split.Sixty"));
    let stacks = shares::enough(|| sidecar.get("/profile?seconds=10&format=collapsed"));
    shares::assert_split(
        &stacks,
        [("Split.Sixty", 0.6), ("Split.Thirty", 0.3), ("Split.Ten", 0.1)],
    );
}

/// The sidecar's container as the API server has it.
fn injected(pod: &Value) -> &Value {
    let containers = pod["spec"]["initContainers"].as_array().expect("injected");
    let sidecar = containers.iter().find(|container| container["name"] == "sideflame");
    sidecar.expect("injected")
}

#[test]
fn restricted_without_a_shared_process_namespace_a_deployment_is_a_flame_graph() {
    let namespace = Cluster::shared().namespace(&json!({"pod-security.kubernetes.io/enforce": "restricted"}));
    let (sidecar, pod) = deployed(&namespace, false);
    assert_eq!(pod["spec"]["shareProcessNamespace"], false);
    let context = &injected(&pod)["securityContext"];
    assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}), "{context}");
    assert_eq!(context["runAsUser"], Value::Null, "{context}");
    let row = row(&sidecar);
    let shown = ["pid", "name", "outside", "uid", "version"].map(|key| row[key].clone());
    assert_eq!(
        json!(shown),
        json!([1, "Sarif.Multitool", true, 1001, "8.0.30"]),
        "{row:#}"
    );
    assert_captured(&sidecar);
}

#[test]
fn restricted_with_a_shared_process_namespace_the_port_takes_the_place_of_tmp() {
    let namespace = Cluster::shared().namespace(&json!({"pod-security.kubernetes.io/enforce": "restricted"}));
    let (sidecar, pod) = deployed(&namespace, true);
    assert_eq!(pod["spec"]["shareProcessNamespace"], true);
    let volumes = pod["spec"]["volumes"].as_array().expect("volumes");
    assert!(
        !volumes.iter().any(|volume| volume["name"] == "sideflame-tmp-0"),
        "{volumes:#?}"
    );
    let row = row(&sidecar);
    assert_eq!(row["outside"], Value::Null, "{row:#}");
    assert_captured(&sidecar);
    let doctor = sidecar.get("/doctor?format=json").ok().json();
    let own = doctor.as_array().unwrap().iter().find(|row| row["runtime"] == "dotnet");
    assert_eq!(own.unwrap()["reachedBy"], "sideflame's own port", "{doctor:#}");
}
