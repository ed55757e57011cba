//! Why the kernel does not sample, as exactly as it can be told, with what would unlock it.
//!
//! Must not know what is sampled beyond the name of the event. Made by the siblings, read by `doctor` and by the recorder.

use nix::errno::Errno;

use crate::runtime::{Reason, RecordError};

/// What gives a sidecar the right to sample anything.
const GRANT: &str = "annotate the pod with sideflame.io/rights: perf, which Pod Security level privileged admits, or run sideflame as root \
                     with securityContext: {capabilities: {add: [PERFMON, SYSLOG]}}";

/// What a limit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sight {
    /// A process, without the kernel's part in it.
    Process,
    /// What happens in the kernel.
    Kernel,
    /// All processes at once.
    Machine,
}

/// Why there is no sampler.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PerfError {
    /// `EACCES`: the kernel's setting asks for a right that we lack.
    #[error("kernel.perf_event_paranoid forbids it")]
    Paranoid {
        /// The setting, if it could be read.
        level: Option<i32>,
        /// What it forbids.
        sight: Sight,
    },
    /// `EACCES`: the process is another user's, or has more rights than we.
    #[error("the process may not be looked into")]
    Credentials,
    /// `EPERM` for every event: the container's filter of system calls.
    #[error("seccomp forbids perf_event_open")]
    Seccomp,
    /// `EPERM` or `EACCES` without such a filter.
    #[error("a security module forbids perf_event_open")]
    SecurityModule,
    /// `ENOENT`, `EOPNOTSUPP`, `ENODEV`: this machine cannot count that.
    #[error("this machine has no event {event}")]
    NoSuchEvent {
        /// Which.
        event: String,
        /// True if a counter of the processor would give it.
        hardware: bool,
    },
    /// `EPERM` of `mmap`: the rings would take more locked memory than our user may have.
    #[error("no memory may be locked for the rings")]
    LockedMemory {
        /// `kernel.perf_event_mlock_kb`, if it could be read.
        kib: Option<u64>,
    },
    /// `EMFILE`, `ENFILE`: an event takes a descriptor per thread and CPU.
    #[error("there are too few file descriptors")]
    TooFewDescriptors,
    /// `ESRCH`.
    #[error("the process is gone")]
    Gone,
    /// `ENOSYS`.
    #[error("this kernel has no perf_event_open")]
    NoPerfEvents,
    /// Our own fault or the machine's.
    #[error("failed to {step}: {source}")]
    System {
        /// What we tried.
        step: &'static str,
        /// Why it failed.
        source: Errno,
    },
}

impl PerfError {
    /// For people, with the remedy.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Paranoid { level, sight } => paranoid(*level, *sight),
            Self::Credentials => Reason::new(
                "perf_credentials",
                "without CAP_PERFMON the kernel lets sideflame sample only processes of its own user and group that hold no \
                 capability which it lacks",
                format!("run sideflame with the runAsUser and runAsGroup of the application, or {GRANT}"),
            ),
            Self::Seccomp => Reason::new(
                "perf_seccomp",
                "the container's seccomp profile forbids perf_event_open: RuntimeDefault allows it only with CAP_PERFMON or \
                 CAP_SYS_ADMIN, which a pod with hostUsers: false cannot gain",
                format!(
                    "{GRANT}; or, for user stacks of the same user, securityContext: {{seccompProfile: {{type: Unconfined}}}} on \
                     sideflame's container"
                ),
            ),
            Self::SecurityModule => Reason::new(
                "perf_security_module",
                "a security module of this machine (SELinux, AppArmor, lockdown) forbids perf_event_open",
                "allow it in the module's policy: SELinux class perf_event; see the audit log for the denial",
            ),
            Self::NoSuchEvent { event, hardware: true } => Reason::new(
                "no_hardware_counter",
                format!(
                    "this machine cannot count {event}: its processor, or the virtual machine around it, has no such counter"
                ),
                "use event=cpu; for hardware events run the application on a machine, or kind of virtual machine, with a PMU",
            ),
            Self::NoSuchEvent { event, hardware: false } => Reason::new(
                "no_such_event",
                format!("the kernel of this machine has no event {event}, or does not show it to us"),
                "choose one that perf list names on the node; a tracepoint also needs /sys/kernel/tracing in sideflame's container",
            ),
            Self::LockedMemory { kib } => Reason::new(
                "perf_locked_memory",
                format!(
                    "the kernel lets sideflame's user lock no memory for the rings of samples: other samplers of that user have \
                     taken what there is ({} KiB per CPU)",
                    kib.map_or_else(|| "kernel.perf_event_mlock_kb".to_owned(), |kib| kib.to_string())
                ),
                "end the other samplers; or run sideflame with securityContext: {capabilities: {add: [IPC_LOCK]}}, or raise \
                 sysctl kernel.perf_event_mlock_kb on the node",
            ),
            Self::TooFewDescriptors => Reason::new(
                "perf_descriptors",
                "an event takes a file descriptor for each thread and CPU, and sideflame may open no more",
                "raise the limit of open files of sideflame's container (ulimit -n, LimitNOFILE= of containerd)",
            ),
            Self::Gone => Reason::new(
                "target_exited",
                "the process is gone",
                "see GET /processes for those there are",
            ),
            Self::NoPerfEvents => Reason::new(
                "no_perf_events",
                "the kernel has no perf_event_open, or a sandbox (gVisor) stands in its place; the program perf would not help",
                "run the pod on nodes whose kernel is built with CONFIG_PERF_EVENTS, without a sandbox",
            ),
            Self::System { step, source } => Reason::new(
                "perf_failed",
                format!("failed to {step}: {}", source.desc()),
                "this should not be: please report it with the version of the kernel",
            ),
        }
    }
}

impl From<PerfError> for RecordError {
    fn from(error: PerfError) -> Self {
        match error {
            PerfError::Gone => Self::TargetExited,
            PerfError::System { step, source } => Self::Internal {
                step: step.to_owned(),
                detail: source.to_string(),
            },
            error => Self::Impossible(error.reason()),
        }
    }
}

fn paranoid(level: Option<i32>, sight: Sight) -> Reason {
    let value = level.map_or_else(|| "?".to_owned(), |level| level.to_string());
    let at_most = match sight {
        Sight::Process => 2,
        Sight::Kernel => 1,
        Sight::Machine => 0,
    };
    let (key, forbidden) = match sight {
        Sight::Process => ("perf_paranoid", "any sampling"),
        Sight::Kernel => ("perf_paranoid_kernel", "a look at the kernel, which this needs,"),
        Sight::Machine => ("perf_paranoid_machine", "a look at all processes at once"),
    };
    // Known to the kernels of Debian (3) and Ubuntu (4), which others do not have.
    let by_distribution = match level {
        Some(3..) => ", a level that Debian and Ubuntu added,",
        _ => "",
    };
    Reason::new(
        key,
        format!(
            "kernel.perf_event_paranoid is {value} on this machine{by_distribution} and forbids {forbidden} without CAP_PERFMON"
        ),
        format!("{GRANT}; on a machine of your own: sysctl kernel.perf_event_paranoid={at_most}"),
    )
}

/// Why kernel frames are missing from a recording that works without them.
pub fn no_kernel_frames(level: Option<i32>) -> Reason {
    let Reason { sentence, remedy, .. } = paranoid(level, Sight::Kernel);
    let sentence = sentence.replace(", which this needs,", "");
    Reason::new(
        "no_kernel_frames",
        format!("stacks end at the system call: {sentence}"),
        remedy,
    )
}

/// Why the kernel's frames are there and have no names.
pub(super) fn no_kernel_names() -> Reason {
    Reason::new(
        "no_kernel_names",
        "the kernel's frames have no names: it shows them only to who has CAP_SYSLOG",
        format!("{GRANT}; on a machine of your own: sysctl kernel.kptr_restrict=0 kernel.perf_event_paranoid=1"),
    )
}

/// Why a recording has not one sample: nothing is broken, there was nothing to see.
pub fn no_samples(event: &str, seconds: u64) -> Reason {
    Reason::new(
        "no_samples",
        format!("no samples: the process had no {event} in {seconds} s, so the graph is empty"),
        "put load on it or record longer; event=wall or offcpu shows where a process that does nothing waits",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_of_the_setting_has_its_sentence_and_the_sysctl_that_lifts_it() {
        for (level, sight, key, sentence, remedy) in [
            (
                2,
                Sight::Kernel,
                "perf_paranoid_kernel",
                "is 2 on this machine and forbids a look at the kernel",
                "paranoid=1",
            ),
            (
                1,
                Sight::Machine,
                "perf_paranoid_machine",
                "forbids a look at all processes",
                "paranoid=0",
            ),
            (
                3,
                Sight::Process,
                "perf_paranoid",
                "is 3 on this machine, a level that Debian and Ubuntu added,",
                "paranoid=2",
            ),
            (
                4,
                Sight::Process,
                "perf_paranoid",
                "is 4 on this machine, a level that Debian",
                "sideflame.io/rights: perf",
            ),
        ] {
            let reason = PerfError::Paranoid {
                level: Some(level),
                sight,
            }
            .reason();
            assert_eq!(reason.key, key);
            assert!(reason.sentence.contains(sentence), "{}", reason.sentence);
            assert!(reason.remedy.contains(remedy), "{}", reason.remedy);
        }
        let less = no_kernel_frames(Some(2));
        assert!(
            less.sentence
                .ends_with("forbids a look at the kernel without CAP_PERFMON"),
            "{}",
            less.sentence
        );
    }

    #[test]
    fn every_error_has_a_key_of_its_own_and_a_remedy() {
        let event = || "cache-misses".to_owned();
        let errors = [
            (PerfError::Credentials, "perf_credentials", "runAsUser"),
            (PerfError::Seccomp, "perf_seccomp", "seccompProfile: {type: Unconfined}"),
            (PerfError::SecurityModule, "perf_security_module", "perf_event"),
            (
                PerfError::NoSuchEvent {
                    event: event(),
                    hardware: true,
                },
                "no_hardware_counter",
                "event=cpu",
            ),
            (
                PerfError::NoSuchEvent {
                    event: event(),
                    hardware: false,
                },
                "no_such_event",
                "perf list",
            ),
            (
                PerfError::LockedMemory { kib: Some(516) },
                "perf_locked_memory",
                "IPC_LOCK",
            ),
            (PerfError::TooFewDescriptors, "perf_descriptors", "ulimit -n"),
            (PerfError::Gone, "target_exited", "GET /processes"),
            (PerfError::NoPerfEvents, "no_perf_events", "CONFIG_PERF_EVENTS"),
        ];
        for (error, key, remedy) in errors {
            let reason = error.reason();
            assert_eq!(reason.key, key);
            assert!(reason.remedy.contains(remedy), "{}", reason.remedy);
        }
        assert!(
            PerfError::Seccomp
                .reason()
                .sentence
                .contains("hostUsers: false cannot gain")
        );
    }
}
