//! What the webhook's ServiceAccount may not do although RBAC lets it, as a real API server sees it.

use std::time::Duration;

use e2e::chart::Release;
use e2e::control_plane::{Said, wait};
use e2e::webhook::restricted_pod;
use serde_json::{Value, json};

/// kubectl with the rights of the ServiceAccount.
fn as_webhook(release: &Release, arguments: &[&str], input: &Value) -> Said {
    let account = format!("--as=system:serviceaccount:{}:{}", release.namespace.name, release.name);
    let namespace = format!("--namespace={}", release.namespace.name);
    let all = [&[&*account, &*namespace], arguments].concat();
    release.plane.kubectl(all, &input.to_string())
}

fn is_denied(said: &Said, because: &str) -> bool {
    !said.success && said.stderr.contains("denied request") && said.stderr.contains(because)
}

fn pod() -> Value {
    let mut pod = restricted_pod();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod
}

fn secret(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}})
}

#[test]
fn a_stolen_token_creates_no_pod_no_other_secret_and_changes_only_the_bundle() {
    let release = Release::install("sideflame-policy", &[]);
    // The API server learns of a policy a moment later.
    wait("the policy", Duration::from_secs(30), || {
        let said = as_webhook(&release, &["create", "-f", "-"], &pod());
        is_denied(&said, "only as a dry run").then_some(())
    });
    as_webhook(&release, &["create", "--dry-run=server", "-f", "-"], &pod()).ok();

    let other = as_webhook(&release, &["create", "-f", "-"], &secret("other"));
    assert!(
        is_denied(&other, "only the Secret with its authority"),
        "{}",
        other.stderr
    );
    as_webhook(&release, &["create", "-f", "-"], &secret("sideflame-policy-authority")).ok();

    let bundle = json!([{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value":
        e2e::tls_client::base64(&release.plane.kubeconfig.with_file_name("ca.crt"))}]);
    for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
        let patch = |patch: &Value| {
            let patch = patch.to_string();
            let arguments = ["patch", kind, release.name, "--type=json", "--patch", &patch];
            as_webhook(&release, &arguments, &Value::Null)
        };
        patch(&bundle).ok();
        for (path, value) in [
            ("/webhooks/0/clientConfig/service/name", json!("evil")),
            ("/webhooks/0/rules/0/operations", json!(["*"])),
            ("/webhooks/0/matchConditions", json!([])),
            ("/webhooks/0/failurePolicy", json!("Fail")),
            ("/webhooks/0/namespaceSelector", json!({"matchLabels": {"a": "b"}})),
            ("/webhooks/0/name", json!("other.sideflame.io")),
            ("/webhooks", json!([])),
            ("/metadata/labels/app", json!("evil")),
            ("/metadata/finalizers", json!(["evil.example/stay"])),
        ] {
            let said = patch(&json!([{"op": "add", "path": path, "value": value}]));
            assert!(
                is_denied(&said, "nothing but caBundle"),
                "{kind} {path}: {} {}",
                said.stdout,
                said.stderr
            );
        }
    }
}
