//! The `inject` and `annotations` commands as a user runs them.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up must fail loudly")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sideflame-webhook"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const MANIFEST: &str = "\
# What the cluster needs.
apiVersion: v1
kind: ConfigMap
metadata: {name: shop}   # flow style stays
data:
  script: |
    a
    b
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
spec:
  replicas: 3
  template:
    metadata:
      annotations:
        sideflame.io/inject: \"true\"
    spec:
      securityContext: {runAsUser: 1000, runAsGroup: 1000}
      containers:
      - name: app
        image: shop:1
---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: sweep
  annotations:
    sideflame.io/inject: \"true\"
spec:
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
          - {name: app, image: shop:1}
";

#[test]
fn templates_are_injected_and_other_documents_stay_as_they_were_written() {
    let output = run(&["inject"], MANIFEST);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let documents: Vec<&str> = text.split("---\n").collect();
    let originals: Vec<&str> = MANIFEST.split("---\n").collect();
    assert_eq!(documents.len(), 3);
    assert_eq!((documents[0], documents[2]), (originals[0], originals[2]));
    let order = [
        "apiVersion:",
        "kind:",
        "metadata:",
        "spec:",
        "  replicas: 3",
        "      - name: app",
        "      initContainers:",
    ];
    let places: Vec<usize> = order.iter().map(|text| documents[1].find(text).expect(text)).collect();
    assert!(places.is_sorted(), "{}", documents[1]);
    let said = stderr(&output);
    assert!(said.contains("deployment/shop: injected"), "{said}");
    assert!(said.contains("cronjob/sweep: skipped, not_annotated"), "{said}");
    assert!(
        said.contains("warning: sideflame.io/inject is an annotation of the CronJob"),
        "{said}"
    );
}

#[test]
fn what_is_printed_is_injected_already() {
    let once = run(&["inject"], MANIFEST);
    let twice = run(&["inject"], &stdout(&once));
    assert_eq!(stdout(&twice), stdout(&once));
    assert!(stderr(&twice).contains("deployment/shop: skipped, already_injected"));
}

#[test]
fn lists_and_patches_name_the_item() {
    let pod = json!({
        "kind": "Pod", "metadata": { "name": "shop", "annotations": { "sideflame.io/inject": "true" } },
        "spec": { "containers": [{ "name": "app" }] },
    });
    let list = json!({ "kind": "List", "items": [{ "kind": "Service" }, pod] });
    let output = run(&["inject", "--output", "patch"], &list.to_string());
    let patch: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let paths: Vec<&str> = patch
        .as_array()
        .unwrap()
        .iter()
        .map(|add| add["path"].as_str().unwrap())
        .collect();
    assert!(paths.iter().all(|path| path.starts_with("/items/1/")), "{paths:?}");
    let output = run(&["inject", "--output", "json"], &list.to_string());
    let printed: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(printed["items"][0], list["items"][0]);
    assert_eq!(printed["items"][1]["spec"]["initContainers"][0]["name"], "sideflame");
}

#[test]
fn facts_come_from_flags() {
    let pod = "kind: Pod\nspec:\n  restartPolicy: Never\n  containers:\n  - name: app\n";
    let opted_in = ["inject", "--namespace-label", "sideflame.io/inject=enabled"];
    assert!(stdout(&run(&opted_in, pod)).contains("shareProcessNamespace: true"));
    assert!(stderr(&run(&["inject"], pod)).contains("not_annotated"));
    let old = [&opted_in[..], &["--server-version", "v1.28.3"]].concat();
    assert!(stderr(&run(&old, pod)).contains("would_not_complete"));
    let excluded = [&opted_in[..], &["--namespace", "kube-system"]].concat();
    assert!(stderr(&run(&excluded, pod)).contains("excluded_namespace"));
}

#[test]
fn exit_codes_say_what_happened() {
    let blocked = "kind: Pod\nmetadata:\n  annotations:\n    sideflame.io/inject: 'true'\n    sideflame.io/on-error: block\n\
                   spec:\n  hostPID: true\n  containers:\n  - name: app\n";
    let output = run(&["inject"], blocked);
    assert_eq!((output.status.code(), stdout(&output)), (Some(3), String::new()));
    assert!(stderr(&output).contains("pod/?: blocked, host_pid"));
    assert_eq!(run(&["inject"], "a: [").status.code(), Some(1));
    assert_eq!(
        run(&["inject", "--filename", "/nonexistent"], "").status.code(),
        Some(1)
    );
    assert_eq!(run(&["inject", "--server-version", "new"], "").status.code(), Some(2));
    assert_eq!(run(&["inject"], "").status.code(), Some(0));
}

#[test]
fn the_table_is_printed() {
    let output = run(&["annotations", "--output", "json"], "");
    let rows: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 18);
}

#[test]
fn limits_of_the_namespace_are_read_from_a_file_as_kubectl_prints_them() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let list = json!({"kind": "List", "apiVersion": "v1", "items": [
        {"kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", "max": {"memory": "200Mi"}}]}},
        {"kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": {"requests.cpu": "1"}}, "status": {"used": {"requests.cpu": "1"}}},
    ]});
    write!(file, "{list:#}").unwrap();
    let pod = |request: &str| {
        let app = json!({"name": "app", "resources": {"requests": {"cpu": request}, "limits": {"memory": "100Mi"}}});
        json!({"kind": "Pod", "metadata": {"name": "shop", "annotations": {"sideflame.io/inject": "true"}},
            "spec": {"containers": [app]}})
    };
    let arguments = ["inject", "--limits", file.path().to_str().unwrap()];
    let output = run(&arguments, &pod("0").to_string());
    assert!(stderr(&output).contains("resource_quota"), "{}", stderr(&output));
    let output = run(&arguments[..1], &pod("0").to_string());
    assert!(stdout(&output).contains("memory: 256Mi"), "{}", stdout(&output));
}
