//! Who may look into whom: the kernel's rule, for concrete credentials.
//!
//! `ptrace_may_access(PTRACE_MODE_READ_FSCREDS)`: same user **and** group as all of the target's, target dumpable, and the
//! target's permitted capabilities a subset of ours; or CAP_SYS_PTRACE. Without it only the world-readable rows of `/proc`
//! are left. Must not know pods. The tests hold the measured matrix.

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
pub(crate) enum Obstacle {
    /// Another user.
    User,
    /// Same user, another group.
    Group,
    /// It holds capabilities that we do not.
    Capabilities,
}

/// Whether `sidecar` can do everything with `target` that a recording takes: read its memory maps and files, talk to its
/// 0600 sockets, signal it. `sidecar` becomes the target first where it can.
pub(crate) fn access(sidecar: Credentials, target: Credentials) -> Result<(), Obstacle> {
    let switches = sidecar.uid == 0 && sidecar.capabilities.contains(CapabilitySet::SWITCH);
    let caller = if switches {
        Credentials {
            capabilities: sidecar.capabilities,
            ..target
        }
    } else {
        sidecar
    };
    access_unchanged(caller, target)
}

/// The same for a process that stays who it is.
fn access_unchanged(caller: Credentials, target: Credentials) -> Result<(), Obstacle> {
    // By itself CAP_SYS_PTRACE opens neither 0600 files and sockets nor kill(2). Capabilities of a container that does
    // not run as uid 0 are lost when it is executed.
    const MASTER: CapabilitySet = CapabilitySet::SYS_PTRACE
        .union(CapabilitySet::DAC_OVERRIDE)
        .union(CapabilitySet::KILL);
    let same = caller.uid == target.uid && caller.gid == target.gid;
    let reads_any = caller.capabilities.contains(CapabilitySet::SYS_PTRACE);
    match () {
        () if caller.capabilities.contains(MASTER) => Ok(()),
        () if caller.uid != target.uid => Err(Obstacle::User),
        () if !same => Err(Obstacle::Group),
        () if !reads_any && !caller.capabilities.contains(target.capabilities) => Err(Obstacle::Capabilities),
        () => Ok(()),
    }
}

#[cfg(test)]
mod tests;
