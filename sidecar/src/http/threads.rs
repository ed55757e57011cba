//! `GET /threads`: what every thread or goroutine does at this moment.
//!
//! A capture like any other, of a moment: it stays in the list, and its artifact can be had again.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::accept::Accept;
use super::artifact::{self, Disposition};
use super::parameters::SelectorParameters;
use super::problem::ProblemBody;
use super::query::Pairs;
use super::{AppState, Problem};
use crate::capture::CaptureRequest;
use crate::event::Event;

/// The stacks of all threads or goroutines now.
///
/// As text the runtime's own dump; as JSON one shape for all runtimes, with deadlocks first where the runtime finds them. Virtual threads of a JVM (JDK 21
/// and later) are `virtual`, 20,000 at most; goroutines that do the same at the same place are one, with their `count` and the longest wait.
#[utoipa::path(get, path = "/threads", tag = "captures",
    params(
        ("format" = Option<String>, Query, description = "text or json; without it what the Accept header says, else text"),
        SelectorParameters,
    ),
    responses(
        (status = 200, description = "all threads; Content-Location is where the same can be had again",
            content((String = "text/plain"), (serde_json::Value = "application/json"))),
        (status = "4XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn threads(
    State(state): State<AppState>,
    pairs: Pairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let request = request(&state, &pairs, &headers)?;
    artifact::taken(&state, &request, &Disposition::Inline).await
}

/// HEAD says whether a GET would be accepted, without a capture.
pub(super) async fn check(
    State(state): State<AppState>,
    pairs: Pairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    artifact::announced(&state, &request(&state, &pairs, &headers)?).await
}

fn request(state: &AppState, pairs: &Pairs, headers: &HeaderMap) -> Result<CaptureRequest, Problem> {
    pairs.only_with_selectors(&["format"])?;
    let mut request = CaptureRequest::parse(&pairs.0, state.captures.settings().max_seconds)?;
    request.format.get_or_insert(Accept::of(headers).text_or_json());
    request.event = Event::Goroutine;
    request.snapshot = true;
    Ok(request)
}
