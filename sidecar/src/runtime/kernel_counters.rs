//! What the kernel counts, by the names that Prometheus' clients and cAdvisor have for it. Pure.

use std::time::Duration;

use crate::process::{CgroupUsage, Usage};
use crate::profile::counter::{CounterKind, CounterValue};

/// Values of one source.
struct Values(&'static str, Vec<CounterValue>);

impl Values {
    fn push(&mut self, kind: CounterKind, (name, tags): (&str, &str), help: &str, value: Option<f64>) {
        let Some(value) = value else { return };
        self.1.push(CounterValue {
            display_name: help.to_owned(),
            tags: tags.to_owned(),
            ..CounterValue::shared(self.0, name, kind, value)
        });
    }

    fn total(&mut self, name: &str, help: &str, value: Option<u64>) {
        self.push(CounterKind::Total, (name, ""), help, value.map(|value| value as f64));
    }

    fn seconds(&mut self, name: &str, help: &str, value: Option<Duration>) {
        let value = value.map(|value| value.as_secs_f64());
        self.push(CounterKind::Total, (name, ""), help, value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: Option<u64>) {
        self.push(CounterKind::Gauge, (name, ""), help, value.map(|value| value as f64));
    }
}

/// Of a process.
pub fn of_process(usage: &Usage) -> Vec<CounterValue> {
    let mut values = Values("/proc", Vec::new());
    let Usage {
        user,
        system,
        faults: [minor, major],
        threads,
        virtual_bytes,
        resident_bytes,
        swapped_bytes,
        started,
        switches,
        descriptors,
        most_descriptors,
        transferred,
    } = *usage;
    values.seconds(
        "process_cpu_seconds_total",
        "CPU time of the process",
        Some(user + system),
    );
    values.seconds("process_cpu_user_seconds_total", "CPU time in user mode", Some(user));
    values.seconds(
        "process_cpu_system_seconds_total",
        "CPU time in the kernel",
        Some(system),
    );
    values.gauge("process_resident_memory_bytes", "Bytes in memory", Some(resident_bytes));
    values.gauge(
        "process_virtual_memory_bytes",
        "Bytes of address space",
        Some(virtual_bytes),
    );
    values.gauge("process_swap_bytes", "Bytes in swap", swapped_bytes);
    values.total(
        "process_minor_page_faults_total",
        "Page faults without I/O",
        Some(minor),
    );
    values.total(
        "process_major_page_faults_total",
        "Page faults that waited for I/O",
        Some(major),
    );
    values.gauge("process_threads", "Threads that live", Some(threads));
    // The kernel keeps no switches of threads that ended, so that the sum may fall.
    let switched = "Context switches of the threads that live; those of threads that ended are kept nowhere";
    for (at, tags) in ["kind=voluntary", "kind=involuntary"].into_iter().enumerate() {
        let value = switches.map(|switches| switches[at] as f64);
        values.push(
            CounterKind::Gauge,
            ("process_threads_context_switches", tags),
            switched,
            value,
        );
    }
    values.gauge("process_open_fds", "Open file descriptors", descriptors);
    values.gauge(
        "process_max_fds",
        "File descriptors that there may be (RLIMIT_NOFILE)",
        most_descriptors,
    );
    let names = [
        ("process_io_read_bytes_total", "Bytes that were read, from wherever"),
        ("process_io_written_bytes_total", "Bytes that were written, to wherever"),
        ("process_io_storage_read_bytes_total", "Bytes that came from storage"),
        ("process_io_storage_written_bytes_total", "Bytes that went to storage"),
    ];
    for (at, (name, help)) in names.into_iter().enumerate() {
        values.total(name, help, transferred.map(|transferred| transferred[at]));
    }
    let start = "Start of the process after the Unix epoch";
    values.push(CounterKind::Gauge, ("process_start_time_seconds", ""), start, started);
    values.1
}

/// Of the cgroup of a process, which other processes of the container share.
pub fn of_cgroup(usage: &CgroupUsage) -> Vec<CounterValue> {
    let mut values = Values("cgroup", Vec::new());
    let modes = usage.cpu_by_mode.map(|[user, system]| (user, system)).unzip();
    let [periods, throttled] = usage.periods.map_or([None; 2], |periods| periods.map(Some));
    values.seconds("container_cpu_usage_seconds_total", "CPU time of the cgroup", usage.cpu);
    values.seconds(
        "container_cpu_user_seconds_total",
        "CPU time of the cgroup in user mode",
        modes.0,
    );
    values.seconds(
        "container_cpu_system_seconds_total",
        "CPU time of the cgroup in the kernel",
        modes.1,
    );
    values.total("container_cpu_cfs_periods_total", "Periods of the CPU quota", periods);
    values.total(
        "container_cpu_cfs_throttled_periods_total",
        "Periods in which the CPU quota was used up",
        throttled,
    );
    values.seconds(
        "container_cpu_cfs_throttled_seconds_total",
        "Time that the CPU quota kept tasks from running",
        usage.throttled,
    );
    let cores = usage
        .quota
        .map(|[quota, period]| quota.as_secs_f64() / period.as_secs_f64());
    let cores = cores.filter(|cores| cores.is_finite());
    values.push(
        CounterKind::Gauge,
        ("container_cpu_limit_cores", ""),
        "CPUs that the quota allows",
        cores,
    );
    values.gauge(
        "container_memory_usage_bytes",
        "Bytes of memory, page cache included",
        usage.memory,
    );
    let working_set = usage.memory.zip(usage.inactive_cache);
    values.gauge(
        "container_memory_working_set_bytes",
        "Bytes of memory without the page cache that the kernel takes back first",
        working_set.map(|(used, inactive)| used.saturating_sub(inactive)),
    );
    values.gauge(
        "container_memory_rss",
        "Bytes of memory that no file backs",
        usage.anonymous,
    );
    values.gauge("container_memory_cache", "Bytes of page cache", usage.cache);
    values.gauge(
        "container_spec_memory_limit_bytes",
        "Bytes of memory that there may be",
        usage.memory_limit,
    );
    values.total(
        "container_oom_events_total",
        "Processes killed at the limit",
        usage.out_of_memory_kills,
    );
    values.gauge("container_threads", "Tasks of the cgroup", usage.tasks);
    values.gauge("container_threads_max", "Tasks that there may be", usage.most_tasks);
    for (pressure, resource) in usage.pressure.iter().zip(["cpu", "memory", "io"]) {
        let [some, full] = pressure.map_or([None; 2], |pressure| pressure.map(Some));
        values.seconds(
            &format!("container_pressure_{resource}_waiting_seconds_total"),
            &format!("Time in which some task waited for {resource}"),
            some,
        );
        values.seconds(
            &format!("container_pressure_{resource}_stalled_seconds_total"),
            &format!("Time in which all tasks that could run waited for {resource}"),
            full,
        );
    }
    values.1
}
