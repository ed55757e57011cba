//! What an answer says: asks the rules, counts, tells the owner, and never lets an error of ours cost a pod.

use std::panic::{AssertUnwindSafe, catch_unwind};

use axum::response::Response;

use super::Admission;
use super::answer::Answer;
use super::deadlines::Deadlines;
use super::review::Request;
use crate::endpoint::Endpoint;
use crate::events::Notice;
use crate::inject::Decision;
use crate::outcome::{Failure, Outcome};

/// More warnings than this are not read; the API server cuts them off at 4 KiB.
const MOST_WARNINGS: usize = 16;

/// About a pod.
pub(super) fn decide(
    admission: &Admission,
    endpoint: Endpoint,
    request: &Request<'_>,
    deadlines: Deadlines,
) -> Response {
    let failure = if !request.object.value.is_object() {
        Failure::NoObject
    } else if request.object.is_cut {
        Failure::TooManyValues
    } else if !matches!(&*request.operation, "CREATE" | "") {
        Failure::NotCreate
    } else if deadlines.are_over() {
        Failure::Late
    } else {
        let facts = admission.facts.of(&request.namespace);
        match caught(|| (admission.rules.inject)(&request.object.value, &admission.settings, &facts)) {
            Ok(decision) => return tell(admission, endpoint, request, decision),
            Err(panic) => {
                let (uid, namespace) = (&*request.uid, &*request.namespace);
                tracing::error!(panic, uid, namespace, "the injection panicked: please report this");
                Failure::Panicked
            }
        }
    };
    fail(admission, endpoint, &request.uid, failure, request.blocks_on_error())
}

/// About a workload: a warning at most.
pub(super) fn look_at(admission: &Admission, request: &Request<'_>) -> Response {
    let warning =
        caught(|| (admission.rules.misplaced)(&request.kind.kind, &request.object.value)).unwrap_or_else(|panic| {
            tracing::error!(
                panic,
                uid = &*request.uid,
                "looking at a workload panicked: please report this"
            );
            None
        });
    if warning.is_some() {
        admission.metrics.workloads_warned.inc();
    }
    let answer = Answer {
        uid: &request.uid,
        outcome: None,
        refused: None,
        patch: None,
        warnings: warning.as_slice(),
        settings_hash: &admission.settings_hash,
    };
    answer.into_response()
}

/// We could not decide: allowed, unless the pod is known to ask for a refusal.
pub(super) fn fail(admission: &Admission, endpoint: Endpoint, uid: &str, failure: Failure, block: bool) -> Response {
    let outcome = Outcome::Failed(failure);
    if endpoint == Endpoint::Pod {
        admission.metrics.decision(outcome);
    }
    let warning = failure.sentence().to_owned();
    let answer = Answer {
        uid,
        outcome: (endpoint != Endpoint::Workload).then_some(outcome),
        refused: block.then_some(failure.sentence()),
        patch: None,
        warnings: if endpoint == Endpoint::Workload {
            &[]
        } else {
            &[warning]
        },
        settings_hash: &admission.settings_hash,
    };
    answer.into_response()
}

fn tell(admission: &Admission, endpoint: Endpoint, request: &Request<'_>, decision: Decision) -> Response {
    let (outcome, patch, refused, mut warnings) = match decision {
        Decision::Inject(injection) => (Outcome::Injected, Some(injection.patch), None, injection.warnings),
        Decision::Skip(skip) => (Outcome::Skipped(skip.reason), None, None, skip.warnings),
        Decision::Block(skip) => (Outcome::Blocked(skip.reason), None, Some(skip.detail), skip.warnings),
    };
    warnings.truncate(MOST_WARNINGS);
    let (decision, reason) = outcome.key();
    tracing::debug!(
        decision,
        reason,
        uid = &*request.uid,
        namespace = &*request.namespace,
        "decided"
    );
    if endpoint == Endpoint::Pod {
        admission.metrics.decision(outcome);
        // A dry run must leave no trace: the configuration declares sideEffects NoneOnDryRun.
        if request.dry_run != Some(true) {
            note(admission, request, outcome, warnings.len());
        }
    }
    let answer = Answer {
        uid: &request.uid,
        outcome: Some(outcome),
        refused: refused.as_deref(),
        patch: patch.as_ref(),
        warnings: &warnings,
        settings_hash: &admission.settings_hash,
    };
    answer.into_response()
}

fn note(admission: &Admission, request: &Request<'_>, outcome: Outcome, warnings: usize) {
    let is_told = match outcome {
        Outcome::Injected => true,
        Outcome::Skipped(reason) | Outcome::Blocked(reason) => reason.is_failure(),
        Outcome::Failed(_) => false,
    };
    if is_told && let Some(notice) = Notice::about(&request.object.value, &request.namespace, outcome, warnings) {
        admission.events.send(notice);
    }
}

/// The boundary: a panic behind it is an error like any other.
fn caught<T>(question: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(question)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned())
    })
}
