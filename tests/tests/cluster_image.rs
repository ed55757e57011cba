//! Sidecars whose image a node cannot pull: what that does to their pods, who says so, and what keeps it from happening.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::cluster::{SIDECAR_IMAGE, container_status, name};
use e2e::control_plane::wait;
use e2e::webhook::is_injected;
use e2e::{Cluster, Namespace, chart, pod};
use serde_json::{Value, json};

/// No registry listens there.
const NOWHERE: &str = "localhost:1/sideflame-nowhere";

fn waits_for_its_image(status: &Value) -> bool {
    let reason = status["state"]["waiting"]["reason"].as_str().unwrap_or_default();
    ["ErrImagePull", "ImagePullBackOff"].contains(&reason)
}

/// What the webhook makes of an annotated app, with another image of the sidecar's, as after a mistake of the operator's.
fn create(cluster: &Cluster, namespace: &Namespace, form: &str, image: &str) -> String {
    let app = pod::script("app", "exec sleep 3600");
    let asked = pod::with_annotation(pod::annotated(&[app]), "sidecar", form);
    let dry_run = namespace.path("pods?dryRun=All");
    let mut made = cluster.plane.create(&dry_run, &asked).ok().body;
    assert!(is_injected(&made), "{made}");
    for list in ["initContainers", "containers"] {
        let all = made["spec"][list].as_array_mut().into_iter().flatten();
        all.filter(|container| container["name"] == "sideflame")
            .for_each(|sidecar| sidecar["image"] = json!(image));
    }
    let metadata = made["metadata"].as_object_mut().unwrap();
    metadata.retain(|field, _| ["annotations", "labels"].contains(&field.as_str()));
    metadata.insert("name".to_owned(), json!(form));
    name(&cluster.plane.create(&namespace.path("pods"), &made).ok().body).to_owned()
}

/// Pods of the namespace that the webhook says are held. Each of its replicas says the same.
fn held(cluster: &Cluster, namespace: &Namespace) -> Vec<BTreeSet<String>> {
    let path = "/api/v1/namespaces/sideflame/pods";
    let replicas = cluster.plane.get(path).ok().body;
    let replicas = replicas["items"].as_array().unwrap().iter().map(name);
    let pages = replicas.map(|replica| {
        let page = cluster
            .plane
            .get(&format!("{path}/{replica}:9443/proxy/metrics"))
            .ok()
            .body;
        let before = format!(
            "sideflame_webhook_held_pod_info{{namespace=\"{}\",pod=\"",
            namespace.name
        );
        let rows = page.as_str().unwrap().lines();
        let rows = rows.filter_map(|row| row.strip_prefix(&before)?.strip_suffix("\"} 1"));
        rows.map(str::to_owned).collect()
    });
    pages.collect()
}

#[test]
fn a_sidecar_without_its_image_holds_the_app_as_the_readme_says_and_the_metric_names_the_pod() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace(&json!({}));
    let image = format!("localhost:1/sideflame-late:{}", std::process::id());
    let (native, plain) = (
        create(cluster, &namespace, "native", &image),
        create(cluster, &namespace, "container", &image),
    );
    let minute = Duration::from_secs(60);
    let path = |pod: &str| namespace.path(&format!("pods/{pod}"));
    let waits = |pod: &Value| {
        let lists = ["initContainerStatuses", "containerStatuses"].iter();
        let mut all = lists.filter_map(|list| pod["status"][list].as_array()).flatten();
        all.any(|status| status["name"] == "sideflame" && waits_for_its_image(status))
    };
    let pod = cluster.wait_until(&path(&native), minute, waits);
    let app = &container_status(&pod, "app")["state"];
    assert_eq!(app["waiting"]["reason"], "PodInitializing", "{app}");
    let pod = cluster.wait_until(&path(&plain), minute, |pod| {
        waits(pod) && container_status(pod, "app")["state"]["running"].is_object()
    });
    let conditions = pod["status"]["conditions"].as_array().unwrap().iter();
    let ready: Vec<&Value> = conditions.filter(|condition| condition["type"] == "Ready").collect();
    assert_eq!(ready[0]["status"], "False", "{ready:?}");

    let both = BTreeSet::from([native.clone(), plain.clone()]);
    wait("rows of both", minute, || {
        held(cluster, &namespace).iter().all(|rows| *rows == both).then_some(())
    });
    // Once the image is there, each goes on by itself, and is named no more.
    cluster.ctr(&["images", "tag", SIDECAR_IMAGE, &image]);
    for pod in [&native, &plain] {
        cluster.wait_ready_within(&namespace, pod, Duration::from_secs(120));
    }
    wait("no row", minute, || {
        held(cluster, &namespace).iter().all(BTreeSet::is_empty).then_some(())
    });
    cluster.ctr(&["images", "remove", &image]);
}

#[test]
fn a_webhook_does_not_serve_with_a_sidecar_whose_image_cannot_be_pulled() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace(&json!({"pod-security.kubernetes.io/enforce": "restricted"}));
    let only = ["deployment", "serviceaccount"].map(|name| format!("--show-only=templates/{name}.yaml"));
    let repository = format!("sidecar.image.repository=\"{NOWHERE}\"");
    let values = [
        "image.repository=\"localhost/sideflame-webhook\"",
        "replicas=1",
        &repository,
    ];
    let template = ["template", "unpulled", &only[0], &only[1]];
    let manifests = chart::helm(&cluster.plane, &template, &namespace.name, &values).ok();
    cluster.plane.kubectl(["apply", "-f", "-"], &manifests.stdout).ok();
    let pod = wait("its pod", Duration::from_secs(60), || {
        let pods = cluster.plane.get(&namespace.path("pods")).ok().body;
        let pod = pods["items"].get(0)?.clone();
        let inits = pod["status"]["initContainerStatuses"].as_array()?;
        inits.iter().any(waits_for_its_image).then_some(pod)
    });
    assert_eq!(
        container_status(&pod, "webhook")["state"]["waiting"]["reason"],
        "PodInitializing",
        "{}",
        pod["status"]
    );
}
