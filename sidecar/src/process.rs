//! What the kernel says about a process, as values.
//!
//! Knows `/proc` and nothing of runtimes, captures or HTTP. Called by the runtimes and the
//! capture service.

pub mod cgroup;
pub mod command_line;
pub mod container;
pub mod container_logs;
pub mod cpu_time;
pub mod handle;
pub mod table;
pub mod target_root;
pub mod task;
pub mod usage;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

pub use cgroup::{Cgroup, CgroupUsage};
pub use command_line::CommandLine;
pub use container::Container;
pub use container_logs::ContainerLogs;
pub use cpu_time::{CpuTime, CpuUse};
pub use handle::ProcessHandle;
pub use table::ProcessTable;
pub use target_root::TargetRoot;
pub use task::Task;
pub use usage::Usage;

/// Identity of a process: a pid alone is reused by the kernel, a pid with its start time is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessId {
    /// Pid as our own pid namespace sees it.
    pub pid: i32,
    /// Clock ticks after boot (but see [`Self::is_outside`]), field 22 of `/proc/PID/stat` (`man 5 proc`).
    pub start_time: u64,
}

impl ProcessId {
    /// Of a process that our `/proc` does not show: `pid` is that in its own pid namespace, and `number` tells it from all others that
    /// were ever seen so.
    pub fn outside(pid: i32, number: u64) -> Self {
        // Counted from the end: no clock of a process comes that far.
        let start_time = u64::MAX - number;
        Self { pid, start_time }
    }

    /// True if our `/proc` does not show it: whatever has its pid there is another process.
    pub fn is_outside(&self) -> bool {
        self.start_time > u64::MAX / 2
    }

    /// For how long it has been running; nothing where its clock is not ours.
    pub fn age(&self) -> Duration {
        let Ok(now) = clock_gettime(ClockId::CLOCK_BOOTTIME) else {
            return Duration::ZERO;
        };
        let started = cpu_time::of_ticks(self.start_time).unwrap_or(Duration::MAX);
        Duration::from(now).saturating_sub(started)
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.pid)
    }
}

/// Effective ids and permitted capabilities: what `ptrace_may_access` compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// `CapPrm` bit mask.
    pub capabilities: u64,
}

/// One row of `/proc`, from the files everybody may read (`stat`, `status`, `cmdline`, `cgroup`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Identity.
    #[serde(flatten)]
    pub id: ProcessId,
    /// Parent pid.
    pub parent_pid: i32,
    /// Pid in the innermost pid namespace of the process (last field of `NSpid`): the one in its socket names.
    pub namespace_pid: i32,
    /// `comm`, at most 15 bytes.
    pub command: String,
    /// Arguments, as much of them as was read. They do not travel between our processes: each reads what it needs.
    #[serde(skip)]
    pub command_line: CommandLine,
    /// `/proc/PID/exe`, when we may read it.
    pub executable: Option<PathBuf>,
    /// Whose process it is.
    pub credentials: Credentials,
    /// `SigCgt` bit mask: signals with a handler. Bit 2 is SIGQUIT.
    pub signals_caught: u64,
    /// `SigIgn` bit mask.
    pub signals_ignored: u64,
    /// `R`, `S`, `T` (stopped), `Z` (zombie), … as in `stat`.
    pub state: char,
    /// Threads at the time of the snapshot.
    pub threads: u64,
    /// `NoNewPrivs` of the process.
    pub no_new_privileges: bool,
    /// Where it runs: id and pod uid from the cgroup path, names once an inspector has looked.
    #[serde(default)]
    pub container: Container,
}

impl Process {
    /// True when the process has a handler for SIGQUIT and does not ignore it: without one the signal kills it.
    pub fn handles_sigquit(&self) -> bool {
        const SIGQUIT_BIT: u64 = 1 << (3 - 1);
        self.signals_caught & SIGQUIT_BIT != 0 && self.signals_ignored & SIGQUIT_BIT == 0
    }

    /// Stopped by a signal (`T`) or by a tracer (`t`): it answers nothing until it continues.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }

    /// The first process of the node. In a pod, pid 1 is the pause container or the app.
    pub fn is_init_of_node(&self) -> bool {
        self.id.pid == 1 && self.container.is_none()
    }

    /// One that our `/proc` does not show, of which no more is known than this.
    pub fn outside(id: ProcessId, uid: u32, gid: u32) -> Self {
        Self {
            id,
            parent_pid: 0,
            namespace_pid: id.pid,
            command: String::new(),
            command_line: CommandLine::default(),
            executable: None,
            credentials: Credentials {
                uid,
                gid,
                capabilities: 0,
            },
            signals_caught: 0,
            signals_ignored: 0,
            state: '?',
            threads: 0,
            no_new_privileges: false,
            container: Container::default(),
        }
    }

    /// One for tests, called `shop`.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn example(pid: i32) -> Self {
        Self {
            id: ProcessId { pid, start_time: 1 },
            parent_pid: 1,
            namespace_pid: pid,
            command: "shop".to_owned(),
            command_line: ["/shop"].into_iter().collect(),
            executable: None,
            credentials: Credentials {
                uid: 1000,
                gid: 1000,
                capabilities: 0,
            },
            signals_caught: 0,
            signals_ignored: 0,
            state: 'S',
            threads: 5,
            no_new_privileges: true,
            container: Container::default(),
        }
    }

    /// File name of the executable, else `comm`.
    pub fn executable_name(&self) -> String {
        let from_path = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
        if let Some(path) = &self.executable {
            return from_path(path.to_string_lossy().trim_end_matches(" (deleted)"));
        }
        match self.command_line.first() {
            Some(first) => from_path(first),
            None => self.command.clone(),
        }
    }
}
