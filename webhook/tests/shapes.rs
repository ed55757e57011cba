//! Bodies of every shape that a client could choose: the time they take grows no faster than they do.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use clap::Parser;
use sideflame_webhook::admission::{Admission, BODY_BYTES, Limits, Rules, router};
use sideflame_webhook::cluster::ClusterFacts;
use sideflame_webhook::events::EventQueue;
use sideflame_webhook::metrics::Metrics;
use sideflame_webhook::settings::InjectSettings;
use tower::ServiceExt;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    settings: InjectSettings,
}

fn webhook() -> Router {
    let metrics = Arc::new(Metrics::default());
    let limits = Limits {
        body_memory: 16 << 20,
        timeout: Duration::from_secs(30),
    };
    let admission = Admission::new(
        Rules::default(),
        Flags::parse_from(["webhook"]).settings,
        Arc::new(ClusterFacts::new().0),
        Arc::clone(&metrics),
        EventQueue::new(metrics).0,
        limits,
    );
    router(Arc::new(admission))
}

/// For any body of 3 MiB; what is not optimised takes some ten times as long.
const LONGEST: Duration = Duration::from_millis(if cfg!(debug_assertions) { 1000 } else { 50 });

/// What is repeated, by its number, between a beginning and an end.
struct Shape {
    name: &'static str,
    begin: &'static str,
    unit: fn(usize) -> String,
    end: &'static str,
}

const ASKS: &str = r#""annotations":{"sideflame.io/inject":"true"}"#;

impl Shape {
    /// An object of about `bytes`.
    fn object(&self, bytes: usize) -> String {
        let mut text = self.begin.replace("ASKS", ASKS);
        for number in 0.. {
            let unit = (self.unit)(number);
            if text.len() + unit.len() + self.end.len() >= bytes {
                break;
            }
            text.push_str(&unit);
        }
        let text = text.strip_suffix(',').unwrap_or(&text).to_owned();
        text + self.end
    }
}

fn shapes() -> Vec<Shape> {
    let shape = |name, begin, unit: fn(usize) -> String, end| Shape { name, begin, unit, end };
    let named: fn(usize) -> String = |number| format!("{{\"name\":\"c{number}\"}},");
    vec![
        shape(
            "containers",
            r#"{"metadata":{ASKS},"spec":{"containers":["#,
            named,
            "]}}",
        ),
        shape(
            "init containers",
            r#"{"metadata":{ASKS},"spec":{"containers":[{}],"initContainers":["#,
            named,
            "]}}",
        ),
        shape(
            "ephemeral containers",
            r#"{"metadata":{ASKS},"spec":{"containers":[{}],"ephemeralContainers":["#,
            named,
            "]}}",
        ),
        shape(
            "volumes",
            r#"{"metadata":{ASKS},"spec":{"containers":[{}],"volumes":["#,
            named,
            "]}}",
        ),
        shape(
            "pull secrets",
            r#"{"metadata":{ASKS},"spec":{"containers":[{}],"imagePullSecrets":["#,
            named,
            "]}}",
        ),
        shape(
            "owners",
            r#"{"metadata":{ASKS,"ownerReferences":["#,
            named,
            r#"]},"spec":{"containers":[{}]}}"#,
        ),
        shape(
            "annotations of ours",
            r#"{"metadata":{"annotations":{"#,
            |number| format!("\"sideflame.io/containe{number}\":\"\","),
            r#""sideflame.io/inject":"true"}},"spec":{"containers":[{}]}}"#,
        ),
        shape(
            "annotations of others",
            r#"{"metadata":{"annotations":{"#,
            |number| format!("\"a{number}\":\"\","),
            r#""sideflame.io/inject":"true"}},"spec":{"containers":[{}]}}"#,
        ),
        shape(
            "labels",
            r#"{"metadata":{ASKS,"labels":{"#,
            |number| format!("\"a{number}\":\"\","),
            r#"}},"spec":{"containers":[{}]}}"#,
        ),
        shape(
            "chosen containers",
            r#"{"spec":{"containers":[{}]},"metadata":{"annotations":{"sideflame.io/inject":"true","sideflame.io/container":""#,
            |number| format!("c{number},"),
            r#""}}}"#,
        ),
        shape(
            "events",
            r#"{"spec":{"containers":[{}]},"metadata":{"annotations":{"sideflame.io/inject":"true","sideflame.io/events":""#,
            |_| "cpu,".to_owned(),
            r#""}}}"#,
        ),
        shape(
            "ports",
            r#"{"metadata":{ASKS},"spec":{"containers":[{"ports":["#,
            |_| "{},".to_owned(),
            "]}]}}",
        ),
        shape(
            "mounts",
            r#"{"metadata":{ASKS},"spec":{"containers":[{"volumeMounts":["#,
            |_| r#"{"mountPath":"////"},"#.to_owned(),
            "]}]}}",
        ),
        shape(
            "capabilities",
            r#"{"metadata":{ASKS},"spec":{"containers":[{"securityContext":{"capabilities":{"add":["#,
            |_| r#""X","#.to_owned(),
            "]}}}]}}",
        ),
        shape(
            "variables",
            r#"{"metadata":{ASKS},"spec":{"containers":[{"env":["#,
            named,
            "]}]}}",
        ),
        shape(
            "list items",
            r#"{"metadata":{ASKS},"spec":{"containers":[{}],"x":["#,
            |_| "0,".to_owned(),
            "]}}",
        ),
        shape(
            "empty maps",
            r#"{"metadata":{ASKS},"spec":{"containers":[{}],"x":["#,
            |_| "{},".to_owned(),
            "]}}",
        ),
        shape(
            "nesting",
            r#"{"metadata":{ASKS},"spec":{"containers":[{}],"x":["#,
            |_| format!("{}{},", "[".repeat(100), "]".repeat(100)),
            "]}}",
        ),
        shape("nesting without end", "", |_| "[".to_owned(), ""),
        shape(
            "one long string",
            r#"{"metadata":{ASKS,"name":""#,
            |_| "é".to_owned(),
            r#""},"spec":{"containers":[{}]}}"#,
        ),
        shape(
            "escapes",
            r#"{"metadata":{ASKS,"name":""#,
            |_| "\\u0000".to_owned(),
            r#""},"spec":{"containers":[{}]}}"#,
        ),
    ]
}

/// The best of three.
async fn time(webhook: &Router, object: &str) -> Duration {
    let review = format!(
        r#"{{"apiVersion":"admission.k8s.io/v1","request":{{"uid":"1","namespace":"shop","operation":"CREATE","object":{object}}}}}"#
    );
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let request = Request::post("/inject").body(Body::from(review.clone())).unwrap();
        let began = Instant::now();
        let response = webhook.clone().oneshot(request).await.unwrap();
        best = best.min(began.elapsed());
        assert_ne!(response.status(), 413);
    }
    best
}

/// Before, 1 MiB of containers took 37 s.
#[tokio::test]
async fn four_times_the_body_takes_about_four_times_the_time() {
    let webhook = webhook();
    let whole = BODY_BYTES - 200;
    for shape in shapes() {
        let quarter = time(&webhook, &shape.object(whole / 4)).await;
        let whole = time(&webhook, &shape.object(whole)).await;
        eprintln!("{}: {quarter:?} for 0.75 MiB, {whole:?} for 3 MiB", shape.name);
        assert!(
            whole < quarter * 8 + Duration::from_millis(5),
            "{}: {quarter:?}, {whole:?}",
            shape.name
        );
        assert!(whole < LONGEST, "{}: {whole:?}", shape.name);
    }
}
