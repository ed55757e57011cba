//! Events that a counter of the processor gives. A virtual machine may have no counters, and some processors lack some.
//!
//! Reads `/proc` and `/sys`. Called by the doctor, and for its reason by the recorder. Source: async-profiler 4.6,
//! `perfEvents_linux.cpp`.

use std::sync::LazyLock;

use super::descriptors;
use super::doctor;
use crate::event::Event;
use crate::process::{Process, ProcessTable};
use crate::runtime::Reason;

/// The event whose verdict counts for all of them.
pub static CYCLES: LazyLock<Event> = LazyLock::new(|| Event::Named("cycles".to_owned()));

/// Those with a name.
const NAMES: [&str; 11] = [
    "cycles",
    "instructions",
    "cache-references",
    "cache-misses",
    "branch-instructions",
    "branch-misses",
    "bus-cycles",
    "ref-cycles",
    "L1-dcache-load-misses",
    "LLC-load-misses",
    "dTLB-load-misses",
];

/// True of an event that needs a counter of the processor: one of the names, `r1a8` (a register in hexadecimal digits; to
/// async-profiler `read` is one, too) or `pmu/descriptor/`.
pub fn is_hardware(event: &Event) -> bool {
    let Event::Named(name) = event else { return false };
    let is_register = |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    NAMES.contains(&name.as_str())
        || name.strip_prefix('r').is_some_and(is_register)
        || name
            .split_once('/')
            .is_some_and(|(pmu, rest)| !pmu.is_empty() && rest.ends_with('/'))
}

/// Why none of them can be counted for the process as it runs now.
pub fn blocker(table: &ProcessTable, process: &Process) -> Option<Reason> {
    if !has_counters(table, process) {
        return Some(no_counter(
            "the processor, or the virtual machine around it, has no hardware counters",
        ));
    }
    doctor::perf_events_forbidden(table, process).or_else(|| descriptors::too_few(table, process))
}

/// Why the kernel found none.
pub fn no_counter(sentence: impl Into<String>) -> Reason {
    Reason::new(
        "no_hardware_counter",
        sentence,
        "use event=cpu; for hardware events run the application on a machine, or kind of virtual machine, with a PMU",
    )
}

/// The kernel's list of event sources has the processor's under `cpu`, of several kinds of cores (Intel) under `cpu_core`,
/// on arm64 under the name of its driver.
fn has_counters(table: &ProcessTable, process: &Process) -> bool {
    let sources = table
        .directory(process.id.pid)
        .join("../../sys/bus/event_source/devices");
    let Ok(entries) = std::fs::read_dir(sources) else {
        // Hidden from us; the recorder will see.
        return true;
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let is_processor =
        |name: &str| name == "cpu" || name == "cpu_core" || name.starts_with("arm") || name.ends_with("_pmu");
    names
        .map(|name| name.to_string_lossy().into_owned())
        .any(|name| is_processor(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_the_processor_is_known_by_its_name_or_form() {
        let is = |name: &str| is_hardware(&name.parse().unwrap());
        for name in ["cycles", "LLC-load-misses", "r1a8", "cpu/cycles/", "cpu_core/cycles/"] {
            assert!(is(name), "{name}");
        }
        for name in [
            "cpu",
            "cpu-clock",
            "page-faults",
            "context-switches",
            "mem:foo",
            "java.lang.Thread.run",
        ] {
            assert!(!is(name), "{name}");
        }
    }

    #[test]
    fn without_a_source_for_the_processor_there_is_no_counter() {
        let machine = tempfile::tempdir().unwrap();
        let devices = machine.path().join("sys/bus/event_source/devices");
        let (table, process) = (ProcessTable::at(machine.path().join("proc")), Process::example(17));
        std::fs::create_dir_all(table.directory(17)).unwrap();
        let key = || blocker(&table, &process).map(|reason| reason.key);
        assert_ne!(key().as_deref(), Some("no_hardware_counter"), "not to be seen");
        std::fs::create_dir_all(devices.join("software")).unwrap();
        assert_eq!(key().as_deref(), Some("no_hardware_counter"));
        std::fs::create_dir(devices.join("armv8_pmuv3_0")).unwrap();
        assert_ne!(key().as_deref(), Some("no_hardware_counter"));
    }
}
