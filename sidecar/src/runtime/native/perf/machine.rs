//! What the kernel of this machine was told about sampling, from `/proc/sys` and `/sys`.
//!
//! Facts only; whether something works is tried, not computed. Called by its siblings.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// `kernel.perf_event_paranoid`: who may sample what. Debian, Ubuntu and Android know 3, Ubuntu 4, too.
pub(super) fn paranoid() -> Option<i32> {
    setting("perf_event_paranoid")
}

/// `kernel.perf_event_mlock_kb`: KiB of rings per CPU that each user may have.
pub(super) fn mlock_kib() -> Option<u64> {
    setting("perf_event_mlock_kb")
}

/// `kernel.perf_event_max_sample_rate`, which the kernel lowers by itself where samples take too long.
pub(super) fn most_samples() -> Option<u32> {
    setting("perf_event_max_sample_rate")
}

/// `kernel.perf_event_max_stack`: the most frames of a stack.
pub(super) fn most_frames() -> Option<u32> {
    setting("perf_event_max_stack")
}

/// True if the addresses of the kernel's functions are shown to us: those that are kept secret are 0.
pub(super) fn names_the_kernel() -> bool {
    let mut beginning = [0; 512];
    let read = File::open("/proc/kallsyms").and_then(|mut file| file.read(&mut beginning));
    let beginning = String::from_utf8_lossy(beginning.get(..read.unwrap_or_default()).unwrap_or_default());
    let mut addresses = beginning
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(address, _)| address);
    addresses.any(|address| address.bytes().any(|digit| digit != b'0'))
}

/// True if our own system calls are filtered.
pub(super) fn is_filtered() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    mode.is_some_and(|mode| mode.trim() == "2")
}

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = fs::read_to_string(Path::new("/proc/sys/kernel").join(name)).ok()?;
    text.trim().parse().ok()
}

/// The CPUs that are switched on.
pub(super) fn cpus() -> Vec<i32> {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").ok();
    let online = online.map(|list| numbers(&list)).unwrap_or_default();
    if !online.is_empty() {
        return online;
    }
    // Without /sys: the rows `cpu0`, `cpu1`, … of /proc/stat.
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let rows = stat.lines().filter_map(|line| line.strip_prefix("cpu"));
    rows.filter_map(|row| row.split(' ').next()?.parse().ok()).collect()
}

/// `0-3,5` as the kernel writes it.
fn numbers(list: &str) -> Vec<i32> {
    let ranges = list.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<i32>().ok()?..=last.parse::<i32>().ok()?)
    });
    ranges.flatten().collect()
}

/// The number of a tracepoint, `None` where tracefs does not show it to us.
pub(super) fn tracepoint(category: &str, name: &str) -> Option<u64> {
    let roots = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    roots.iter().find_map(|root| {
        let id = Path::new(root).join("events").join(category).join(name).join("id");
        fs::read_to_string(id).ok()?.trim().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_cpus_has_ranges_and_gaps() {
        assert_eq!(numbers("0-3,5,8-9\n"), [0, 1, 2, 3, 5, 8, 9]);
        assert_eq!(numbers("0\n"), [0]);
        assert_eq!(numbers(""), [] as [i32; 0]);
        assert!(!cpus().is_empty());
    }
}
