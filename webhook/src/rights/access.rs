//! Which process may look into which: the kernel's rule, for concrete credentials.
//!
//! `ptrace_may_access(PTRACE_MODE_READ_FSCREDS)`: same user **and** group as all of the target's, target dumpable, and the
//! target's permitted capabilities a subset of ours; or CAP_SYS_PTRACE. Without it only the world-readable rows of `/proc`
//! are left. Must not know pods, nor which process is dumpable: that is what it does itself. The tests hold the measured matrix.

use super::capabilities::CapabilitySet;

/// Credentials of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub uid: u32,
    pub gid: u32,
    /// The permitted set.
    pub capabilities: CapabilitySet,
}

/// Why a process is out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocker {
    /// Another user.
    User,
    /// Same user, another group.
    Group,
    /// It holds capabilities that we do not.
    Capabilities,
}

/// Whether `sidecar` can do everything with `target` that a recording takes: read its memory maps and files, talk to its
/// 0600 sockets, signal it. It becomes the target first where it can, and keeps at most what the target holds: also of
/// CAP_SYS_PTRACE, which therefore helps only against a target that has it.
pub(crate) fn access(sidecar: Credentials, target: Credentials) -> Result<(), Blocker> {
    let switches = sidecar.uid == 0 && sidecar.capabilities.contains(CapabilitySet::SWITCH);
    let kept = sidecar.capabilities.intersection(target.capabilities);
    match () {
        () if !switches && sidecar.uid != target.uid => Err(Blocker::User),
        () if !switches && sidecar.gid != target.gid => Err(Blocker::Group),
        () if kept == target.capabilities || kept.contains(CapabilitySet::SYS_PTRACE) => Ok(()),
        () => Err(Blocker::Capabilities),
    }
}

/// Whether `sidecar`, as it is, before it becomes its target, may look into `target`: what the kernel asks of who opens samples
/// of a process without CAP_PERFMON.
pub(crate) fn access_as_it_is(sidecar: Credentials, target: Credentials) -> Result<(), Blocker> {
    match () {
        () if sidecar.capabilities.contains(CapabilitySet::SYS_PTRACE) => Ok(()),
        () if sidecar.uid != target.uid => Err(Blocker::User),
        () if sidecar.gid != target.gid => Err(Blocker::Group),
        () if sidecar.capabilities.contains(target.capabilities) => Ok(()),
        () => Err(Blocker::Capabilities),
    }
}

#[cfg(test)]
mod tests;
