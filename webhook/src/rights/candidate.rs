//! The sets of rights that the planner chooses from.

use super::Mode;
use super::access::Credentials;
use super::capabilities::CapabilitySet;
use super::target::Target;
use crate::choices::PodSecurityLevel;

/// The filter of system calls that the sidecar gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seccomp {
    /// The runtime's, which forbids `perf_event_open` to who has not PERFMON.
    RuntimeDefault,
    /// None.
    Unconfined,
    /// What the node or a profile of it says.
    Unknown,
}

/// Rights of the sidecar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub mode: Mode,
    /// `runAsUser`; `None` leaves it to the image, or to OpenShift, which gives one user to all containers of a pod.
    pub uid: Option<u32>,
    /// `runAsGroup`
    pub gid: Option<u32>,
    /// `capabilities.drop: [ALL]`; else the runtime's default set stays.
    pub drop_all: bool,
    /// `capabilities.add`
    pub add: CapabilitySet,
    /// `seccompProfile`
    pub seccomp: Seccomp,
}

/// From the least rights to the most.
pub(super) fn candidates(chosen: &[&Target<'_>]) -> Vec<Candidate> {
    let main = chosen.first();
    let most = chosen
        .iter()
        .map(|target| target.most_capabilities())
        .fold(CapabilitySet::NONE, CapabilitySet::union);
    // To look into a process takes what it holds.
    let copied = if CapabilitySet::BASELINE.contains(most) {
        most
    } else {
        CapabilitySet::NONE
    };
    // A recorder keeps at most what its target holds, so that CAP_SYS_PTRACE helps only against a target that has it: one
    // with everything. Anything less is copied; the pod states it itself, so its namespace admits it.
    let beyond = if most == CapabilitySet::ALL {
        CapabilitySet::NONE
    } else {
        most.minus(CapabilitySet::RUNTIME_DEFAULT)
    };
    let root = Candidate {
        mode: Mode::SwitchUser,
        uid: Some(0),
        gid: Some(0),
        drop_all: false,
        add: CapabilitySet::NONE,
        seccomp: Seccomp::RuntimeDefault,
    };
    let same_user = Candidate {
        mode: Mode::SameUser,
        uid: main.and_then(|main| main.uid),
        gid: main.and_then(|main| main.gid),
        drop_all: true,
        ..root.clone()
    };
    let mut candidates = vec![
        same_user.clone(),
        Candidate {
            mode: Mode::Unconfined,
            seccomp: Seccomp::Unconfined,
            ..same_user
        },
        Candidate {
            drop_all: true,
            add: CapabilitySet::SWITCH.union(copied),
            ..root.clone()
        },
        root.clone(),
    ];
    let keeps_defaults = most.contains(CapabilitySet::RUNTIME_DEFAULT);
    if !beyond.is_empty() {
        // What the app added, and nothing to sample the kernel with, which clusters refuse that admit the app.
        candidates.push(Candidate {
            drop_all: !keeps_defaults,
            add: if keeps_defaults {
                beyond
            } else {
                CapabilitySet::SWITCH.union(most)
            },
            ..root.clone()
        });
    }
    // With PERFMON the kernel asks nothing about the process that it samples, and seccomp lets it be asked.
    let looks = if most == CapabilitySet::ALL {
        CapabilitySet::SYS_PTRACE
    } else if keeps_defaults {
        beyond
    } else {
        CapabilitySet::SWITCH.union(most)
    };
    candidates.push(Candidate {
        mode: Mode::Perf,
        drop_all: !keeps_defaults,
        add: CapabilitySet::KERNEL.union(looks),
        ..root
    });
    candidates
}

/// Where no process can be looked into, whatever the rights: none, of the app's user if that is not root.
pub(super) fn without_looking(chosen: &[&Target<'_>]) -> Vec<Candidate> {
    let least = candidates(chosen).into_iter().take(1);
    least
        .map(|least| {
            if least.uid == Some(0) {
                Candidate::bystander()
            } else {
                least
            }
        })
        .collect()
}

impl Candidate {
    /// For a root app where root is not admitted or of no use. Without a user of its own, it would inherit the pod's root, which the
    /// kubelet would refuse to start.
    pub(super) fn bystander() -> Self {
        const NONROOT: Option<u32> = Some(65_532);
        Self {
            mode: Mode::SameUser,
            uid: NONROOT,
            gid: NONROOT,
            drop_all: true,
            add: CapabilitySet::NONE,
            seccomp: Seccomp::RuntimeDefault,
        }
    }

    /// The rights of a container as it stands.
    pub(super) fn of(container: &Target<'_>) -> Self {
        Self {
            mode: Mode::SameUser,
            uid: container.uid,
            gid: container.gid,
            drop_all: true,
            add: container.most_capabilities(),
            seccomp: container.seccomp,
        }
    }

    /// The strictest level that admits it.
    pub(super) fn needs(&self) -> PodSecurityLevel {
        match self.mode {
            Mode::Unconfined | Mode::Perf => PodSecurityLevel::Privileged,
            Mode::SwitchUser if !CapabilitySet::BASELINE.contains(self.add) => PodSecurityLevel::Privileged,
            Mode::SwitchUser => PodSecurityLevel::Baseline,
            Mode::SameUser if self.uid == Some(0) => PodSecurityLevel::Baseline,
            Mode::SameUser => PodSecurityLevel::Restricted,
        }
    }

    /// What the process really holds: capabilities of a container that does not run as root are lost when it starts.
    pub(super) fn held(&self) -> CapabilitySet {
        let kept = if self.drop_all {
            CapabilitySet::NONE
        } else {
            CapabilitySet::RUNTIME_DEFAULT
        };
        match self.uid {
            Some(0) => kept.union(self.add),
            _ => CapabilitySet::NONE,
        }
    }

    /// The credentials it may have, if its target has those of `target`.
    pub(super) fn worlds(&self, target: Credentials) -> Vec<Credentials> {
        /// The user of our image: a number of its own.
        const OURS: u32 = u32::MAX - 8;
        let capabilities = self.held();
        match (self.uid, self.gid) {
            // Our image has no /etc/passwd that could say anything but 0.
            (Some(uid), gid) => vec![Credentials {
                uid,
                gid: gid.unwrap_or(0),
                capabilities,
            }],
            (None, _) => {
                let ours = Credentials {
                    uid: OURS,
                    gid: OURS,
                    capabilities,
                };
                // OpenShift and the like assign one user to all containers; it is never root.
                let assigned = Credentials { capabilities, ..target };
                if target.uid == 0 {
                    vec![ours]
                } else {
                    vec![assigned, ours]
                }
            }
        }
    }

    /// Names for `capabilities.add`.
    pub(crate) fn added(&self) -> impl Iterator<Item = &'static str> {
        self.add.names()
    }
}
