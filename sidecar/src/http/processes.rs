//! `GET /processes`: what runs in the pod.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::accept::Accept;
use super::query::Pairs;
use super::{AppState, Problem};
use crate::capture::selector;
use crate::doctor::{Availability, Verdict};
use crate::event::Event;
use crate::inspection::Inspection;
use crate::listing;
use crate::redact;
use crate::target::Runtime;

/// A process and what can be had from it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProcessView {
    /// As this pid namespace numbers it.
    pid: i32,
    /// Clock ticks after boot; with the pid it is the identity.
    start_time: u64,
    /// Main class or jar, entry assembly, module path, executable.
    name: String,
    /// Arguments, with secrets hidden.
    command_line: Vec<String>,
    runtime: Runtime,
    /// Of the runtime, if known.
    version: Option<String>,
    /// Container id, if the process is in a container.
    container: Option<String>,
    /// Effective user id.
    uid: u32,
    /// Effective group id.
    gid: u32,
    /// Meant when a request names no process.
    is_default: bool,
    events: Vec<EventView>,
}

/// How well an event can be served; `GET /doctor` has the reasons.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct EventView {
    #[schema(value_type = String)]
    event: Event,
    availability: Availability,
}

impl ProcessView {
    fn of(inspection: &Inspection, is_default: bool) -> Self {
        let target = &inspection.target;
        let process = &target.process;
        let event = |verdict: &Verdict| EventView {
            event: verdict.event.clone(),
            availability: verdict.availability,
        };
        Self {
            pid: process.id.pid,
            start_time: process.id.start_time,
            name: target.name.clone(),
            command_line: redact::command_line(&process.command_line),
            runtime: target.runtime(),
            version: target.version().map(str::to_owned),
            container: process.container_id.clone(),
            uid: process.credentials.uid,
            gid: process.credentials.gid,
            is_default,
            events: inspection.verdicts.iter().map(event).collect(),
        }
    }
}

/// Every process with its runtime and events.
#[utoipa::path(get, path = "/processes", tag = "processes",
    params(("format" = Option<String>, Query, description = "json (default) or text; else Accept: text/plain asks for text")),
    responses((status = 200, description = "by pid", content((Vec<ProcessView> = "application/json"), (String = "text/plain")))))]
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
    let default = selector::default_target(&inspections).ok();
    let views = inspections
        .iter()
        .enumerate()
        .map(|(at, one)| ProcessView::of(one, default == Some(at)));
    Ok(Json(views.collect::<Vec<_>>()).into_response())
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
