//! Pods and namespaces of other shapes than our own, through the webhook behind a real API server.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::cache;
use e2e::control_plane::wait;
use e2e::webhook::{Installation, annotated_pod, is_injected, sidecar};
use serde_json::{Value, json};

/// Pods of the golden cases that need neither flags nor LimitRanges, as text.
fn golden_pods() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/inject");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let cases = files.filter_map(|file| {
        let name = file.file_name()?.to_str()?.strip_suffix(".yaml")?.to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let is_plain = !name.ends_with(".injected") && !text.starts_with("# flags: ") && !text.contains("\n---");
        is_plain.then_some((name, text))
    });
    let mut cases: Vec<_> = cases.collect();
    cases.sort();
    cases
}

/// True if everything in `part` is in `whole`, where the API server may have added defaults.
fn is_within(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => part
            .iter()
            .all(|(key, part)| whole.get(key).is_some_and(|whole| is_within(part, whole))),
        (Value::Array(part), Value::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(part, whole)| is_within(part, whole))
        }
        _ => part == whole,
    }
}

/// By `on-error: block`, or by the API server's own rules whatever becomes of the sidecar.
const REFUSED: [&str; 10] = [
    "block-host-pid",
    "block-invalid-annotation",
    "ephemeral-containers",
    "resources-budget-for-pids-only",
    "skip-invalid-not-a-string",
    "skip-mirror-pod",
    "skip-no-containers",
    "skip-not-a-pod",
    "skip-not-a-pod-containers-map",
    "skip-windows-runtime-class",
];

/// Whoever tries a manifest by hand sees what the cluster will do with it.
#[test]
fn inject_and_the_webhook_make_the_same_of_every_pod() {
    let installation = Installation::start(&[], 1);
    let plane = installation.plane;
    let namespace = plane.namespace(&json!({}));
    let version = plane.get("/version").ok().body;
    let version = format!(
        "{}.{}",
        version["major"].as_str().unwrap(),
        version["minor"].as_str().unwrap()
    );
    let (mut compared, mut refused) = (0, Vec::new());
    for (case, text) in golden_pods() {
        let mut command = Command::new(cache::binary("sideflame-webhook"));
        command.args([
            "inject",
            "--output=json",
            "--server-version",
            &version,
            "--namespace",
            &namespace.name,
        ]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let dry_run = namespace.path("pods?dryRun=All");
        let reply = plane.send("POST", &dry_run, "application/yaml", text.as_bytes());
        if reply.status != 201 {
            refused.push(case);
            continue;
        }
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        let both = format!("{case}: {said}\n{:?}\n{}", reply.warnings, reply.body);
        assert_eq!(sidecar(&printed).is_some(), sidecar(&reply.body).is_some(), "{both}");
        if let (true, Some(printed), Some(made)) =
            (said.contains(": injected"), sidecar(&printed), sidecar(&reply.body))
        {
            let mut printed = printed.clone();
            if reply.body.pointer("/spec/resources").is_some() {
                // The API server fills in a budget's requests by those of the containers before it asks.
                printed.as_object_mut().unwrap().remove("resources");
            }
            assert!(is_within(&printed, made), "{printed}\n{both}");
        }
        for place in [
            "/metadata/annotations/sideflame.io~1status",
            "/spec/shareProcessNamespace",
        ] {
            assert_eq!(printed.pointer(place), reply.body.pointer(place), "{both}");
        }
        // Of a pod that does not ask the webhook hears nothing.
        let is_asked = !said.contains("skipped, not_annotated") && !said.contains("skipped, opted_out");
        let warnings = said.lines().filter_map(|line| line.strip_prefix("  warning: "));
        for warning in warnings.filter(|_| is_asked) {
            assert!(reply.warnings.iter().any(|told| told == warning), "{warning}\n{both}");
        }
        compared += 1;
    }
    assert!(compared >= 75, "{compared}");
    assert_eq!(refused, REFUSED);
}

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
