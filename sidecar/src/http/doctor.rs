//! `GET /doctor`: what works, what does not, why, and what would unlock it.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use super::accept::Accept;
use super::parameters::SelectorParameters;
use super::problem::ProblemBody;
use super::processes::{Form, wanted};
use super::query::Pairs;
use super::{AppState, Problem};
use crate::capture::selector::{self, Selector};
use crate::listing::{self, DoctorRow};

/// Verdict, reason and remedy for every event of every process, or of one.
#[utoipa::path(get, path = "/doctor", tag = "processes",
    params(
        SelectorParameters,
        ("format" = Option<String>, Query, description = "text (default) or json; else Accept: application/json asks for JSON"),
    ),
    responses(
        (status = 200, description = "by pid", content((String = "text/plain"), (Vec<DoctorRow> = "application/json"))),
        (status = "4XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn doctor(
    State(state): State<AppState>,
    pairs: Pairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    pairs.only_with_selectors(&["format"])?;
    let json = match wanted(&pairs)? {
        Some(form) => form == Form::Json,
        None => Accept::of(&headers).prefers_json(),
    };
    let selector = Selector::parse(&pairs.selectors())?;
    let mut inspections = state.captures.inspect_for(&selector).await?;
    if selector != Selector::default() {
        let chosen = selector::resolve(&selector, &inspections)?;
        inspections = vec![inspections.swap_remove(chosen)];
    }
    if json {
        return Ok(Json(listing::doctor_json(&inspections)).into_response());
    }
    let mut text = listing::doctor(&inspections);
    if let Some(port) = state.captures.idle_port() {
        text += &listing::idle_port(&port);
    }
    Ok(text.into_response())
}
