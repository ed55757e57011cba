//! CPU time of a process and of its threads, as the kernel counts it: what a profiler of CPU time should have seen.
//!
//! Called by the recorders, before and after sampling.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use super::{ProcessId, ProcessTable};

/// Threads that are looked at one by one; each is a file to read. A process with more of them has its sum all the same.
const MOST_THREADS: usize = 4096;

/// What a process had used at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuTime {
    process: Duration,
    /// By thread id and start time: ids are used again.
    threads: HashMap<(i32, u64), Duration>,
}

/// What a process used between two times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuUse {
    /// All of it, also of threads that came and went.
    pub process: Duration,
    /// Of the threads that were there at both ends: a sampler met each of them for long enough.
    pub lasting: Duration,
}

impl CpuTime {
    /// What the process has used until now, without its threads.
    pub fn of_process(table: &ProcessTable, id: ProcessId) -> Option<Self> {
        let (start_time, process) = read(&table.directory(id.pid))?;
        (start_time == id.start_time).then(|| Self {
            process,
            threads: HashMap::new(),
        })
    }

    /// What all processes and the kernel have used until now, by `/proc/stat`: all but idle and stolen time.
    pub fn of_machine(table: &ProcessTable) -> Option<Self> {
        /// user, nice, system, idle, iowait, irq, softirq; of what follows, guests are in the first two.
        const USED: [usize; 5] = [0, 1, 2, 5, 6];
        let text = std::fs::read_to_string(table.machine_wide("stat")).ok()?;
        let row = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> = row.split_whitespace().map_while(|field| field.parse().ok()).collect();
        let used: Option<u64> = USED.iter().map(|at| ticks.get(*at)).sum::<Option<u64>>();
        Some(Self {
            process: of_ticks(used?)?,
            threads: HashMap::new(),
        })
    }

    /// When a task of a process started, in ticks, and what it has used until now; `task` is its folder.
    pub fn of_task(task: &Path) -> Option<(u64, Duration)> {
        read(task)
    }

    /// What the process and each of its threads have used until now.
    pub fn of_threads(table: &ProcessTable, id: ProcessId) -> Option<Self> {
        let tasks = std::fs::read_dir(table.directory(id.pid).join("task")).ok()?;
        let tasks = tasks.take(MOST_THREADS).flatten();
        let threads = tasks.filter_map(|task| {
            let tid = task.file_name().to_str()?.parse().ok()?;
            let (start_time, used) = read(&task.path())?;
            Some(((tid, start_time), used))
        });
        let threads = threads.collect();
        Some(Self {
            threads,
            ..Self::of_process(table, id)?
        })
    }

    /// What was used since `earlier`.
    pub fn since(&self, earlier: &Self) -> CpuUse {
        let used = |(thread, now): (&(i32, u64), &Duration)| Some(now.saturating_sub(*earlier.threads.get(thread)?));
        CpuUse {
            process: self.process.saturating_sub(earlier.process),
            lasting: self.threads.iter().filter_map(used).sum(),
        }
    }
}

/// Start time and CPU time of a `stat`: fields 22, 14 and 15, counted behind the name, which may hold anything.
fn read(directory: &Path) -> Option<(u64, Duration)> {
    let stat = std::fs::read(directory.join("stat")).ok()?;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let text = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let mut fields = text.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = fields.next()?.ok()?.checked_add(fields.next()?.ok()?)?;
    let start_time = fields.nth(6)?.ok()?;
    Some((start_time, of_ticks(ticks)?))
}

pub(super) fn of_ticks(ticks: u64) -> Option<Duration> {
    let per_second = procfs::ticks_per_second().max(1);
    let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(per_second);
    Some(Duration::from_nanos(u64::try_from(nanos).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ProcessId = ProcessId {
        pid: 17,
        start_time: 99,
    };

    fn write(proc: &Path, file: &str, start_time: u64, ticks: [u64; 2]) {
        let directory = proc.join(file);
        std::fs::create_dir_all(&directory).unwrap();
        let [user, system] = ticks;
        let stat = format!("17 (a) b) S 1 1 1 0 -1 0 0 0 0 0 {user} {system} 0 0 20 0 5 0 {start_time} 0 0\n");
        std::fs::write(directory.join("stat"), stat).unwrap();
    }

    #[test]
    fn a_machine_uses_what_is_neither_idle_nor_stolen() {
        let proc = tempfile::tempdir().unwrap();
        let table = ProcessTable::at(proc.path());
        let of = |row: &str| {
            std::fs::write(
                proc.path().join("stat"),
                format!("{row}\ncpu0 9 9 9 9 9 9 9 9 9 9\nintr 7\n"),
            )
            .unwrap();
            CpuTime::of_machine(&table)
        };
        let before = of("cpu  1000 1 1 1 1 1 1 1 1 1").unwrap();
        // user nice system idle iowait irq softirq steal guest guest_nice
        let used = of("cpu  1011 3 5 901 901 8 33 901 901 901").unwrap().since(&before);
        let tick = Duration::from_secs(1) / u32::try_from(procfs::ticks_per_second()).unwrap();
        assert_eq!(used.process, (11 + 2 + 4 + 7 + 32) * tick);
        assert_eq!(of("cpu  1 2"), None);
    }

    #[test]
    fn what_was_used_is_told_for_all_and_for_the_threads_that_lasted() {
        let proc = tempfile::tempdir().unwrap();
        let table = ProcessTable::at(proc.path());
        let tick = Duration::from_secs(1) / u32::try_from(procfs::ticks_per_second()).unwrap();
        write(proc.path(), "17", 99, [5, 5]);
        write(proc.path(), "17/task/17", 99, [3, 2]);
        write(proc.path(), "17/task/18", 100, [3, 2]);
        let before = CpuTime::of_threads(&table, ID).unwrap();
        write(proc.path(), "17", 99, [105, 55]);
        write(proc.path(), "17/task/17", 99, [43, 12]);
        // Another thread with the id of one that ended.
        write(proc.path(), "17/task/18", 700, [90, 0]);
        let used = CpuTime::of_threads(&table, ID).unwrap().since(&before);
        assert_eq!((used.process, used.lasting), (150 * tick, 50 * tick));
        write(proc.path(), "17", 101, [5, 5]);
        assert_eq!(CpuTime::of_process(&table, ID), None, "another process");
    }
}
