//! The plain listener for people and machines that look after us: `/metrics`, `/healthz`, `/readyz`.
//!
//! Must not know reviews. It runs on the thread that serves reviews, so an answer of `/healthz` proves that this one
//! is alive. Called by `cli::serve`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::metrics::{self, Metrics};
use crate::readiness::Readiness;

#[derive(Debug, Clone)]
struct Health {
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
}

/// The routes of the plain listener.
pub fn router(metrics: Arc<Metrics>, readiness: Arc<Readiness>) -> Router {
    Router::new()
        .route("/metrics", get(page))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Health { metrics, readiness })
}

async fn page(State(health): State<Health>) -> impl IntoResponse {
    let content_type = [(CONTENT_TYPE, metrics::CONTENT_TYPE)];
    (content_type, health.metrics.page(health.readiness.reason().is_none()))
}

async fn ready(State(health): State<Health>) -> impl IntoResponse {
    let unknown = health.readiness.unknown();
    match health.readiness.reason() {
        None => (StatusCode::OK, format!("ok\n{unknown}")),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n{unknown}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    async fn get(router: Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn not_ready_says_why_and_health_does_not_care() {
        let readiness = Arc::new(Readiness::new("the caBundle of pod.sideflame.io has other authorities"));
        let router = router(Arc::default(), Arc::clone(&readiness));
        let (status, body) = get(router.clone(), "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("pod.sideflame.io"), "{body}");
        assert_eq!(get(router.clone(), "/healthz").await.0, StatusCode::OK);
        readiness.set(Ok(()));
        assert_eq!(get(router.clone(), "/readyz").await.0, StatusCode::OK);
        assert!(get(router, "/metrics").await.1.contains("sideflame_webhook_ready 1\n"));
    }

    #[tokio::test]
    async fn what_is_unknown_is_said_and_costs_no_readiness() {
        let readiness = Arc::new(Readiness::new("no certificate yet"));
        readiness.set(Ok(()));
        readiness.set_unknown("labels of namespaces", Some("forbidden".to_owned()));
        let router = router(Arc::default(), Arc::clone(&readiness));
        let answer = get(router.clone(), "/readyz").await;
        assert_eq!(
            answer,
            (
                StatusCode::OK,
                "ok\nunknown: labels of namespaces: forbidden\n".to_owned()
            )
        );
        readiness.set_unknown("labels of namespaces", None);
        assert_eq!(get(router, "/readyz").await, (StatusCode::OK, "ok\n".to_owned()));
    }
}
