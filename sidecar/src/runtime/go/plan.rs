//! What the pprof port of one Go program is asked for. Pure.
//!
//! Made and checked by the server before anything starts ([`plan`]); the recorder executes it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::doctor;
use super::pprof_client::{PprofClient, Scheme};
use super::request::ProfileRequest;
use super::settings::GoPprofSettings;
use crate::event::Event;
use crate::format::RecordingKind;
use crate::runtime::{Asked, PlanError, PprofEndpoint, Reason, RuntimeFacts};

/// One recording of a Go program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GoPlan {
    /// Where the index answered.
    pub(super) address: SocketAddr,
    /// Plain or TLS.
    pub(super) scheme: Scheme,
    /// Path of the index, with its closing slash.
    pub(super) index: String,
    /// What to ask for.
    pub(super) request: ProfileRequest,
    /// How to ask.
    pub(super) settings: GoPprofSettings,
}

impl GoPlan {
    /// The recording to make.
    pub fn kind(&self) -> RecordingKind {
        self.request.kind
    }
}

/// The recordings a Go program can give of `event`.
pub fn recordings(event: &Event) -> &'static [RecordingKind] {
    match event {
        Event::Trace => &[RecordingKind::Trace],
        _ => &[RecordingKind::Pprof],
    }
}

/// True if a program keeps totals of `event` since its start: those are asked for with zero seconds.
pub fn keeps_totals(event: &Event) -> bool {
    matches!(
        event,
        Event::Alloc | Event::Heap | Event::Lock | Event::Block | Event::Goroutine | Event::Threadcreate
    )
}

/// Plans a recording.
///
/// # Errors
/// The doctor's reason, or an operator's header that cannot be sent.
pub fn plan(asked: &Asked<'_>, settings: &GoPprofSettings) -> Result<GoPlan, PlanError> {
    let reason = doctor::why_impossible(asked.target, asked.event);
    reason.map_or(Ok(()), |reason| Err(PlanError::Impossible(reason)))?;
    PprofClient::new(settings).map_err(|error| unusable(&error.to_string()))?;
    let RuntimeFacts::Go {
        pprof: Some(endpoint), ..
    } = &asked.target.facts
    else {
        return Err(unusable("the program has none"));
    };
    let PprofEndpoint {
        scheme,
        authority,
        path,
    } = endpoint;
    Ok(GoPlan {
        address: authority.parse().map_err(|_| unusable("its address is malformed"))?,
        scheme: Scheme::parse(scheme).ok_or_else(|| unusable("its scheme is unknown"))?,
        index: path.clone(),
        request: ProfileRequest::new(asked.event, asked.seconds).ok_or_else(|| unusable("it has no such profile"))?,
        settings: settings.clone(),
    })
}

fn unusable(detail: &str) -> PlanError {
    PlanError::Impossible(Reason::new(
        "pprof_probe_failed",
        format!("sideflame cannot use the pprof port: {detail}"),
        "see GET /doctor; correct --go-pprof-header or --go-pprof-path-prefix",
    ))
}
