//! Errors → exit codes and three lines a person can act on.

use std::process::ExitCode;

use crate::capture::CaptureError;
use crate::listing::printable;
use crate::runtime::{RecordError, Who};

/// A function gained more than a pipeline allows.
pub const TOO_DIFFERENT: u8 = 5;

/// Prints the error and gives its exit code.
pub fn report(error: &CaptureError) -> ExitCode {
    eprintln!("error: {error}");
    match error {
        CaptureError::Impossible(reason)
        | CaptureError::Record(RecordError::Impossible(reason) | RecordError::TargetDiskFull(reason)) => {
            eprintln!("reason: {}", reason.key);
            eprintln!("try: {}", reason.remedy);
        }
        CaptureError::NoSuchProcess { candidates } | CaptureError::Ambiguous { candidates, .. } => list(candidates),
        _ => {}
    }
    ExitCode::from(code(error))
}

/// Exit codes as the help of `record` lists them.
fn code(error: &CaptureError) -> u8 {
    match error {
        CaptureError::Request(_)
        | CaptureError::ParameterNotApplicable { .. }
        | CaptureError::EventNotOffered { .. }
        | CaptureError::FormatNotOffered { .. }
        | CaptureError::Indivisible { .. }
        | CaptureError::Record(RecordError::BadArgument { .. }) => 2,
        CaptureError::Impossible(_) | CaptureError::Record(RecordError::Impossible(_)) => 3,
        CaptureError::NoSuchProcess { .. }
        | CaptureError::NotConnected(_)
        | CaptureError::Ambiguous { .. }
        | CaptureError::NoSuchCapture(_) => 4,
        CaptureError::Busy { .. }
        | CaptureError::StoreFull { .. }
        | CaptureError::NoRoom(_)
        | CaptureError::Record(
            RecordError::AlreadyProfiled { .. } | RecordError::StoreFull { .. } | RecordError::TargetDiskFull(_),
        ) => 6,
        CaptureError::Record(RecordError::Timeout { .. }) => 124,
        CaptureError::Record(RecordError::Cancelled) | CaptureError::ShuttingDown => 130,
        CaptureError::NotRendered { cause, .. } => code(cause),
        CaptureError::NotFinished(_)
        | CaptureError::Remark(_)
        | CaptureError::TooMuchPinned { .. }
        | CaptureError::Record(_)
        | CaptureError::Render(_)
        | CaptureError::Unlike(_)
        | CaptureError::Unreadable(_)
        | CaptureError::Child(_)
        | CaptureError::Internal { .. } => 1,
    }
}

fn list(candidates: &[Who]) {
    for candidate in candidates {
        let line = format!(
            "{:>7}  {:6}  {}{}",
            candidate.pid,
            candidate.runtime,
            candidate.name,
            candidate.place()
        );
        eprintln!("  {}", printable(&line));
    }
    if candidates.is_empty() {
        eprintln!("try: sideflame ps");
    }
}

/// Prints `value` as JSON.
pub fn json(value: &impl serde::Serialize) -> ExitCode {
    match serde_json::to_string_pretty(value) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => report(&CaptureError::internal("print JSON", &error)),
    }
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
