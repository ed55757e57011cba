//! `GET /diff` and `POST /diff`: two captures, or two files, against each other.

pub(in crate::http) mod tar;

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use futures_util::StreamExt;

use super::accept::Accept;
use super::artifact;
use super::captures;
use super::parameters::ViewParameters;
use super::problem::ProblemBody;
use super::query::Pairs;
use super::{AppState, Problem};
use crate::capture::diff::{DiffRequest, LARGEST_FILE, Sent};
use crate::capture::{Captures, views};
use crate::format::Format;
use crate::profile::diff::compare::FORMATS;
use crate::profile::diff::{Base, Normalise};
use tar::{Piece, Tar};

/// Without a byte for so long, no more will come.
const SILENCE: Duration = Duration::from_secs(10);
/// A body that comes byte by byte is no body.
const LONGEST_BODY: Duration = Duration::from_secs(300);

/// The parameters of both, beside what names the recordings.
const PARAMETERS: [&str; 5] = ["format", "normalise", "base", "event", "download"];

/// What one capture has more and less than another.
///
/// As svg a differential flame graph: red where there is more, blue where there is less. As top a table of the functions that gained
/// and lost, with a sentence first; a change that chance explains is called noise. As pprof what `go tool pprof -diff_base` makes, as
/// collapsed three columns: stack, before, after. As flame what `/captures/{id}/flame` is, with two columns behind the others, `before f64[n]` and
/// `after f64[n]`, on the scale of the second.
#[utoipa::path(get, path = "/diff", operation_id = "diff", tag = "captures",
    params(
        ("before" = String, Query, description = "id of a finished capture"),
        ("after" = String, Query, description = "id of a finished capture of the same event"),
        ("format" = Option<String>, Query, description = "svg, top, top.json, pprof, collapsed or flame; without it what the Accept header says, else svg"),
        ("normalise" = Option<String>, Query, description = "per-second (the default where both durations are known), share or none"),
        ("base" = Option<String>, Query, description = "whose widths a picture has: after (the default) or before"),
        ("event" = Option<String>, Query, description = "which event of recordings of several: cpu, alloc, …"),
        ViewParameters,
        ("download" = Option<bool>, Query, description = "tell browsers to save it"),
    ),
    responses(
        (status = 200, description = "the difference", content(
            (Vec<u8> = "image/svg+xml"), (String = "text/plain"), (Vec<u8> = "application/octet-stream"), (serde_json::Value = "application/json"),
            (Vec<u8> = "application/vnd.sideflame.flame"),
        )),
        (status = "4XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn diff(
    State(state): State<AppState>,
    pairs: Pairs,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let pairs = pairs.without_view();
    let own: Vec<_> = PARAMETERS.into_iter().chain(["before", "after"]).collect();
    pairs.only_with_views(&own)?;
    let request = request(&pairs, &headers)?;
    let disposition = captures::disposition(&pairs)?;
    let capture = |name: &str| {
        let id = pairs.value(name).ok_or_else(|| Problem::missing_capture(name))?;
        Ok::<_, Problem>(state.captures.get(id)?)
    };
    let (before, after) = (capture("before")?, capture("after")?);
    let artifact = state.captures.diff((&before, &after), &request).await?;
    artifact::kept(artifact, None, &disposition, &method, &headers)
}

/// The same of two files.
///
/// The body is a tar archive of them, before first: `tar -c before.pb.gz after.pb.gz | curl --data-binary @- localhost:7117/diff`.
#[utoipa::path(post, path = "/diff", operation_id = "diff_of_files", tag = "captures",
    params(
        ("format" = Option<String>, Query, description = "svg, top, top.json, pprof, collapsed or flame; without it what the Accept header says, else svg"),
        ("normalise" = Option<String>, Query, description = "per-second (the default where both durations are known), share or none"),
        ("base" = Option<String>, Query, description = "whose widths a picture has: after (the default) or before"),
        ("event" = Option<String>, Query, description = "which event of JFR files of several"),
        ViewParameters,
        ("download" = Option<bool>, Query, description = "tell browsers to save it"),
    ),
    request_body(content = Vec<u8>, content_type = "application/x-tar", description = "two recordings: collapsed text, pprof, JFR or nettrace"),
    responses(
        (status = 200, description = "the difference", content(
            (Vec<u8> = "image/svg+xml"), (String = "text/plain"), (Vec<u8> = "application/octet-stream"), (serde_json::Value = "application/json"),
            (Vec<u8> = "application/vnd.sideflame.flame"),
        )),
        (status = "4XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn of_files(
    State(state): State<AppState>,
    pairs: Pairs,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    pairs.only_with_views(&PARAMETERS)?;
    let request = request(&pairs, &headers)?;
    let disposition = captures::disposition(&pairs)?;
    let received = tokio::time::timeout(LONGEST_BODY, receive(&state.captures, body)).await;
    let files = received.map_err(|_| Problem::request_timeout(LONGEST_BODY.as_secs()))??;
    let artifact = state.captures.diff_of_files(files, &request).await?;
    artifact::kept(artifact, None, &disposition, &method, &headers)
}

fn request(pairs: &Pairs, headers: &HeaderMap) -> Result<DiffRequest, Problem> {
    let names = FORMATS.map(Format::name);
    let format = match pairs.value("format") {
        Some(name) => {
            let format = name.parse().ok().filter(|format| FORMATS.contains(format));
            format.ok_or_else(|| Problem::invalid_parameter("format", name, &names))?
        }
        None => match Accept::of(headers) {
            accept if accept.prefers_json() => Format::TopJson,
            accept if accept.prefers_text() => Format::Top,
            _ => Format::Svg,
        },
    };
    let normalise = pairs.value("normalise").map(|name| {
        Normalise::named(name)
            .ok_or_else(|| Problem::invalid_parameter("normalise", name, &Normalise::ALL.map(Normalise::name)))
    });
    let base = pairs.value("base").map(|name| {
        Base::named(name).ok_or_else(|| Problem::invalid_parameter("base", name, &Base::ALL.map(Base::name)))
    });
    Ok(DiffRequest {
        format,
        normalise: normalise.transpose()?,
        base: base.transpose()?.unwrap_or_default(),
        event: pairs.value("event").map(captures::event).transpose()?,
        view: views::parse(&pairs.views())?,
    })
}

/// Takes two files out of a body, into the store.
async fn receive(captures: &Captures, body: Body) -> Result<[Sent; 2], Problem> {
    let (mut tar, mut files) = (Tar::new(), Vec::new());
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = next(&mut chunks).await? {
        let mut bytes = chunk.as_ref();
        loop {
            match tar.next(&mut bytes) {
                Ok(None) => break,
                Ok(Some(Piece::Begin(size))) if size > LARGEST_FILE => {
                    return Err(Problem::file_too_large(LARGEST_FILE));
                }
                Ok(Some(Piece::Begin(_))) if files.len() == 2 => {
                    return Err(Problem::malformed_archive("the archive has more than two files"));
                }
                Ok(Some(Piece::Begin(_))) => files.push(captures.receive()?),
                Ok(Some(Piece::Data(data))) => {
                    if let Some(file) = files.last_mut() {
                        file.write(data).await?;
                    }
                }
                Ok(Some(Piece::End)) => {
                    if let Some(file) = files.last_mut() {
                        file.end();
                    }
                }
                Err(error) => return Err(Problem::malformed_archive(error.to_string())),
            }
        }
    }
    if !tar.is_whole() {
        return Err(Problem::malformed_archive("the archive ends early"));
    }
    let count = files.len();
    files
        .try_into()
        .map_err(|_| Problem::malformed_archive(format!("the archive has {count} files, not two")))
}

async fn next(chunks: &mut axum::body::BodyDataStream) -> Result<Option<Bytes>, Problem> {
    let chunk = tokio::time::timeout(SILENCE, chunks.next()).await;
    let chunk = chunk.map_err(|_| Problem::request_timeout(SILENCE.as_secs()))?;
    let chunk = chunk.transpose();
    chunk.map_err(|_| Problem::malformed_archive("the body ended early"))
}
