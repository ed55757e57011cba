//! What a Go program publishes at `/debug/vars`: numbers of the runtime, and of its own. Pure; the text is the app's.
//!
//! Names are those of Prometheus' Go client. Source: Go's `expvar` and `runtime.MemStats`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::profile::counter::{CounterKind, CounterValue};

/// Longest answer that is read: Go's own part is 8 KB, most of it lists of pauses and sizes.
pub(super) const LONGEST: usize = 1 << 20;

/// Numbers that the program publishes itself; the rest is left out.
const MOST_OWN: usize = 64;
/// Longest name of one.
const LONGEST_NAME: usize = 128;

#[derive(Deserialize)]
struct Vars {
    memstats: BTreeMap<String, Value>,
    #[serde(flatten)]
    own: BTreeMap<String, Value>,
}

const BYTES: [(&str, &str, &str); 17] = [
    ("Alloc", "go_memstats_alloc_bytes", "Bytes of heap objects"),
    (
        "Sys",
        "go_memstats_sys_bytes",
        "Bytes that the runtime has of the operating system",
    ),
    ("HeapAlloc", "go_memstats_heap_alloc_bytes", "Bytes of heap objects"),
    (
        "HeapSys",
        "go_memstats_heap_sys_bytes",
        "Bytes of heap that the runtime has of the operating system",
    ),
    ("HeapIdle", "go_memstats_heap_idle_bytes", "Bytes in unused spans"),
    ("HeapInuse", "go_memstats_heap_inuse_bytes", "Bytes in used spans"),
    (
        "HeapReleased",
        "go_memstats_heap_released_bytes",
        "Bytes given back to the operating system",
    ),
    ("StackInuse", "go_memstats_stack_inuse_bytes", "Bytes in stack spans"),
    (
        "StackSys",
        "go_memstats_stack_sys_bytes",
        "Bytes of stacks that the runtime has of the operating system",
    ),
    (
        "MSpanInuse",
        "go_memstats_mspan_inuse_bytes",
        "Bytes of mspan structures in use",
    ),
    ("MSpanSys", "go_memstats_mspan_sys_bytes", "Bytes of mspan structures"),
    (
        "MCacheInuse",
        "go_memstats_mcache_inuse_bytes",
        "Bytes of mcache structures in use",
    ),
    (
        "MCacheSys",
        "go_memstats_mcache_sys_bytes",
        "Bytes of mcache structures",
    ),
    (
        "BuckHashSys",
        "go_memstats_buck_hash_sys_bytes",
        "Bytes of profiling buckets",
    ),
    (
        "GCSys",
        "go_memstats_gc_sys_bytes",
        "Bytes of the garbage collector's own",
    ),
    (
        "OtherSys",
        "go_memstats_other_sys_bytes",
        "Bytes of other parts of the runtime",
    ),
    (
        "NextGC",
        "go_memstats_next_gc_bytes",
        "Size of the heap at which the next collection ends",
    ),
];
const TOTALS: [(&str, &str, &str); 3] = [
    (
        "TotalAlloc",
        "go_memstats_alloc_bytes_total",
        "Bytes that were ever allocated",
    ),
    (
        "Mallocs",
        "go_memstats_mallocs_total",
        "Objects that were ever allocated",
    ),
    ("Frees", "go_memstats_frees_total", "Objects that were freed"),
];
const PAUSES: &str = "Garbage collections, and the time for which they stopped the program";

/// The values in the text of `/debug/vars`; `None` if it is none.
pub(super) fn values(text: &[u8]) -> Option<Vec<CounterValue>> {
    let Vars { memstats, own } = serde_json::from_slice(text).ok()?;
    let number = |name: &str| finite(memstats.get(name)?);
    // Every version has it, and nothing else does.
    number("TotalAlloc")?;
    let mut values = Vec::new();
    let mut push = |kind, name: &str, help: &str, value: Option<f64>, tags: String| {
        values.extend(value.map(|value| CounterValue {
            display_name: help.to_owned(),
            tags,
            ..CounterValue::shared("expvar", name, kind, value)
        }));
    };
    for (field, name, help) in BYTES {
        push(CounterKind::Gauge, name, help, number(field), String::new());
    }
    push(
        CounterKind::Gauge,
        "go_memstats_heap_objects",
        "Heap objects",
        number("HeapObjects"),
        String::new(),
    );
    for (field, name, help) in TOTALS {
        push(CounterKind::Total, name, help, number(field), String::new());
    }
    let nanoseconds = |name: &str| Some(number(name)? / 1e9);
    for (name, value) in [
        ("go_gc_duration_seconds_count", number("NumGC")),
        ("go_gc_duration_seconds_sum", nanoseconds("PauseTotalNs")),
    ] {
        push(CounterKind::Total, name, PAUSES, value, String::new());
    }
    for (name, help, value) in [
        (
            "go_memstats_last_gc_time_seconds",
            "End of the last collection after the Unix epoch, 0 before the first",
            nanoseconds("LastGC"),
        ),
        (
            "go_memstats_gc_cpu_fraction",
            "Share of the program's CPU time that collections took since its start",
            number("GCCPUFraction"),
        ),
    ] {
        push(CounterKind::Gauge, name, help, value, String::new());
    }
    let published = own.iter().filter_map(|(name, value)| Some((name, finite(value)?)));
    for (name, value) in published.take(MOST_OWN) {
        let name = CounterValue::tag_text(name, LONGEST_NAME);
        let help = "What the program publishes by expvar under this name";
        push(
            CounterKind::Gauge,
            "go_expvar",
            help,
            Some(value),
            format!("key={name}"),
        );
    }
    Some(values)
}

fn finite(value: &Value) -> Option<f64> {
    value.as_f64().filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_runtime_and_of_the_program_are_told_apart() {
        let text = br#"{"cmdline": ["/shop"], "carts": 7, "queue": {"a": 1},
            "memstats": {"Alloc": 5, "TotalAlloc": 9, "NumGC": 3, "PauseTotalNs": 1500000000, "BySize": [{"Size": 0}]}}"#;
        let values = values(text).unwrap();
        let of = |name: &str| {
            let found = values.iter().find(|value| value.name == name).unwrap();
            (found.value, found.kind, &*found.tags)
        };
        assert_eq!(of("go_memstats_alloc_bytes_total"), (9.0, CounterKind::Total, ""));
        assert_eq!(of("go_gc_duration_seconds_sum"), (1.5, CounterKind::Total, ""));
        assert_eq!(of("go_expvar"), (7.0, CounterKind::Gauge, "key=carts"));
        assert_eq!(values.len(), 5);
        assert!(values.iter().all(CounterValue::is_shared));
    }

    #[test]
    fn what_is_not_of_expvar_is_nothing() {
        for text in [
            "",
            "{}",
            "[]",
            "<html>",
            r#"{"memstats": {}}"#,
            r#"{"memstats": {"TotalAlloc": "9"}}"#,
        ] {
            assert_eq!(values(text.as_bytes()), None, "{text}");
        }
        let deep = format!("{{\"memstats\": {{\"TotalAlloc\": 1}}, \"a\": {}", "[".repeat(100_000));
        assert_eq!(values(deep.as_bytes()), None);
    }
}
