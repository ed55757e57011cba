//! What the pprof port of one Go program is asked for. Pure.
//!
//! Made and checked by the server before anything starts ([`plan`]); the recorder executes it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::doctor;
use super::pprof_client::{PprofClient, Scheme};
use super::request::{ProfileRequest, Span};
use super::server::{self, ServerPlan};
use super::settings::{GoPprofSettings, PlaceSettings};
use crate::event::Event;
use crate::format::RecordingKind;
use crate::runtime::{Asked, Exclusive, HISTOGRAM, PlanError, PprofEndpoint, Reason, RecordError, RuntimeFacts};

/// One recording of a Go program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GoPlan {
    /// Where it is asked for.
    pub(super) place: Place,
    /// Plain or TLS.
    pub(super) scheme: Scheme,
    /// Path of the index, with its closing slash.
    pub(super) index: String,
    /// What to ask for.
    pub(super) request: ProfileRequest,
    /// How to ask, with the headers that are for this port.
    pub(super) settings: PlaceSettings,
}

/// Where profiles are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Place {
    /// At a port or a Unix socket of the target, where the index answered.
    Port(Address),
    /// At a URL; there is no process.
    Server(Box<ServerPlan>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(address) => address.fmt(f),
            Self::Server(server) => server.url.fmt(f),
        }
    }
}

impl GoPlan {
    /// True if there is no process to be looked at or to be like.
    pub fn is_of_a_server(&self) -> bool {
        matches!(self.place, Place::Server(_))
    }

    /// Files of ours that the recorder needs and may not read later.
    pub fn open(&self) -> Option<Result<server::Opened, RecordError>> {
        match &self.place {
            Place::Port(_) => None,
            Place::Server(server) => Some(server::Opened::open(server)),
        }
    }

    /// The recording to make.
    pub fn kind(&self) -> RecordingKind {
        self.request.kind
    }

    /// True if the program answers at once.
    pub fn is_of_a_moment(&self) -> bool {
        self.request.span == Span::Snapshot
    }

    /// The Go runtime has one CPU profiler and one tracer; everything else it gives to whoever asks.
    pub fn exclusive(&self) -> Option<Exclusive> {
        match &*self.request.profile {
            "profile" => Some(Exclusive("the CPU profiler")),
            "trace" => Some(Exclusive("the tracer")),
            _ => None,
        }
    }
}

/// The recordings a Go program can give of `event`.
pub fn recordings(event: &Event) -> &'static [RecordingKind] {
    match event {
        Event::Trace => &[RecordingKind::Trace],
        Event::Cpu => &[RecordingKind::Pprof],
        Event::Goroutine => &[RecordingKind::Pprof, RecordingKind::Goroutines],
        Event::Named(name) if name == HISTOGRAM => &[RecordingKind::AllocationSites],
        _ => &[RecordingKind::Pprof, RecordingKind::Text],
    }
}

/// True if a program keeps totals of `event` since its start: those are asked for with zero seconds.
pub fn keeps_totals(event: &Event) -> bool {
    matches!(
        event,
        Event::Alloc
            | Event::Heap
            | Event::Lock
            | Event::Block
            | Event::Goroutine
            | Event::Threadcreate
            | Event::Named(_)
    )
}

/// Plans a recording.
///
/// # Errors
/// The doctor's reason, or an operator's header that cannot be sent.
pub fn plan(asked: &Asked<'_>, settings: &GoPprofSettings) -> Result<GoPlan, PlanError> {
    let reason = doctor::why_impossible(asked.target, asked.event);
    reason.map_or(Ok(()), |reason| Err(PlanError::Impossible(reason)))?;
    if asked.options.go.secret.is_some() {
        return Err(PlanError::unsuitable(
            "secret",
            "secret has the token for a server: give its url, too",
        ));
    }
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
        profiles: _,
    } = endpoint;
    // An inspector that was taken over by what it looked at may have written the endpoint. That the target listens there
    // is checked by the recorder, as its user, right before it connects.
    let address: Address = authority.parse().map_err(|_| unusable("its address is malformed"))?;
    let scheme = Scheme::parse(scheme).ok_or_else(|| unusable("its scheme is unknown"))?;
    let settings = settings.of(&asked.target.name, address.port());
    PprofClient::new(&settings).map_err(|error| unusable(&error.to_string()))?;
    let index = settings.indexes.iter().find(|index| *index == path).cloned();
    let request = ProfileRequest::new(asked.event, asked.seconds, asked.kind, &asked.options.go)?;
    Ok(GoPlan {
        place: Place::Port(address),
        scheme,
        index: index.ok_or_else(|| unusable("its path is not the one that was asked for"))?,
        request: request.ok_or_else(|| unusable("it has no such profile"))?,
        settings,
    })
}

fn unusable(detail: &str) -> PlanError {
    PlanError::Impossible(Reason::new(
        "pprof_probe_failed",
        format!("sideflame cannot use the pprof port: {detail}"),
        "see GET /doctor; correct --go-pprof-header or --go-pprof-path-prefix",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Process;
    use crate::runtime::go::settings::{Scope, Scoped};
    use crate::runtime::{Options, Target};

    fn planned(authority: &str, path: &str) -> Result<GoPlan, PlanError> {
        let endpoint = PprofEndpoint {
            scheme: "http".to_owned(),
            authority: authority.to_owned(),
            path: path.to_owned(),
            profiles: Vec::new(),
        };
        let target = Target {
            process: Process::example(17),
            name: "shop".to_owned(),
            facts: RuntimeFacts::Go {
                version: None,
                module: None,
                pprof: Some(endpoint),
                pprof_absence: None,
            },
        };
        let asked = Asked {
            target: &target,
            event: &Event::Cpu,
            seconds: 1,
            kind: RecordingKind::Pprof,
            options: &Options::default(),
        };
        let settings = GoPprofSettings {
            ports: vec![6060],
            headers: vec![Scoped {
                scope: Scope::default(),
                value: ("Authorization".to_owned(), "Bearer s3cret".to_owned()),
            }],
            ..GoPprofSettings::default()
        };
        plan(&asked, &settings)
    }

    #[test]
    fn headers_are_planned_for_the_ports_they_were_given_for() {
        let headers = |authority| planned(authority, "/debug/pprof/").unwrap().settings.headers.len();
        assert_eq!(headers("127.0.0.1:6060"), 1);
        assert_eq!(headers("127.0.0.1:6061"), 0);
    }

    #[test]
    fn an_endpoint_that_was_not_asked_is_not_planned() {
        for (authority, path) in [
            ("127.0.0.1:6060", "/admin/debug/pprof/"),
            ("127.0.0.1:6060", "/debug/pprof/cmdline?x="),
            ("evil.example:6060", "/debug/pprof/"),
        ] {
            assert!(planned(authority, path).is_err(), "{authority}{path}");
        }
    }
}
