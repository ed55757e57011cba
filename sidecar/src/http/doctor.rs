//! `GET /doctor`: what works, what does not, why, and what would unlock it.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::accept::Accept;
use super::problem::ProblemBody;
use super::processes::{Form, wanted};
use super::query::Pairs;
use super::{AppState, Problem};
use crate::capture::CaptureRequest;
use crate::capture::request::Selector;
use crate::capture::selector;
use crate::doctor::Verdict;
use crate::inspection::Inspection;
use crate::listing;
use crate::target::Runtime;

/// A process with one verdict per event of its runtime.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Diagnosis {
    /// As this pid namespace numbers it.
    pid: i32,
    /// Clock ticks after boot.
    start_time: u64,
    /// Main class or jar, entry assembly, module path, executable.
    name: String,
    runtime: Runtime,
    /// Of the runtime, if known.
    version: Option<String>,
    verdicts: Vec<Verdict>,
}

impl From<Inspection> for Diagnosis {
    fn from(inspection: Inspection) -> Self {
        Self {
            pid: inspection.target.id().pid,
            start_time: inspection.target.id().start_time,
            runtime: inspection.target.runtime(),
            version: inspection.target.version().map(str::to_owned),
            name: inspection.target.name,
            verdicts: inspection.verdicts,
        }
    }
}

/// Verdict, reason and remedy for every event of every process, or of one.
#[utoipa::path(get, path = "/doctor", tag = "processes",
    params(
        ("pid" = Option<i32>, Query, description = "only this process"),
        ("name" = Option<String>, Query, description = "only this process"),
        ("format" = Option<String>, Query, description = "text (default) or json; else Accept: application/json asks for JSON"),
    ),
    responses(
        (status = 200, description = "by pid", content((String = "text/plain"), (Vec<Diagnosis> = "application/json"))),
        (status = "4XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn doctor(
    State(state): State<AppState>,
    pairs: Pairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    pairs.only(&["pid", "name", "format"])?;
    let json = match wanted(&pairs)? {
        Some(form) => form == Form::Json,
        None => Accept::of(&headers).prefers_json(),
    };
    let selector = selector_of(&pairs, state.captures.settings().max_seconds)?;
    let mut inspections = state.captures.inspect().await?;
    if selector != Selector::Default {
        let chosen = selector::resolve(&selector, &inspections)?;
        inspections = vec![inspections.swap_remove(chosen)];
    }
    if json {
        let diagnoses: Vec<Diagnosis> = inspections.into_iter().map(Diagnosis::from).collect();
        return Ok(Json(diagnoses).into_response());
    }
    Ok(listing::doctor(&inspections).into_response())
}

/// `pid=` and `name=` mean here what they mean everywhere.
fn selector_of(pairs: &Pairs, max_seconds: u64) -> Result<Selector, Problem> {
    let named = pairs.0.iter().filter(|(name, _)| name == "pid" || name == "name");
    let named: Vec<(String, String)> = named.cloned().collect();
    Ok(CaptureRequest::parse(&named, max_seconds)?.selector)
}
