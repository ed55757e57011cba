//! Whether a JVM has virtual threads. `wall` looks at threads of the operating system, and a virtual thread that waits is on
//! none.
//!
//! Reads the names of its threads in `/proc`. Called by the doctor and the recorder.

use crate::process::{Process, ProcessTable};
use crate::runtime::Reason;

/// Why `wall` lacks some of the waiting; `None` if there are no virtual threads.
pub fn unseen(table: &ProcessTable, process: &Process) -> Option<Reason> {
    let any = names(table, process).any(|name| serves_them(&name));
    any.then(|| {
        Reason::new(
            "virtual_threads_unseen",
            "the process has virtual threads: while they wait they are on no thread, and wall does not see them",
            "use event=cpu or event=lock for what they do; GET /threads shows where they wait",
        )
    })
}

/// True if the process may have virtual threads: also one that never waited for anything runs on a thread of this pool.
pub fn perhaps(table: &ProcessTable, process: &Process) -> bool {
    const CARRIERS: &str = "ForkJoinPool-1-";
    names(table, process).any(|name| name.starts_with(CARRIERS) || serves_them(&name))
}

/// True of the names of threads that only the JDK's virtual threads have: those that wake them up, and those that wait for
/// sockets in their place. The kernel keeps 15 bytes of a name.
fn serves_them(name: &str) -> bool {
    const POLLERS: [&str; 3] = ["Read-Poller", "Write-Poller", "MasterPoller"];
    name.starts_with("VirtualThread-") || POLLERS.contains(&name)
}

fn names(table: &ProcessTable, process: &Process) -> impl Iterator<Item = String> {
    /// More than a JVM can have in its 2 MiB stacks.
    const MOST: usize = 65_536;
    let tasks = std::fs::read_dir(table.directory(process.id.pid).join("task"));
    let tasks = tasks.into_iter().flatten().take(MOST).flatten();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
        .map(|name| name.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_threads_are_known_by_the_threads_that_serve_them() {
        let proc = tempfile::tempdir().unwrap();
        let unseen = |names: &[&str]| {
            for (tid, name) in names.iter().enumerate() {
                let task = proc.path().join(format!("17/task/{tid}"));
                std::fs::create_dir_all(&task).unwrap();
                std::fs::write(task.join("comm"), format!("{name}\n")).unwrap();
            }
            unseen(&ProcessTable::at(proc.path()), &Process::example(17)).is_some()
        };
        assert!(!unseen(&["java", "ForkJoinPool-1-", "G1 Service"]));
        assert!(unseen(&["java", "VirtualThread-u"]));
    }
}
