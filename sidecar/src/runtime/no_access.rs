//! Why we may not look into a process, and which rights would do.
//!
//! The rule is the kernel's `ptrace_may_access(PTRACE_MODE_READ_FSCREDS)`: same uid **and** gid, dumpable, and our
//! capabilities a superset of the target's, or CAP_SYS_PTRACE. A child of ours has become the target where it may, and keeps
//! at most what the target holds: `confine`.

use caps::{CapSet, Capability};

use super::Reason;
use crate::process::Credentials;
use crate::runtime::Target;

/// The reason every runtime that needs the target's files gives.
pub fn no_access(target: &Target) -> Reason {
    let held = caps::read(None, CapSet::Permitted).unwrap_or_default();
    let ours = Credentials {
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
        capabilities: held.iter().map(Capability::bitmask).sum(),
    };
    reason(ours, target.process.credentials)
}

fn reason(ours: Credentials, theirs: Credentials) -> Reason {
    let Credentials { uid, gid, capabilities } = theirs;
    let ptrace = Capability::CAP_SYS_PTRACE.bitmask();
    // Who holds it may look into any process; we keep it for a target that has it, too.
    let needed = if capabilities & ptrace == 0 {
        capabilities
    } else {
        ptrace
    };
    let (sentence, remedy) = if (ours.uid, ours.gid) != (uid, gid) {
        let switch = Capability::CAP_SETUID.bitmask() | Capability::CAP_SETGID.bitmask();
        let as_root = format!(
            "as uid 0 with securityContext: {{capabilities: {{add: [{}]}}}}",
            names(needed | switch)
        );
        (
            format!(
                "the process runs as {uid}:{gid} and sideflame as {}:{}; the kernel lets only the same user and group look into it",
                ours.uid, ours.gid
            ),
            if capabilities == 0 {
                format!("run sideflame with securityContext: {{runAsUser: {uid}, runAsGroup: {gid}}}, or {as_root}")
            } else {
                format!("run sideflame {as_root}")
            },
        )
    } else if needed & !ours.capabilities != 0 {
        (
            format!(
                "the process holds capabilities that sideflame lacks ({}); the kernel refuses to look into it",
                names(needed & !ours.capabilities)
            ),
            format!(
                "run sideflame as uid 0 with securityContext: {{capabilities: {{add: [{}]}}}}, or the application with \
                 {{drop: [ALL]}}",
                names(needed)
            ),
        )
    } else {
        (
            "the process is not dumpable: it changed its user by itself, or gained capabilities from its file; the kernel \
             refuses to look into it"
                .to_owned(),
            format!(
                "let its container start it as what it becomes, without a shell or root before it: securityContext: \
                 {{runAsUser: {uid}, runAsGroup: {gid}}}"
            ),
        )
    };
    Reason::new("no_access", sentence, remedy)
}

/// As in `capabilities.add`, in the kernel's order.
fn names(mask: u64) -> String {
    let mut held: Vec<Capability> = caps::all().into_iter().collect();
    held.retain(|capability| mask & capability.bitmask() != 0);
    held.sort_by_key(Capability::bitmask);
    let names: Vec<String> = held
        .iter()
        .map(|capability| capability.to_string().trim_start_matches("CAP_").to_owned())
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIND: u64 = 1 << 10;
    const PTRACE: u64 = 1 << 19;

    fn process(uid: u32, capabilities: u64) -> Credentials {
        Credentials {
            uid,
            gid: uid,
            capabilities,
        }
    }

    #[test]
    fn the_remedy_names_the_rights_that_do() {
        for (what, ours, theirs, sentence, remedy) in [
            (
                "another user",
                process(65_532, 0),
                process(1001, 0),
                "runs as 1001:1001 and sideflame as 65532:65532",
                "{runAsUser: 1001, runAsGroup: 1001}, or as uid 0 with securityContext: {capabilities: {add: [SETGID, SETUID]}}",
            ),
            (
                "another user with a capability, which no user but root can have in Kubernetes",
                process(1001, 0),
                process(1002, BIND),
                "runs as 1002:1002",
                "run sideflame as uid 0 with securityContext: {capabilities: {add: [SETGID, SETUID, NET_BIND_SERVICE]}}",
            ),
            (
                "more capabilities",
                process(0, 0),
                process(0, BIND | 1),
                "lacks (CHOWN, NET_BIND_SERVICE)",
                "{add: [CHOWN, NET_BIND_SERVICE]}",
            ),
            (
                "everything",
                process(0, BIND),
                process(0, PTRACE | BIND | 1),
                "lacks (SYS_PTRACE)",
                "{add: [SYS_PTRACE]}",
            ),
            (
                "not dumpable",
                process(1001, BIND),
                process(1001, BIND),
                "not dumpable",
                "securityContext: {runAsUser: 1001, runAsGroup: 1001}",
            ),
        ] {
            let reason = reason(ours, theirs);
            assert!(reason.sentence.contains(sentence), "{what}: {reason:?}");
            assert!(reason.remedy.contains(remedy), "{what}: {reason:?}");
        }
    }
}
