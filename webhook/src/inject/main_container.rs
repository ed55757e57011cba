//! Which container is the app, where no annotation of ours says so.
//!
//! Must not know rights or patches. Called by `inject`.

use serde_json::Value;

use super::DEFAULT_CONTAINER;
use crate::pod::{PodView, items, name};

/// Containers that stand beside an app: proxies, agents and log shippers, by their name or the last part of their image's.
const COMPANIONS: [&str; 28] = [
    "aws-guardduty-agent",
    "cloud-sql-proxy",
    "cloudsql-proxy",
    "config-reloader",
    "consul-dataplane",
    "daprd",
    "datadog-agent",
    "envoy",
    "envoy-sidecar",
    "filebeat",
    "fluent-bit",
    "fluentd",
    "gce-proxy",
    "git-sync",
    "gke-gcsfuse-sidecar",
    "istio-proxy",
    "jaeger-agent",
    "kube-rbac-proxy",
    "kuma-sidecar",
    "linkerd-proxy",
    "oauth2-proxy",
    "opentelemetry-collector",
    "otc-container",
    "promtail",
    "proxyv2",
    "queue-proxy",
    "vault-agent",
    "xray-daemon",
];
/// Argo's own containers in a pod of a workflow; the app is `main`.
const EXECUTOR: &str = "argoexec";

/// Index of the app's container: what `kubectl` takes by default, else the first one that is known to stand beside none.
pub(super) fn main_container(pod: &PodView<'_>) -> usize {
    let stated = pod.annotation(DEFAULT_CONTAINER).and_then(Value::as_str);
    let stated = stated.and_then(|stated| pod.containers.iter().position(|container| name(container) == stated));
    let app = || pod.containers.iter().position(|container| !is_companion(container));
    // A pod of proxies alone is a proxy's.
    stated.or_else(app).unwrap_or_default()
}

fn is_companion(container: &Value) -> bool {
    let text = |key: &str| container.get(key).and_then(Value::as_str).unwrap_or_default();
    let image = repository(text("image"));
    let program = items(container, "command").first().and_then(Value::as_str).map(last);
    // An emissary executor starts the app itself, as `argoexec emissary -- app`.
    let executes =
        |part: &str| part == EXECUTOR && items(container, "command").get(1).and_then(Value::as_str) != Some("emissary");
    COMPANIONS.contains(&name(container))
        || COMPANIONS.contains(&image)
        || program.is_some_and(executes)
        || image == EXECUTOR
}

/// The last part of an image's name: `envoy` of `docker.io/envoyproxy/envoy:v1.30@sha256:…`.
fn repository(image: &str) -> &str {
    let untagged = last(image.split('@').next().unwrap_or_default());
    untagged.split(':').next().unwrap_or_default()
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn main_of(annotations: Value, containers: Value) -> String {
        let pod = json!({ "metadata": { "annotations": annotations }, "spec": { "containers": containers } });
        let view = PodView::new(&pod).unwrap();
        name(&view.containers[main_container(&view)]).to_owned()
    }

    #[test]
    fn the_container_that_kubectl_takes_is_the_app() {
        let stated = |name: &str| json!({ "kubectl.kubernetes.io/default-container": name });
        let containers = || json!([{ "name": "first" }, { "name": "second" }, { "name": "envoy" }]);
        for (name, expected) in [("second", "second"), ("envoy", "envoy"), ("gone", "first")] {
            assert_eq!(main_of(stated(name), containers()), expected);
        }
    }

    #[test]
    fn proxies_agents_and_executors_are_not_the_app() {
        for companion in [
            json!({ "name": "istio-proxy" }),
            json!({ "name": "linkerd-proxy" }),
            json!({ "name": "vault-agent" }),
            json!({ "name": "cloud-sql-proxy" }),
            json!({ "name": "proxy", "image": "docker.io/envoyproxy/envoy:v1.30" }),
            json!({ "name": "db", "image": "gcr.io/cloud-sql-connectors/cloud-sql-proxy@sha256:0" }),
            json!({ "name": "wait", "command": ["argoexec", "wait"] }),
            json!({ "name": "wait", "command": ["/var/run/argo/argoexec", "wait"] }),
            json!({ "name": "wait", "image": "quay.io/argoproj/argoexec:v3.6" }),
        ] {
            assert_eq!(
                main_of(json!({}), json!([companion, { "name": "shop" }])),
                "shop",
                "{companion}"
            );
        }
    }

    #[test]
    fn a_name_alone_does_not_make_an_executor_and_a_pod_of_proxies_has_an_app() {
        assert_eq!(
            main_of(json!({}), json!([{ "name": "wait" }, { "name": "shop" }])),
            "wait"
        );
        let emissary = json!({ "name": "main", "command": ["/var/run/argo/argoexec", "emissary", "--", "java"] });
        assert_eq!(main_of(json!({}), json!([emissary, { "name": "shop" }])), "main");
        assert_eq!(
            main_of(json!({}), json!([{ "name": "envoy" }, { "name": "fluentd" }])),
            "envoy"
        );
    }
}
