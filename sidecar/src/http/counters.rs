//! `GET /counters`: what the kernel counts of a process and its runtime of itself, once or as it changes.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;

use super::accept::Accept;
use super::artifact::{self, Disposition};
use super::parameters::SelectorParameters;
use super::problem::ProblemBody;
use super::query::Pairs;
use super::{AppState, Problem};
use crate::capture::CaptureRequest;
use crate::capture::following::Following;
use crate::event::Event;
use crate::format::Format;

/// How values are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Telling {
    /// All of some seconds, when they are over.
    Whole(Format),
    /// Each as soon as it comes, a line of JSON.
    Lines,
    /// The same as server-sent events.
    Events,
}

/// Counters of a process: CPU time, memory, faults, descriptors, throttling and pressure by the kernel; garbage collections, heap and
/// threads by its runtime; and what the program counts through that.
///
/// The kernel's are there for every process. A JVM's are read from what it shares (hsperfdata), without attaching; .NET's come in an
/// EventPipe session; a Go program's from `/debug/vars` (expvar), where it serves it. `quality.degraded` says what is missing, and why.
/// Without `seconds` one value of each. With `format=sse` or `jsonl` values come as they change, until the client leaves.
#[utoipa::path(get, path = "/counters", tag = "captures",
    params(
        ("format" = Option<String>, Query, description = "json, text (as Prometheus reads it), jsonl (a line per value, as it comes) or sse; without it what \
            the Accept header says, else json"),
        ("interval" = Option<u32>, Query, description = "seconds between two values, 1 unless said"),
        ("seconds" = Option<u64>, Query, description = "how long; without it until one value has come, of jsonl and sse as long as captures may be"),
        ("counters" = Option<String>, Query, description = "of .NET: names of EventSources and Meters, separated by commas; without them System.Runtime and \
            Microsoft.AspNetCore.Hosting"),
        SelectorParameters,
    ),
    responses(
        (status = 200, description = "the values", content(
            (serde_json::Value = "application/json"), (String = "text/plain"), (String = "application/x-ndjson"), (String = "text/event-stream"))),
        (status = "4XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn counters(
    State(state): State<AppState>,
    pairs: Pairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (request, telling) = request(&state, &pairs, &headers)?;
    match telling {
        Telling::Whole(_) => artifact::taken(&state, &request, &Disposition::Inline).await,
        Telling::Lines => Ok(lines(state.captures.follow(&request).await?)),
        Telling::Events => Ok(events(state.captures.follow(&request).await?)),
    }
}

/// HEAD says whether a GET would be accepted, without a capture.
pub(super) async fn check(
    State(state): State<AppState>,
    pairs: Pairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (request, _) = request(&state, &pairs, &headers)?;
    artifact::announced(&state, &request).await
}

fn lines(following: Following) -> Response {
    let lines = stream::unfold(following, async |mut following| {
        // A body that ends with an error is cut, which is what a client of it can see.
        Some((following.next().await?, following))
    });
    let headers = [
        (CONTENT_TYPE, Format::Jsonl.content_type()),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::from_stream(lines)).into_response()
}

fn events(following: Following) -> Response {
    let events = stream::unfold((following, VecDeque::new()), async |(mut following, mut waiting)| {
        loop {
            if let Some(event) = waiting.pop_front() {
                return Some((Ok::<_, Infallible>(event), (following, waiting)));
            }
            match following.next().await? {
                Ok(lines) => {
                    let lines = String::from_utf8_lossy(&lines);
                    waiting.extend(lines.lines().map(|line| sse::Event::default().data(line)));
                }
                Err(error) => {
                    let problem = Problem::from(error);
                    waiting.push_back(sse::Event::default().event("problem").data(problem.code()));
                }
            }
        }
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

fn request(state: &AppState, pairs: &Pairs, headers: &HeaderMap) -> Result<(CaptureRequest, Telling), Problem> {
    pairs.only_with_selectors(&["format", "interval", "seconds", "counters"])?;
    let accept = Accept::of(headers);
    let telling = match pairs.value("format") {
        Some("sse") => Telling::Events,
        Some("jsonl") => Telling::Lines,
        Some(_) => Telling::Whole(Format::Json),
        None if accept.names("text/event-stream") => Telling::Events,
        None if accept.names(Format::Jsonl.content_type()) => Telling::Lines,
        None if accept.prefers_text() => Telling::Whole(Format::Text),
        None => Telling::Whole(Format::Json),
    };
    let max_seconds = state.captures.settings().max_seconds;
    let renamed = pairs.0.iter().map(|(name, value)| match name.as_str() {
        "interval" => ("refresh".to_owned(), value.clone()),
        _ => (name.clone(), value.clone()),
    });
    let of_capture = renamed.filter(|(name, value)| name != "format" || value != "sse");
    let mut request = CaptureRequest::parse(&of_capture.collect::<Vec<_>>(), max_seconds)?;
    request.event = Event::Counters;
    let preferred = match telling {
        Telling::Whole(format) => format,
        Telling::Lines | Telling::Events => Format::Jsonl,
    };
    request.format.get_or_insert(preferred);
    if pairs.value("seconds").is_none() {
        // A source begins with what it counts from now on, and tells it after an interval that need not begin now.
        let once = u64::from(request.options.refresh()) + 1;
        request.snapshot = matches!(telling, Telling::Whole(_));
        request.seconds = match telling {
            Telling::Whole(_) => once.min(max_seconds),
            Telling::Lines | Telling::Events => max_seconds,
        };
    }
    Ok((request, telling))
}
