//! What the kernel knows of a process's threads: names, and CPU time. The events of a session have numbers only.
//!
//! Called by [`super::record`], before and after sampling. A thread that was not there at both times is left out.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::process::{CpuTime, ProcessId, ProcessTable, Task};
use crate::profile::quality::ThreadFacts;

/// Threads that are looked at. What is known of so many, with names of 15 bytes, fits into one frame between our processes.
const MOST: usize = 500;

/// The threads of a process at one time, by their number in its own pid namespace, which is what its runtime calls them.
#[derive(Debug, Default)]
pub(super) struct Threads {
    rows: BTreeMap<u64, Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    /// A number may be used again.
    started: u64,
    used: Duration,
}

impl Threads {
    /// Those there are; the first of them where there are very many.
    pub(super) fn of(table: &ProcessTable, id: ProcessId) -> Self {
        let tasks = table.directory(id.pid).join("task");
        let mut numbers: Vec<_> = table.threads(id.pid).collect();
        numbers.sort_unstable();
        numbers.truncate(MOST);
        let rows = numbers
            .into_iter()
            .filter_map(|number| read(&tasks.join(number.to_string())));
        Self { rows: rows.collect() }
    }

    /// What each did since `earlier`, under the name that it has now.
    pub(super) fn since(self, earlier: &Self) -> BTreeMap<u64, ThreadFacts> {
        let facts = self.rows.into_iter().filter_map(|(number, row)| {
            let before = earlier
                .rows
                .get(&number)
                .filter(|before| before.started == row.started)?;
            let cpu_ms = row.used.saturating_sub(before.used).as_millis();
            let facts = ThreadFacts {
                name: row.name,
                cpu_ms: u64::try_from(cpu_ms).unwrap_or(u64::MAX),
            };
            Some((number, facts))
        });
        facts.collect()
    }
}

fn read(task: &Path) -> Option<(u64, Row)> {
    let Task { number, name, .. } = Task::read(task)?;
    let (started, used) = CpuTime::of_task(task)?;
    Some((number, Row { name, started, used }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_threads_have_their_names_and_new_ones_are_left_out() {
        let table = ProcessTable::default();
        let process = table.get(i32::try_from(std::process::id()).unwrap()).unwrap();
        let none = Threads::default();
        let work = || {
            let before = Threads::of(&table, process.id);
            (
                Threads::of(&table, process.id).since(&none),
                Threads::of(&table, process.id).since(&before),
            )
        };
        let (new, lasting) = std::thread::scope(|scope| {
            let named = std::thread::Builder::new().name("named-for-test".to_owned());
            named.spawn_scoped(scope, work).unwrap().join().unwrap()
        });
        assert!(new.is_empty(), "{new:?}");
        assert!(
            lasting.values().any(|facts| facts.name == "named-for-test"),
            "{lasting:?}"
        );
    }
}
