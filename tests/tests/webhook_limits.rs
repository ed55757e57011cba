//! LimitRanges, ResourceQuotas, budgets and nodes behind a real API server: no pod that it takes without the sidecar is refused
//! because of it. The rules are the API server's own plugins.

use std::time::Duration;

use e2e::control_plane::{ControlPlane, Namespace, wait};
use e2e::webhook::{Installation, is_injected, sidecar};
use serde_json::{Value, json};

/// An object reaches the webhook's own watch, and a quota its first count, a moment after the API server's answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What should become of a pod.
enum Expected {
    /// The sidecar, with these resources.
    Fits(Value),
    /// No sidecar, with a warning that has this text.
    Skipped(&'static str),
}
use Expected::{Fits, Skipped};

fn pod(spec: &Value, asks: bool) -> Value {
    let annotations = if asks {
        json!({"sideflame.io/inject": "true"})
    } else {
        json!({})
    };
    let mut pod = json!({"metadata": {"generateName": "shop-", "annotations": annotations},
        "spec": {"securityContext": {"runAsUser": 1000, "runAsGroup": 1000}, "containers": [{"name": "app", "image": "shop:1"}]}});
    for (key, value) in spec.as_object().into_iter().flatten() {
        pod["spec"][key] = value.clone();
    }
    pod
}

fn app(resources: Value) -> Value {
    json!([{"name": "app", "image": "shop:1", "resources": resources}])
}

fn limit_range(kind: &str, mut item: Value) -> (&'static str, Value) {
    item["type"] = json!(kind);
    let object = json!({"metadata": {"name": "range"}, "spec": {"limits": [item]}});
    ("limitranges", object)
}

fn quota(hard: Value) -> (&'static str, Value) {
    let object = json!({"metadata": {"name": "quota"}, "spec": {"hard": hard}});
    ("resourcequotas", object)
}

/// Creates the object; returns when the API server counts by it.
fn put(plane: &ControlPlane, namespace: &Namespace, (plural, object): &(&str, Value)) {
    plane.create(&namespace.path(plural), object).ok();
    if *plural == "resourcequotas" {
        wait("a first count", TIMEOUT, || {
            let quota = plane.get(&namespace.path("resourcequotas/quota")).ok().body;
            quota["status"]["used"].is_object().then_some(())
        });
    }
}

/// What the API server makes of a pod, with and without the annotation.
fn check(plane: &ControlPlane, namespace: &Namespace, spec: &Value, expected: &Expected) {
    let path = namespace.path("pods?dryRun=All");
    plane.create(&path, &pod(spec, false)).ok();
    let mut last = String::new();
    let is_met = || {
        let reply = plane.create(&path, &pod(spec, true));
        last = format!("{} {:?} {}", reply.status, reply.warnings, reply.body);
        let met = match expected {
            Fits(resources) => sidecar(&reply.body).is_some_and(|sidecar| sidecar["resources"] == *resources),
            Skipped(text) => !is_injected(&reply.body) && reply.warnings.iter().any(|warning| warning.contains(text)),
        };
        (reply.status == 201 && met).then_some(())
    };
    let met = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| wait("such a pod", TIMEOUT, is_met)));
    assert!(met.is_ok(), "{spec}: {last}");
}

fn resources(requests: Value, limits: Value) -> Value {
    json!({"requests": requests, "limits": limits})
}

#[test]
fn no_pod_is_refused_because_its_sidecar_does_not_fit() {
    let installation = Installation::start(&[], 1);
    let plane = installation.plane;
    let burst = json!({"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}});
    let same = json!({"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"}});
    let guaranteed = resources(
        json!({"cpu": "500m", "memory": "256Mi"}),
        json!({"cpu": "500m", "memory": "256Mi"}),
    );
    let full = json!({"cpu": "500m", "memory": "256Mi"});
    let usual = resources(json!({"cpu": "10m", "memory": "32Mi"}), full.clone());
    let with = |field: &str, amount: &str| {
        let mut resources = burst.clone();
        for field in field.split(',') {
            resources[field]["ephemeral-storage"] = json!(amount);
        }
        resources
    };
    for (constraint, cases) in [
        (
            limit_range("Container", json!({"min": {"cpu": "100m", "memory": "64Mi"}})),
            vec![
                (
                    &burst,
                    Fits(resources(json!({"cpu": "100m", "memory": "64Mi"}), full.clone())),
                ),
                (&same, Fits(guaranteed.clone())),
            ],
        ),
        (
            limit_range(
                "Container",
                json!({"maxLimitRequestRatio": {"cpu": "4", "memory": "2"}}),
            ),
            vec![
                (
                    &burst,
                    Fits(resources(json!({"cpu": "125m", "memory": "128Mi"}), full.clone())),
                ),
                (&same, Fits(guaranteed.clone())),
            ],
        ),
        (
            limit_range("Container", json!({"max": {"memory": "200Mi"}})),
            vec![(
                &json!({"limits": {"memory": "100Mi"}}),
                Fits(resources(
                    json!({"cpu": "10m", "memory": "32Mi"}),
                    json!({"cpu": "500m", "memory": "200Mi"}),
                )),
            )],
        ),
        (
            limit_range("Pod", json!({"max": {"cpu": "1", "memory": "1Gi"}})),
            vec![
                (&burst, Skipped("LimitRange range leaves 0 of cpu")),
                (&same, Fits(guaranteed.clone())),
            ],
        ),
        (
            limit_range("Pod", json!({"maxLimitRequestRatio": {"cpu": "2", "memory": "2"}})),
            vec![(
                &burst,
                Fits(resources(json!({"cpu": "250m", "memory": "128Mi"}), full.clone())),
            )],
        ),
        (
            limit_range(
                "Container",
                json!({"min": {"ephemeral-storage": "1Gi"}, "default": {"ephemeral-storage": "2Gi"},
                    "defaultRequest": {"ephemeral-storage": "1Gi"}}),
            ),
            vec![
                (
                    &with("limits", "2Gi"),
                    Fits(resources(
                        json!({"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "1Gi"}),
                        json!({"cpu": "500m", "memory": "256Mi", "ephemeral-storage": "1Gi"}),
                    )),
                ),
                (
                    &burst,
                    Fits(resources(
                        json!({"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "1Gi"}),
                        json!({"cpu": "500m", "memory": "256Mi", "ephemeral-storage": "1Gi"}),
                    )),
                ),
            ],
        ),
        (
            quota(json!({"limits.cpu": "8", "requests.cpu": "8", "limits.memory": "8Gi", "requests.memory": "8Gi"})),
            vec![(&burst, Fits(usual.clone()))],
        ),
        (
            quota(json!({"limits.memory": "1100Mi"})),
            vec![(
                &burst,
                Fits(resources(
                    json!({"cpu": "10m", "memory": "32Mi"}),
                    json!({"cpu": "500m", "memory": "76Mi"}),
                )),
            )],
        ),
        (
            quota(json!({"requests.cpu": "500m"})),
            vec![(&burst, Skipped("ResourceQuota quota leaves 0 of cpu"))],
        ),
        (
            quota(json!({"limits.ephemeral-storage": "8Gi", "requests.ephemeral-storage": "8Gi"})),
            vec![(
                &with("requests,limits", "1Gi"),
                Fits(resources(
                    json!({"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "336Mi"}),
                    json!({"cpu": "500m", "memory": "256Mi", "ephemeral-storage": "336Mi"}),
                )),
            )],
        ),
    ] {
        let namespace = plane.namespace(&json!({}));
        put(plane, &namespace, &constraint);
        for (containers, expected) in cases {
            check(
                plane,
                &namespace,
                &json!({"containers": app(containers.clone())}),
                &expected,
            );
        }
    }
}

#[test]
fn a_pod_with_a_budget_stays_within_it_and_its_quota() {
    let installation = Installation::start(&[], 1);
    let plane = installation.plane;
    let namespace = plane.namespace(&json!({}));
    let hard = json!({"limits.cpu": "8", "requests.cpu": "8", "limits.memory": "8Gi", "requests.memory": "8Gi"});
    put(plane, &namespace, &quota(hard));
    // The API server makes a budget of what the app requests, so that nothing more may be requested.
    let cpu = resources(json!({"cpu": "0"}), json!({"cpu": "500m"}));
    for (budget, containers, expected) in [
        (
            json!({"requests": {"cpu": "1", "memory": "100Mi"}, "limits": {"cpu": "1", "memory": "100Mi"}}),
            json!({"requests": {"memory": "80Mi"}, "limits": {"memory": "100Mi"}}),
            Fits(json!({})),
        ),
        (
            json!({"requests": {"memory": "300Mi"}, "limits": {"memory": "300Mi"}}),
            json!({"requests": {"cpu": "1", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}}),
            Fits(cpu.clone()),
        ),
        (
            json!({"limits": {"memory": "300Mi"}}),
            json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}),
            Fits(cpu.clone()),
        ),
        (
            json!({"limits": {"cpu": "2", "memory": "2Gi"}}),
            json!({"limits": {"cpu": "2", "memory": "2Gi"}}),
            Skipped("all 2 CPUs"),
        ),
    ] {
        let spec = json!({"resources": budget, "containers": app(containers)});
        check(plane, &namespace, &spec, &expected);
    }
    let namespace = plane.namespace(&json!({}));
    let defaults = json!({"default": {"memory": "512Mi"}, "defaultRequest": {"memory": "64Mi"}});
    put(plane, &namespace, &limit_range("Container", defaults));
    let spec = json!({"resources": {"limits": {"memory": "300Mi"}, "requests": {"memory": "100Mi"}},
        "containers": app(json!({"requests": {"memory": "80Mi"}, "limits": {"memory": "200Mi"}}))});
    let fitted = resources(
        json!({"cpu": "10m", "memory": "20Mi"}),
        json!({"cpu": "500m", "memory": "256Mi"}),
    );
    check(plane, &namespace, &spec, &Fits(fitted));
}

/// The last pod that a quota has room for gets no sidecar, and the Event says so; the one before has an Event that claims no
/// more than what is known when it is written.
#[test]
fn a_quota_that_only_the_sidecar_would_break_leaves_it_out() {
    let installation = Installation::start(&[], 1);
    let plane = installation.plane;
    let namespace = plane.namespace(&json!({}));
    put(plane, &namespace, &quota(json!({"requests.cpu": "1010m"})));
    let asks = json!({"metadata": {"labels": {"app": "shop"}, "annotations": {"sideflame.io/inject": "true"}},
        "spec": {"containers": app(json!({"requests": {"cpu": "500m"}}))}});
    let set = json!({"metadata": {"name": "shop"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "shop"}},
        "template": asks}});
    // The quota is known to the webhook when a pod that only the sidecar would break is told so.
    check(
        plane,
        &namespace,
        &json!({"containers": app(json!({"requests": {"cpu": "1010m"}}))}),
        &Skipped("ResourceQuota"),
    );
    plane.create(&namespace.path_in("apps/v1", "replicasets"), &set).ok();
    let pods = wait("two pods", TIMEOUT, || {
        let pods = plane.get(&namespace.path("pods")).ok().body["items"]
            .as_array()
            .unwrap()
            .clone();
        (pods.len() == 2).then_some(pods)
    });
    let injected = pods.iter().filter(|pod| is_injected(pod)).count();
    assert_eq!(injected, 1, "{pods:#?}");
    let events = || plane.get(&namespace.path_in("events.k8s.io/v1", "events")).ok().body["items"].clone();
    let note = |reason: &str| {
        let events = events();
        let event = events.as_array()?.iter().find(|event| event["reason"] == reason)?;
        event["note"].as_str().map(str::to_owned)
    };
    let answered = wait("an Event about the first", TIMEOUT, || note("SideflameAnswered"));
    assert!(answered.contains("may still refuse"), "{answered}");
    let left_out = wait("an Event about the second", TIMEOUT, || note("SideflameNotInjected"));
    assert!(left_out.contains("resource_quota"), "{left_out}");
}

#[test]
fn without_the_right_to_read_them_pods_are_injected_and_readiness_says_what_is_unknown() {
    let mut installation = Installation::install(&[]);
    let plane = installation.plane;
    let role = format!(
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/{}",
        e2e::webhook::RELEASE
    );
    let rules = plane.get(&role).ok().body["rules"].as_array().unwrap().clone();
    let others: Vec<_> = rules
        .iter()
        .filter(|rule| rule["resources"] != json!(["limitranges", "resourcequotas"]))
        .collect();
    assert_eq!(others.len() + 1, rules.len());
    plane.patch(&role, &json!({"rules": others})).ok();
    let index = installation.launch(&[]);
    installation.serve_all();
    let unknown = wait("what is unknown", TIMEOUT, || {
        let (_, text) = installation.replicas[index].get("/readyz")?;
        text.contains("forbidden").then_some(text)
    });
    assert!(
        unknown.contains("LimitRanges") || unknown.contains("ResourceQuotas"),
        "{unknown}"
    );
    let namespace = plane.namespace(&json!({}));
    put(
        plane,
        &namespace,
        &limit_range("Container", json!({"max": {"memory": "300Mi"}})),
    );
    let usual = resources(
        json!({"cpu": "10m", "memory": "32Mi"}),
        json!({"cpu": "500m", "memory": "256Mi"}),
    );
    let spec = json!({"containers": app(json!({"limits": {"memory": "100Mi"}}))});
    check(plane, &namespace, &spec, &Fits(usual));
}

#[test]
fn pods_for_other_nodes_are_left_alone_and_taken() {
    let installation = Installation::start(&[], 1);
    let plane = installation.plane;
    let namespace = plane.namespace(&json!({}));
    let term = |key: &str, value: &str| {
        let terms = json!([{"matchExpressions": [{"key": key, "operator": "In", "values": [value]}]}]);
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
    };
    let system = json!({"windowsOptions": {"hostProcess": true, "runAsUserName": "NT AUTHORITY\\SYSTEM"}});
    let own = json!([{"name": "app", "image": "a", "securityContext": system}]);
    for (spec, reason) in [
        (term("kubernetes.io/os", "windows"), "Windows"),
        (json!({"hostNetwork": true, "securityContext": system}), "Windows"),
        (
            json!({"hostNetwork": true, "securityContext": {}, "containers": own}),
            "Windows",
        ),
        (
            json!({"securityContext": {"windowsOptions": {"runAsUserName": "ContainerUser"}}}),
            "Windows",
        ),
        (term("kubernetes.io/arch", "s390x"), "architecture"),
    ] {
        check(plane, &namespace, &spec, &Skipped(reason));
    }
    // The class binds its pods to nodes, which the API server writes into them before it asks us.
    let class = json!({"metadata": {"name": "other"}, "handler": "other",
        "scheduling": {"nodeSelector": {"kubernetes.io/os": "windows"}}});
    plane.create("/apis/node.k8s.io/v1/runtimeclasses", &class).ok();
    check(
        plane,
        &namespace,
        &json!({"runtimeClassName": "other"}),
        &Skipped("Windows"),
    );
    plane.delete("/apis/node.k8s.io/v1/runtimeclasses/other").ok();
}

#[test]
fn a_clean_pod_gets_no_warning_of_pod_security_by_its_sidecar() {
    let installation = Installation::start(&[], 1);
    let plane = installation.plane;
    let clean = json!({"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "app", "image": "a",
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]});
    for (level, spec, rights) in [
        ("restricted", &clean, "same-user"),
        // It warns of the app itself, so that nothing is lost.
        (
            "restricted",
            &json!({"securityContext": {"runAsNonRoot": true}}),
            "switch-user",
        ),
        ("baseline", &clean, "switch-user"),
    ] {
        let namespace = plane.namespace(&json!({"pod-security.kubernetes.io/warn": level}));
        let planned = format!("\"rights\":\"{rights}\"");
        let mut is_clean = true;
        wait(rights, TIMEOUT, || {
            let violates = |asks| {
                let reply = plane.create(&namespace.path("pods?dryRun=All"), &pod(spec, asks)).ok();
                let violates = reply.warnings.iter().any(|warning| warning.contains("would violate"));
                (
                    violates,
                    reply.body["metadata"]["annotations"]["sideflame.io/status"].to_string(),
                )
            };
            let (before, (after, status)) = (violates(false).0, violates(true));
            is_clean = before || !after;
            status.replace("\\\"", "\"").contains(&planned).then_some(())
        });
        assert!(is_clean, "{level}: {spec}");
    }
}
