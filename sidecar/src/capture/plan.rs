//! Request + inspected target → the recorder's order and the artifact's format.
//!
//! The only place that knows which parameter and which format goes with which runtime.

use super::request::CaptureRequest;
use super::{CaptureError, Settings};
use crate::child::Inspection;
use crate::event::Event;
use crate::format::{Format, RecordingKind};
use crate::runtime::{Availability, RecordOrder, Runtime};

/// What a capture will do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// For the recorder child.
    pub order: RecordOrder,
    /// What the waiting client gets.
    pub format: Format,
}

/// Decides, or says why not.
///
/// # Errors
/// A parameter, event or format that this runtime does not have (with those it has), or the doctor's reason.
pub fn plan(request: &CaptureRequest, inspection: &Inspection, settings: &Settings) -> Result<Plan, CaptureError> {
    let runtime = inspection.target.runtime();
    refuse_foreign_parameters(request, runtime)?;
    let verdict = inspection
        .verdicts
        .iter()
        .find(|verdict| verdict.event == request.event);
    match verdict {
        Some(verdict) if verdict.availability == Availability::Impossible => {
            return Err(CaptureError::Impossible(verdict.reason.clone().unwrap_or_else(|| {
                crate::runtime::Reason::new("impossible", "the doctor gave no reason", "see GET /doctor")
            })));
        }
        Some(_) => {}
        // async-profiler knows events we have no name for; what makes cpu impossible makes them impossible.
        None if runtime == Runtime::Jvm && matches!(request.event, Event::Named(_)) => {
            let cpu = inspection.verdicts.iter().find(|verdict| verdict.event == Event::Cpu);
            if let Some(reason) = cpu.and_then(|cpu| {
                cpu.reason
                    .clone()
                    .filter(|_| cpu.availability == Availability::Impossible)
            }) {
                return Err(CaptureError::Impossible(reason));
            }
        }
        None => {
            let allowed = inspection
                .verdicts
                .iter()
                .map(|verdict| verdict.event.name().to_owned())
                .collect();
            return Err(CaptureError::EventNotOffered {
                runtime,
                event: request.event.clone(),
                allowed,
            });
        }
    }
    let (kind, format) = kind_and_format(request, runtime)?;
    Ok(Plan {
        order: RecordOrder {
            target: inspection.target.clone(),
            event: request.event.clone(),
            kind,
            seconds: seconds(request, runtime),
            frequency: request.frequency,
            interval: request.interval.clone(),
            threads: request.threads,
            include: request.include.clone(),
            exclude: request.exclude.clone(),
            dotnet_profiles: request.dotnet_profiles.clone(),
            dotnet_providers: request.dotnet_providers.clone(),
            async_profiler: settings.async_profiler.clone(),
            go_pprof: settings.go_pprof.clone(),
            granted_bytes: 0,
            max_bytes: settings.store_bytes,
        },
        format,
    })
}

/// Zero asks a Go recorder for the totals since the start of the program; the other runtimes keep none.
fn seconds(request: &CaptureRequest, runtime: Runtime) -> u64 {
    let totals = matches!(
        request.event,
        Event::Alloc | Event::Heap | Event::Lock | Event::Block | Event::Goroutine | Event::Threadcreate
    );
    if request.snapshot && runtime == Runtime::Go && totals {
        0
    } else {
        request.seconds
    }
}

/// The native recordings a runtime can make of an event, the default first.
fn recordings(runtime: Runtime, event: &Event) -> &'static [RecordingKind] {
    match (runtime, event) {
        (Runtime::Jvm, _) => &[RecordingKind::Collapsed, RecordingKind::Jfr],
        (Runtime::Dotnet, _) => &[RecordingKind::Nettrace],
        (Runtime::Go, Event::Trace) => &[RecordingKind::Trace],
        (Runtime::Go, _) => &[RecordingKind::Pprof],
        (Runtime::Native, _) => &[],
    }
}

fn kind_and_format(request: &CaptureRequest, runtime: Runtime) -> Result<(RecordingKind, Format), CaptureError> {
    let kinds = recordings(runtime, &request.event);
    let serving = |format: Format| kinds.iter().find(|kind| kind.formats().contains(&format)).copied();
    let allowed = || {
        kinds
            .iter()
            .flat_map(|kind| kind.formats())
            .copied()
            .collect::<Vec<_>>()
    };
    if let Some(format) = request.format {
        return match serving(format) {
            Some(kind) => Ok((kind, format)),
            None => Err(CaptureError::FormatNotOffered {
                runtime,
                format,
                allowed: allowed(),
            }),
        };
    }
    let preferred = request
        .accept
        .iter()
        .copied()
        .find_map(|format| Some((serving(format)?, format)));
    let default = || Some((*kinds.first()?, *kinds.first()?.formats().first()?));
    preferred.or_else(default).ok_or_else(|| CaptureError::EventNotOffered {
        runtime,
        event: request.event.clone(),
        allowed: Vec::new(),
    })
}

fn refuse_foreign_parameters(request: &CaptureRequest, runtime: Runtime) -> Result<(), CaptureError> {
    let given = [
        ("frequency", request.frequency.is_some(), Runtime::Jvm),
        ("interval", request.interval.is_some(), Runtime::Jvm),
        ("threads", request.threads, Runtime::Jvm),
        ("include", !request.include.is_empty(), Runtime::Jvm),
        ("exclude", !request.exclude.is_empty(), Runtime::Jvm),
        ("profile", !request.dotnet_profiles.is_empty(), Runtime::Dotnet),
        ("providers", !request.dotnet_providers.is_empty(), Runtime::Dotnet),
    ];
    match given.into_iter().find(|(_, given, of)| *given && *of != runtime) {
        Some((parameter, _, of)) => Err(CaptureError::ParameterNotApplicable { parameter, runtime, of }),
        None => Ok(()),
    }
}
