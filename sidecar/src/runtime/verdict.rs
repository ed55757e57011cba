//! For each target and event: does it work, and if not, why and what would unlock it.
//!
//! Made by the `doctor` of each runtime; recorders may assume what it granted, but still check what can change.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Target;
use super::native::perf::PerfRights;
use crate::event::Event;
use crate::process::{ProcessTable, TargetRoot};

/// A stable key for machines, a sentence and a remedy for people.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reason {
    /// Stable snake_case key, e.g. `attach_disabled`.
    pub key: Cow<'static, str>,
    /// What is the matter, one sentence.
    pub sentence: String,
    /// What to change: YAML, a flag or a command.
    pub remedy: String,
}

impl Reason {
    /// A reason with a fixed key.
    pub fn new(key: &'static str, sentence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            key: Cow::Borrowed(key),
            sentence: sentence.into(),
            remedy: remedy.into(),
        }
    }
}

/// The key of a target that another profiler is at work in.
pub const ALREADY_PROFILED: &str = "already_profiled";

/// How well an event can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Availability {
    /// As designed.
    Available,
    /// Works, with a limitation the artifact names.
    Degraded,
    /// Cannot work for this target as it runs now.
    Impossible,
}

/// One cell of the table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Verdict {
    /// What would be sampled.
    #[schema(value_type = String)]
    pub event: Event,
    /// How well.
    pub availability: Availability,
    /// Why not fully; `None` exactly when available.
    pub reason: Option<Reason>,
    /// What else makes it less than it could be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Reason>,
}

impl Verdict {
    /// Works.
    pub fn available(event: Event) -> Self {
        Self {
            event,
            availability: Availability::Available,
            reason: None,
            also: Vec::new(),
        }
    }

    /// Works with these limitations, the worst first; without any as designed.
    pub fn limited(event: Event, limitations: impl IntoIterator<Item = Reason>) -> Self {
        let mut limitations = limitations.into_iter();
        match limitations.next() {
            None => Self::available(event),
            Some(worst) => Self {
                also: limitations.collect(),
                ..Self::degraded(event, worst)
            },
        }
    }

    /// Every reason, the one that counts first.
    pub fn reasons(&self) -> impl Iterator<Item = &Reason> {
        self.reason.iter().chain(&self.also)
    }

    /// Works with a limitation.
    pub fn degraded(event: Event, reason: Reason) -> Self {
        Self {
            event,
            availability: Availability::Degraded,
            reason: Some(reason),
            also: Vec::new(),
        }
    }

    /// Cannot work.
    pub fn impossible(event: Event, reason: Reason) -> Self {
        Self {
            event,
            availability: Availability::Impossible,
            reason: Some(reason),
            also: Vec::new(),
        }
    }
}

/// What a runtime's checks may look at.
#[derive(Debug)]
pub struct Examination<'a> {
    /// The proc file system.
    pub table: &'a ProcessTable,
    /// The target.
    pub target: &'a Target,
    /// Its files; the error says why we may not look.
    pub root: Result<&'a TargetRoot, &'a std::io::Error>,
    /// What the kernel's sampler may do, tried with the rights of a recorder.
    pub perf: &'a PerfRights,
}

/// The reason for a target that is stopped by a signal or a debugger.
pub fn stopped() -> Reason {
    Reason::new(
        "target_stopped",
        "the process is stopped (state T) and would answer nothing",
        "continue it: kill -CONT <pid>, or detach the debugger",
    )
}
