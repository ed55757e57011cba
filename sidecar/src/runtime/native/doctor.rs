//! Checks for native targets.

use std::io::ErrorKind;

use crate::event::Event;
use crate::runtime::{Examination, Reason, Verdict, no_access};

/// Why native targets are only listed so far.
pub fn not_yet() -> Reason {
    Reason::new(
        "native_sampler_missing",
        "this version of sideflame has no sampler for native code",
        "profile it with: perf record -g -p <pid>",
    )
}

/// Verdicts for every event of the runtime. A process we may not look into is listed as native, whatever it is: then
/// the missing right is the reason.
pub fn verdicts(examination: &Examination<'_>) -> Vec<Verdict> {
    let reason = match examination.root {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => no_access(examination.target),
        _ => not_yet(),
    };
    [Event::Cpu, Event::Wall]
        .into_iter()
        .map(|event| Verdict::impossible(event, reason.clone()))
        .collect()
}
