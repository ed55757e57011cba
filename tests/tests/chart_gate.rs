//! Which requests the API server sends to the webhook at all: the chart's conditions, judged by the real thing.

use std::time::Duration;

use e2e::ControlPlane;
use e2e::chart::Release;
use e2e::control_plane::wait;
use serde_json::{Value, json};

fn pod(annotation: Option<&str>) -> Value {
    let annotations = annotation.map_or_else(|| json!({}), |value| json!({"sideflame.io/inject": value}));
    json!({
        "metadata": {"generateName": "shop-", "annotations": annotations},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "runAsGroup": 1000,
                "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "app", "image": "shop:1", "securityContext":
                {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
        },
    })
}

/// Nobody answers and the policy is `Fail`: the API server's refusal says which entry it would have called.
#[test]
fn the_api_server_calls_for_annotated_pods_only() {
    let plane = ControlPlane::shared();
    let plain = plane.namespace(&json!({}));
    let opted = plane.namespace(&json!({"sideflame.io/inject": "enabled"}));
    let disabled = plane.namespace(&json!({"sideflame.io/inject": "disabled"}));
    // Of a cloud's own, and of an operator made with kubebuilder.
    let of_the_cloud = plane.namespace(&json!({"control-plane": "true", "sideflame.io/inject": "enabled"}));
    let managed = plane.namespace(&json!({"kubernetes.azure.com/managedby": "aks"}));
    let operator = plane.namespace(&json!({"control-plane": "controller-manager"}));
    let left_alone = plane.namespace(&json!({"sideflame.io/inject": "enabled"}));
    let excluded = format!("webhook.excludedNamespaces=[\"{}\"]", left_alone.name);
    let release = Release::install("sideflame-gate", &["webhook.failurePolicy=\"Fail\"", &excluded]);
    let create = |namespace: &str, annotation, dry_run: bool| {
        let query = if dry_run { "?dryRun=All" } else { "" };
        let path = format!("/api/v1/namespaces/{namespace}/pods{query}");
        plane.create(&path, &pod(annotation)).uncalled_webhook()
    };
    let (by_pod, by_namespace) = (Some("pod.sideflame.io"), Some("namespace.sideflame.io"));
    // The API server hears of a new configuration a moment later.
    wait("the first call", Duration::from_secs(20), || {
        create(&plain.name, Some("true"), true)
    });
    for (namespace, annotation, dry_run, expected) in [
        (&plain.name, None, false, None),
        (&plain.name, Some("false"), false, None),
        (&plain.name, Some("true"), false, by_pod),
        (&plain.name, Some("true"), true, by_pod),
        (&plain.name, Some("maybe"), false, by_pod),
        (&plain.name, Some(""), false, by_pod),
        (&disabled.name, None, false, None),
        (&disabled.name, Some("true"), false, by_pod),
        (&opted.name, None, false, by_namespace),
        (&opted.name, Some("false"), false, None),
        (&opted.name, Some("true"), false, by_pod),
        (&opted.name, Some("maybe"), false, by_pod),
        (&of_the_cloud.name, None, false, None),
        (&of_the_cloud.name, Some("true"), false, None),
        (&managed.name, Some("true"), false, None),
        (&operator.name, Some("true"), false, by_pod),
        (&left_alone.name, None, false, None),
        (&left_alone.name, Some("true"), false, None),
        (&"kube-system".to_owned(), Some("true"), true, None),
        (&release.namespace.name, Some("true"), false, None),
        (&release.namespace.name, None, false, None),
        (&release.namespace.name, Some("true"), true, None),
        (&release.namespace.name, None, true, None),
    ] {
        let webhook = create(namespace, annotation, dry_run);
        assert_eq!(
            webhook.as_deref(),
            expected,
            "annotation {annotation:?}, namespace {namespace}, dry run {dry_run}"
        );
    }
    // The self-probe.
    let mut probe = pod(Some("true"));
    probe["metadata"]["labels"] = json!({"sideflame.io/probe": "true"});
    let own = release.namespace.path("pods");
    let reply = plane.create(&format!("{own}?dryRun=All"), &probe);
    assert_eq!(reply.uncalled_webhook().as_deref(), Some("probe.sideflame.io"));
    assert_eq!(plane.create(&own, &probe).uncalled_webhook(), None, "no dry run");
    // A pod without any annotation map at all.
    let mut bare = pod(None);
    bare["metadata"].as_object_mut().unwrap().remove("annotations");
    assert_eq!(plane.create(&plain.path("pods"), &bare).uncalled_webhook(), None);
    assert_eq!(
        plane.create(&opted.path("pods"), &bare).uncalled_webhook().as_deref(),
        by_namespace
    );
}

/// The workload entry never refuses by itself; here it has to, to be seen.
fn refuse_uncalled(release: &Release) {
    let fail = json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Fail"}]);
    let (path, kind) = (release.validating(), "application/json-patch+json");
    release
        .plane
        .send("PATCH", &path, kind, fail.to_string().as_bytes())
        .ok();
}

#[test]
fn the_api_server_calls_for_workloads_that_name_us_anywhere() {
    let release = Release::install("sideflame-workloads", &[]);
    let plane = release.plane;
    refuse_uncalled(&release);
    let namespace = plane.namespace(&json!({}));
    let ours = || json!({"sideflame.io/port": "7117"});
    let template = || {
        json!({"metadata": {"labels": {"app": "shop"}}, "spec": {"restartPolicy": "Always",
            "containers": [{"name": "app", "image": "shop:1"}]}})
    };
    let selector = || json!({"matchLabels": {"app": "shop"}});
    let mut job_template = template();
    job_template["spec"]["restartPolicy"] = json!("Never");
    let kinds = [
        (
            "apps/v1",
            "deployments",
            json!({"selector": selector(), "template": template()}),
            "/spec/template/metadata",
        ),
        (
            "apps/v1",
            "daemonsets",
            json!({"selector": selector(), "template": template()}),
            "/spec/template/metadata",
        ),
        (
            "apps/v1",
            "statefulsets",
            json!({"selector": selector(), "serviceName": "shop", "template": template()}),
            "/spec/template/metadata",
        ),
        (
            "batch/v1",
            "jobs",
            json!({"template": job_template}),
            "/spec/template/metadata",
        ),
        (
            "batch/v1",
            "cronjobs",
            json!({"schedule": "@yearly", "jobTemplate": {"metadata": {}, "spec": {"template": job_template}}}),
            "/spec/jobTemplate/spec/template/metadata",
        ),
    ];
    let first = json!({"metadata": {"generateName": "shop-", "annotations": ours()}, "spec": kinds[0].2});
    let deployments = namespace.path_in("apps/v1", "deployments?dryRun=All");
    wait("the first call", Duration::from_secs(20), || {
        plane.create(&deployments, &first).uncalled_webhook()
    });
    for (group, plural, spec, place) in kinds {
        let path = namespace.path_in(group, &format!("{plural}?dryRun=All"));
        let object = json!({"metadata": {"generateName": "shop-"}, "spec": spec});
        assert_eq!(
            plane.create(&path, &object).uncalled_webhook(),
            None,
            "{plural}, nothing of ours"
        );

        let mut places = vec!["/metadata", place];
        if plural == "cronjobs" {
            places.push("/spec/jobTemplate/metadata");
        }
        for place in places {
            let mut object = object.clone();
            object.pointer_mut(place).unwrap()["annotations"] = ours();
            let reply = plane.create(&path, &object);
            assert_eq!(
                reply.uncalled_webhook().as_deref(),
                Some("workload.sideflame.io"),
                "{plural} {place}"
            );

            object.pointer_mut(place).unwrap()["annotations"] = json!({"example.com/sideflame.io": "x"});
            let mut labelled = object.clone();
            labelled.pointer_mut(place).unwrap()["labels"] = json!({"app": "shop", "sideflame.io/inject": "true"});
            let reply = plane.create(&path, &labelled);
            assert_eq!(
                reply.uncalled_webhook().as_deref(),
                Some("workload.sideflame.io"),
                "{plural} {place}, a label"
            );

            assert_eq!(
                plane.create(&path, &object).uncalled_webhook(),
                None,
                "{plural} {place}, another's"
            );
        }
    }
}

/// As many annotations as an object can carry do not exhaust the budget of a condition.
#[test]
fn a_workload_full_of_annotations_is_still_looked_at() {
    let release = Release::install("sideflame-budget", &[]);
    let plane = release.plane;
    refuse_uncalled(&release);
    let namespace = plane.namespace(&json!({}));
    let mut annotations: serde_json::Map<String, Value> = (0..10_000)
        .map(|number| (format!("example.com/a{number:05}"), json!("1")))
        .collect();
    let path = namespace.path_in("apps/v1", "deployments?dryRun=All");
    let deployment = |annotations: &serde_json::Map<String, Value>| {
        json!({"metadata": {"generateName": "shop-", "annotations": annotations}, "spec": {
            "selector": {"matchLabels": {"app": "shop"}},
            "template": {"metadata": {"labels": {"app": "shop"}, "annotations": annotations},
                "spec": {"containers": [{"name": "app", "image": "shop:1"}]}}}})
    };
    annotations.insert("sideflame.io/inject".to_owned(), json!("true"));
    let webhook = wait("the first call", Duration::from_secs(20), || {
        plane.create(&path, &deployment(&annotations)).uncalled_webhook()
    });
    assert_eq!(webhook, "workload.sideflame.io");
    annotations.remove("sideflame.io/inject");
    assert_eq!(plane.create(&path, &deployment(&annotations)).uncalled_webhook(), None);
}
