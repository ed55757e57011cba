//! What the kernel knows of a process's threads: names, and CPU time. The events of a session have numbers only.
//!
//! Called by [`super::record`], before and after sampling. A thread that was not there at both times is left out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::process::{CpuTime, ProcessId, ProcessTable};
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
    let status = fs::read(task.join("status")).ok()?;
    let (number, name) = named(&String::from_utf8_lossy(&status))?;
    let (started, used) = CpuTime::of_task(task)?;
    Some((number, Row { name, started, used }))
}

/// Number and name in a `status`. The number is the last of `NSpid`, that in the innermost namespace.
fn named(status: &str) -> Option<(u64, String)> {
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"))
    };
    let number = field("NSpid").or(field("Pid"))?;
    let number = number.split_whitespace().last()?.parse().ok()?;
    let plain = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    Some((number, field("Name")?.chars().map(plain).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_numbered_as_their_own_runtime_does() {
        let status = "Name:\tshop-worker-1\nTgid:\t100\nPid:\t117\nNSpid:\t117\t7\n";
        assert_eq!(named(status), Some((7, "shop-worker-1".to_owned())));
        assert_eq!(
            named("Name:\ta b\nPid:\t9\n"),
            Some((9, "a b".to_owned())),
            "an old kernel"
        );
        assert_eq!(named("Name:\t\n"), None);
    }

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
