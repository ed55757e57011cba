//! Pods and namespaces of other shapes than our own, through the webhook behind a real API server.

use std::time::Duration;

use e2e::control_plane::wait;
use e2e::webhook::{Installation, annotated_pod, is_injected, sidecar};
use serde_json::{Value, json};

/// It loses the labels of the pod, and may keep its annotations.
#[test]
fn a_copy_by_kubectl_debug_is_left_alone_without_a_word() {
    let installation = Installation::start(&[], 1);
    let plane = installation.plane;
    let namespace = plane.namespace(&json!({"sideflame.io/inject": "enabled"}));
    let pod = plane
        .create(&namespace.path("pods"), &annotated_pod(&json!({})))
        .ok()
        .body;
    assert!(is_injected(&pod));
    let name = pod["metadata"]["name"].as_str().unwrap();
    for (copy, flags) in [("bare", &[][..]), ("annotated", &["--keep-annotations"])] {
        let to = format!("--copy-to={copy}");
        let line = [
            "--namespace",
            &namespace.name,
            "debug",
            name,
            &to,
            "--container=debugger",
            "--image=shop:1",
        ];
        let said = plane.kubectl(line.iter().chain(flags), "").ok();
        assert!(!said.stderr.contains("sideflame"), "{}", said.stderr);
        let made = plane.get(&namespace.path(&format!("pods/{copy}"))).ok().body;
        let containers = made["spec"]["containers"].as_array().unwrap();
        assert!(
            containers.iter().any(|container| container["name"] == "debugger"),
            "{made}"
        );
        assert!(sidecar(&made).is_some(), "{made}");
    }
}

/// A review is read without environments; the patch must fit to what the pod really has.
#[test]
fn options_of_a_jvm_come_after_the_variables_that_are_there() {
    let installation = Installation::start(&[], 1);
    let plane = installation.plane;
    let namespace = plane.namespace(&json!({}));
    let ours = json!({"name": "JAVA_TOOL_OPTIONS", "value": "-XX:+UnlockDiagnosticVMOptions -XX:+DebugNonSafepoints"});
    let one = json!({"name": "A", "value": "b"});
    let stated = json!({"name": "JAVA_TOOL_OPTIONS", "value": "-Xmx1g"});
    for (env, expected, warns) in [
        (Value::Null, json!([ours]), false),
        (json!([one]), json!([one, ours]), false),
        (json!([one, stated]), json!([one, stated]), true),
    ] {
        let mut pod = annotated_pod(&json!({"sideflame.io/jvm-debug-info": "true"}));
        pod["spec"]["containers"][0]["env"] = env;
        let reply = plane.create(&namespace.path("pods"), &pod).ok();
        assert!(is_injected(&reply.body));
        assert_eq!(reply.body["spec"]["containers"][0]["env"], expected);
        let warned = reply
            .warnings
            .iter()
            .any(|warning| warning.contains("JAVA_TOOL_OPTIONS"));
        assert_eq!(warned, warns, "{:?}", reply.warnings);
    }
}

#[test]
fn the_user_that_a_namespace_assigns_is_the_sidecars() {
    let installation = Installation::start(&[], 1);
    let plane = installation.plane;
    let namespace = plane.namespace(&json!({}));
    let annotations = json!({"metadata": {"annotations": {"openshift.io/sa.scc.uid-range": "1000650000/10000"}}});
    let path = format!("/api/v1/namespaces/{}", namespace.name);
    plane.patch(&path, &annotations).ok();
    let mut pod = annotated_pod(&json!({}));
    let context = pod["spec"]["securityContext"].as_object_mut().unwrap();
    context.retain(|field, _| !field.starts_with("runAs"));
    let dry_run = namespace.path("pods?dryRun=All");
    let context = wait("the watch", Duration::from_secs(20), || {
        let made = plane.create(&dry_run, &pod).ok().body;
        let context = sidecar(&made)?["securityContext"].clone();
        context["runAsUser"].as_u64().filter(|user| *user != 0)?;
        Some(context)
    });
    assert_eq!(
        (&context["runAsUser"], &context["runAsGroup"]),
        (&json!(1_000_650_000), &json!(0))
    );
}
