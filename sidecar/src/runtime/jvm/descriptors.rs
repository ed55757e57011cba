//! Whether a JVM has file descriptors left for perf_events, which take one for each of its threads, inside the JVM: at its
//! limit the application itself could open no file and accept no connection for as long as the capture runs.
//!
//! Reads `/proc` only. Called by the doctor, and by the recorder right before it chooses how to sample.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use crate::process::{Process, ProcessTable};
use crate::runtime::Reason;

/// What the application may open itself during a capture, in any case.
const LEAST_MARGIN: u64 = 64;

/// Why there are too few; `None` if there are enough, or if it cannot be told.
pub fn too_few(table: &ProcessTable, process: &Process) -> Option<Reason> {
    let limit = limit(table, process)?;
    let open = open(table, process, limit)?;
    let threads = process.threads;
    // Half as many threads again may start meanwhile.
    let margin = LEAST_MARGIN.max(threads / 2);
    (open + threads + margin > limit).then(|| {
        Reason::new(
            "too_few_descriptors",
            format!(
                "perf_events would take a file descriptor of the process for each of its {threads} threads, and it has \
                 {open} of {limit} open"
            ),
            "raise the limit of open files (ulimit -n, LimitNOFILE=) of the application; a JVM with -XX:-MaxFDLimit does \
             not use its hard limit",
        )
    })
}

/// Why the JVM could not even take our connection: it has no descriptor left for it. `None` if it has some, or if it cannot
/// be told.
pub fn exhausted(table: &ProcessTable, process: &Process) -> Option<Reason> {
    /// The listener's socket, our connection, the profiler's log and its recording.
    const NEEDED: u64 = 4;
    let limit = limit(table, process)?;
    let open = open(table, process, limit)?;
    (open + NEEDED > limit).then(|| {
        Reason::new(
            "no_descriptors_left",
            format!("the process has {open} of {limit} file descriptors open, and can take no connection of a profiler"),
            "raise the limit of open files (ulimit -n, LimitNOFILE=) of the application, or see what it leaves open: ls -l \
             /proc/<pid>/fd",
        )
    })
}

/// What its descriptors lead to: `socket:[4711]`, `anon_inode:[perf_event]`, a path. None without the right to see them.
pub fn links(table: &ProcessTable, pid: i32) -> impl Iterator<Item = PathBuf> {
    /// A server with a million connections: a second of looking is enough.
    const MOST: usize = 1 << 20;
    let entries = std::fs::read_dir(table.directory(pid).join("fd"));
    let entries = entries.into_iter().flatten().take(MOST).flatten();
    entries.filter_map(|entry| std::fs::read_link(entry.path()).ok())
}

/// The soft limit, fourth word of `Max open files`.
fn limit(table: &ProcessTable, process: &Process) -> Option<u64> {
    // 16 lines of 80 bytes.
    const MOST: u64 = 16 << 10;
    let mut text = String::new();
    let file = File::open(table.directory(process.id.pid).join("limits")).ok()?;
    file.take(MOST).read_to_string(&mut text).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    // "unlimited" is no number, and enough.
    line.split_whitespace().next()?.parse().ok()
}

/// Open descriptors, counted up to `limit`.
fn open(table: &ProcessTable, process: &Process, limit: u64) -> Option<u64> {
    let entries = std::fs::read_dir(table.directory(process.id.pid).join("fd")).ok()?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    Some(entries.take(most).count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process with `open` descriptors, a soft limit and 100 threads, before a judge.
    fn judged(open: usize, limit: &str, judge: fn(&ProcessTable, &Process) -> Option<Reason>) -> Option<String> {
        let proc = tempfile::tempdir().unwrap();
        let directory = proc.path().join("17");
        std::fs::create_dir_all(directory.join("fd")).unwrap();
        for number in 0..open {
            std::fs::write(directory.join("fd").join(number.to_string()), "").unwrap();
        }
        let limits = format!(
            "Limit                     Soft Limit           Hard Limit           Units     \n\
             Max processes             31000                31000                processes \n\
             Max open files            {limit:<20} 1048576              files     \n"
        );
        std::fs::write(directory.join("limits"), limits).unwrap();
        let process = Process {
            threads: 100,
            ..Process::example(17)
        };
        judge(&ProcessTable::at(proc.path()), &process).map(|reason| reason.key.into_owned())
    }

    #[test]
    fn threads_and_some_growth_must_fit_beside_what_is_open() {
        assert_eq!(judged(36, "200", too_few), None);
        assert_eq!(judged(37, "200", too_few).as_deref(), Some("too_few_descriptors"));
        assert_eq!(judged(0, "1024", too_few), None);
        assert!(judged(200, "100", too_few).is_some());
    }

    #[test]
    fn a_process_without_descriptors_can_take_no_connection() {
        assert_eq!(judged(36, "40", exhausted), None);
        assert_eq!(judged(37, "40", exhausted).as_deref(), Some("no_descriptors_left"));
    }

    #[test]
    fn what_cannot_be_told_is_enough() {
        assert_eq!(judged(300, "unlimited", too_few), None);
        assert_eq!(judged(300, "unlimited", exhausted), None);
        assert_eq!(too_few(&ProcessTable::at("/nonexistent"), &Process::example(17)), None);
    }
}
