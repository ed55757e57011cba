//! `GET /processes`: what runs in the pod.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use super::accept::Accept;
use super::parameters::SelectorParameters;
use super::query::Pairs;
use super::{AppState, Problem};
use crate::capture::selector::{self, Selector};
use crate::listing::{self, ProcessRow};

/// Every process with its runtime and events, or those that fit all of the selectors given: none at all may.
#[utoipa::path(get, path = "/processes", tag = "processes",
    params(
        SelectorParameters,
        ("format" = Option<String>, Query, description = "json (default) or text; else Accept: text/plain asks for text"),
    ),
    responses((status = 200, description = "by pid", content((Vec<ProcessRow<'_>> = "application/json"), (String = "text/plain")))))]
pub(super) async fn processes(
    State(state): State<AppState>,
    pairs: Pairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    pairs.only_with_selectors(&["format"])?;
    let text = match wanted(&pairs)? {
        Some(form) => form == Form::Text,
        None => Accept::of(&headers).prefers_text(),
    };
    let selector = Selector::parse(&pairs.selectors())?;
    // All of them, whichever are shown: only among all is one the default.
    let inspections = state.captures.inspect().await?;
    let shown = selector::filter(&selector, &inspections);
    if text {
        let shown: Vec<_> = shown.into_iter().map(|index| inspections[index].clone()).collect();
        return Ok(listing::processes(&shown).into_response());
    }
    let rows = listing::processes_json(&inspections).into_iter().enumerate();
    let rows: Vec<ProcessRow<'_>> = rows
        .filter(|(index, _)| shown.contains(index))
        .map(|(_, row)| row)
        .collect();
    Ok(Json(rows).into_response())
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
