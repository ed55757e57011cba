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
use nix::sys::resource::{Resource, getrlimit, setrlimit};
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

/// Bounds every child: no core dumps, dies when the server does and before it.
///
/// # Errors
/// The first call that failed.
pub fn limit() -> Result<(), ConfineError> {
    // SIGTERM, not SIGKILL: a recorder has a profiler to stop first. Its channel tells it as well.
    die_with_parent()?;
    // When the container's memory runs out the kernel shall end a child, which can be started again, not the server.
    // Raising one's own score needs no right; where /proc is read-only the kernel decides as it did before.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    bound(Resource::RLIMIT_CORE, 0, "forbid core dumps")?;
    bound(Resource::RLIMIT_AS, ADDRESS_SPACE, "bound the memory")
}

/// Bounds the files a child writes to `bytes` each.
///
/// # Errors
/// The first call that failed.
pub fn limit_files(bytes: u64) -> Result<(), ConfineError> {
    // Blocked, the signal stays pending and the write fails with EFBIG, which we can report.
    let mut too_large = SigSet::empty();
    too_large.add(Signal::SIGXFSZ);
    too_large.thread_block().map_err(step("block SIGXFSZ"))?;
    bound(Resource::RLIMIT_FSIZE, bytes, "bound the file size")
}

/// Bounds the memory of a child whose need grows with its input, one of `children` that may run at a time, by its share of
/// what the container has, so that it is refused memory and can say so. At the container's own limit the kernel may end
/// all of its processes at once: `memory.oom.group` of cgroup v2, which the kubelet sets from Kubernetes 1.28 on.
///
/// # Errors
/// The limit could not be set.
pub fn limit_memory(children: u64) -> Result<(), ConfineError> {
    match cgroup_memory::limit() {
        Some(limit) => bound(Resource::RLIMIT_DATA, share(limit, children), "bound the memory"),
        None => Ok(()),
    }
}

/// How often the kernel has killed a process of our container for want of memory; `None` where it does not tell.
pub fn out_of_memory_kills() -> Option<u64> {
    cgroup_memory::out_of_memory_kills()
}

/// What is left for each of `children` in a container with `limit` bytes.
fn share(limit: u64, children: u64) -> u64 {
    /// For the server, two recorders and the kernel's own pages, which together were measured at 6 MiB. A renderer
    /// needs 2 MiB for a small profile.
    const OTHERS: u64 = 8 << 20;
    (limit.saturating_sub(OTHERS) / children).max(OTHERS)
}

/// Sets both limits to `bytes`, or to the hard limit where somebody set a lower one (`ulimit -v`): raising it needs a right.
fn bound(resource: Resource, bytes: u64, what: &'static str) -> Result<(), ConfineError> {
    let (_, hard) = getrlimit(resource).map_err(step(what))?;
    let bytes = bytes.min(hard);
    setrlimit(resource, bytes, bytes).map_err(step(what))
}

fn die_with_parent() -> Result<(), ConfineError> {
    prctl::set_pdeathsig(Signal::SIGTERM).map_err(step("set the parent death signal"))
}

fn step(step: &'static str) -> impl Fn(Errno) -> ConfineError {
    move |source| ConfineError::System { step, source }
}

/// Takes on `credentials` as far as we may. Without CAP_SETUID and CAP_SETGID a different user stays out of reach
/// and we stay who we are: the doctor then reports what that means.
///
/// # Errors
/// A call failed half-way; the caller must not go on with mixed credentials.
pub fn become_target(credentials: Credentials) -> Result<(), ConfineError> {
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
        return die_with_parent();
    }
    keep_only(credentials.capabilities)?;
    // Changing credentials clears it.
    die_with_parent()
}

/// Enters the network namespace of `target` if it is another one than ours, so that its loopback ports are within reach.
/// Needs CAP_SYS_ADMIN; so it comes before [`become_target`].
///
/// # Errors
/// The namespace could not be opened or entered, or the process is gone.
pub fn enter_network(table: &ProcessTable, target: ProcessId) -> Result<(), ConfineError> {
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Runs the test `name` of this module in a process of its own, which may confine itself, below `shell`.
    fn in_a_child(name: &str, shell: &str) {
        let output = Command::new("/bin/sh")
            .args(["-c", &format!("{shell} && exec \"$0\" \"$@\"")])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", &format!("confine::tests::{name}")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    fn a_lower_hard_limit_is_taken_as_it_is() {
        in_a_child(
            "limits_under_an_ulimit",
            "ulimit -v 1000000 && ulimit -d 500000 && ulimit -f 1000",
        );
    }

    #[test]
    #[ignore = "confines its process: run by a_lower_hard_limit_is_taken_as_it_is"]
    fn limits_under_an_ulimit() {
        // As in most containers: without CAP_SYS_RESOURCE a hard limit cannot be raised.
        keep_only(0).unwrap();
        limit().unwrap();
        limit_files(1 << 30).unwrap();
        bound(Resource::RLIMIT_DATA, 1 << 40, "bound the memory").unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_AS).unwrap().1, 1_000_000 << 10);
        assert!(getrlimit(Resource::RLIMIT_DATA).unwrap().1 <= 500_000 << 10);
        assert!(getrlimit(Resource::RLIMIT_FSIZE).unwrap().1 < 1 << 30);
        assert_eq!(getrlimit(Resource::RLIMIT_CORE).unwrap(), (0, 0));
        // What is bounded can be bounded further.
        limit_memory(4).unwrap();
    }

    #[test]
    fn a_confined_child_has_no_right_and_gains_none() {
        in_a_child("rights_after_dropping_them", "true");
    }

    #[test]
    #[ignore = "confines its process: run by a_confined_child_has_no_right_and_gains_none"]
    fn rights_after_dropping_them() {
        drop_rights().unwrap();
        for set in [CapSet::Permitted, CapSet::Effective, CapSet::Inheritable] {
            assert!(caps::read(None, set).unwrap().is_empty(), "{set:?}");
        }
        assert_eq!(prctl::get_pdeathsig().unwrap(), Some(Signal::SIGTERM));
    }

    #[test]
    fn a_file_that_grows_too_large_is_an_error_and_no_death() {
        in_a_child("writing_beyond_the_limit", "true");
    }

    #[test]
    #[ignore = "confines its process: run by a_file_that_grows_too_large_is_an_error_and_no_death"]
    fn writing_beyond_the_limit() {
        let mut file = tempfile::tempfile().unwrap();
        limit_files(10).unwrap();
        let error = std::io::Write::write_all(&mut file, &[0; 20]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn children_share_what_the_server_leaves() {
        assert_eq!(share(64 << 20, 1), 56 << 20);
        assert_eq!(share(64 << 20, 4), 14 << 20);
        assert_eq!(share(16 << 20, 4), 8 << 20, "no child works with less");
        assert_eq!(share(4 << 20, 1), 8 << 20);
    }
}
