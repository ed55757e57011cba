//! What a set of rights is good for: one container, one event.

use super::access::{Blocker, Credentials, access};
use super::candidate::Candidate;
use super::capabilities::CapabilitySet;
use super::target::{Target, Tmp};
use crate::choices::{Event, Needs};

/// How well an event can be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Availability {
    Works,
    /// For some runtimes or programs only.
    Degraded,
    /// The pod spec does not tell.
    Unknown,
    Impossible,
}

/// Availability and, if it does not simply work, a stable key that says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub availability: Availability,
    /// `None` exactly when it works.
    pub key: Option<Key>,
}

/// Why an event does not simply work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    UserUnknown,
    GroupUnknown,
    FileCapabilities,
    OtherUser,
    OtherGroup,
    MoreCapabilities,
    TmpReadOnly,
    PerfNotGranted,
    UserNamespace,
    NativeOnly,
    DotnetOnly,
    NamespaceNotShared,
}

impl Key {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::UserUnknown => "user_unknown",
            Self::GroupUnknown => "group_unknown",
            Self::FileCapabilities => "file_capabilities",
            Self::OtherUser => "other_user",
            Self::OtherGroup => "other_group",
            Self::MoreCapabilities => "more_capabilities",
            Self::TmpReadOnly => "tmp_read_only",
            Self::PerfNotGranted => "perf_not_granted",
            Self::UserNamespace => "user_namespace",
            Self::NativeOnly => "native_only",
            Self::DotnetOnly => "dotnet_only",
            Self::NamespaceNotShared => "namespace_not_shared",
        }
    }
}

impl Verdict {
    const WORKS: Self = Self {
        availability: Availability::Works,
        key: None,
    };

    const fn new(availability: Availability, key: Key) -> Self {
        Self {
            availability,
            key: Some(key),
        }
    }

    /// For the status annotation: `works` or e.g. `impossible: other_user`.
    pub(crate) fn text(self) -> String {
        let availability = match self.availability {
            Availability::Works => "works",
            Availability::Degraded => "degraded",
            Availability::Unknown => "unknown",
            Availability::Impossible => "impossible",
        };
        match self.key {
            Some(key) => format!("{availability}: {}", key.name()),
            None => availability.to_owned(),
        }
    }
}

/// Judges one event of one container.
pub(super) fn verdict(rights: &Candidate, target: &Target<'_>, event: Event, user_namespace: bool) -> Verdict {
    match event.needs {
        Needs::Access if target.dotnet_port => match reach(rights, target) {
            works if works == Verdict::WORKS && !target.hidden => works,
            _ => Verdict::new(Availability::Degraded, Key::DotnetOnly),
        },
        _ if target.hidden => Verdict::new(Availability::Impossible, Key::NamespaceNotShared),
        Needs::Pprof => Verdict::WORKS,
        Needs::Access => reach(rights, target),
        Needs::PerfEvents => {
            let reach = reach(rights, target);
            match reach.availability {
                Availability::Impossible => reach,
                _ if user_namespace => Verdict::new(Availability::Impossible, Key::UserNamespace),
                _ if !rights.held().contains(CapabilitySet::PERFMON) => {
                    Verdict::new(Availability::Impossible, Key::PerfNotGranted)
                }
                // A JVM opens perf_events itself, by its own rights.
                _ if target.most_capabilities().contains(CapabilitySet::PERFMON) => reach,
                Availability::Works => Verdict::new(Availability::Degraded, Key::NativeOnly),
                _ => reach,
            }
        }
    }
}

/// Whether JVM, .NET and native processes of the container can be looked into and spoken to.
pub(super) fn reach(rights: &Candidate, target: &Target<'_>) -> Verdict {
    let mut failures = Vec::new();
    let mut worlds = 0;
    for theirs in target.worlds() {
        for ours in rights.worlds(theirs) {
            worlds += 1;
            failures.extend(access(ours, theirs).err());
        }
    }
    match failures.first() {
        None if target.tmp != Tmp::Writable => Verdict::new(Availability::Impossible, Key::TmpReadOnly),
        // A program that gains capabilities at its start is not dumpable. A container's first process loses some instead.
        None if target.worlds().iter().any(by_a_file) => Verdict::new(Availability::Degraded, Key::FileCapabilities),
        None => Verdict::WORKS,
        Some(blocker) if failures.len() == worlds => Verdict::new(Availability::Impossible, certain(*blocker)),
        Some(_) => Verdict::new(Availability::Unknown, open_question(rights, target)),
    }
}

/// A user's capabilities come from the file of its program.
fn by_a_file(world: &Credentials) -> bool {
    world.uid != 0 && !world.capabilities.is_empty()
}

fn certain(blocker: Blocker) -> Key {
    match blocker {
        Blocker::User => Key::OtherUser,
        Blocker::Group => Key::OtherGroup,
        Blocker::Capabilities => Key::MoreCapabilities,
    }
}

/// What the spec would have to say to make the answer certain.
fn open_question(rights: &Candidate, target: &Target<'_>) -> Key {
    match (target.uid, target.gid) {
        (None, _) => Key::UserUnknown,
        (Some(uid), None) if uid != 0 && rights.uid != Some(0) => Key::GroupUnknown,
        _ => Key::FileCapabilities,
    }
}
