//! What every answer has, whoever made it: security headers, a rendered problem, a line in the log and a count.
//!
//! The outermost layer. Knows no endpoint but the tree whose clients are Go's tools.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Problem;
use super::accept::Accept;
use super::metrics::Metrics;
use super::serve::Overloaded;

/// For everything that is not made to run in a browser.
const POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox";

/// Set unless the handler set its own.
const HEADERS: [(HeaderName, &str); 6] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (CACHE_CONTROL, "no-store"),
];

/// Runs the request and completes its answer.
pub(super) async fn complete(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let accept = Accept::of(request.headers());

    let mut response = if request.extensions().get::<Overloaded>().is_some() {
        Problem::too_many_answers().into_response()
    } else {
        next.run(request).await
    };
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        render(&mut response, &problem, &path, &accept);
    }
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    let route = route.as_ref().map_or("unknown", MatchedPath::as_str);
    metrics.count(route, response.status().as_u16());
    // The query is left out: it may name frames and processes, and the capture's own log line has what matters.
    tracing::debug!(%method, path, status = response.status().as_u16(), ms = began.elapsed().as_millis(), "request");
    response
}

fn render(response: &mut Response, problem: &Problem, path: &str, accept: &Accept) {
    let body = problem.body(Some(path));
    if response.status().is_server_error() {
        tracing::warn!(code = body.code, detail = body.detail, path, "request failed");
    }
    // `go tool pprof` prints the body of an error only if it is text and has this header.
    let for_go = path.starts_with("/debug/pprof/") && !accept.prefers_json();
    let (text, content_type) = if for_go || accept.prefers_text() {
        (problem.text(), "text/plain; charset=utf-8")
    } else {
        let json = serde_json::to_string_pretty(&body).unwrap_or_default();
        (json + "\n", "application/problem+json")
    };
    let headers = response.headers_mut();
    if for_go {
        headers.insert("x-go-pprof", HeaderValue::from_static("1"));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    headers.insert(CONTENT_LENGTH, text.len().into());
    *response.body_mut() = Body::from(text);
}
