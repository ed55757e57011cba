//! The router as an API server sees it, with decisions of our choice.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use http_body_util::BodyExt;
use json_patch::Patch;
use serde_json::json;
use tokio::sync::mpsc;
use tower::ServiceExt;

use super::*;
use crate::events::Notice;
use crate::inject::{Injection, Skip, SkipReason};

/// Does what the pod's name says.
fn scripted(pod: &Value, _: &InjectSettings, facts: &Facts) -> Decision {
    let skip = |warnings: &[&str]| Skip {
        reason: SkipReason::NotAnnotated,
        detail: "the detail".to_owned(),
        warnings: warnings.iter().map(|&text| text.to_owned()).collect(),
    };
    match pod["metadata"]["name"].as_str() {
        Some("inject") => Decision::Inject(Injection {
            patch: patch(),
            warnings: vec!["set runAsGroup".to_owned()],
        }),
        Some("block") => Decision::Block(skip(&[])),
        Some("panic") => panic!("a bug for {}", facts.namespace),
        _ => Decision::Skip(skip(&["one more"])),
    }
}

fn settings(image: &str) -> InjectSettings {
    InjectSettings {
        sidecar_image: image.to_owned(),
        ..InjectSettings::unchanged()
    }
}

fn patch() -> Patch {
    serde_json::from_value(json!([{"op": "add", "path": "/metadata/labels", "value": {"ü": "1"}}])).unwrap()
}

struct Rig {
    admission: Arc<Admission>,
    metrics: Arc<Metrics>,
    notices: mpsc::Receiver<Notice>,
}

fn rig(in_flight: usize) -> Rig {
    let metrics = Arc::new(Metrics::default());
    let (events, notices) = EventQueue::new(Arc::clone(&metrics));
    let rules = Rules {
        inject: scripted,
        misplaced: |kind, object| match object["name"].as_str() {
            Some("panic") => panic!("a bug"),
            name => name.map(|name| format!("{kind} {name}")),
        },
    };
    let settings = settings("sideflame:1");
    let limits = Limits {
        in_flight,
        timeout: Duration::from_millis(400),
    };
    let admission = Admission::new(
        rules,
        settings,
        Arc::new(ClusterFacts::new().0),
        Arc::clone(&metrics),
        events,
        limits,
    );
    Rig {
        admission: Arc::new(admission),
        metrics,
        notices,
    }
}

fn review(object: Value, extra: Value) -> Value {
    let mut request = json!({"uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "namespace": "shop",
        "operation": "CREATE", "object": object});
    for (key, value) in extra.as_object().unwrap() {
        request[key] = value.clone();
    }
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request})
}

fn pod(name: &str) -> Value {
    json!({"kind": "Pod", "metadata": {"name": name, "ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-1", "uid": "r", "controller": true}]}})
}

impl Rig {
    async fn send(&self, path: &str, body: impl Into<Body>) -> (StatusCode, Bytes) {
        let request = Request::post(path).body(body.into()).unwrap();
        let response = router(Arc::clone(&self.admission)).oneshot(request).await.unwrap();
        let status = response.status();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    }

    async fn ask(&self, path: &str, object: Value, extra: Value) -> Value {
        let (status, body) = self.send(path, review(object, extra).to_string()).await;
        assert_eq!(status, StatusCode::OK, "{body:?}");
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
        assert_eq!(answer["response"]["uid"], "u-1");
        answer["response"].clone()
    }

    fn counted(&self, line: &str) -> bool {
        self.metrics.page(true).contains(&format!("sideflame_webhook_{line}\n"))
    }
}

#[tokio::test]
async fn an_injection_is_answered_by_its_patch() {
    let mut rig = rig(4);
    let answer = rig.ask("/inject?timeout=2s", pod("inject"), json!({})).await;
    assert_eq!(
        (&answer["allowed"], &answer["patchType"]),
        (&json!(true), &json!("JSONPatch"))
    );
    let sent = STANDARD.decode(answer["patch"].as_str().unwrap()).unwrap();
    assert_eq!(serde_json::from_slice::<Patch>(&sent).unwrap(), patch());
    assert_eq!(answer["warnings"], json!(["set runAsGroup"]));
    let audit = &answer["auditAnnotations"];
    assert_eq!(
        (&audit["decision"], &audit["reason"]),
        (&json!("inject"), &json!("injected"))
    );
    assert_eq!(audit["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(audit["settings"].as_str().unwrap().len(), 12);
    assert!(rig.counted("decisions_total{decision=\"inject\",reason=\"injected\"} 1"));
    assert!(rig.notices.try_recv().is_ok(), "the owner gets an Event");
}

#[tokio::test]
async fn a_dry_run_leaves_no_event() {
    let mut rig = rig(4);
    rig.ask("/inject", pod("inject"), json!({"dryRun": true})).await;
    assert!(rig.notices.try_recv().is_err());
}

#[tokio::test]
async fn the_probe_is_answered_alike_but_neither_counted_nor_an_event() {
    let mut rig = rig(4);
    let answer = rig.ask("/probe", pod("inject"), json!({})).await;
    assert!(answer["patch"].is_string());
    assert!(rig.notices.try_recv().is_err());
    assert!(rig.counted("decisions_total{decision=\"inject\",reason=\"injected\"} 0"));
    assert!(rig.counted("requests_total{path=\"/probe\"} 1") && rig.counted("requests_total{path=\"/inject\"} 0"));
}

#[tokio::test]
async fn a_pod_that_did_not_ask_is_allowed_without_patch_or_event() {
    let mut rig = rig(4);
    let answer = rig.ask("/inject", pod("other"), json!({})).await;
    assert_eq!(
        (&answer["allowed"], answer.get("patch"), answer.get("status")),
        (&json!(true), None, None)
    );
    assert_eq!(
        answer["warnings"],
        json!(["one more"]),
        "a detail that needs no attention is no warning"
    );
    assert!(rig.notices.try_recv().is_err());
}

#[tokio::test]
async fn a_pod_that_asks_to_be_blocked_is_refused_with_the_reason() {
    let rig = rig(4);
    let answer = rig.ask("/inject", pod("block"), json!({})).await;
    assert_eq!(answer["allowed"], false);
    assert_eq!(
        (&answer["status"]["code"], &answer["status"]["message"]),
        (&json!(422), &json!("the detail"))
    );
    assert_eq!(answer["auditAnnotations"]["decision"], "block");
}

#[tokio::test]
async fn a_panic_costs_the_sidecar_and_not_the_pod() {
    let rig = rig(4);
    let answer = rig.ask("/inject", pod("panic"), json!({})).await;
    assert_eq!((&answer["allowed"], answer.get("patch")), (&json!(true), None));
    assert!(answer["warnings"][0].as_str().unwrap().contains("bug"));
    assert!(rig.counted("decisions_total{decision=\"error\",reason=\"panicked\"} 1"));
    let mut blocking = pod("panic");
    blocking["metadata"]["annotations"] = json!({"sideflame.io/on-error": "block"});
    assert_eq!(rig.ask("/inject", blocking, json!({})).await["allowed"], false);
    assert_eq!(
        rig.ask("/inject", pod("inject"), json!({})).await["allowed"],
        true,
        "it goes on"
    );
}

#[tokio::test]
async fn what_cannot_be_injected_is_allowed_and_says_why() {
    let rig = rig(4);
    for (object, extra, reason) in [
        (Value::Null, json!({}), "no_object"),
        (pod("inject"), json!({"operation": "UPDATE"}), "not_create"),
    ] {
        let answer = rig.ask("/inject", object, extra).await;
        assert_eq!(
            (&answer["allowed"], &answer["auditAnnotations"]["reason"]),
            (&json!(true), &json!(reason))
        );
    }
}

#[tokio::test]
async fn workloads_are_always_allowed_and_warned_at_most() {
    let rig = rig(4);
    let kind = json!({"kind": {"kind": "Deployment"}});
    let warned = rig.ask("/warn", json!({"name": "shop"}), kind.clone()).await;
    assert_eq!(
        (&warned["allowed"], &warned["warnings"]),
        (&json!(true), &json!(["Deployment shop"]))
    );
    assert!(warned.get("patch").is_none() && warned["auditAnnotations"].get("decision").is_none());
    for object in [json!({}), json!({"name": "panic"}), Value::Null] {
        let answer = rig.ask("/warn", object, kind.clone()).await;
        assert_eq!((&answer["allowed"], answer.get("warnings")), (&json!(true), None));
    }
    assert!(rig.counted("workloads_warned_total 1"));
}

#[tokio::test]
async fn garbage_is_refused_with_a_text() {
    let rig = rig(4);
    let whole = review(pod("inject"), json!({})).to_string();
    let cut = whole[..whole.len() - 9].to_owned();
    let old = whole.replace("k8s.io/v1", "k8s.io/v1beta1");
    for body in [
        String::new(),
        "hello".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        "[".repeat(100_000),
        cut,
        old,
    ] {
        let (status, text) = rig.send("/inject", body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(text.len() > 20, "{text:?}");
    }
    assert!(rig.counted("refusals_total{reason=\"malformed\"} 7"));
}

#[tokio::test]
async fn a_body_above_the_cap_is_refused_whether_it_says_its_length_or_not() {
    let rig = rig(4);
    let chunks = || (0..11).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1 << 20])));
    assert_eq!(
        rig.send("/inject", Body::from_stream(stream::iter(chunks()))).await.0,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let request = Request::post("/inject").header("content-length", 10 << 20);
    let request = request.body(Body::from_stream(stream::iter(chunks()))).unwrap();
    let response = router(Arc::clone(&rig.admission)).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // Exactly the cap is fine: blanks before the review.
    let text = review(pod("inject"), json!({})).to_string();
    let body = " ".repeat(BODY_BYTES - text.len()) + &text;
    assert_eq!(rig.send("/inject", body).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_body_in_pieces_is_put_together() {
    let rig = rig(4);
    let text = review(pod("inject"), json!({})).to_string();
    let pieces: Vec<_> = text
        .as_bytes()
        .chunks(7)
        .map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)))
        .collect();
    let (status, body) = rig.send("/inject", Body::from_stream(stream::iter(pieces))).await;
    assert_eq!(status, StatusCode::OK);
    assert!(String::from_utf8(body.to_vec()).unwrap().contains("JSONPatch"));
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up_before_the_deadline() {
    let rig = rig(4);
    let began = tokio::time::Instant::now();
    let (status, _) = rig
        .send(
            "/inject?timeout=400ms",
            Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>()),
        )
        .await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
    assert!(began.elapsed() < Duration::from_millis(390));
    assert_eq!(rig.metrics.in_flight.get(), 0);
}

#[tokio::test]
async fn a_full_server_fails_open_within_a_small_part_of_the_time() {
    let rig = rig(1);
    let held = rig.admission.permits.acquire().await.unwrap();
    let began = tokio::time::Instant::now();
    let answer = rig.ask("/inject?timeout=2s", pod("inject"), json!({})).await;
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!((&answer["allowed"], answer.get("patch")), (&json!(true), None));
    assert!(answer["warnings"][0].as_str().unwrap().contains("busy"));
    assert!(rig.counted("decisions_total{decision=\"error\",reason=\"busy\"} 1"));
    let workload = rig.ask("/warn", json!({"name": "shop"}), json!({})).await;
    assert_eq!((&workload["allowed"], workload.get("warnings")), (&json!(true), None));
    assert_eq!(rig.send("/inject", "garbage").await.0, StatusCode::BAD_REQUEST);
    drop(held);
    assert!(rig.ask("/inject", pod("inject"), json!({})).await["patch"].is_string());
}

#[tokio::test]
async fn only_posts_to_known_paths_are_served() {
    let rig = rig(1);
    assert_eq!(rig.send("/", "").await.0, StatusCode::NOT_FOUND);
    let get = Request::get("/inject").body(Body::empty()).unwrap();
    let response = router(Arc::clone(&rig.admission)).oneshot(get).await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[test]
fn the_settings_hash_depends_on_the_settings_alone() {
    assert_eq!(hash_of(&settings("a")), hash_of(&settings("a")));
    assert_ne!(hash_of(&settings("a")), hash_of(&settings("b")));
}
