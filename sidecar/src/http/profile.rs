//! `GET /profile`: waits for the capture and answers with the artifact.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::accept::Accept;
use super::artifact::{self, Disposition};
use super::problem::ProblemBody;
use super::query::Pairs;
use super::{AppState, Problem};
use crate::capture::CaptureRequest;
use crate::format::Format;

/// The parameters of a capture as the OpenAPI document shows them; [`CaptureRequest`] validates them. Values in a JSON
/// body may be strings, numbers and booleans, and arrays where a parameter can be repeated.
#[derive(Debug, utoipa::IntoParams, utoipa::ToSchema)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "only its schema is used: CaptureRequest reads the pairs themselves"
)]
pub(super) struct CaptureParameters {
    /// Process, as this pid namespace numbers it. Without pid and name: the only JVM, .NET or Go process, else the
    /// only native one, of the pod and container given or of all.
    pub(super) pid: Option<i32>,
    /// Process by a unique prefix of its name.
    pub(super) name: Option<String>,
    /// Process in this pod, by its name or namespace/name or a unique beginning of either.
    pub(super) pod: Option<String>,
    /// Process in this container, by its name in the pod or a unique beginning of it.
    pub(super) container: Option<String>,
    /// How long to sample: 1 to the operator's maximum, 30 by default.
    #[schema(minimum = 1)]
    pub(super) seconds: Option<u64>,
    /// What to sample: cpu (default), wall, alloc, heap, lock, block, goroutine, threadcreate, exceptions, trace, or
    /// an event name of async-profiler.
    pub(super) event: Option<String>,
    /// The artifact's format; by default the Accept header decides, else svg where the event can be drawn.
    pub(super) format: Option<Format>,
    /// Samples per second (JVM), 1 to 1000.
    #[schema(minimum = 1, maximum = 1000)]
    pub(super) frequency: Option<u32>,
    /// Sampling interval in async-profiler's notation (JVM), e.g. 10ms or 512k. Not together with frequency.
    pub(super) interval: Option<String>,
    /// Split stacks by thread (JVM).
    pub(super) threads: Option<bool>,
    /// Only stacks with a frame that matches (JVM). Can be repeated.
    pub(super) include: Option<Vec<String>>,
    /// No stacks with a frame that matches (JVM). Can be repeated.
    pub(super) exclude: Option<Vec<String>>,
    /// Profiles of dotnet-trace (.NET), separated by commas.
    pub(super) profile: Option<String>,
    /// Providers of dotnet-trace (.NET). Can be repeated.
    pub(super) providers: Option<Vec<String>>,
}

/// Captures and answers with the artifact when it is complete.
///
/// If the client goes away, the capture is cancelled and the target is left clean.
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
        (status = "4XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn profile(
    State(state): State<AppState>,
    pairs: Pairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let request = request(&state, pairs, &headers)?;
    let (capture, artifact) = state.captures.profile(&request).await?;
    artifact::fresh(artifact, capture.id.as_str(), &Disposition::Inline)
}

/// HEAD says whether a GET would be accepted and what it would be, without a capture.
pub(super) async fn check(
    State(state): State<AppState>,
    pairs: Pairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = state.captures.check(&request(&state, pairs, &headers)?).await?;
    Ok(artifact::announced(format))
}

fn request(state: &AppState, pairs: Pairs, headers: &HeaderMap) -> Result<CaptureRequest, Problem> {
    let mut request = CaptureRequest::parse(&pairs.without_view().0, state.captures.settings().max_seconds)?;
    request.accept = Accept::of(headers).formats();
    Ok(request)
}
