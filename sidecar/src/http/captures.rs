//! `/captures`: captures as resources, for clients that come back.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;

use super::artifact::{self, Disposition};
use super::parameters::{CaptureParameters, ViewParameters};
use super::problem::{self, ACCEPTED, NO_CONTENT, ProblemBody};
use super::query::Pairs;
use super::{AppState, Problem};
use crate::capture::{Capture, CaptureRequest, CaptureState, Snapshot, views};
use crate::event::Event;
use crate::format::Format;

pub(super) mod body;
pub(super) mod events;
pub(super) mod export;
pub(super) mod remarks;

/// Largest body we read: parameters, nothing else.
const LARGEST_BODY: usize = 64 << 10;

/// A client that has parameters to send has them at once.
const BODY_TIME: Duration = Duration::from_secs(10);

/// A capture, and if it failed, the problem a waiting client would have got.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct CaptureView {
    #[serde(flatten)]
    capture: Snapshot,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemBody>,
}

impl CaptureView {
    fn of(capture: &Capture) -> Json<Self> {
        Json(Self::plain(capture))
    }

    fn plain(capture: &Capture) -> Self {
        let problem = match capture.state() {
            CaptureState::Failed(error) => Some(Problem::from(error).body(None)),
            CaptureState::Running(_) | CaptureState::Finished(_) => None,
        };
        Self {
            capture: capture.snapshot(),
            problem,
        }
    }
}

/// Starts a capture and answers at once, or when the profiler it needs is free, 40 s later at most.
///
/// Parameters come in the query string, in a JSON body, or both.
#[utoipa::path(post, path = "/captures", tag = "captures", params(CaptureParameters),
    request_body(content = Option<CaptureParameters>, content_type = "application/json"),
    responses(
        (status = 202, description = "started", body = CaptureView, headers(("Location", description = "the capture"))),
        (status = "4XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn start(State(state): State<AppState>, pairs: Pairs, request: Request) -> Result<Response, Problem> {
    let mut pairs = pairs.0;
    pairs.extend(parameters(request).await?);
    let request = CaptureRequest::parse(&pairs, state.captures.settings().max_seconds)?;
    if let Some((name, _)) = request.view.pairs().first() {
        return Err(Problem::of_an_artifact(name));
    }
    let capture = state.captures.start(&request).await?;
    let location = [(LOCATION, format!("/captures/{}", capture.id))];
    Ok((ACCEPTED, location, CaptureView::of(&capture)).into_response())
}

/// The captures that are kept.
#[utoipa::path(get, path = "/captures", tag = "captures",
    responses((status = 200, description = "running, finished and failed captures, oldest first", body = Vec<CaptureView>,
        headers(("Sideflame-Store", description = "used=BYTES, limit=BYTES: what they take, with what running ones may still take")))))]
pub(super) async fn list(State(state): State<AppState>) -> Response {
    let mut captures = state.captures.list();
    captures.sort_by_key(|capture| capture.created_at);
    let (used, limit) = (state.captures.store_bytes(), state.captures.settings().store_bytes);
    let views: Vec<_> = captures.iter().map(|capture| CaptureView::plain(capture)).collect();
    (
        [("sideflame-store", format!("used={used}, limit={limit}"))],
        Json(views),
    )
        .into_response()
}

/// One capture.
#[utoipa::path(get, path = "/captures/{id}", tag = "captures", params(("id" = String, Path)),
    responses(
        (status = 200, description = "state, quality, formats", body = CaptureView),
        (status = 404, description = "unknown or expired", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn one(State(state): State<AppState>, id: Id) -> Result<Json<CaptureView>, Problem> {
    Ok(CaptureView::of(&*state.captures.get(&known(id)?)?))
}

/// Ends a running capture early and keeps what there is; a finished one stays as it is.
#[utoipa::path(post, path = "/captures/{id}/stop", tag = "captures", params(("id" = String, Path)),
    responses(
        (status = 202, description = "told; its state shows when it is done", body = CaptureView),
        (status = 404, description = "unknown or expired", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn stop(State(state): State<AppState>, id: Id) -> Result<Response, Problem> {
    let capture = state.captures.stop(&known(id)?)?;
    Ok((ACCEPTED, CaptureView::of(&capture)).into_response())
}

/// Cancels a capture if it runs, waits until the target is clean, and removes all of it.
#[utoipa::path(delete, path = "/captures/{id}", tag = "captures", params(("id" = String, Path)),
    responses(
        (status = 204, description = "gone"),
        (status = 404, description = "unknown or expired", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn delete(State(state): State<AppState>, id: Id) -> Result<Response, Problem> {
    state.captures.delete(&known(id)?).await?;
    Ok(NO_CONTENT.into_response())
}

/// An artifact of a finished capture, rendered at the first request.
#[utoipa::path(get, path = "/captures/{id}/artifact", tag = "captures",
    params(
        ("id" = String, Path),
        ("format" = Option<Format>, Query, description = "one of the capture's formats; by default the one it was started with"),
        ("event" = Option<String>, Query, description = "which event of a recording of several: cpu, alloc, …"),
        ViewParameters,
        ("download" = Option<bool>, Query, description = "tell browsers to save it"),
        ("Range" = Option<String>, Header, description = "one range of bytes"),
        ("If-Range" = Option<String>, Header, description = "its ETag"),
        ("If-None-Match" = Option<String>, Header, description = "its ETag"),
    ),
    responses(
        (status = 200, description = "the artifact, whole", content(
            (Vec<u8> = "image/svg+xml"), (String = "text/plain"), (Vec<u8> = "application/octet-stream"), (serde_json::Value = "application/json"),
            (Vec<u8> = "application/vnd.sideflame.flame"),
        )),
        (status = 206, description = "the part asked for"),
        (status = 304, description = "the client has it"),
        (status = "4XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn artifact(
    State(state): State<AppState>,
    id: Id,
    pairs: Pairs,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let pairs = pairs.without_view();
    pairs.only_with_views(&["format", "event", "download"])?;
    let format = pairs.value("format").map(format).transpose()?;
    rendered(&state, id, &pairs, format, (&method, &headers)).await
}

/// The capture of that id in a format, as the parameters say.
pub(super) async fn rendered(
    state: &AppState,
    id: Id,
    pairs: &Pairs,
    format: Option<Format>,
    (method, conditions): (&Method, &HeaderMap),
) -> Result<Response, Problem> {
    let event = pairs.value("event").map(event).transpose()?;
    let view = views::parse(&pairs.views())?;
    let disposition = disposition(pairs)?;
    let capture = state.captures.get(&known(id)?)?;
    let artifact = state.captures.artifact(&capture, format, event.as_ref(), &view).await?;
    artifact::kept(artifact, Some(capture.id.as_str()), &disposition, method, conditions)
}

/// What browsers are told to do with it.
pub(super) fn disposition(pairs: &Pairs) -> Result<Disposition, Problem> {
    match pairs.value("download") {
        None | Some("0" | "false") => Ok(Disposition::Inline),
        Some("" | "1" | "true") => Ok(Disposition::Attachment),
        Some(other) => Err(Problem::invalid_parameter("download", other, &["true", "false"])),
    }
}

/// The `{id}` of a path; it fails when it is not UTF-8.
pub(super) type Id = Result<Path<String>, PathRejection>;

pub(super) fn known(id: Id) -> Result<String, Problem> {
    id.map(|Path(id)| id)
        .map_err(|_| problem::no_such_capture("of that name"))
}

fn format(name: &str) -> Result<Format, Problem> {
    name.parse()
        .map_err(|_| Problem::invalid_parameter("format", name, &Format::ALL.map(Format::name)))
}

pub(super) fn event(name: &str) -> Result<Event, Problem> {
    let event = name.parse();
    event.map_err(|_| Problem::invalid_parameter("event", name, &["cpu", "wall", "alloc", "heap", "lock"]))
}

/// The parameters in the body, if there is one.
async fn parameters(request: Request) -> Result<Vec<(String, String)>, Problem> {
    let bytes = json(request).await?;
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    body::parse(&bytes)
}

/// The body, which says that it is JSON unless it is empty.
pub(super) async fn json(request: Request) -> Result<Vec<u8>, Problem> {
    let (parts, body) = request.into_parts();
    let length = parts
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > LARGEST_BODY) {
        return Err(Problem::body_too_large(LARGEST_BODY));
    }
    let bytes = read(body).await?;
    if bytes.is_empty() {
        return Ok(bytes);
    }
    let content_type = parts
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Problem::unsupported_content_type());
    }
    Ok(bytes)
}

async fn read(body: Body) -> Result<Vec<u8>, Problem> {
    let collected = tokio::time::timeout(BODY_TIME, Limited::new(body, LARGEST_BODY).collect()).await;
    let collected = collected.map_err(|_| Problem::request_timeout(BODY_TIME.as_secs()))?;
    let bytes = collected.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => Problem::body_too_large(LARGEST_BODY),
        None => Problem::malformed_body("it ended early"),
    })?;
    Ok(bytes.to_bytes().to_vec())
}
