//! `GET /processes`: what runs in the pod.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use super::accept::Accept;
use super::query::Pairs;
use super::{AppState, Problem};
use crate::listing::{self, ProcessRow};

/// Every process with its runtime and events.
#[utoipa::path(get, path = "/processes", tag = "processes",
    params(("format" = Option<String>, Query, description = "json (default) or text; else Accept: text/plain asks for text")),
    responses((status = 200, description = "by pid", content((Vec<ProcessRow<'_>> = "application/json"), (String = "text/plain")))))]
pub(super) async fn processes(
    State(state): State<AppState>,
    pairs: Pairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    pairs.only(&["format"])?;
    let text = match wanted(&pairs)? {
        Some(form) => form == Form::Text,
        None => Accept::of(&headers).prefers_text(),
    };
    let inspections = state.captures.inspect().await?;
    if text {
        return Ok(listing::processes(&inspections).into_response());
    }
    Ok(Json(listing::processes_json(&inspections)).into_response())
}

/// How a list is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Text,
}

/// The form that `format=` names.
pub(super) fn wanted(pairs: &Pairs) -> Result<Option<Form>, Problem> {
    match pairs.value("format") {
        None => Ok(None),
        Some("json") => Ok(Some(Form::Json)),
        Some("text") => Ok(Some(Form::Text)),
        Some(other) => Err(Problem::invalid_parameter("format", other, &["json", "text"])),
    }
}
