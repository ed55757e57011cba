//! The webhook behind a real API server: pods of every workload, namespaces, warnings, events, Pod Security.

use std::time::Duration;

use e2e::control_plane::{Namespace, wait};
use e2e::webhook::{Installation, annotated_pod, is_injected, restricted_pod, sidecar};
use serde_json::{Value, json};

const REQUESTS: &str = "sideflame_webhook_requests_total";
const DECISIONS: &str = "sideflame_webhook_decisions_total";

/// The pod as a template of a workload.
fn template(pod: &Value, restart_policy: &str) -> Value {
    let mut template = pod.clone();
    template["metadata"]["generateName"] = Value::Null;
    template["spec"]["restartPolicy"] = json!(restart_policy);
    template
}

fn pods(installation: &Installation, namespace: &Namespace) -> Vec<Value> {
    let body = installation.plane.get(&namespace.path("pods")).ok().body;
    body["items"].as_array().cloned().unwrap_or_default()
}

fn deployment(name: &str, replicas: u32, template: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "shop"}}, "template": template}})
}

#[test]
fn pods_of_every_workload_come_out_injected() {
    let mut installation = Installation::start(&[], 1);
    let plane = installation.plane;
    // A DaemonSet has a pod per node.
    plane
        .create("/api/v1/nodes", &json!({"metadata": {"name": "node"}}))
        .ok();
    let namespace = plane.namespace(&json!({}));
    let before = installation.metric(DECISIONS, "decision=\"inject\"");
    let always = template(&annotated_pod(&json!({})), "Always");
    let once = template(&annotated_pod(&json!({})), "Never");
    let selector = json!({"matchLabels": {"app": "shop"}});
    for (group, plural, spec) in [
        (
            "apps/v1",
            "deployments",
            json!({"replicas": 2, "selector": selector, "template": always}),
        ),
        (
            "apps/v1",
            "statefulsets",
            json!({"serviceName": "shop", "selector": selector, "template": always}),
        ),
        (
            "apps/v1",
            "daemonsets",
            json!({"selector": selector, "template": always}),
        ),
        ("batch/v1", "jobs", json!({"template": once})),
    ] {
        let object = json!({"metadata": {"name": plural}, "spec": spec});
        plane.create(&namespace.path_in(group, plural), &object).ok();
    }
    plane.create(&namespace.path("pods"), &annotated_pod(&json!({}))).ok();
    let made = wait("six pods", Duration::from_secs(60), || {
        let pods = pods(&installation, &namespace);
        (pods.len() == 6).then_some(pods)
    });
    plane.delete("/api/v1/nodes/node").ok();
    for pod in &made {
        let name = &pod["metadata"]["name"];
        assert!(is_injected(pod), "{name}");
        let sidecar = sidecar(pod).unwrap();
        assert_eq!(
            sidecar["restartPolicy"], "Always",
            "{name}: native, so that a Job completes"
        );
        let status = pod["metadata"]["annotations"]["sideflame.io/status"].as_str().unwrap();
        let status: Value = serde_json::from_str(status).unwrap();
        assert_eq!(status["image"], sidecar["image"], "{name}");
        assert_eq!(pod["spec"]["containers"].as_array().unwrap().len(), 1, "{name}");
    }
    let injected = installation.metric(DECISIONS, "decision=\"inject\"") - before;
    assert_eq!(injected, 6.0, "one decision per pod");
}

#[test]
fn a_pod_that_nobody_annotated_costs_no_call() {
    let mut installation = Installation::start(&["webhook.probeIntervalSeconds=0"], 1);
    let plane = installation.plane;
    let namespace = plane.namespace(&json!({}));
    let before = installation.metric(REQUESTS, "");
    for _ in 0..20 {
        plane.create(&namespace.path("pods"), &restricted_pod()).ok();
    }
    let mut opted_out = restricted_pod();
    opted_out["metadata"]["annotations"] = json!({"sideflame.io/inject": "false", "sideflame.io/port": "9000"});
    plane.create(&namespace.path("pods"), &opted_out).ok();
    let path = namespace.path_in("apps/v1", "deployments");
    plane
        .create(&path, &deployment("shop", 3, &template(&restricted_pod(), "Always")))
        .ok();
    wait("24 pods", Duration::from_secs(30), || {
        (pods(&installation, &namespace).len() == 24).then_some(())
    });
    assert_eq!(installation.metric(REQUESTS, ""), before);

    // The counter does count.
    plane.create(&namespace.path("pods"), &annotated_pod(&json!({}))).ok();
    assert_eq!(installation.metric(REQUESTS, ""), before + 1.0);
}

#[test]
fn a_namespace_opts_in_and_a_pod_opts_out() {
    let installation = Installation::start(&[], 1);
    let plane = installation.plane;
    let namespace = plane.namespace(&json!({"sideflame.io/inject": "enabled"}));
    // The label reaches the webhook's own watch a moment after the API server's.
    wait("injection by the namespace", Duration::from_secs(10), || {
        let pod = plane
            .create(&namespace.path("pods?dryRun=All"), &restricted_pod())
            .ok()
            .body;
        is_injected(&pod).then_some(())
    });
    let mut opted_out = restricted_pod();
    opted_out["metadata"]["annotations"] = json!({"sideflame.io/inject": "false"});
    let pod = plane.create(&namespace.path("pods"), &opted_out).ok().body;
    assert!(!is_injected(&pod));

    plane.patch(
        &format!("/api/v1/namespaces/{}", namespace.name),
        &json!({"metadata": {"labels": {"sideflame.io/inject": null}}}),
    );
    wait("the end of the opt-in", Duration::from_secs(10), || {
        let pod = plane
            .create(&namespace.path("pods?dryRun=All"), &restricted_pod())
            .ok()
            .body;
        (!is_injected(&pod)).then_some(())
    });
}

#[test]
fn a_wrong_annotation_is_a_warning_and_the_pod_is_made() {
    let installation = Installation::start(&[], 1);
    let plane = installation.plane;
    let namespace = plane.namespace(&json!({}));
    for (key, value) in [
        ("sideflame.io/inject", "maybe"),
        ("sideflame.io/port", "80000"),
        ("sideflame.io/rights", "root"),
        ("sideflame.io/container", "nobody"),
    ] {
        let reply = plane
            .create(&namespace.path("pods"), &annotated_pod(&json!({key: value})))
            .ok();
        assert!(!is_injected(&reply.body), "{key}");
        assert!(
            reply.warnings.iter().any(|warning| warning.contains(key)),
            "{key}: {:?}",
            reply.warnings
        );
    }
}

#[test]
fn a_pod_that_asks_to_be_refused_is_refused() {
    let installation = Installation::start(&[], 1);
    let namespace = installation.plane.namespace(&json!({}));
    let pod = annotated_pod(&json!({"sideflame.io/port": "80000", "sideflame.io/on-error": "block"}));
    let reply = installation.plane.create(&namespace.path("pods"), &pod);
    assert!((400..500).contains(&reply.status), "{}", reply.status);
    let message = reply.body["message"].as_str().unwrap();
    assert!(message.contains("sideflame.io/port"), "{message}");
}

#[test]
fn a_dry_run_warns_and_writes_no_event() {
    let installation = Installation::start(&[], 1);
    let plane = installation.plane;
    let namespace = plane.namespace(&json!({}));
    let sets = namespace.path_in("apps/v1", "replicasets");
    let set = json!({"metadata": {"name": "shop"}, "spec": {"replicas": 0,
        "selector": {"matchLabels": {"app": "shop"}}, "template": template(&restricted_pod(), "Always")}});
    let uid = plane.create(&sets, &set).ok().body["metadata"]["uid"].clone();
    let mut pod = annotated_pod(&json!({}));
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("shop");
    pod["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop", "uid": uid, "controller": true}]);
    let events = || {
        let all = plane.get(&namespace.path_in("events.k8s.io/v1", "events")).ok().body;
        let all = all["items"].as_array().cloned().unwrap_or_default().into_iter();
        all.filter(|event| {
            event["reason"]
                .as_str()
                .is_some_and(|reason| reason.starts_with("Sideflame"))
        })
        .collect::<Vec<Value>>()
    };
    // Of another owner: one is told the same thing once a minute.
    let mut right = pod.clone();
    for key in ["name", "uid"] {
        right["metadata"]["ownerReferences"][0][key] = json!("dry-run");
    }
    let mut wrong = right.clone();
    wrong["metadata"]["annotations"]["sideflame.io/port"] = json!("80000");
    for object in [&right, &wrong] {
        let arguments = [
            "apply",
            "--dry-run=server",
            "--namespace",
            &namespace.name,
            "--filename",
            "-",
        ];
        let said = plane.kubectl(arguments, &object.to_string()).ok();
        let warned = said.stderr.contains("Warning:") && said.stderr.contains("sideflame.io/port");
        assert_eq!(warned, *object == wrong, "{}", said.stderr);
    }
    pod["metadata"].as_object_mut().unwrap().remove("name");
    plane.create(&namespace.path("pods"), &pod).ok();
    // One after the other: those of the dry runs would be there before it.
    let seen = wait("the event", Duration::from_secs(3), || events().first().cloned());
    assert_eq!(events(), std::slice::from_ref(&seen));
    assert_eq!(seen["reason"], "SideflameAnswered");
    assert_eq!(seen["regarding"]["kind"], "ReplicaSet");
    assert_eq!(seen["regarding"]["name"], "shop");
}

#[test]
fn a_workload_annotated_in_the_wrong_place_is_warned_about() {
    let installation = Installation::start(&[], 1);
    let plane = installation.plane;
    let namespace = plane.namespace(&json!({}));
    let right = deployment("right", 1, &template(&annotated_pod(&json!({})), "Always"));
    let mut wrong_place = deployment("wrong-place", 1, &template(&restricted_pod(), "Always"));
    wrong_place["metadata"]["annotations"] = json!({"sideflame.io/inject": "true"});
    let wrong_value = deployment(
        "wrong-value",
        1,
        &template(&annotated_pod(&json!({"sideflame.io/port": "http"})), "Always"),
    );
    for (object, expected) in [
        (right, None),
        (wrong_place, Some("template")),
        (wrong_value, Some("sideflame.io/port")),
    ] {
        let arguments = ["apply", "--namespace", &namespace.name, "--filename", "-"];
        let said = plane.kubectl(arguments, &object.to_string()).ok();
        match expected {
            Some(text) => assert!(
                said.stderr.contains("Warning:") && said.stderr.contains(text),
                "{}",
                said.stderr
            ),
            None => assert_eq!(said.stderr, ""),
        }
    }
}

/// The API server's own plugin judges what the planner chose: no pod that it would have let in is kept out.
#[test]
fn injected_pods_pass_pod_security_at_every_level() {
    let installation = Installation::start(&[], 1);
    let plane = installation.plane;
    let mut plain = restricted_pod();
    plain["spec"] = json!({"containers": [{"name": "app", "image": "shop:1"}]});
    let mut unknown_user = restricted_pod();
    unknown_user["spec"]["securityContext"] =
        json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    for level in ["restricted", "baseline", "privileged"] {
        let namespace = plane.namespace(&json!({
            "pod-security.kubernetes.io/enforce": level, "pod-security.kubernetes.io/warn": level,
        }));
        for (shape, pod) in [
            ("same user", restricted_pod()),
            ("unknown user", unknown_user.clone()),
            ("plain", plain.clone()),
        ] {
            if shape == "plain" && level == "restricted" {
                continue; // refused without us
            }
            for rights in ["auto", "same-user", "switch-user", "unconfined", "perf"] {
                let mut pod = pod.clone();
                pod["metadata"]["annotations"] = json!({"sideflame.io/inject": "true", "sideflame.io/rights": rights});
                let reply = plane.create(&namespace.path("pods"), &pod);
                let what = format!("{shape}, rights {rights}, {level}: {:?} {}", reply.warnings, reply.body);
                assert_eq!(reply.status, 201, "{what}");
                assert!(
                    !reply.warnings.iter().any(|text| text.contains("would violate")),
                    "{what}"
                );
                if is_injected(&reply.body) {
                    continue;
                }
                assert!(!reply.warnings.is_empty(), "not injected, and nobody is told: {what}");
                assert_ne!(rights, "auto", "the planner found nothing: {what}");
            }
        }
    }
}
