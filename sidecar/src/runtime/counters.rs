//! What is counted of a process without asking it: by the kernel, for every process, and by runtimes that share their counters.
//!
//! Read by a recorder for `event=counters` ([`record`]), beside what .NET tells in a session ([`super::counters_beside`]), by the child that a scrape
//! of all targets starts ([`Sources`]), and by the doctor ([`judge`]). What is not to be had is left out, and said once.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{
    Asked, Availability, Control, Examination, Interruption, Phase, PlanError, Reason, RecordError, RecordOrder,
    Reporter, Sources, Verdict, go,
};
use crate::event::Event;
use crate::profile::Quality;
use crate::profile::counter::CounterValue;

/// Seconds between two values unless the request says otherwise.
pub const REFRESH: u32 = 1;

/// One recording of counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CountersPlan {
    /// Seconds between two values.
    pub refresh: u32,
    /// Where a Go program may serve its own.
    pub expvar: Option<go::expvar::ExpvarPlan>,
    /// Why what the runtime counts is missing, where that is known.
    pub without: Option<Reason>,
}

/// Refuses a parameter of counters with another event.
///
/// # Errors
/// There is one.
pub fn refuse_foreign(asked: &Asked<'_>) -> Result<(), PlanError> {
    match (asked.options.refresh, asked.event) {
        (Some(_), event) if *event != Event::Counters => Err(PlanError::unsuitable(
            "refresh",
            "refresh is a parameter of event=counters".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// Puts the verdict on counters among the others: what the kernel counts is there for every process in our `/proc`.
pub fn judge(verdicts: &mut Vec<Verdict>, examination: &Examination<'_>) {
    let target = examination.target;
    let mut reasons = Sources::open(examination.table, target).missing;
    reasons.extend(go::expvar::foretold(target));
    let own = verdicts.iter().position(|verdict| verdict.event == Event::Counters);
    if let Some(own) = own {
        let verdict = verdicts.remove(own);
        if verdict.availability != Availability::Available {
            reasons.extend(verdict.reasons().cloned());
        }
    }
    // One that says why nothing more is to be had says it of all.
    reasons.dedup_by(|one, other| one.key == other.key);
    let at = own.unwrap_or(verdicts.len());
    verdicts.insert(at, Verdict::limited(Event::Counters, reasons));
}

/// See [`crate::runtime::record`]. With `seconds` 0 one value of each; stopped early it keeps what there is.
///
/// # Errors
/// See [`crate::runtime::record`].
pub fn record(
    order: &RecordOrder,
    plan: &CountersPlan,
    output: &mut dyn Write,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Quality, RecordError> {
    reporter.phase(Phase::Attaching);
    let sources = Sources::open(control.table(), &order.target);
    let mut expvar = plan
        .expvar
        .as_ref()
        .map(|plan| go::expvar::Expvar::new(plan, order, control));
    reporter.phase(Phase::Sampling);
    let started_at_ms = now_ms();
    let began = Instant::now();
    let mut degraded: Vec<String> = Vec::new();
    let mut notes = |reason: String| {
        if !degraded.contains(&reason) {
            degraded.push(reason);
        }
    };
    let mut readings = 0;
    loop {
        let Some(mut values) = sources.read() else {
            if readings == 0 {
                return Err(RecordError::TargetExited);
            }
            let lived = began.elapsed().as_secs_f64();
            notes(format!("the process exited after {lived:.1} of {} s", order.seconds));
            break;
        };
        if let Some(expvar) = &mut expvar {
            match expvar.read() {
                Ok(own) => values.extend(own),
                Err(reason) => notes(reason.sentence),
            }
        }
        write(&values, output).map_err(|error| RecordError::io("store the recording", &error))?;
        readings += 1;
        let next = Duration::from_secs(u64::from(plan.refresh) * readings);
        if next > Duration::from_secs(order.seconds) {
            break;
        }
        match control.wait(next.saturating_sub(began.elapsed())) {
            None | Some(Interruption::TargetExited) => {}
            Some(Interruption::Stop) => break,
            Some(Interruption::Cancel) => return Err(RecordError::Cancelled),
        }
    }
    reporter.phase(Phase::Transferring);
    let without = plan.without.iter().chain(&sources.missing);
    degraded.extend(without.map(|reason| reason.sentence.clone()));
    let mut names = sources.names();
    names.extend(expvar.filter(go::expvar::Expvar::answered).map(|_| "expvar"));
    Ok(Quality {
        sampler: Some(names.join(", ")),
        interval_unit: "count".to_owned(),
        runtime: Some(order.target.runtime_and_version()),
        event: Some(order.event.to_string()),
        started_at_ms: Some(started_at_ms),
        duration_ms: u64::try_from(began.elapsed().as_millis()).ok(),
        degraded,
        ..Quality::default()
    })
}

/// Writes a line for each.
///
/// # Errors
/// The output fails.
pub fn write(values: &[CounterValue], output: &mut dyn Write) -> io::Result<()> {
    let mut lines = Vec::new();
    for value in values {
        serde_json::to_writer(&mut lines, value)?;
        lines.push(b'\n');
    }
    output.write_all(&lines)?;
    output.flush()
}

/// Milliseconds after the Unix epoch.
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
