//! `GET /processes`: what runs in the pod.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};

use super::accept::Accept;
use super::parameters::SelectorParameters;
use super::query::Pairs;
use super::{AppState, Problem};
use crate::capture::selector::{self, Selector};
use crate::child::Inspection;
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
    let default = selector::default_target(&inspections).ok();
    let mut wanted = selector::filter(&selector, &inspections).into_iter().peekable();
    let all = inspections.into_iter().enumerate();
    let shown = all.filter(move |(index, _)| wanted.next_if_eq(index).is_some());
    if text {
        let shown: Vec<_> = shown.map(|(_, inspection)| inspection).collect();
        return Ok(listing::processes(&shown).into_response());
    }
    let content_type = [(CONTENT_TYPE, "application/json")];
    let rows = shown.map(move |(index, inspection)| (inspection, default == Some(index)));
    Ok((content_type, Body::from_stream(json(rows))).into_response())
}

/// The list in pieces, each made when the one before is sent: the whole list of ten thousand processes has seven megabytes.
fn json(
    rows: impl Iterator<Item = (Inspection, bool)> + Send + 'static,
) -> impl Stream<Item = serde_json::Result<Vec<u8>>> + Send + 'static {
    const ROWS: usize = 64;
    let mut rows = rows.peekable();
    let mut next = Some(vec![b'[']);
    stream::iter(std::iter::from_fn(move || {
        let mut piece = next.take()?;
        for (inspection, is_default) in rows.by_ref().take(ROWS) {
            if let Err(error) = serde_json::to_writer(&mut piece, &listing::process_json(&inspection, is_default)) {
                return Some(Err(error));
            }
            piece.push(b',');
        }
        if rows.peek().is_some() {
            next = Some(Vec::new());
        } else {
            if piece.last() == Some(&b',') {
                piece.pop();
            }
            piece.push(b']');
        }
        Some(Ok(piece))
    }))
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
