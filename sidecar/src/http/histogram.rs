//! `GET /histogram` and `GET /gcdump`: what lives in the heap at this moment, by type, and the walk through it that this is made of.
//!
//! Captures like any other, of a moment: they stay in the list, and the artifacts of one can be had from the other.

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
use crate::format::Format;

/// What is in the heap by type, the type with the most bytes first.
///
/// Of .NET and of a JVM live objects: the runtime collects all garbage before (a JVM not with `all=true`), and the app stands still until its
/// heap has been walked through. Of Go, which knows no types, the functions that allocated what lives, each with the sizes of its objects: estimates
/// from samples, and a garbage collection before.
#[utoipa::path(get, path = "/histogram", tag = "captures",
    params(
        ("format" = Option<String>, Query, description = "text or json; without it what the Accept header says, else text"),
        ("all" = Option<bool>, Query, description = "of a JVM: objects that nothing refers to as well, without a collection before"),
        SelectorParameters,
    ),
    responses(
        (status = 200, description = "all types; Content-Location is where the same can be had again, also as svg, collapsed, pprof, \
            speedscope, and of .NET as nettrace", content((String = "text/plain"), (serde_json::Value = "application/json"))),
        (status = "4XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn histogram(
    State(state): State<AppState>,
    pairs: Pairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let request = table(&state, &pairs, &headers)?;
    artifact::taken(&state, &request, &Disposition::Inline).await
}

/// HEAD says whether a GET would be accepted, without a capture.
pub(super) async fn check(
    State(state): State<AppState>,
    pairs: Pairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    artifact::announced(&state, &table(&state, &pairs, &headers)?).await
}

/// Every live object and its references, as the EventPipe session of a walk through the heap (.nettrace).
///
/// `dotnet-gcdump convert FILE.nettrace` makes a .gcdump of it for Visual Studio and PerfView. Of .NET; the app stands still meanwhile, as
/// for `/histogram`.
#[utoipa::path(get, path = "/gcdump", tag = "captures", params(SelectorParameters),
    responses(
        (status = 200, description = "the session; Content-Location is where the same can be had again, also as text and json",
            content_type = "application/octet-stream", body = Vec<u8>),
        (status = "4XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn gcdump(State(state): State<AppState>, pairs: Pairs) -> Result<Response, Problem> {
    let request = walk(&state, &pairs)?;
    artifact::taken(&state, &request, &Disposition::Attachment).await
}

/// HEAD says whether a GET would be accepted, without a capture.
pub(super) async fn check_gcdump(State(state): State<AppState>, pairs: Pairs) -> Result<Response, Problem> {
    artifact::announced(&state, &walk(&state, &pairs)?).await
}

fn table(state: &AppState, pairs: &Pairs, headers: &HeaderMap) -> Result<CaptureRequest, Problem> {
    pairs.only_with_selectors(&["format", "all"])?;
    let mut request = of_the_heap(state, pairs)?;
    request.format.get_or_insert(Accept::of(headers).text_or_json());
    Ok(request)
}

fn walk(state: &AppState, pairs: &Pairs) -> Result<CaptureRequest, Problem> {
    pairs.only_with_selectors(&[])?;
    let mut request = of_the_heap(state, pairs)?;
    request.format = Some(Format::Nettrace);
    Ok(request)
}

fn of_the_heap(state: &AppState, pairs: &Pairs) -> Result<CaptureRequest, Problem> {
    let mut request = CaptureRequest::parse(&pairs.0, state.captures.settings().max_seconds)?;
    request.event = Event::Heap;
    request.snapshot = true;
    request.by_type = true;
    Ok(request)
}
