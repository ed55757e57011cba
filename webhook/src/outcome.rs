//! What became of a request, as closed lists with stable keys: for metrics, audit annotations and the log.
//!
//! Must not know how it came to that. Made by `admission`, counted by `metrics`.

use crate::inject::SkipReason;

/// What became of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It has the sidecar now.
    Injected,
    /// It was left as it is.
    Skipped(SkipReason),
    /// It was refused, as it asked for.
    Blocked(SkipReason),
    /// We failed; it was let through, unless it asked to be refused then.
    Failed(Failure),
}

impl Outcome {
    /// Decision and reason.
    pub const fn key(self) -> (&'static str, &'static str) {
        match self {
            Self::Injected => ("inject", "injected"),
            Self::Skipped(reason) => ("skip", reason.key()),
            Self::Blocked(reason) => ("block", reason.key()),
            Self::Failed(failure) => ("error", failure.key()),
        }
    }

    /// Every outcome there can be.
    pub fn all() -> impl Iterator<Item = Self> {
        let reasons = SkipReason::ALL.into_iter();
        let skips = reasons.flat_map(|reason| [Self::Skipped(reason), Self::Blocked(reason)]);
        let failures = Failure::ALL.into_iter().map(Self::Failed);
        [Self::Injected].into_iter().chain(skips).chain(failures)
    }
}

/// Why we could not decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// Too many bodies at a time.
    Busy,
    /// The API server would have given up before the injection was done.
    Late,
    /// A bug of ours.
    Panicked,
    /// The review has no object.
    NoObject,
    /// Only a pod that is being created can get a container.
    NotCreate,
    /// The object has more values than are kept in memory.
    TooManyValues,
    /// The patch could not be written.
    Unwritable,
}

impl Failure {
    /// Every failure.
    pub const ALL: [Self; 7] = [
        Self::Busy,
        Self::Late,
        Self::Panicked,
        Self::NoObject,
        Self::NotCreate,
        Self::TooManyValues,
        Self::Unwritable,
    ];

    /// The stable snake_case key.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Late => "late",
            Self::Panicked => "panicked",
            Self::NoObject => "no_object",
            Self::NotCreate => "not_create",
            Self::TooManyValues => "too_many_values",
            Self::Unwritable => "unwritable",
        }
    }

    /// One sentence for the user: what is the matter and what to do.
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::Busy => "sideflame: not injected, the webhook is busy; create the pod again, or run more replicas",
            Self::Late => {
                "sideflame: not injected, the time was over; create the pod again, or give the webhook more CPU"
            }
            Self::Panicked => "sideflame: not injected because of a bug in the webhook; its log has the details",
            Self::NoObject => {
                "sideflame: not injected, the review has no object; see the rules of the webhook configuration"
            }
            Self::NotCreate => {
                "sideflame: not injected, containers can only be added on CREATE; see the rules of the webhook configuration"
            }
            Self::TooManyValues => {
                "sideflame: not injected, the pod has more than 32768 fields and list items, env left out; make it smaller"
            }
            Self::Unwritable => {
                "sideflame: not injected, the patch could not be written; the log of the webhook has the details"
            }
        }
    }
}

/// Why a request was no review.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No AdmissionReview v1 with a uid, or no JSON, or cut short.
    Malformed,
    /// Longer than any object that etcd takes.
    TooLarge,
    /// The body did not come in time.
    Slow,
}

impl Refusal {
    /// Every refusal.
    pub const ALL: [Self; 3] = [Self::Malformed, Self::TooLarge, Self::Slow];

    /// The stable snake_case key.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Slow => "slow",
        }
    }
}
