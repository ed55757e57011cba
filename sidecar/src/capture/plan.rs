//! Request + inspected processes → the recorder's order and the artifact's format.
//!
//! Knows no runtime: what each has and takes is asked of [`crate::runtime`]. Pure but for a look at our own files. GET starts
//! what HEAD announces, because both come from here.

use std::sync::Arc;
use std::time::Duration;

use super::request::{CaptureRequest, RequestError};
use super::slots::Claim;
use super::{CaptureError, Settings, selector, views};
use crate::child::Inspection;
use crate::event::Event;
use crate::format::{Format, RecordingKind};
use crate::profile::Names;
use crate::runtime::{
    self, ALREADY_PROFILED, Asked, Availability, PlanError, Reason, RecordOrder, RoomGrant, Runtime, Verdict,
};

/// What a capture will do.
#[derive(Debug, Clone, PartialEq)]
pub struct CapturePlan {
    /// For the recorder child.
    pub order: RecordOrder,
    /// What the waiting client gets.
    pub format: Format,
    /// How artifacts write names that differ from run to run.
    pub names: Names,
    /// How long it is kept when it has ended, if not as long as others.
    pub keep: Option<Duration>,
    /// What the doctor said of the target then; empty of a whole node.
    pub verdicts: Arc<[Verdict]>,
}

impl CapturePlan {
    /// What it needs to run.
    pub fn claim(&self) -> Claim {
        let RecordOrder {
            target, plan, seconds, ..
        } = &self.order;
        let seconds = if plan.is_of_a_moment() { 0 } else { *seconds };
        Claim {
            target: target.id(),
            exclusive: plan.exclusive(),
            duration: Duration::from_secs(seconds),
        }
    }
}

/// Decides what a capture of the process that `request` chooses will do, or says why there will be none.
///
/// # Errors
/// No or several such processes; a parameter, event or format that its runtime does not have (with those it has); the
/// doctor's reason.
pub fn plan(
    request: &CaptureRequest,
    inspections: &[Inspection],
    settings: &Settings,
) -> Result<CapturePlan, CaptureError> {
    /// Of a runtime without totals, what stands for them: a scraper waits for ten seconds by default.
    const SNAPSHOT_SECONDS: u64 = 5;
    let node = request.whole_node.then(|| selector::node(inspections)).transpose()?;
    let chosen = match node {
        Some(_) => None,
        None => Some(&inspections[selector::resolve(&request.selector, inspections)?]),
    };
    let target = chosen.map(|chosen| &chosen.target).or(node.as_ref());
    let target = target.ok_or_else(|| CaptureError::NoSuchProcess { candidates: Vec::new() })?;
    let scraped = request
        .scraped
        .then(|| runtime::scraped_as(target.runtime(), &request.event))
        .flatten();
    let scraped = scraped.or(request.by_type.then(|| runtime::histogram_event(target.runtime())));
    let named = scraped.map(|event| CaptureRequest {
        event,
        ..request.clone()
    });
    let request = named.as_ref().unwrap_or(request);
    let runtime = runtime::served_by(target, &request.event);
    if let Some((parameter, of)) = request.options.foreign_to(runtime) {
        return Err(CaptureError::ParameterNotApplicable { parameter, runtime, of });
    }
    let unwalked = || runtime::no_walk(target.runtime()).filter(|_| request.format == Some(Format::Nettrace));
    let by_type = unwalked().or_else(|| runtime::no_histogram(target.runtime()));
    let by_type = by_type.filter(|_| request.by_type);
    if let Some(reason) = by_type {
        return Err(CaptureError::Impossible(reason));
    }
    // Of a node, the recorder tells what may be opened.
    if let Some(chosen) = chosen {
        refuse_impossible(request, chosen)?;
    }
    let (kind, format) = kind_and_format(request, runtime)?;
    views::divisible(&request.view, format, kind)?;
    let seconds = match request.snapshot {
        true if runtime::keeps_totals(runtime, &request.event) => 0,
        true if request.event == Event::Counters => request.seconds,
        true => SNAPSHOT_SECONDS.min(settings.max_seconds),
        false => request.seconds,
    };
    let asked = Asked {
        target,
        event: &request.event,
        seconds,
        kind,
        options: &request.options,
    };
    let plan = match &node {
        Some(_) => runtime::plan_node(&asked, inspections.iter().map(|inspection| &inspection.target)),
        None => runtime::plan(&asked, &settings.runtimes),
    }?;
    let formats = plan.kind().formats();
    if !formats.contains(&format) {
        // A parameter made it another recording.
        return Err(CaptureError::FormatNotOffered {
            runtime,
            format,
            allowed: formats.to_vec(),
        });
    }
    Ok(CapturePlan {
        order: RecordOrder {
            target: target.clone(),
            event: request.event.clone(),
            seconds,
            room: RoomGrant {
                granted_bytes: 0,
                max_bytes: settings.store_bytes,
            },
            plan,
        },
        format,
        names: request.names,
        keep: request.keep,
        verdicts: chosen.map_or_else(|| Arc::from([]), |chosen| Arc::clone(&chosen.verdicts)),
    })
}

impl From<PlanError> for CaptureError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Unsuitable { parameter, message } => Self::Request(RequestError::Unsuitable {
                name: parameter,
                message,
            }),
            PlanError::Impossible(reason) => Self::Impossible(reason),
        }
    }
}

fn refuse_impossible(request: &CaptureRequest, chosen: &Inspection) -> Result<(), CaptureError> {
    for event in runtime::parts(chosen.target.runtime(), &request.event).iter() {
        refuse_impossible_event(event, chosen)?;
    }
    Ok(())
}

fn refuse_impossible_event(event: &Event, chosen: &Inspection) -> Result<(), CaptureError> {
    let runtime = chosen.target.runtime();
    let judged = runtime::judged_as(runtime::served_by(&chosen.target, event), event);
    let verdict = chosen.verdicts.iter().find(|verdict| verdict.event == *judged);
    // Another profiler may have ended since the findings were made: the recorder looks again.
    let passes = |reason: &Option<Reason>| reason.as_ref().is_some_and(|reason| reason.key == ALREADY_PROFILED);
    match verdict {
        Some(verdict) if verdict.availability == Availability::Impossible && !passes(&verdict.reason) => {
            let unexplained = || Reason::new("impossible", "the doctor gave no reason", "see GET /doctor");
            let mut reason = verdict.reason.clone().unwrap_or_else(unexplained);
            if let Some(instead) = runtime::instead_of(event, &chosen.verdicts) {
                reason.remedy = format!("{}; or {instead}", reason.remedy);
            }
            Err(CaptureError::Impossible(reason))
        }
        Some(_) => Ok(()),
        None => Err(CaptureError::EventNotOffered {
            runtime,
            event: event.clone(),
            allowed: chosen
                .verdicts
                .iter()
                .map(|verdict| verdict.event.to_string())
                .collect(),
        }),
    }
}

fn kind_and_format(request: &CaptureRequest, runtime: Runtime) -> Result<(RecordingKind, Format), CaptureError> {
    let kinds = runtime::recordings(runtime, &request.event);
    // Of several events only the recording itself is all; a picture is of one of them.
    let several = matches!(request.event, Event::Several(_));
    let formats = |kind: &RecordingKind| {
        let native = kind.native_format();
        let offered = kind.formats().iter().copied();
        offered.filter(move |format| !several || *format == native)
    };
    let serving = |format: Format| {
        let kind = kinds.iter().find(|kind| formats(kind).any(|offered| offered == format));
        kind.copied()
    };
    let allowed = || {
        let mut all: Vec<Format> = Vec::new();
        for format in kinds.iter().flat_map(formats) {
            if !all.contains(&format) {
                all.push(format);
            }
        }
        all
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
    let default = || {
        let kind = *kinds.first()?;
        Some((
            kind,
            runtime::usual_format(runtime, (kind, &request.event), &request.options)?,
        ))
    };
    preferred.or_else(default).ok_or_else(|| CaptureError::EventNotOffered {
        runtime,
        event: request.event.clone(),
        allowed: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
