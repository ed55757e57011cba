//! `GET /profile`: waits for the capture and answers with the artifact.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{LOCATION, VARY};
use axum::response::{IntoResponse, Response};

use super::accept::Accept;
use super::artifact::{self, Disposition};
use super::parameters::CaptureParameters;
use super::problem::{ProblemBody, SEE_OTHER};
use super::query::Pairs;
use super::{AppState, Problem, query};
use crate::capture::CaptureRequest;

/// What a browser will do with an answer.
const FETCH_DESTINATION: &str = "sec-fetch-dest";

/// Captures and answers with the artifact when it is complete.
///
/// Without pid and name it is the only JVM, .NET or Go process, else the only native one, of the pod and container given or
/// of all.
///
/// If the client goes away, the capture is cancelled and the target is left clean. A browser that would show the answer in a tab is sent to the
/// page, which shows how far the capture is.
#[utoipa::path(get, path = "/profile", tag = "captures", params(CaptureParameters),
    responses(
        (status = 200, description = "the artifact, whole; Content-Location is where it can be had again, with ranges",
            content(
                (Vec<u8> = "image/svg+xml"),
                (String = "text/plain"),
                (Vec<u8> = "application/octet-stream"),
                (serde_json::Value = "application/json"),
            ),
            headers(
                ("Sideflame-Capture", description = "id of the capture"),
                ("Sideflame-Pod", description = "namespace/name of the process's pod, if known"),
                ("Sideflame-Container", description = "name of its container, if known"),
                ("Sideflame-Sampler", description = "who sampled and how"),
                ("Sideflame-Samples", description = "samples in the recording"),
                ("Sideflame-Lost", description = "samples lost"),
                ("Sideflame-Unresolved", description = "share of frames without a name"),
                ("Sideflame-Degraded", description = "why the result is less than asked for"),
                ("Repr-Digest", description = "SHA-256, RFC 9530"),
            )),
        (status = 303, description = "to the page with the capture, for Sec-Fetch-Dest: document"),
        (status = "4XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn profile(
    State(state): State<AppState>,
    pairs: Pairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let request = request(&state, pairs, &headers)?;
    if headers
        .get(FETCH_DESTINATION)
        .is_some_and(|destination| destination == "document")
    {
        return progress(&state, &request).await;
    }
    artifact::taken(&state, &request, &Disposition::Inline).await
}

/// A tab would be blank for as long as the capture takes.
async fn progress(state: &AppState, request: &CaptureRequest) -> Result<Response, Problem> {
    let capture = state.captures.start(request).await?;
    let view = request.view.pairs();
    let view: Vec<_> = view
        .iter()
        .map(|(name, value)| format!("{name}={}", query::encode(value)))
        .collect();
    let query = if view.is_empty() {
        String::new()
    } else {
        format!("?{}", view.join("&"))
    };
    let headers = [
        (LOCATION, format!("/#/c/{}{query}", capture.id)),
        (VARY, FETCH_DESTINATION.to_owned()),
    ];
    Ok((SEE_OTHER, headers).into_response())
}

/// HEAD says whether a GET would be accepted and what it would be, without a capture.
pub(super) async fn check(
    State(state): State<AppState>,
    pairs: Pairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    artifact::announced(&state, &request(&state, pairs, &headers)?).await
}

fn request(state: &AppState, pairs: Pairs, headers: &HeaderMap) -> Result<CaptureRequest, Problem> {
    let mut request = CaptureRequest::parse(&pairs.without_view().0, state.captures.settings().max_seconds)?;
    request.accept = Accept::of(headers).formats();
    Ok(request)
}
