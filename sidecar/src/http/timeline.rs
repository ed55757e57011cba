//! `GET /captures/{id}/timeline`: how much there was of each event in each interval of a capture.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::captures::{self, Id};
use super::problem::ProblemBody;
use super::query::Pairs;
use super::{AppState, Problem};
use crate::capture::views;
use crate::event::Event;
use crate::format::Format;

/// What each event was over time.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "it describes the answer")]
pub(super) struct Timeline {
    /// Each with event, sampleType, unit, startedAtMs, durationMs, intervalMs, total, and values, one for each interval.
    events: Vec<serde_json::Value>,
}

/// How much there was in each interval of a capture, by event: what a strip of its time is drawn from.
#[utoipa::path(get, path = "/captures/{id}/timeline", tag = "captures",
    params(
        ("id" = String, Path),
        ("event" = Option<String>, Query, description = "only this one of several"),
        ("thread" = Option<String>, Query, description = "as of an artifact"),
        ("focus" = Option<String>, Query, description = "as of an artifact"),
    ),
    responses(
        (status = 200, description = "values of intervals of 20 ms to a second", body = Timeline),
        (status = "4XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn timeline(State(state): State<AppState>, id: Id, pairs: Pairs) -> Result<Response, Problem> {
    pairs.only_with_views(&["event"])?;
    let view = views::parse(&pairs.views())?;
    let capture = state.captures.get(&captures::known(id)?)?;
    let chosen = match (pairs.value("event"), &capture.event) {
        (Some(event), _) => vec![Some(captures::event(event)?)],
        (None, several @ Event::Several(_)) => several.parts().into_iter().map(Some).collect(),
        (None, _) => vec![None],
    };
    let mut events: Vec<String> = Vec::new();
    for event in chosen {
        let artifact = state
            .captures
            .artifact(&capture, Some(Format::Timeline), event.as_ref(), &view)
            .await?;
        // A number for each interval, of which there are 65,536 at most.
        let read = tokio::task::spawn_blocking(move || std::io::read_to_string(artifact.file)).await;
        let text = read.map_err(|error| Problem::bug(&error))?;
        let text = text.map_err(|error| Problem::bug(&error))?;
        events.push(text.trim_end().to_owned());
    }
    // They are JSON already, and nothing of a recording is parsed here.
    let body = format!("{{\"events\":[{}]}}\n", events.join(","));
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}
