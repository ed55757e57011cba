//! Asks the API server, as a user would: is an annotated pod injected?
//!
//! It creates a pod as a dry run, so nothing remains, in our own namespace, so that the right is narrow. The chart keeps
//! our namespace out of the injection; a webhook entry of its own, `probe.sideflame.io`, lets pods through that carry
//! the label [`LABEL`] and sends them to `/probe`. The way is the real one: API server, service, certificate, decision.
//! Must not know how pods are injected. Started by `cli::serve`.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::annotations::INJECT;
use crate::inject::INJECTED_LABEL;
use crate::metrics::Metrics;

/// What the entry `probe.sideflame.io` selects by.
pub const LABEL: (&str, &str) = ("sideflame.io/probe", "true");
/// Above the timeout of the webhook, which the API server waits for.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Probes for ever, `interval` after `interval`.
pub async fn keep(client: Client, namespace: String, image: String, interval: Duration, metrics: Arc<Metrics>) {
    // Untyped: the types of a pod's fields are much code, and we look at one label.
    let api = Api::<DynamicObject>::namespaced_with(client, &namespace, &ApiResource::erase::<Pod>(&()));
    let mut healthy = None;
    loop {
        // First the pause: at a start, endpoints of the service come a little after readiness.
        sleep(interval).await;
        let verdict = probe(&api, &image).await;
        match &verdict {
            Ok(true) => {
                metrics.probe_injected.inc();
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                metrics
                    .probe_last_success
                    .set(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
            }
            Ok(false) => {
                metrics.probe_missed.inc();
            }
            Err(_) => {
                metrics.probe_failed.inc();
            }
        }
        // Logged when it changes; the metrics have the rest.
        let state = verdict.clone().unwrap_or(false);
        if healthy.replace(state) != Some(state) {
            tell(&verdict);
        }
    }
}

fn tell(verdict: &Result<bool, String>) {
    match verdict {
        Ok(true) => tracing::info!("self-probe: a pod came back injected"),
        Ok(false) => tracing::error!(
            "self-probe: a pod came back without the sidecar; look at the webhook entry probe.sideflame.io, the service and its endpoints"
        ),
        Err(error) => tracing::error!(error, "self-probe: the pod could not be sent"),
    }
}

async fn probe(api: &Api<DynamicObject>, image: &str) -> Result<bool, String> {
    let pod: DynamicObject = serde_json::from_value(pod(image)).map_err(|error| error.to_string())?;
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let answer = timeout(TIMEOUT, api.create(&params, &pod)).await;
    let answer = answer.map_err(|_| format!("the API server did not answer within {TIMEOUT:?}"))?;
    answer.map(|pod| is_injected(&pod)).map_err(|error| error.to_string())
}

fn is_injected(pod: &impl ResourceExt) -> bool {
    pod.labels().get(INJECTED_LABEL).map(String::as_str) == Some("true")
}

/// Good under the *restricted* Pod Security Standard and any quota, before and after the injection. The image is the
/// sidecar's own: whatever may be pulled here, that may.
fn pod(image: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "sideflame-probe-",
            "labels": {LABEL.0: LABEL.1},
            "annotations": {INJECT: "true"},
        },
        "spec": {
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "probe",
                "image": image,
                "resources": {
                    "requests": {"cpu": "1m", "memory": "1Mi"},
                    "limits": {"cpu": "1m", "memory": "1Mi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_pod_is_a_pod_with_label_and_annotation() {
        let pod: Pod = serde_json::from_value(pod("sideflame:1")).unwrap();
        assert_eq!(pod.labels()[LABEL.0], LABEL.1);
        assert_eq!(pod.annotations()["sideflame.io/inject"], "true");
        let container = &pod.spec.as_ref().unwrap().containers[0];
        assert_eq!(container.image.as_deref(), Some("sideflame:1"));
        assert!(!is_injected(&pod));
    }

    #[test]
    fn only_the_label_of_the_injector_counts_as_injected() {
        let mut injected: Pod = serde_json::from_value(pod("sideflame:1")).unwrap();
        injected
            .labels_mut()
            .insert(INJECTED_LABEL.to_owned(), "true".to_owned());
        assert!(is_injected(&injected));
        injected
            .labels_mut()
            .insert(INJECTED_LABEL.to_owned(), "false".to_owned());
        assert!(!is_injected(&injected));
    }
}
