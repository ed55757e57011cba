//! What a user can choose, by an annotation or a flag: values with their spelling.
//!
//! Must not know annotations, flags, pods, nor what follows from a choice. Read by `annotations` and `settings`, which fill
//! them in, and by `rights`, `container` and `inject`, which act on them.

mod event;
mod quantity;

use clap::ValueEnum;

pub use event::{Event, Needs};
pub use quantity::Quantity;

/// What the sidecar may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Rights {
    /// The least that works and that the namespace admits
    Auto,
    /// User and group of the app, no capability (Pod Security restricted)
    SameUser,
    /// Root that becomes the app's user for each capture (Pod Security baseline)
    SwitchUser,
    /// User and group of the app, no capability and no seccomp filter: user stacks of native programs (Pod Security privileged)
    Unconfined,
    /// As switch-user with PERFMON and SYSLOG: the kernel's frames, with names (Pod Security privileged)
    Perf,
}

/// Native sidecar or plain container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SidecarForm {
    /// Native where the API server knows it
    Auto,
    /// Init container with restartPolicy Always
    Native,
    /// Plain container, appended last
    Container,
}

/// Pod Security Standards, the value of `pod-security.kubernetes.io/enforce`. The later, the stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum PodSecurityLevel {
    /// Everything
    Privileged,
    /// No known privilege escalation
    Baseline,
    /// Hardened
    Restricted,
}

impl PodSecurityLevel {
    /// The label of a namespace that says what its admission enforces.
    pub const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
    /// Those that say what it tells of, and admits.
    pub const TOLD: [&str; 2] = ["pod-security.kubernetes.io/warn", "pod-security.kubernetes.io/audit"];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}
