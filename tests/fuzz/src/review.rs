//! An AdmissionReview as whoever reaches the port sends it: answered, the patch applies, and the pod that comes of it is left
//! alone.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sideflame_webhook::admission::{Admission, BODY_BYTES, Limits, Rules, router};
use sideflame_webhook::cluster::ClusterFacts;
use sideflame_webhook::endpoint::Endpoint;
use sideflame_webhook::events::EventQueue;
use sideflame_webhook::metrics::Metrics;
use tokio::runtime::Runtime;
use tower::ServiceExt;

use crate::{Seed, golden};

thread_local! {
    static WEBHOOK: (Runtime, Router) = webhook();
}

fn webhook() -> (Runtime, Router) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let metrics = Arc::new(Metrics::default());
    let limits = Limits {
        body_memory: 16 << 20,
        timeout: Duration::from_secs(3600),
    };
    let admission = runtime.block_on(async {
        Admission::new(
            Rules::default(),
            golden::settings(),
            Arc::new(ClusterFacts::new().0),
            Arc::clone(&metrics),
            EventQueue::new(metrics).0,
            limits,
        )
    });
    (runtime, router(Arc::new(admission)))
}

pub(crate) fn run(bytes: &[u8]) {
    ask(Endpoint::Workload, bytes);
    let Some(answer) = ask(Endpoint::Pod, bytes) else {
        return;
    };
    let response = &answer["response"];
    // What no decision reads need not even be text.
    let Ok(mut review) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    assert_eq!(response["uid"], review["request"]["uid"]);
    let object = &mut review["request"]["object"];
    let blocks = object.pointer("/metadata/annotations/sideflame.io~1on-error") == Some(&json!("block"));
    assert!(response["allowed"] == true || blocks, "{answer}");
    for warning in response["warnings"].as_array().into_iter().flatten() {
        check_warning(warning.as_str().expect("a text"));
    }
    let Some(patch) = response["patch"].as_str() else {
        return;
    };
    assert_eq!((&response["allowed"], &response["patchType"]), (&json!(true), &json!("JSONPatch")));
    let patch: json_patch::Patch = serde_json::from_slice(&STANDARD.decode(patch).expect("base64")).expect("a patch");
    json_patch::patch(object, &patch).expect("a patch that applies");
    let again = ask(Endpoint::Pod, review.to_string().as_bytes()).expect("a review");
    assert_eq!(again["response"].get("patch"), None, "a second patch");
}

/// The API server drops warnings that it could not send in a header, and cuts those of more than 256 characters.
pub(crate) fn check_warning(warning: &str) {
    assert!(!warning.is_empty() && warning.chars().count() <= 256, "{warning:?}");
    assert!(!warning.contains(char::is_control), "{warning:?}");
}

/// The answer; `None` if there is none, as the body is no review.
fn ask(endpoint: Endpoint, body: &[u8]) -> Option<Value> {
    WEBHOOK.with(|(runtime, router)| {
        runtime.block_on(async {
            let request = Request::post(endpoint.path()).body(Body::from(body.to_vec())).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            let status = response.status();
            let answer = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            assert!(answer.len() <= BODY_BYTES);
            if status != StatusCode::OK {
                assert!(matches!(status, StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE), "{status}");
                return None;
            }
            Some(serde_json::from_slice(&answer).expect("JSON"))
        })
    })
}

pub(crate) fn seeds() -> Vec<Seed> {
    let review = |pod: &Value| {
        json!({
            "kind": "AdmissionReview",
            "apiVersion": "admission.k8s.io/v1",
            "request": {
                "uid": "7-a",
                "kind": { "group": "", "version": "v1", "kind": "Pod" },
                "namespace": "shop",
                "operation": "CREATE",
                "object": pod,
                "dryRun": false,
            },
        })
    };
    golden::pods()
        .into_iter()
        .map(|(name, pod)| (name, review(&pod).to_string().into_bytes()))
        .collect()
}
