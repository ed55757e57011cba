//! What a set of rights is good for: one container, one event.

use super::access::{Blocker, Credentials, access, access_as_it_is};
use super::candidate::{Candidate, Seccomp};
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
    PerfSeccomp,
    PerfCredentials,
    NoKernelFrames,
    NoKernelNames,
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
            Self::PerfSeccomp => "perf_seccomp",
            Self::PerfCredentials => "perf_credentials",
            Self::NoKernelFrames => "no_kernel_frames",
            Self::NoKernelNames => "no_kernel_names",
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
        // Without the filter of system calls the kernel samples what is of the same user.
        Needs::PerfEvents if rights.seccomp == Seccomp::Unconfined => native(rights, target, user_namespace),
        Needs::PerfEvents | Needs::Kernel => {
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

/// Judges samples of native programs, in the words of the sidecar's doctor where it has some. What a node forbids beyond the
/// usual (`kernel.perf_event_paranoid` above 2, a security module) no spec tells.
pub(super) fn native(rights: &Candidate, target: &Target<'_>, user_namespace: bool) -> Verdict {
    if target.hidden {
        return Verdict::new(Availability::Impossible, Key::NamespaceNotShared);
    }
    let look = look(rights, target);
    let perfmon = rights.held().contains(CapabilitySet::PERFMON);
    match (look.availability, rights.seccomp) {
        (Availability::Impossible, _) => look,
        (Availability::Works, _) if perfmon && !user_namespace && !rights.held().contains(CapabilitySet::SYSLOG) => {
            Verdict::new(Availability::Degraded, Key::NoKernelNames)
        }
        _ if perfmon && !user_namespace => look,
        (_, Seccomp::Unconfined) => match outcome(rights, target, access_as_it_is) {
            Outcome::Always => match look.availability {
                Availability::Works => Verdict::new(Availability::Degraded, Key::NoKernelFrames),
                _ => look,
            },
            Outcome::Sometimes => Verdict::new(Availability::Unknown, open_question(rights, target)),
            Outcome::Never(_) => Verdict::new(Availability::Impossible, Key::PerfCredentials),
        },
        _ if perfmon => Verdict::new(Availability::Impossible, Key::UserNamespace),
        (_, Seccomp::Unknown) => Verdict::new(Availability::Unknown, Key::PerfSeccomp),
        (_, Seccomp::RuntimeDefault) => Verdict::new(Availability::Impossible, Key::PerfSeccomp),
    }
}

/// Whether JVM, .NET and native processes of the container can be looked into and spoken to.
pub(super) fn reach(rights: &Candidate, target: &Target<'_>) -> Verdict {
    let look = look(rights, target);
    match look.availability {
        Availability::Works | Availability::Degraded if target.tmp != Tmp::Writable => {
            Verdict::new(Availability::Impossible, Key::TmpReadOnly)
        }
        _ => look,
    }
}

/// Whether processes of the container can be looked into.
fn look(rights: &Candidate, target: &Target<'_>) -> Verdict {
    match outcome(rights, target, access) {
        // A program that gains capabilities at its start is not dumpable. A container's first process loses some instead.
        Outcome::Always if target.worlds().iter().any(by_a_file) => {
            Verdict::new(Availability::Degraded, Key::FileCapabilities)
        }
        Outcome::Always => Verdict::WORKS,
        Outcome::Never(blocker) => Verdict::new(Availability::Impossible, certain(blocker)),
        Outcome::Sometimes => Verdict::new(Availability::Unknown, open_question(rights, target)),
    }
}

/// In how many of the possible worlds something is allowed.
enum Outcome {
    Always,
    Sometimes,
    Never(Blocker),
}

fn outcome(
    rights: &Candidate,
    target: &Target<'_>,
    rule: impl Fn(Credentials, Credentials) -> Result<(), Blocker>,
) -> Outcome {
    let mut failures = Vec::new();
    let mut worlds = 0;
    for theirs in target.worlds() {
        for ours in rights.worlds(theirs) {
            worlds += 1;
            failures.extend(rule(ours, theirs).err());
        }
    }
    match failures.first() {
        None => Outcome::Always,
        Some(blocker) if failures.len() == worlds => Outcome::Never(*blocker),
        Some(_) => Outcome::Sometimes,
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
