//! `helm upgrade` while pods are created and profiled. The one test that changes the release all tests share: it has a
//! program of its own, as cargo runs those one after another, and rolls back at its end.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot set up must fail loudly"
)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::cluster::{self, SIDECAR_IMAGE};
use e2e::control_plane::wait;
use e2e::{Cluster, Namespace, PortForward, chart, pod, webhook};
use serde_json::{Value, json};

/// Release and namespace, as `tests/rig/install.sh` has them.
const RELEASE: &str = "sideflame";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Version of the chart, and tag of the images, after the upgrade.
const NEXT: &str = concat!(env!("CARGO_PKG_VERSION"), "-next");
const NEXT_SIDECAR_IMAGE: &str = concat!("localhost/sideflame:", env!("CARGO_PKG_VERSION"), "-next");

/// The images of this checkout under the next tag, and a chart that names it.
struct Next {
    folder: PathBuf,
}

impl Next {
    fn make(cluster: &Cluster) -> Self {
        for image in ["sideflame", "sideflame-webhook"] {
            let name = |tag| format!("localhost/{image}:{tag}");
            cluster.ctr(&["images", "tag", "--force", &name(VERSION), &name(NEXT)]);
        }
        let folder = std::env::temp_dir().join(format!("sideflame-upgrade-{}", std::process::id()));
        let (chart, destination) = (chart::folder(), folder.to_string_lossy().into_owned());
        let package = ["package", chart.to_str().unwrap(), "--destination", &destination];
        cluster
            .plane
            .helm(package.into_iter().chain(["--version", NEXT, "--app-version", NEXT]))
            .ok();
        Self { folder }
    }

    fn chart(&self) -> String {
        let file = self.folder.join(format!("{RELEASE}-{NEXT}.tgz"));
        file.to_string_lossy().into_owned()
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The release as it was; rolled back when dropped.
struct Before<'a> {
    cluster: &'a Cluster,
    revision: String,
}

impl<'a> Before<'a> {
    fn remember(cluster: &'a Cluster) -> Self {
        let list = ["list", "--namespace", RELEASE, "--output", "json"];
        let releases: Value = serde_json::from_str(&cluster.plane.helm(list).ok().stdout).unwrap();
        let release = releases.as_array().unwrap().iter().find(|one| one["name"] == RELEASE);
        let release = release.unwrap_or_else(|| panic!("{RELEASE} is not installed: {releases}"));
        assert_eq!(release["app_version"], VERSION, "a leftover of another run");
        let revision = release["revision"].as_str().unwrap().to_owned();
        Self { cluster, revision }
    }
}

impl Drop for Before<'_> {
    fn drop(&mut self) {
        let rollback = ["rollback", RELEASE, &self.revision, "--namespace", RELEASE];
        let flags = ["--wait", "--timeout", "120s"];
        let said = self.cluster.plane.helm(rollback.into_iter().chain(flags));
        assert!(said.success || std::thread::panicking(), "{}", said.stderr);
    }
}

/// The sidecar's image in a pod; `None` without a sidecar.
fn sidecar_image(pod: &Value) -> Option<&str> {
    webhook::sidecar(pod)?["image"].as_str()
}

/// A pod that is never scheduled: what the webhook made of it is all that counts.
fn gated() -> Value {
    let mut pod = pod::annotated(&[pod::container("c", pod::USER_IMAGE, "idle")]);
    pod["spec"]["schedulingGates"] = json!([{"name": "example.com/never"}]);
    pod
}

/// Creates a pod each 200 ms until told to end, counts them in `made` and gives them all.
fn keep_creating(cluster: &Cluster, namespace: &Namespace, made: &AtomicUsize, end: &AtomicBool) -> Vec<Value> {
    let mut pods = Vec::new();
    while !end.load(Ordering::Relaxed) {
        pods.push(cluster.plane.create(&namespace.path("pods"), &gated()).ok().body);
        made.store(pods.len(), Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(200));
    }
    pods
}

/// Names of the pods of the release that exist, those that end included.
fn replicas(cluster: &Cluster) -> Vec<String> {
    let path = format!("/api/v1/namespaces/{RELEASE}/pods?labelSelector=app.kubernetes.io%2Finstance%3D{RELEASE}");
    let pods = cluster.plane.get(&path).ok().body;
    let pods = pods["items"].as_array().unwrap().iter();
    pods.map(|pod| cluster::name(pod).to_owned()).collect()
}

/// Pods of the namespace that a replica says are outdated.
fn outdated(cluster: &Cluster, replica: &str, namespace: &Namespace) -> BTreeSet<String> {
    let path = format!("/api/v1/namespaces/{RELEASE}/pods/{replica}:9443/proxy/metrics");
    let page = cluster.plane.get(&path).ok().body;
    let outdated = webhook::outdated(page.as_str().unwrap(), namespace);
    outdated.into_iter().map(|(pod, _)| pod).collect()
}

#[test]
fn an_upgrade_disturbs_no_pod_and_the_metric_names_the_old_ones() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace(&json!({}));
    let mut app = pod::container("java", pod::USER_IMAGE, "cpu");
    app["resources"]["limits"]["cpu"] = json!("200m");
    let old = cluster.deploy(&namespace, "shop", &pod::annotated(&[app.clone()]));
    let sidecar = PortForward::to(cluster, &namespace, &format!("pod/{old}"));
    let before = Before::remember(cluster);
    let next = Next::make(cluster);

    // A capture that runs, and pods that are created, while the webhook is replaced.
    let capture = sidecar.capture("seconds=10");
    sidecar.wait_for(&capture, &["sampling"]);
    let (made, end) = (AtomicUsize::new(0), AtomicBool::new(false));
    let started = Instant::now();
    let created = std::thread::scope(|scope| {
        let creating = scope.spawn(|| keep_creating(cluster, &namespace, &made, &end));
        let chart = next.chart();
        let upgrade = ["upgrade", RELEASE, &chart, "--namespace", RELEASE];
        let said = cluster
            .plane
            .helm(upgrade.into_iter().chain(["--wait", "--timeout", "120s"]));
        // A replica that ends still answers on connections it has.
        wait("end of the old replicas", Duration::from_secs(60), || {
            (!said.success || replicas(cluster).len() == 2).then_some(())
        });
        let enough = made.load(Ordering::Relaxed) + 5;
        wait("pods after the upgrade", Duration::from_secs(30), || {
            (creating.is_finished() || made.load(Ordering::Relaxed) >= enough).then_some(())
        });
        end.store(true, Ordering::Relaxed);
        said.ok();
        creating.join().unwrap()
    });
    let images: Vec<_> = created.iter().map(sidecar_image).collect();
    let count = |image| images.iter().filter(|one| **one == Some(image)).count();
    let (old_ones, new_ones) = (count(SIDECAR_IMAGE), count(NEXT_SIDECAR_IMAGE));
    eprintln!(
        "upgraded in {:?}; {old_ones} pods got the old image, {new_ones} the new one",
        started.elapsed()
    );
    assert_eq!(old_ones + new_ones, images.len(), "missed: {images:?}");
    assert_eq!(images.first(), Some(&Some(SIDECAR_IMAGE)));
    assert_eq!(images.last(), Some(&Some(NEXT_SIDECAR_IMAGE)));

    // The pod from before works on, through the same port-forward.
    sidecar.wait_for(&capture, &["finished"]);
    sidecar.get(&format!("/captures/{capture}/artifact")).whole();
    sidecar.get("/profile?seconds=1").whole();
    let pod = cluster.plane.get(&namespace.path(&format!("pods/{old}"))).ok().body;
    assert_eq!(sidecar_image(&pod), Some(SIDECAR_IMAGE));
    cluster::assert_never_restarted(&pod, &["java", "sideflame"]);

    // Each replica names the pods with the old image, and no other.
    let gated = created.iter().filter(|pod| sidecar_image(pod) == Some(SIDECAR_IMAGE));
    let gated: BTreeSet<_> = gated.map(|pod| cluster::name(pod).to_owned()).collect();
    let mut expected = gated.clone();
    expected.insert(old.clone());
    let named = |expected: &BTreeSet<String>| {
        for replica in replicas(cluster) {
            let mut last = BTreeSet::new();
            let what = format!("list of {} old pods from {replica}", expected.len());
            wait(&what, Duration::from_secs(60), || {
                last = outdated(cluster, &replica, &namespace);
                (last == *expected).then_some(())
            });
        }
    };
    named(&expected);

    // As the README says: a restart brings the new sidecar, and the row goes.
    cluster
        .kubectl(&namespace, &["rollout", "restart", "deployment/shop"])
        .ok();
    cluster
        .kubectl(&namespace, &["rollout", "status", "deployment/shop", "--timeout=90s"])
        .ok();
    named(&gated);
    let pods = cluster
        .plane
        .get(&namespace.path("pods?labelSelector=app%3Dshop"))
        .ok()
        .body;
    let new = pods["items"].as_array().unwrap().iter();
    let new = new.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    for pod in new {
        assert_eq!(sidecar_image(pod), Some(NEXT_SIDECAR_IMAGE));
        let sidecar = PortForward::to(cluster, &namespace, &format!("pod/{}", cluster::name(pod)));
        sidecar.get("/profile?seconds=1").whole();
    }
    drop(before);
}
