//! What a child process does first: become the target.
//!
//! A child that looks into a process takes on its user, its group and exactly its permitted capabilities (mostly
//! none): `ptrace_may_access` then lets us read it, and whatever the child is tricked into, it can do nothing the app
//! could not do by itself. Runs before any thread exists, so that every later thread has the same identity.

mod cgroup_memory;

use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, getegid, geteuid, setgroups, setresgid, setresuid};

use crate::process::{Credentials, ProcessId, ProcessTable};

/// Memory a child may map; a recorder streams, a renderer holds one profile.
const ADDRESS_SPACE: u64 = 2 << 30;

/// Why a child could not become its target.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// A system call failed.
    #[error("failed to {step}")]
    System {
        /// What was tried.
        step: &'static str,
        /// Why it failed.
        #[source]
        source: Errno,
    },
    /// The capability sets could not be changed.
    #[error("failed to drop capabilities: {0}")]
    Capabilities(String),
}

/// Bounds every child: no core dumps, `file_size` bytes per file at most, dies when the server does and before it.
///
/// # Errors
/// The first call that failed.
pub fn limit(file_size: Option<u64>) -> Result<(), ConfineError> {
    let step = |step| move |source| ConfineError::System { step, source };
    // SIGTERM, not SIGKILL: a recorder has a profiler to stop first. Its stdin tells it as well.
    prctl::set_pdeathsig(Signal::SIGTERM).map_err(step("set the parent death signal"))?;
    // When the container's memory runs out the kernel shall end a child, which can be started again, not the server.
    // Raising one's own score needs no right; where /proc is read-only the kernel decides as it did before.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(step("forbid core dumps"))?;
    setrlimit(Resource::RLIMIT_AS, ADDRESS_SPACE, ADDRESS_SPACE).map_err(step("bound the memory"))?;
    if let Some(bytes) = file_size {
        // Blocked, the signal stays pending and the write fails with EFBIG, which we can report.
        let mut too_large = SigSet::empty();
        too_large.add(Signal::SIGXFSZ);
        too_large.thread_block().map_err(step("block SIGXFSZ"))?;
        setrlimit(Resource::RLIMIT_FSIZE, bytes, bytes).map_err(step("bound the file size"))?;
    }
    Ok(())
}

/// Bounds the memory of a child whose need grows with its input by what the container has, so that it is refused memory
/// and can say so. At the container's own limit the kernel may end all of its processes at once: `memory.oom.group` of
/// cgroup v2, which the kubelet sets from Kubernetes 1.28 on.
///
/// # Errors
/// The limit could not be set.
pub fn limit_memory() -> Result<(), ConfineError> {
    /// For the server, two recorders and the kernel's own pages, which together were measured at 6 MiB. A renderer
    /// needs 2 MiB for a small profile.
    const OTHERS: u64 = 8 << 20;
    let Some(limit) = cgroup_memory::limit() else {
        return Ok(());
    };
    let bytes = limit.saturating_sub(OTHERS).max(OTHERS);
    setrlimit(Resource::RLIMIT_DATA, bytes, bytes).map_err(|source| ConfineError::System {
        step: "bound the memory",
        source,
    })
}

/// Takes on `credentials` as far as we may. Without CAP_SETUID and CAP_SETGID a different user stays out of reach
/// and we stay who we are: the doctor then reports what that means.
///
/// # Errors
/// A call failed half-way; the caller must not go on with mixed credentials.
pub fn become_target(credentials: Credentials) -> Result<(), ConfineError> {
    let step = |step| move |source| ConfineError::System { step, source };
    let (uid, gid) = (Uid::from_raw(credentials.uid), Gid::from_raw(credentials.gid));
    let same = geteuid() == uid && getegid() == gid;
    let holds = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    if !same && holds(Capability::CAP_SETUID) && holds(Capability::CAP_SETGID) {
        prctl::set_keepcaps(true).map_err(step("keep capabilities over setuid"))?;
        setgroups(&[]).map_err(step("drop supplementary groups"))?;
        setresgid(gid, gid, gid).map_err(step("change the group"))?;
        setresuid(uid, uid, uid).map_err(step("change the user"))?;
        prctl::set_keepcaps(false).map_err(step("end keeping capabilities"))?;
    } else if !same {
        return prctl::set_pdeathsig(Signal::SIGTERM).map_err(step("set the parent death signal"));
    }
    keep_only(credentials.capabilities)?;
    // Changing credentials clears it.
    prctl::set_pdeathsig(Signal::SIGTERM).map_err(step("set the parent death signal"))
}

/// Enters the network namespace of `target` if it is another one than ours, so that its loopback ports are within reach.
/// Needs CAP_SYS_ADMIN; so it comes before [`become_target`].
///
/// # Errors
/// The namespace could not be opened or entered, or the process is gone.
pub fn enter_network(table: &ProcessTable, target: ProcessId) -> Result<(), ConfineError> {
    let step = |step| move |source| ConfineError::System { step, source };
    // Who may not even tell the namespace has found the target's port where we are.
    if table.other_network(target.pid).is_none() {
        return Ok(());
    }
    let path = table.directory(target.pid).join("ns/net");
    let namespace =
        open(&path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).map_err(step("open a network namespace"))?;
    // Checked after the open: the pid may have been reused.
    if !table.is_alive(target) {
        return Err(step("open a network namespace")(Errno::ESRCH));
    }
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(step("enter a network namespace"))
}

/// Gives up every right that reading one descriptor and writing another does not need: for a child that only parses.
///
/// # Errors
/// A call failed half-way.
pub fn drop_rights() -> Result<(), ConfineError> {
    /// `nobody`: owns nothing, so its rights are those of everybody.
    const NOBODY: u32 = 65_534;
    become_target(Credentials {
        uid: NOBODY,
        gid: NOBODY,
        capabilities: 0,
    })?;
    keep_only(0)
}

/// Permitted and effective become what `mask` and we have in common; inheritable becomes empty.
fn keep_only(mask: u64) -> Result<(), ConfineError> {
    let failed = |error: caps::errors::CapsError| ConfineError::Capabilities(error.to_string());
    let held = caps::read(None, CapSet::Permitted).map_err(failed)?;
    let kept: caps::CapsHashSet = held
        .into_iter()
        .filter(|capability| mask & capability.bitmask() != 0)
        .collect();
    caps::clear(None, CapSet::Inheritable).map_err(failed)?;
    caps::set(None, CapSet::Effective, &kept).map_err(failed)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(failed)
}
