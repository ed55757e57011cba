//! What a JVM counts of itself, by the performance data that it shares: nothing is attached, signalled or interrupted.
//!
//! Names are those of Prometheus' Java client where it has one. Times are ticks of `sun.os.hrt.frequency`. Called by
//! [`crate::runtime::shared_counters`]. Source: OpenJDK `collectorCounters.cpp`, `generationCounters.cpp`, `threadService.cpp`,
//! `classLoadingService.cpp`, `runtimeService.cpp`.

use std::collections::HashMap;

use super::hsperfdata::{PerfDataFile, Unshared, Value, entries};
use super::startup::Startup;
use crate::process::{Process, ProcessTable, TargetRoot};
use crate::profile::counter::{CounterKind, CounterValue};
use crate::runtime::{JavaVm, Reason};

/// Collectors, generations and spaces of a generation: HotSpot has three, two and three at most.
const MOST_PARTS: usize = 8;
/// Longest name of one of them.
const LONGEST_NAME: usize = 64;
/// Entries that are looked at; HotSpot writes some 250.
const MOST_ENTRIES: usize = 4096;

/// The data that a JVM shares.
#[derive(Debug)]
pub struct SharedCounters(PerfDataFile);

impl SharedCounters {
    /// Of the JVM `process`.
    ///
    /// # Errors
    /// Why it shares none that could be believed.
    pub fn open(table: &ProcessTable, root: &TargetRoot, process: &Process, vm: JavaVm) -> Result<Self, Reason> {
        if vm == JavaVm::OpenJ9 {
            return Err(Reason::new(
                "perf_data_unavailable",
                "OpenJ9 shares no performance data: garbage collection, heap, threads and classes of the JVM are missing",
                "see its own verbose:gc log; the counters of the process are there all the same",
            ));
        }
        let opened = PerfDataFile::open(table, root, process);
        opened
            .map(Self)
            .map_err(|why| explain(&why, &Startup::of(table, root, process)))
    }

    /// What it counts now; nothing if what it shares cannot be read any more.
    pub fn values(&self) -> Vec<CounterValue> {
        self.0.bytes().map(|bytes| values(&bytes)).unwrap_or_default()
    }

    /// Bytes of the heap that were in use when the JVM counted last, and those that it has of the operating system.
    pub fn heap_bytes(&self) -> Option<(u64, u64)> {
        let values = self.values();
        let of_heap = |name: &str| {
            let value = values
                .iter()
                .find(|value| value.name == name && value.tags == "area=heap");
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a number of bytes, from one of 64 bits"
            )]
            value.map(|value| value.value as u64)
        };
        Some((
            of_heap("jvm_memory_used_bytes")?,
            of_heap("jvm_memory_committed_bytes")?,
        ))
    }
}

fn explain(why: &Unshared, startup: &Startup) -> Reason {
    let off = [
        ("UsePerfData", false, "-XX:-UsePerfData"),
        ("PerfDisableSharedMem", true, "-XX:+PerfDisableSharedMem"),
    ];
    let off = off
        .into_iter()
        .find(|(name, value, _)| startup.switch(name) == Some(*value));
    let (why, remedy) = match off {
        Some((_, _, option)) => (
            format!("it runs with {option}"),
            format!("remove {option} and restart the application"),
        ),
        None => (
            why.to_string(),
            "let the JVM write /tmp/hsperfdata_<user> (no -XX:-UsePerfData, a writable /tmp), and give each container with a JVM a \
             /tmp of its own"
                .to_owned(),
        ),
    };
    let sentence = format!(
        "the JVM shares no performance data ({why}): garbage collection, heap, threads and classes are missing"
    );
    Reason::new("perf_data_unavailable", sentence, remedy)
}

/// What the bytes of a file count.
pub(super) fn values(bytes: &[u8]) -> Vec<CounterValue> {
    let Some(entries) = entries(bytes) else {
        return Vec::new();
    };
    let mut data = Data {
        entries: entries.take(MOST_ENTRIES).collect(),
        values: Vec::new(),
    };
    data.collectors();
    data.memory();
    data.threads_and_classes();
    data.safepoints();
    data.values
}

struct Data<'a> {
    entries: HashMap<&'a str, Value<'a>>,
    values: Vec<CounterValue>,
}

impl Data<'_> {
    /// Calls, and time of them.
    fn collectors(&mut self) {
        for number in 0..MOST_PARTS {
            let prefix = format!("sun.gc.collector.{number}");
            let Some(name) = self.text(&format!("{prefix}.name")) else {
                continue;
            };
            let of = |what: &str| format!("{prefix}.{what}");
            let tag = ("gc", name.as_str());
            let help = "Garbage collections, and the time that they took";
            let count = self.number(&of("invocations"));
            self.total("jvm_gc_collection_seconds_count", help, Some(tag), count);
            let time = self.seconds(&of("time"));
            self.total("jvm_gc_collection_seconds_sum", help, Some(tag), time);
        }
    }

    fn memory(&mut self) {
        const USED: &str = "Bytes of the pool that were in use when the JVM counted last, mostly after a collection";
        const COMMITTED: &str = "Bytes of the pool that the JVM has of the operating system";
        const MAX: &str = "Bytes that the pool may have";
        const POOL: [(&str, &str, &str); 3] = [
            ("used", "jvm_memory_pool_used_bytes", USED),
            ("capacity", "jvm_memory_pool_committed_bytes", COMMITTED),
            ("maxCapacity", "jvm_memory_pool_max_bytes", MAX),
        ];
        let mut heap = [None::<f64>; 3];
        let mut largest = None::<f64>;
        for generation in 0..MOST_PARTS {
            let prefix = format!("sun.gc.generation.{generation}");
            let Some(name) = self.text(&format!("{prefix}.name")) else {
                continue;
            };
            for space in 0..MOST_PARTS {
                let prefix = format!("{prefix}.space.{space}");
                let Some(space) = self.text(&format!("{prefix}.name")) else {
                    continue;
                };
                let pool = format!("{name} {space}");
                for (what, metric, help) in POOL {
                    let value = self.number(&format!("{prefix}.{what}"));
                    self.gauge(metric, help, Some(("pool", &pool)), value);
                    if what == "used" {
                        add(&mut heap[0], value);
                    }
                }
            }
            add(&mut heap[1], self.number(&format!("{prefix}.capacity")));
            let max = self.number(&format!("{prefix}.maxCapacity"));
            add(&mut heap[2], max);
            largest = largest.into_iter().chain(max).reduce(f64::max);
        }
        // Two collectors, as in `Copy:MSC`, have a part of the heap each. Where there is one, any generation may have all of it.
        let policy = self.text("sun.gc.policy.name").unwrap_or_default();
        if !policy.contains(':') {
            heap[2] = largest;
        }
        for (name, pool) in [
            ("metaspace", "metaspace"),
            ("compressedclassspace", "compressed class space"),
        ] {
            for (what, metric, help) in POOL {
                let value = self.number(&format!("sun.gc.{name}.{what}"));
                self.gauge(metric, help, Some(("pool", pool)), value);
            }
        }
        for (value, (metric, help)) in heap.into_iter().zip([
            ("jvm_memory_used_bytes", USED),
            ("jvm_memory_committed_bytes", COMMITTED),
            ("jvm_memory_max_bytes", MAX),
        ]) {
            self.gauge(metric, help, Some(("area", "heap")), value);
        }
    }

    fn threads_and_classes(&mut self) {
        for (name, metric, help) in [
            ("java.threads.live", "jvm_threads_current", "Threads that live"),
            ("java.threads.daemon", "jvm_threads_daemon", "Daemon threads that live"),
            (
                "java.threads.livePeak",
                "jvm_threads_peak",
                "The most threads that ever lived at a time",
            ),
        ] {
            let value = self.number(name);
            self.gauge(metric, help, None, value);
        }
        let started = self.number("java.threads.started");
        self.total("jvm_threads_started_total", "Threads that were started", None, started);
        // Those of the shared archive are counted apart.
        let both = |own: &str, shared: &str| Some(self.number(own)? + self.number(shared).unwrap_or(0.0));
        let loaded = both("java.cls.loadedClasses", "java.cls.sharedLoadedClasses");
        let unloaded = both("java.cls.unloadedClasses", "java.cls.sharedUnloadedClasses");
        self.total("jvm_classes_loaded_total", "Classes that were loaded", None, loaded);
        self.total(
            "jvm_classes_unloaded_total",
            "Classes that were unloaded",
            None,
            unloaded,
        );
        let current = loaded
            .zip(unloaded)
            .map(|(loaded, unloaded)| (loaded - unloaded).max(0.0));
        self.gauge("jvm_classes_currently_loaded", "Classes that are loaded", None, current);
    }

    fn safepoints(&mut self) {
        let count = self.number("sun.rt.safepoints");
        self.total(
            "jvm_safepoints_total",
            "Times that all threads were stopped",
            None,
            count,
        );
        for (name, metric, help) in [
            (
                "sun.rt.safepointTime",
                "jvm_safepoint_seconds_total",
                "Time that all threads stood still",
            ),
            (
                "sun.rt.safepointSyncTime",
                "jvm_safepoint_sync_seconds_total",
                "Time until all threads stood still, a part of the other",
            ),
            (
                "java.ci.totalTime",
                "jvm_compilation_time_seconds_total",
                "Time that compilers worked",
            ),
        ] {
            let time = self.seconds(name);
            self.total(metric, help, None, time);
        }
    }

    fn number(&self, name: &str) -> Option<f64> {
        match self.entries.get(name)? {
            // Nothing here is less than nothing: a limit of -1 is none.
            Value::Number(number) if *number >= 0 => Some(*number as f64),
            _ => None,
        }
    }

    /// A time, which is in ticks.
    fn seconds(&self, name: &str) -> Option<f64> {
        let frequency = self
            .number("sun.os.hrt.frequency")
            .filter(|frequency| *frequency > 0.0)?;
        Some(self.number(name)? / frequency)
    }

    fn text(&self, name: &str) -> Option<String> {
        match self.entries.get(name)? {
            Value::Text(text) => Some(CounterValue::tag_text(text, LONGEST_NAME)),
            Value::Number(_) => None,
        }
    }

    fn gauge(&mut self, name: &str, help: &str, tag: Option<(&str, &str)>, value: Option<f64>) {
        self.push(CounterKind::Gauge, (name, help), tag, value);
    }

    fn total(&mut self, name: &str, help: &str, tag: Option<(&str, &str)>, value: Option<f64>) {
        self.push(CounterKind::Total, (name, help), tag, value);
    }

    fn push(&mut self, kind: CounterKind, (name, help): (&str, &str), tag: Option<(&str, &str)>, value: Option<f64>) {
        let Some(value) = value else { return };
        self.values.push(CounterValue {
            display_name: help.to_owned(),
            tags: tag.map(|(key, value)| format!("{key}={value}")).unwrap_or_default(),
            ..CounterValue::shared("hsperfdata", name, kind, value)
        });
    }
}

fn add(sum: &mut Option<f64>, value: Option<f64>) {
    if let Some(value) = value {
        *sum = Some(sum.unwrap_or(0.0) + value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::hsperfdata::example;
    use super::*;

    fn of(entries: &[(&str, Value<'_>)], name: &str, tags: &str) -> Option<f64> {
        let values = values(&example(entries));
        let mut found = values.iter().filter(|value| value.name == name && value.tags == tags);
        let value = found.next().map(|value| value.value);
        assert!(found.next().is_none(), "{name}");
        value
    }

    const GENERATIONS: [(&str, Value<'_>); 4] = [
        ("sun.gc.generation.0.name", Value::Text("young")),
        ("sun.gc.generation.0.maxCapacity", Value::Number(100)),
        ("sun.gc.generation.1.name", Value::Text("old")),
        ("sun.gc.generation.1.maxCapacity", Value::Number(200)),
    ];

    #[test]
    fn ticks_become_seconds_and_without_a_frequency_nothing() {
        let mut entries = vec![
            ("sun.gc.collector.0.name", Value::Text("G1, young=x")),
            ("sun.gc.collector.0.invocations", Value::Number(3)),
            ("sun.gc.collector.0.time", Value::Number(500)),
        ];
        let tags = "gc=G1  young x";
        assert_eq!(of(&entries, "jvm_gc_collection_seconds_sum", tags), None);
        entries.push(("sun.os.hrt.frequency", Value::Number(1000)));
        assert_eq!(of(&entries, "jvm_gc_collection_seconds_sum", tags), Some(0.5));
        assert_eq!(of(&entries, "jvm_gc_collection_seconds_count", tags), Some(3.0));
        entries.push(("sun.os.hrt.frequency", Value::Number(0)));
        assert_eq!(of(&entries, "jvm_gc_collection_seconds_sum", tags), None);
    }

    #[test]
    fn generations_share_a_heap_or_have_a_part_of_it_each() {
        for (policy, expected) in [("Copy:MSC", 300.0), ("GarbageFirst", 200.0)] {
            let mut entries = GENERATIONS.to_vec();
            entries.push(("sun.gc.policy.name", Value::Text(policy)));
            assert_eq!(
                of(&entries, "jvm_memory_max_bytes", "area=heap"),
                Some(expected),
                "{policy}"
            );
        }
    }

    #[test]
    fn a_limit_that_is_none_is_left_out_and_shared_classes_count() {
        let entries = [
            ("sun.gc.metaspace.maxCapacity", Value::Number(-1)),
            ("java.cls.loadedClasses", Value::Number(40)),
            ("java.cls.sharedLoadedClasses", Value::Number(500)),
            ("java.cls.unloadedClasses", Value::Number(1)),
            ("java.cls.sharedUnloadedClasses", Value::Number(2)),
        ];
        assert_eq!(of(&entries, "jvm_memory_pool_max_bytes", "pool=metaspace"), None);
        assert_eq!(of(&entries, "jvm_classes_currently_loaded", ""), Some(537.0));
        assert_eq!(of(&entries, "jvm_classes_unloaded_total", ""), Some(3.0));
        let forged = [
            ("java.cls.loadedClasses", Value::Number(1)),
            ("java.cls.unloadedClasses", Value::Number(7)),
        ];
        assert_eq!(of(&forged, "jvm_classes_currently_loaded", ""), Some(0.0));
    }
}
