//! Which of its engines async-profiler chose for `cpu`: it does not say, but the process shows it.
//!
//! perf_events are one descriptor per thread. Called by the recorder while sampling runs.

use crate::event::Event;
use crate::process::{Process, ProcessTable};

/// How samples are triggered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// perf_events, with kernel frames where the kernel allows them.
    Perf,
    /// A timer per thread on its CPU clock.
    Ctimer,
    /// There is only one way for this event.
    Only,
}

impl Engine {
    /// Looks at the process right after the start.
    pub fn of(event: &Event, table: &ProcessTable, process: &Process) -> Self {
        match event {
            Event::Cpu if has_perf_descriptor(table, process) => Self::Perf,
            Event::Cpu => Self::Ctimer,
            _ => Self::Only,
        }
    }

    /// What the sampler's name ends with.
    pub fn label(self) -> &'static str {
        match self {
            Self::Perf => " (perf_events)",
            Self::Ctimer => " (ctimer)",
            Self::Only => "",
        }
    }
}

fn has_perf_descriptor(table: &ProcessTable, process: &Process) -> bool {
    // A server with a million connections: a second of looking is enough.
    const MOST: usize = 1 << 20;
    let Ok(entries) = std::fs::read_dir(table.directory(process.id.pid).join("fd")) else {
        return false;
    };
    entries
        .take(MOST)
        .flatten()
        .any(|entry| std::fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == "anon_inode:[perf_event]"))
}
