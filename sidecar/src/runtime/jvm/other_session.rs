//! Whether another async-profiler samples the process: one that the application brought along, or a colleague's. Two of
//! them take each other's signal, and both profiles would be wrong.
//!
//! Reads `/proc` only. A session that samples neither by perf_events nor by timers (`wall`, `alloc`, `lock`) cannot be seen
//! from outside; async-profiler itself refuses a second one then. Called by [`super::doctor`].

use std::fs::File;
use std::io::Read;

use super::agent_library;
use super::descriptors;
use super::session;
use crate::process::{Process, ProcessTable, TargetRoot};
use crate::runtime::{ALREADY_PROFILED, Reason};

/// The reason if one is at work, and no recorder of ours.
pub fn at_work(table: &ProcessTable, root: &TargetRoot, process: &Process) -> Option<Reason> {
    if session::exists(root, process) {
        return None;
    }
    // First what is cheap, and seldom true: to look for the library, each mapped file is opened.
    let samples = has_timer(table, process) || has_perf_descriptor(table, process);
    let library = samples
        .then(|| agent_library::loaded(table, root, process))?
        .into_iter()
        .next()?;
    Some(Reason::new(
        ALREADY_PROFILED,
        format!("another async-profiler ({library}) is at work in the process, and there can be only one"),
        "end the other profiler, or wait until it is done",
    ))
}

/// True if the process holds a descriptor of perf_events.
fn has_perf_descriptor(table: &ProcessTable, process: &Process) -> bool {
    descriptors::links(table, process.id.pid).any(|link| link.as_os_str() == "anon_inode:[perf_event]")
}

/// True if a timer sends the process the signal for profiling.
fn has_timer(table: &ProcessTable, process: &Process) -> bool {
    /// Some hundred bytes for each thread.
    const LIMIT: u64 = 4 << 20;
    const SIGPROF: &str = "signal: 27/";
    let mut text = String::new();
    let file = File::open(table.directory(process.id.pid).join("timers"));
    let read = file.and_then(|file| file.take(LIMIT).read_to_string(&mut text));
    read.is_ok() && text.lines().any(|line| line.starts_with(SIGPROF))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profiler_is_at_work_if_it_is_there_and_timers_run_that_are_not_ours() {
        let (root, proc, process) = TargetRoot::example();
        let own = proc.path().join("17");
        let write = |name: &str, text: &str| std::fs::write(own.join(name), text).unwrap();
        let key = || at_work(&ProcessTable::at(proc.path()), &root, &process).map(|reason| reason.key);
        write(
            "timers",
            "ID: 0\nsignal: 27/0000000000000000\nnotify: signal/tid.18\nClockID: -146\n",
        );
        assert_eq!(key(), None, "no async-profiler");
        write(
            "maps",
            "7f00-7f01 r-xp 00000000 08:01 7      /opt/libasyncProfiler.so\n",
        );
        assert_eq!(key().as_deref(), Some(ALREADY_PROFILED));
        let ours = own.join(format!("root/tmp/.sideflame-17-{}", process.id.start_time));
        std::fs::create_dir(&ours).unwrap();
        assert_eq!(key(), None, "ours");
        std::fs::remove_dir(ours).unwrap();
        write("timers", "ID: 0\nsignal: 14/0000000000000000\n");
        assert_eq!(key(), None, "it is idle");
    }
}
