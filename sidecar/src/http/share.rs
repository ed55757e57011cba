//! `GET /captures/{id}/share`: how much of a capture is spent in stacks with a function that matches.
//!
//! The renderer matches and adds up; the answer is what its stamp says of the part that it shows.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::accept::Accept;
use super::captures::{self, Id};
use super::problem::ProblemBody;
use super::processes::{Form, wanted};
use super::query::Pairs;
use super::{AppState, Problem};
use crate::capture::views;
use crate::format::Format;
use crate::profile::quality::Shown;
use crate::profile::{View, stamp};

/// The share of stacks with a matching function.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Share {
    /// The regular expression.
    r#match: String,
    /// What stacks with a matching function have.
    value: u64,
    /// What all stacks have.
    total: u64,
    /// The one of the other, 0 to 1; null if there is nothing.
    share: Option<f64>,
    /// What is added up.
    sample_type: String,
    /// In which unit.
    unit: String,
    /// Functions that match, those with the most value first, 20 at most.
    matched_functions: Vec<String>,
}

/// The share of all samples whose stack has a function that matches.
#[utoipa::path(get, path = "/captures/{id}/share", tag = "captures",
    params(
        ("id" = String, Path),
        ("match" = String, Query, description = "a regular expression for names of functions, at most 256 bytes"),
        ("event" = Option<String>, Query, description = "which event of a recording of several: cpu, alloc, …"),
        ("format" = Option<String>, Query, description = "text (default) or json; else Accept: application/json asks for JSON"),
    ),
    responses(
        (status = 200, description = "the share, and what matched", content((String = "text/plain"), (Share = "application/json"))),
        (status = "4XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn share(
    State(state): State<AppState>,
    id: Id,
    pairs: Pairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    pairs.only(&["match", "event", "format"])?;
    let json = match wanted(&pairs)? {
        Some(form) => form == Form::Json,
        None => Accept::of(&headers).prefers_json(),
    };
    let pattern = pairs.value("match").unwrap_or_default();
    let view = View::of_focus(views::pattern("match", pattern)?);
    let event = pairs.value("event").map(captures::event).transpose()?;
    let capture = state.captures.get(&captures::known(id)?)?;
    let artifact = state
        .captures
        .artifact(&capture, Some(Format::TopJson), event.as_ref(), &view)
        .await?;
    let shown = artifact.meta.quality.shown.map(|shown| *shown).unwrap_or_default();
    Ok(match json {
        true => Json(Share::of(pattern, shown)).into_response(),
        false => text(&shown).into_response(),
    })
}

impl Share {
    fn of(pattern: &str, shown: Shown) -> Self {
        Self {
            r#match: pattern.to_owned(),
            value: shown.value,
            total: shown.total,
            share: shown.share,
            sample_type: shown.sample_type,
            unit: shown.unit,
            matched_functions: shown.functions,
        }
    }
}

/// One line, the share first.
fn text(shown: &Shown) -> String {
    let functions = match shown.functions.as_slice() {
        [] => "nothing that matches".to_owned(),
        functions => functions.join(", "),
    };
    format!("{}  in {functions}\n", stamp::part(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_begins_with_the_share_and_names_what_matched() {
        let mut shown = Shown {
            value: 6_200_000_000,
            total: 10_000_000_000,
            share: Some(0.62),
            sample_type: "cpu".to_owned(),
            unit: "nanoseconds".to_owned(),
            functions: vec!["Split.sixty".to_owned(), "Split.six".to_owned()],
            ..Shown::default()
        };
        assert_eq!(text(&shown), "62.0%: 6.2 s of 10 s  in Split.sixty, Split.six\n");
        shown.functions.clear();
        (shown.value, shown.share) = (0, Some(0.0));
        assert_eq!(text(&shown), "0.0%: 0 of 10 s  in nothing that matches\n");
    }
}
