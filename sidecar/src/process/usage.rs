//! What the kernel has counted of one process: CPU time, memory, faults, switches, descriptors, I/O.
//!
//! What may not be read is absent. Called by [`crate::runtime::counters`], in a child with the rights of the process.
//! Source: `man 5 proc`.

use std::path::Path;
use std::time::Duration;

use procfs::process::LimitValue;

use super::cgroup::number_behind;
use super::cpu_time::of_ticks;
use super::table::read_capped;
use super::{ProcessId, ProcessTable};

/// Threads whose switches are added up; each is a file to read.
const MOST_THREADS: usize = 1024;

/// Longest `status` of a thread that is read; it has some 1.5 KB.
const LONGEST_STATUS: u64 = 64 << 10;

/// Entries of `fd` that are counted one by one, where the kernel does not say how many there are (before 6.2).
const MOST_DESCRIPTORS: usize = 65_536;

/// A process as the kernel counts it.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    /// CPU time in user mode.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
    /// Page faults without and with I/O.
    pub faults: [u64; 2],
    /// Threads that live.
    pub threads: u64,
    /// Bytes of its address space.
    pub virtual_bytes: u64,
    /// Bytes of it in memory.
    pub resident_bytes: u64,
    /// Bytes of it in swap.
    pub swapped_bytes: Option<u64>,
    /// Start, seconds after the Unix epoch.
    pub started: Option<f64>,
    /// Voluntary and involuntary context switches of the threads that live. Those of a thread that ended are kept nowhere.
    pub switches: Option<[u64; 2]>,
    /// Open file descriptors.
    pub descriptors: Option<u64>,
    /// RLIMIT_NOFILE, soft; `None` also without a limit.
    pub most_descriptors: Option<u64>,
    /// `rchar`, `wchar`, `read_bytes` and `write_bytes` of `io`.
    pub transferred: Option<[u64; 4]>,
}

impl Usage {
    /// Of the process of this identity; `None` if it is gone.
    pub fn of(table: &ProcessTable, id: ProcessId) -> Option<Self> {
        let stat = table.stat(id.pid).filter(|stat| stat.starttime == id.start_time)?;
        let directory = table.directory(id.pid);
        let swapped = table.status(id.pid).and_then(|status| status.vmswap);
        let files = procfs::process::Process::new_with_root(directory.clone()).ok();
        let limits = files.as_ref().and_then(|files| files.limits().ok());
        let most = limits.map(|limits| limits.max_open_files.soft_limit);
        let io = files.and_then(|files| files.io().ok());
        Some(Self {
            user: of_ticks(stat.utime)?,
            system: of_ticks(stat.stime)?,
            faults: [stat.minflt, stat.majflt],
            threads: u64::try_from(stat.num_threads).unwrap_or(0),
            virtual_bytes: stat.vsize,
            resident_bytes: stat.rss.saturating_mul(procfs::page_size()),
            swapped_bytes: swapped.map(|kibibytes| kibibytes << 10),
            started: started(table, id),
            switches: switches(table, id.pid),
            descriptors: descriptors(&directory.join("fd")),
            most_descriptors: match most {
                Some(LimitValue::Value(most)) => Some(most),
                Some(LimitValue::Unlimited) | None => None,
            },
            transferred: io.map(|io| [io.rchar, io.wchar, io.read_bytes, io.write_bytes]),
        })
    }
}

fn started(table: &ProcessTable, id: ProcessId) -> Option<f64> {
    let text = std::fs::read_to_string(table.machine_wide("stat")).ok()?;
    let boot = u32::try_from(number_behind(&text, "btime ")?).ok()?;
    Some(f64::from(boot) + of_ticks(id.start_time)?.as_secs_f64())
}

fn switches(table: &ProcessTable, pid: i32) -> Option<[u64; 2]> {
    let mut sum = [0; 2];
    let mut threads = table.threads(pid);
    for thread in threads.by_ref().take(MOST_THREADS) {
        let status = table.directory(pid).join(format!("task/{thread}/status"));
        // A thread that ended meanwhile counts no more.
        let Ok(text) = read_capped(&status, LONGEST_STATUS) else {
            continue;
        };
        let text = String::from_utf8_lossy(&text);
        for (sum, key) in sum
            .iter_mut()
            .zip(["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"])
        {
            *sum += number_behind(&text, key)?;
        }
    }
    threads.next().is_none().then_some(sum)
}

fn descriptors(directory: &Path) -> Option<u64> {
    let told = std::fs::metadata(directory).ok()?.len();
    if told > 0 {
        return Some(told);
    }
    let count = std::fs::read_dir(directory).ok()?.take(MOST_DESCRIPTORS).count();
    (count < MOST_DESCRIPTORS).then_some(count as u64)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn this_process_is_counted_and_another_of_its_pid_is_not() {
        let table = ProcessTable::default();
        let us = table.id_of(i32::try_from(std::process::id()).unwrap()).unwrap();
        let before = Usage::of(&table, us).unwrap();
        let files: Vec<_> = (0..100).map(|_| File::open("/dev/null").unwrap()).collect();
        let after = Usage::of(&table, us).unwrap();
        assert!(
            after.descriptors.unwrap() >= before.descriptors.unwrap() + 90,
            "{after:?}"
        );
        drop(files);
        assert!(after.resident_bytes > 1 << 20 && after.virtual_bytes > after.resident_bytes);
        assert!(after.most_descriptors.unwrap() >= 100 && after.transferred.unwrap()[0] > 0);
        assert!(after.switches.unwrap()[0] > 0 && after.threads >= 2);
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - after.started.unwrap();
        assert!((-2.0..3600.0).contains(&age), "{age}");
        let other = ProcessId {
            start_time: us.start_time + 1,
            ..us
        };
        assert_eq!(Usage::of(&table, other), None);
    }
}
