//! `GET /captures/{id}/events`: a capture as it goes on, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{Id, known};
use crate::capture::state::{Progress, Status};
use crate::capture::{Capture, CaptureState};
use crate::http::problem::{NO_CONTENT, ProblemBody};
use crate::http::{AppState, Problem};

/// Clients that are told at a time: each holds a connection for as long as a capture may be.
const MOST: usize = 32;

/// How often a recording that grows is looked at.
const POLL: Duration = Duration::from_secs(1);

/// Proxies close what is silent for longer than some ten seconds.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Marks the last event: a browser connects again by itself, and then says what it had last.
const END: &str = "end";

/// The places of clients that are told.
#[derive(Debug, Clone)]
pub(in crate::http) struct Streams(Arc<Semaphore>);

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }
}

/// The data of an event.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ProgressView {
    #[serde(flatten)]
    progress: Progress,
    /// Why it failed, as a waiting client would have got it.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemBody>,
}

/// Somebody who is told.
struct Told {
    capture: Arc<Capture>,
    state: watch::Receiver<CaptureState>,
    last: Option<Progress>,
    _place: OwnedSemaphorePermit,
}

/// A capture as it goes on: an event `progress` whenever its phase or the size of its recording changes, and `end` as the last.
///
/// Between them there is a comment every ten seconds. A browser that connects again after the end is answered 204.
#[utoipa::path(get, path = "/captures/{id}/events", tag = "captures", params(("id" = String, Path)),
    responses(
        (status = 200, description = "server-sent events, whose data is a JSON object", body = ProgressView, content_type = "text/event-stream"),
        (status = 204, description = "the client has had the last event"),
        (status = 404, description = "unknown or expired", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "too many clients are told", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn events(
    State(state): State<AppState>,
    id: Id,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let capture = state.captures.get(&known(id)?)?;
    if headers.get("last-event-id").is_some_and(|last| last == END) {
        return Ok(NO_CONTENT.into_response());
    }
    let place = Arc::clone(&state.streams.0).try_acquire_owned();
    let told = Told {
        state: capture.watch(),
        capture,
        last: None,
        _place: place.map_err(|_| Problem::too_many_streams(MOST))?,
    };
    let events = stream::unfold(told, async |mut told| Some((told.next().await?, told)));
    let alive = KeepAlive::new().interval(HEARTBEAT);
    Ok(Sse::new(events).keep_alive(alive).into_response())
}

impl Told {
    /// Waits until there is something new to tell; `None` after the end.
    async fn next(&mut self) -> Option<Result<sse::Event, Infallible>> {
        loop {
            if self.last.as_ref().is_some_and(|last| last.status != Status::Running) {
                return None;
            }
            self.state.mark_unchanged();
            let now = self.capture.progress();
            if self.last.as_ref().is_none_or(|last| last.differs(&now)) {
                self.last = Some(now.clone());
                return Some(Ok(self.event(now)));
            }
            tokio::select! {
                changed = self.state.changed() => changed.ok()?,
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    fn event(&self, progress: Progress) -> sse::Event {
        let event = match progress.status {
            Status::Running => sse::Event::default().event("progress"),
            Status::Finished | Status::Failed => sse::Event::default().event(END).id(END),
        };
        let problem = match self.capture.state() {
            CaptureState::Failed(error) => Some(Problem::from(error).body(None)),
            CaptureState::Running(_) | CaptureState::Finished(_) => None,
        };
        // It has neither maps with other keys than strings nor numbers that JSON has not.
        event.json_data(ProgressView { progress, problem }).unwrap_or_default()
    }
}
