//! The router as an API server sees it, with decisions of our choice.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt, stream};
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

fn rig() -> Rig {
    rig_with(16 << 20)
}

fn rig_with(body_memory: usize) -> Rig {
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
        body_memory,
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
    let mut rig = rig();
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
    let mut rig = rig();
    rig.ask("/inject", pod("inject"), json!({"dryRun": true})).await;
    assert!(rig.notices.try_recv().is_err());
}

#[tokio::test]
async fn the_probe_is_answered_alike_but_neither_counted_nor_an_event() {
    let mut rig = rig();
    let answer = rig.ask("/probe", pod("inject"), json!({})).await;
    assert!(answer["patch"].is_string());
    assert!(rig.notices.try_recv().is_err());
    assert!(rig.counted("decisions_total{decision=\"inject\",reason=\"injected\"} 0"));
    assert!(rig.counted("requests_total{path=\"/probe\"} 1") && rig.counted("requests_total{path=\"/inject\"} 0"));
}

#[tokio::test]
async fn a_pod_that_did_not_ask_is_allowed_without_patch_or_event() {
    let mut rig = rig();
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
    let rig = rig();
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
    let rig = rig();
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
    let rig = rig();
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
    let rig = rig();
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
    let rig = rig();
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
    let rig = rig();
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
    let rig = rig();
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

/// A body that begins with `bytes` and never ends; the other half closes when it is given up.
fn stalled(bytes: Vec<u8>) -> Body {
    let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from(bytes))]);
    Body::from_stream(first.chain(stream::pending()))
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_given_up_in_half_of_the_time_whatever_the_client_asks_for() {
    let rig = rig();
    for query in ["", "?timeout=400ms", "?timeout=30s"] {
        let began = tokio::time::Instant::now();
        let (status, _) = rig.send(&format!("/inject{query}"), stalled(Vec::new())).await;
        assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
        assert!(
            began.elapsed() < Duration::from_millis(200),
            "{query} {:?}",
            began.elapsed()
        );
        assert_eq!(rig.metrics.in_flight.get(), 0);
    }
}

/// Before, 64 of them took every place for as long as they asked for.
#[tokio::test(start_paused = true)]
async fn requests_whose_bodies_never_come_hold_up_no_review() {
    let rig = Arc::new(rig());
    let stuck: Vec<_> = (0..1000)
        .map(|_| {
            let rig = Arc::clone(&rig);
            tokio::spawn(async move { rig.send("/inject?timeout=30s", stalled(b"{".to_vec())).await.0 })
        })
        .collect();
    while rig.metrics.in_flight.get() < 1000 {
        tokio::task::yield_now().await;
    }
    let began = tokio::time::Instant::now();
    for _ in 0..100 {
        assert!(rig.ask("/inject", pod("inject"), json!({})).await["patch"].is_string());
    }
    assert_eq!(began.elapsed(), Duration::ZERO, "nothing was waited for");
    for stuck in stuck {
        assert_eq!(stuck.await.unwrap(), StatusCode::REQUEST_TIMEOUT);
    }
}

/// Before, each of them kept what had come of it.
#[tokio::test(start_paused = true)]
async fn long_bodies_that_stall_share_one_memory_and_a_review_finds_room() {
    let rig = Arc::new(rig());
    let stuck: Vec<_> = (0..64)
        .map(|_| {
            let rig = Arc::clone(&rig);
            tokio::spawn(async move { rig.send("/inject", stalled(vec![b' '; BODY_BYTES - 1])).await.0 })
        })
        .collect();
    while rig.metrics.in_flight.get() < 64 || rig.admission.memory.used() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(rig.admission.memory.used() <= 16 << 20);
    assert!(rig.ask("/inject", pod("inject"), json!({})).await["patch"].is_string());
    for stuck in stuck {
        assert_eq!(stuck.await.unwrap(), StatusCode::REQUEST_TIMEOUT);
    }
    assert_eq!(rig.admission.memory.used(), 0);
}

#[tokio::test]
async fn a_body_that_lost_its_memory_is_answered_busy_and_heeds_on_error() {
    for (on_error, allowed) in [("skip", true), ("block", false)] {
        let rig = Arc::new(rig_with(64 << 10));
        let mut object = pod("inject");
        object["metadata"]["annotations"] = json!({"sideflame.io/on-error": on_error});
        object["spec"] = json!({"blanks": " ".repeat(40 << 10)});
        let (sender, mut frames) = mpsc::unbounded_channel::<Result<Bytes, std::io::Error>>();
        let frames = stream::poll_fn(move |context| frames.poll_recv(context));
        let text = review(object, json!({})).to_string().into_bytes();
        let (most, rest) = text.split_at(36 << 10);
        let answer = tokio::spawn({
            let rig = Arc::clone(&rig);
            let body = Body::from_stream(frames);
            async move { rig.send("/inject", body).await }
        });
        sender.send(Ok(Bytes::copy_from_slice(most))).unwrap();
        while rig.admission.memory.used() == 0 {
            tokio::task::yield_now().await;
        }
        let newer = json!({"name": "inject", "blanks": " ".repeat(40 << 10)});
        assert!(
            rig.ask("/inject", json!({"kind": "Pod", "metadata": newer}), json!({}))
                .await["patch"]
                .is_string()
        );
        sender.send(Ok(Bytes::copy_from_slice(rest))).unwrap();
        drop(sender);
        let (status, body) = answer.await.unwrap();
        assert_eq!(status, StatusCode::OK);
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["response"]["uid"], "u-1");
        assert_eq!(answer["response"]["allowed"], allowed, "{on_error}");
        assert!(answer["response"]["warnings"][0].as_str().unwrap().contains("busy"));
        assert!(rig.counted("decisions_total{decision=\"error\",reason=\"busy\"} 1"));
    }
}

#[tokio::test]
async fn a_full_memory_says_nothing_about_workloads_and_refuses_garbage() {
    let rig = rig_with(10);
    let workload = rig.ask("/warn", json!({"name": "shop"}), json!({})).await;
    assert_eq!((&workload["allowed"], workload.get("warnings")), (&json!(true), None));
    assert_eq!(
        rig.send("/inject", "garbage of some length").await.0,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn an_object_of_too_many_values_is_allowed_with_a_reason() {
    let rig = rig();
    let mut object = pod("inject");
    object["spec"] = json!({"containers": vec![json!({"name": "a"}); 40_000]});
    let answer = rig.ask("/inject", object.clone(), json!({})).await;
    assert_eq!(answer["auditAnnotations"]["reason"], "too_many_values");
    assert_eq!(answer["allowed"], true);
    object["metadata"]["annotations"] = json!({"sideflame.io/on-error": "block"});
    assert_eq!(rig.ask("/inject", object, json!({})).await["allowed"], false);
}

/// What comes with a review that no API server sent goes into no address and no Event.
#[tokio::test]
async fn forged_names_are_refused_or_tell_nobody() {
    let mut rig = rig();
    let forged = review(pod("inject"), json!({"namespace": "a/../../b"})).to_string();
    assert_eq!(rig.send("/inject", forged).await.0, StatusCode::BAD_REQUEST);
    let mut free = pod("inject");
    free["metadata"]["ownerReferences"][0]["name"] = json!("Your account is blocked, call 555");
    assert_eq!(rig.ask("/inject", free, json!({})).await["allowed"], true);
    assert!(rig.notices.try_recv().is_err());
}

#[tokio::test]
async fn only_posts_to_known_paths_are_served() {
    let rig = rig();
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
