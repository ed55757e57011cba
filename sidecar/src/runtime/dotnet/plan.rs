//! What the runtime of one .NET process is asked for. Pure.
//!
//! Made and checked by the server before anything starts ([`plan`]); the recorder executes it.

use serde::{Deserialize, Serialize};

use super::event_pipe;
use super::providers::{ProvidersError, SessionPlan};
use super::way::Way;
use crate::event::Event;
use crate::format::RecordingKind;
use crate::runtime::dump::DUMP;
use crate::runtime::{Asked, PlanError, Reason};

/// The recordings that can be made of an event.
pub fn recordings(event: &Event) -> &'static [RecordingKind] {
    match event {
        Event::Goroutine => &[RecordingKind::NettraceThreads],
        Event::Heap => &[RecordingKind::Heap],
        Event::Named(name) if name == DUMP => &[RecordingKind::Dump],
        _ => &[RecordingKind::Nettrace],
    }
}

/// One recording of a .NET process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DotnetPlan {
    /// How the runtime is reached.
    pub way: Way,
    /// What the EventPipe session records.
    pub session: SessionPlan,
    /// Stacks are to be told apart by their threads.
    pub threads: bool,
    /// Seconds between two values of a counter.
    pub refresh: u32,
    /// The recording to make.
    pub kind: RecordingKind,
}

impl DotnetPlan {
    /// True if it takes no time worth a wait.
    pub fn is_of_a_moment(&self) -> bool {
        self.kind == RecordingKind::NettraceThreads
    }

    /// True if it need not be alone: a runtime has up to 64 sessions, and samples once for all of them.
    pub fn runs_beside_others(&self) -> bool {
        self.kind != RecordingKind::Nettrace
    }
}

impl From<ProvidersError> for PlanError {
    fn from(error: ProvidersError) -> Self {
        Self::unsuitable(error.parameter(), error.to_string())
    }
}

/// Plans a recording.
///
/// # Errors
/// Profiles and providers that make no session, an event that .NET does not have, or no socket to ask at.
pub fn plan(asked: &Asked<'_>) -> Result<DotnetPlan, PlanError> {
    let options = &asked.options.dotnet;
    let counters = *asked.event == Event::Counters && !options.are_for_tools();
    if !counters && !options.counters.is_empty() {
        let message = "counters is a parameter of event=counters";
        return Err(PlanError::unsuitable("counters", message));
    }
    let session = match counters {
        true => SessionPlan::of_counters(&options.counters, asked.options.refresh()),
        false => SessionPlan::of(asked.event, &options.profiles, &options.providers)?,
    };
    if !event_pipe::fits(&session) {
        let message = "the providers with their arguments do not fit into a request of 64 KiB";
        return Err(PlanError::unsuitable("providers", message));
    }
    Ok(DotnetPlan {
        way: way(asked)?,
        refresh: asked.options.refresh(),
        kind: match session.custom {
            true => RecordingKind::Nettrace,
            false => asked.kind,
        },
        session,
        threads: options.threads,
    })
}

/// The way to the runtime.
pub(super) fn way(asked: &Asked<'_>) -> Result<Way, PlanError> {
    let sentence = "the process has no diagnostic socket";
    let remedy = "see GET /doctor, else restart the process";
    let none = || PlanError::Impossible(Reason::new("no_diagnostic_socket", sentence, remedy));
    Way::to(&asked.target.facts).ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Process;
    use crate::runtime::{Options, RuntimeFacts, Target};

    fn plan_with(event: &str, given: &[(&str, &str)]) -> Result<DotnetPlan, PlanError> {
        let mut options = Options::default();
        for (name, value) in given {
            options.set(name, value).unwrap();
        }
        let target = Target {
            process: Process::example(7),
            name: "shop".to_owned(),
            facts: RuntimeFacts::Dotnet {
                version: None,
                rid: None,
                socket: Some("/tmp/dotnet-diagnostic-7-1-socket".into()),
                port: None,
            },
        };
        plan(&Asked {
            target: &target,
            event: &event.parse().unwrap(),
            seconds: 5,
            kind: RecordingKind::Nettrace,
            options: &options,
        })
    }

    #[test]
    fn providers_that_make_no_request_are_refused_before_anything_starts() {
        assert!(plan_with("cpu", &[("providers", "System.Runtime:0:4:EventCounterIntervalSec=1")]).is_ok());
        let long = format!("A:0:4:k={}", "x".repeat(8000));
        let many: Vec<_> = (0..5)
            .map(|n| format!("{long}{n}").replace("A:", &format!("A{n}:")))
            .collect();
        let twice = "A:0:4:k=v,A:0:4:k=w".to_owned();
        for providers in [many.join(","), twice] {
            let refused = plan_with("cpu", &[("providers", &providers)]);
            assert!(
                matches!(
                    refused,
                    Err(PlanError::Unsuitable {
                        parameter: "providers",
                        ..
                    })
                ),
                "{refused:?}"
            );
        }
        let foreign = plan_with("block", &[]);
        assert!(
            matches!(foreign, Err(PlanError::Unsuitable { parameter: "event", .. })),
            "{foreign:?}"
        );
    }
}
