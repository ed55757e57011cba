//! KubeDiag's processor of Go profiles: `POST /processor/goProfiler`, and the page behind what it answers.
//!
//! The server at the URL is profiled as by `GET /profile?url=`. The page is of that capture and goes with it: who has its address
//! may see it, as in KubeDiag, whose agent hands it out as text. So neither the page nor its parts ask for our token.

mod body;
mod page;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{Html, IntoResponse, Response};

use super::artifact::{self, Disposition};
use super::captures::{Id, json, known};
use super::problem::{self, ProblemBody};
use super::{AppState, Problem};
use crate::capture::{Artifact, Capture, CaptureState};
use crate::format::Format;
use crate::profile::View;

/// Where processors are asked; below it are the pages.
pub(super) const PATH: &str = "/processor/goProfiler";

/// The key of the answer.
const ENDPOINT: &str = "diagnoser.runtime.go_profiler.result.endpoint";

/// What a page has beside itself.
const PARTS: [(&str, Format); 3] = [
    ("flame.svg", Format::Svg),
    ("top.txt", Format::Top),
    ("profile.pb.gz", Format::Pprof),
];

/// Bytes of the table that the page itself shows.
const TABLE: u64 = 64 << 10;

/// Profiles a Go server at its URL, as KubeDiag's agent asks for it.
///
/// Keys are those of KubeDiag, long (`param.diagnoser.runtime.go_profiler.source`) or short (`source`), nested or dotted; others are
/// passed over. The answer is one text under `diagnoser.runtime.go_profiler.result.endpoint`: the address of a page with flame graph
/// and top, which expires with it. 400 for what is wrong with the request, 500 if the server could not be profiled.
#[utoipa::path(post, path = "/processor/goProfiler", tag = "captures",
    request_body(content = serde_json::Value, content_type = "application/json",
        example = json!({"source": "https://10.0.2.15:6443", "type": "Heap", "expirationSeconds": 300,
            "tls": {"secretReference": {"namespace": "kubediag", "name": "apiserver-profiler-sa-token"}}})),
    responses(
        (status = 200, description = "Visit http://HOST:PORT/…, this server will expire in N seconds.", body = BTreeMap<String, String>),
        (status = 400, description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
        (status = 405, description = "only POST", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn process(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<BTreeMap<&'static str, String>>, Problem> {
    let host = host(request.headers());
    let answered = profiled(&state, request).await;
    let (capture, seconds) = answered.map_err(Problem::of_processor)?;
    let text = format!(
        "Visit http://{host}{PATH}/{}, this server will expire in {seconds} seconds.",
        capture
    );
    Ok(Json(BTreeMap::from([(ENDPOINT, text)])))
}

/// The id of the capture and how long it is kept.
async fn profiled(state: &AppState, mut request: Request) -> Result<(String, u64), Problem> {
    // Go's clients say nothing of a body unless they are told to. A page of another site says its origin in any case.
    let headers = request.headers_mut();
    headers
        .entry(CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("application/json"));
    let asked = body::parse(&json(request).await?)?;
    let request = asked.request(state.captures.settings().max_seconds);
    let (capture, _) = state.captures.profile(&request).await?;
    Ok((capture.id.to_string(), asked.expiration_seconds))
}

/// Where the client reached us: what can be opened from there. The guard has seen the header.
fn host(headers: &HeaderMap) -> String {
    let given = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || ".:-_[]".contains(c);
    match !given.is_empty() && given.chars().all(plain) {
        true => given.to_owned(),
        false => "localhost".to_owned(),
    }
}

/// The page of a profile that a processor was asked for, until it expires.
#[utoipa::path(get, path = "/processor/goProfiler/{id}", operation_id = "go_profiler_page", tag = "captures", params(("id" = String, Path)),
    responses(
        (status = 200, description = "flame graph and top, without scripts", content_type = "text/html", body = String),
        (status = 404, description = "unknown or expired", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn page(State(state): State<AppState>, id: Id) -> Result<Response, Problem> {
    let capture = found(&state, id)?;
    let quality = match capture.state() {
        CaptureState::Finished(quality) => quality,
        CaptureState::Running(_) | CaptureState::Failed(_) => {
            return Err(problem::no_such_capture(capture.id.as_str()));
        }
    };
    let view = View::default();
    let top = state
        .captures
        .artifact(&capture, Some(Format::Top), None, &view)
        .await?;
    let html = page::html(&capture, &quality, &table(top).await?);
    let policy = [(CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::POLICY))];
    Ok((policy, Html(html)).into_response())
}

/// The beginning of the table.
async fn table(top: Artifact) -> Result<String, Problem> {
    use tokio::io::AsyncReadExt;
    let mut bytes = Vec::new();
    let file = tokio::fs::File::from_std(top.file);
    let read = file.take(TABLE).read_to_end(&mut bytes).await;
    read.map_err(|error| Problem::bug(&error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A part of the page: flame.svg, top.txt or profile.pb.gz.
#[utoipa::path(get, path = "/processor/goProfiler/{id}/{part}", operation_id = "go_profiler_part", tag = "captures",
    params(("id" = String, Path), ("part" = String, Path, description = "flame.svg, top.txt or profile.pb.gz")),
    responses(
        (status = 200, description = "the artifact", content((Vec<u8> = "image/svg+xml"), (String = "text/plain"), (Vec<u8> = "application/octet-stream"))),
        (status = 404, description = "unknown or expired", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn part(
    State(state): State<AppState>,
    path: Result<Path<(String, String)>, PathRejection>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Ok(Path((id, part))) = path else {
        return Err(problem::no_such_capture("of that name"));
    };
    let capture = found(&state, Ok(Path(id)))?;
    let known = PARTS.iter().find(|(name, _)| *name == part);
    let (_, format) = known.ok_or_else(|| Problem::no_such_profile(&part, &PARTS.map(|(name, _)| name)))?;
    let artifact = state
        .captures
        .artifact(&capture, Some(*format), None, &View::default())
        .await?;
    artifact::kept(
        artifact,
        Some(capture.id.as_str()),
        &Disposition::Inline,
        &method,
        &headers,
    )
}

/// A capture that a processor was asked for; all others stay behind the token.
fn found(state: &AppState, id: Id) -> Result<Arc<Capture>, Problem> {
    let id = known(id)?;
    let capture = state.captures.get(&id)?;
    match capture.keep {
        Some(_) => Ok(capture),
        None => Err(problem::no_such_capture(&id)),
    }
}
