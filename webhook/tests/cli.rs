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
    let unreadable = run(&["inject"], "a: [");
    assert_eq!(
        (unreadable.status.code(), stdout(&unreadable)),
        (Some(1), "a: [\n".to_owned())
    );
    assert_eq!(
        run(&["inject", "--filename", "/nonexistent"], "").status.code(),
        Some(1)
    );
    assert_eq!(run(&["inject", "--server-version", "new"], "").status.code(), Some(2));
    assert_eq!(run(&["inject"], "").status.code(), Some(0));
}

/// An annotated pod template, indented by `indent`.
fn template(indent: usize) -> String {
    let lines = [
        "metadata: {annotations: {sideflame.io/inject: \"true\"}}",
        "spec: {containers: [{name: app, image: shop:1}]}",
    ];
    lines.map(|line| format!("{}{line}\n", " ".repeat(indent))).concat()
}

fn injected_at(input: &str, flags: &[&str]) -> Vec<String> {
    let output = run(&[&["inject", "--output", "json"], flags].concat(), input);
    assert!(output.status.success(), "{}", stderr(&output));
    fn sidecars(value: &Value, path: &str, found: &mut Vec<String>) {
        if value["spec"]["initContainers"][0]["name"] == "sideflame" {
            found.push(path.to_owned());
        }
        for (key, value) in value.as_object().into_iter().flatten() {
            sidecars(value, &format!("{path}/{key}"), found);
        }
        for (index, value) in value.as_array().into_iter().flatten().enumerate() {
            sidecars(value, &format!("{path}/{index}"), found);
        }
    }
    let mut found = Vec::new();
    for value in serde_json::Deserializer::from_str(&stdout(&output)).into_iter::<Value>() {
        sidecars(&value.unwrap(), "", &mut found);
    }
    found
}

#[test]
fn every_kind_with_a_pod_template_is_known() {
    let kind = |api_version: &str, kind: &str, spec: &str| {
        format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: shop}}\n{spec}")
    };
    let at_spec = format!("spec:\n  template:\n{}", template(4));
    for (input, places) in [
        (
            kind("v1", "PodTemplate", &format!("template:\n{}", template(2))),
            &["/template"][..],
        ),
        (kind("v1", "ReplicationController", &at_spec), &["/spec/template"]),
        (kind("argoproj.io/v1alpha1", "Rollout", &at_spec), &["/spec/template"]),
        (
            kind("apps.openshift.io/v1", "DeploymentConfig", &at_spec),
            &["/spec/template"],
        ),
        (kind("serving.knative.dev/v1", "Service", &at_spec), &["/spec/template"]),
        (
            kind("apps.kruise.io/v1alpha1", "CloneSet", &at_spec),
            &["/spec/template"],
        ),
        (
            kind(
                "batch.volcano.sh/v1alpha1",
                "Job",
                &format!("spec:\n  tasks:\n  - template:\n{}", template(6)),
            ),
            &["/spec/tasks/0/template"],
        ),
        (
            kind(
                "jobset.x-k8s.io/v1alpha2",
                "JobSet",
                &format!(
                    "spec:\n  replicatedJobs:\n  - {{name: a}}\n  - template:\n      spec:\n        template:\n{}",
                    template(10)
                ),
            ),
            &["/spec/replicatedJobs/1/template/spec/template"],
        ),
        (
            kind(
                "leaderworkerset.x-k8s.io/v1",
                "LeaderWorkerSet",
                &format!(
                    "spec:\n  leaderWorkerTemplate:\n    leaderTemplate:\n{0}    workerTemplate:\n{0}",
                    template(6)
                ),
            ),
            &[
                "/spec/leaderWorkerTemplate/leaderTemplate",
                "/spec/leaderWorkerTemplate/workerTemplate",
            ],
        ),
        (
            kind(
                "ray.io/v1",
                "RayCluster",
                &format!(
                    "spec:\n  headGroupSpec:\n    template:\n{0}  workerGroupSpecs:\n  - template:\n{0}",
                    template(6)
                ),
            ),
            &["/spec/headGroupSpec/template", "/spec/workerGroupSpecs/0/template"],
        ),
        (
            kind(
                "ray.io/v1",
                "RayJob",
                &format!(
                    "spec:\n  submitterPodTemplate:\n{}  rayClusterSpec:\n    headGroupSpec:\n      template:\n{}",
                    template(4),
                    template(8)
                ),
            ),
            &[
                "/spec/submitterPodTemplate",
                "/spec/rayClusterSpec/headGroupSpec/template",
            ],
        ),
        (
            kind(
                "ray.io/v1",
                "RayService",
                &format!(
                    "spec:\n  rayClusterConfig:\n    workerGroupSpecs:\n    - template:\n{}",
                    template(8)
                ),
            ),
            &["/spec/rayClusterConfig/workerGroupSpecs/0/template"],
        ),
    ] {
        assert_eq!(injected_at(&input, &[]), places, "{input}");
    }
}

#[test]
fn lists_of_any_depth_and_typed_ones_are_looked_through() {
    let pod = format!("  - apiVersion: v1\n    kind: Pod\n{}", template(4));
    let list = format!("apiVersion: v1\nkind: PodList\nitems:\n{pod}");
    assert_eq!(injected_at(&list, &[]), ["/items/0"]);
    // As the API server sends it.
    let bare = list.replace("  - apiVersion: v1\n    kind: Pod\n", "  -\n");
    assert_eq!(injected_at(&bare, &[]), ["/items/0"]);
    let deployments = format!(
        "apiVersion: apps/v1\nkind: DeploymentList\nitems:\n- spec:\n    template:\n{}",
        template(6)
    );
    assert_eq!(injected_at(&deployments, &[]), ["/items/0/spec/template"]);
    let nested = json!({ "kind": "List", "items": [
        { "kind": "Service" },
        { "kind": "List", "items": [{ "kind": "List", "items": [{
            "kind": "Pod", "metadata": { "annotations": { "sideflame.io/inject": "true" } }, "spec": { "containers": [{ "name": "app" }] },
        }] }] },
    ] });
    assert_eq!(injected_at(&nested.to_string(), &[]), ["/items/1/items/0/items/0"]);
}

#[test]
fn other_kinds_are_named_and_can_be_pointed_at() {
    let widget = format!(
        "apiVersion: example.org/v1\nkind: Widget\nmetadata: {{name: shop}}\nspec:\n  parts:\n  - podTemplate:\n{}",
        template(6)
    );
    let unknown = run(&["inject"], &widget);
    assert_eq!((unknown.status.code(), stdout(&unknown)), (Some(0), widget.clone()));
    let said = stderr(&unknown);
    assert!(said.starts_with("widget/shop: not injected: "), "{said}");
    assert!(
        said.ends_with("add --template-path spec.parts[*].podTemplate\n"),
        "{said}"
    );
    let flags = ["--template-path", "spec.parts[*].podTemplate"];
    assert_eq!(injected_at(&widget, &flags), ["/spec/parts/0/podTemplate"]);
    let run_of_tekton = "apiVersion: tekton.dev/v1\nkind: TaskRun\nmetadata: {name: build, annotations: {sideflame.io/inject: \"true\"}}\n\
                         spec: {taskSpec: {steps: [{name: a, image: b}]}}\n";
    let said = stderr(&run(&["inject"], run_of_tekton));
    assert!(
        said.starts_with("taskrun/build: not injected here: Tekton makes its pods"),
        "{said}"
    );
    let silent = "apiVersion: v1\nkind: Service\nmetadata: {name: shop}\n";
    assert_eq!(stderr(&run(&["inject"], silent)), "");
}

#[test]
fn knative_is_told_what_it_must_admit() {
    let service = format!(
        "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {{name: shop}}\nspec:\n  template:\n{}",
        template(4)
    );
    let said = stderr(&run(&["inject"], &service));
    assert!(said.contains("podspec-shareprocessnamespace"), "{said}");
    let plain = service.replace("\"true\"", "\"false\"");
    assert!(!stderr(&run(&["inject"], &plain)).contains("Knative"));
}

#[test]
fn what_kubectl_reads_is_read() {
    let quoted =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop}\ndata:\n  note: \"first line\n  second line\"\n---\n";
    let input = format!("{quoted}apiVersion: v1\nkind: Pod\n{}", template(0));
    let output = run(&["inject"], &input);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).starts_with(quoted), "{}", stdout(&output));
    assert!(stderr(&output).contains("pod/?: injected"));
}

#[test]
fn of_a_key_that_stands_twice_the_last_one_counts_and_it_is_told() {
    let input = format!(
        "kind: Pod\nmetadata: {{annotations: {{sideflame.io/inject: \"false\"}}}}\n{}",
        template(0)
    );
    let output = run(&["inject"], &input);
    assert!(stderr(&output).contains("pod/?: injected"), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("warning: line 3: \"metadata\" stands here a second time"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_document_that_cannot_be_read_fails_alone_and_stays_where_it_is() {
    let pod = format!("kind: Pod\n{}", template(0));
    let bad = "kind: Pod   # of mine\nspec: [\n";
    let input = format!("{pod}---\n{bad}---\n{pod}");
    let output = run(&["inject"], &input);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    let documents: Vec<&str> = text.split("---\n").collect();
    assert_eq!((documents.len(), documents[1]), (3, bad));
    assert_eq!(documents[0], documents[2]);
    assert!(documents[0].contains("shareProcessNamespace: true"), "{text}");
    let said = stderr(&output);
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[1].starts_with("error: the document at line 5 is printed as it is: line 7: "),
        "{said}"
    );
    assert_eq!((lines[0], lines[2]), ("pod/?: injected", "pod/?: injected"));
}

#[test]
fn the_table_is_printed() {
    let output = run(&["annotations", "--output", "json"], "");
    let rows: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 22);
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
