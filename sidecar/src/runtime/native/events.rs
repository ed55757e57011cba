//! The names of what the kernel can count, as `perf list` has them. Pure.
//!
//! A leaf: numbers are those of `linux/perf_event.h`. Called by `plan` and `doctor`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `PERF_TYPE_HARDWARE`.
pub const HARDWARE: u32 = 0;
/// `PERF_TYPE_SOFTWARE`.
pub const SOFTWARE: u32 = 1;
/// `PERF_TYPE_HW_CACHE`.
pub const HARDWARE_CACHE: u32 = 3;
/// `PERF_TYPE_RAW`.
pub const RAW: u32 = 4;

/// What the kernel counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// A counter of the kernel or of the processor.
    Counter {
        /// `PERF_TYPE_…`
        class: u32,
        /// Which of the class.
        config: u64,
    },
    /// A place in the kernel; its number is another one on each machine.
    Tracepoint {
        /// E.g. `sched`.
        category: String,
        /// E.g. `sched_process_exec`.
        name: String,
    },
}

/// Counters of the kernel, by their numbers. `dummy` and `bpf-output` count nothing.
const SOFTWARE_NAMES: [(&str, u64); 13] = [
    ("cpu-clock", 0),
    ("task-clock", 1),
    ("page-faults", 2),
    ("faults", 2),
    ("context-switches", 3),
    ("cs", 3),
    ("cpu-migrations", 4),
    ("migrations", 4),
    ("minor-faults", 5),
    ("major-faults", 6),
    ("alignment-faults", 7),
    ("emulation-faults", 8),
    ("cgroup-switches", 11),
];

const HARDWARE_NAMES: [(&str, u64); 14] = [
    ("cycles", 0),
    ("cpu-cycles", 0),
    ("instructions", 1),
    ("cache-references", 2),
    ("cache-misses", 3),
    ("branch-instructions", 4),
    ("branches", 4),
    ("branch-misses", 5),
    ("bus-cycles", 6),
    ("stalled-cycles-frontend", 7),
    ("idle-cycles-frontend", 7),
    ("stalled-cycles-backend", 8),
    ("idle-cycles-backend", 8),
    ("ref-cycles", 9),
];

const CACHES: [(&str, u64); 7] = [
    ("L1-dcache", 0),
    ("L1-icache", 1),
    ("LLC", 2),
    ("dTLB", 3),
    ("iTLB", 4),
    ("branch", 5),
    ("node", 6),
];

/// Operation and result, as `perf list` puts them behind the name of a cache.
const CACHE_USES: [(&str, u64, u64); 6] = [
    ("loads", 0, 0),
    ("load-misses", 0, 1),
    ("stores", 1, 0),
    ("store-misses", 1, 1),
    ("prefetches", 2, 0),
    ("prefetch-misses", 2, 1),
];

/// CPU time by a timer of the kernel: everywhere, at a steady rate.
pub const CPU_CLOCK: Source = Source::Counter {
    class: SOFTWARE,
    config: 0,
};

/// The same by the clock of the scheduler.
pub const TASK_CLOCK: Source = Source::Counter {
    class: SOFTWARE,
    config: 1,
};

/// Each time a thread leaves its CPU.
pub const CONTEXT_SWITCHES: Source = Source::Counter {
    class: SOFTWARE,
    config: 3,
};

impl Source {
    /// What is counted under this name, also `r1a8` (a register of the processor) and `sched:sched_switch`.
    pub fn of(name: &str) -> Option<Self> {
        let counter = |class, config| Some(Self::Counter { class, config });
        let find = |names: &[(&str, u64)]| {
            names
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, config)| *config)
        };
        if let Some(config) = find(&SOFTWARE_NAMES) {
            return counter(SOFTWARE, config);
        }
        if let Some(config) = find(&HARDWARE_NAMES) {
            return counter(HARDWARE, config);
        }
        if let Some(config) = cache(name) {
            return counter(HARDWARE_CACHE, config);
        }
        if let Some(config) = register(name) {
            return counter(RAW, config);
        }
        let (category, name) = name.split_once(':')?;
        // They become names of folders.
        let is_word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        };
        (is_word(category) && is_word(name)).then(|| Self::Tracepoint {
            category: category.to_owned(),
            name: name.to_owned(),
        })
    }

    /// True of what a counter of the processor gives; a virtual machine may have none.
    pub fn is_hardware(&self) -> bool {
        matches!(self, Self::Counter { class, .. } if *class != SOFTWARE)
    }

    /// True of time on a CPU, in nanoseconds.
    pub fn is_clock(&self) -> bool {
        matches!(
            self,
            Self::Counter {
                class: SOFTWARE,
                config: 0 | 1
            }
        )
    }

    /// True of what happens in the kernel only: who may not see the kernel counts none.
    pub fn is_of_the_kernel(&self) -> bool {
        matches!(
            self,
            Self::Tracepoint { .. }
                | Self::Counter {
                    class: SOFTWARE,
                    config: 3 | 4 | 11
                }
        )
    }

    /// How many there are for each sample, where the kernel is not asked for a rate.
    pub fn usual_period(&self) -> Option<u64> {
        match self {
            // A program that touches new memory has a hundred thousand in a second. A prime number does not run in step with it.
            Self::Counter {
                class: SOFTWARE,
                config: 2 | 5,
            } => Some(17),
            Self::Counter {
                class: SOFTWARE,
                config: 0 | 1,
            } => None,
            Self::Counter { class: SOFTWARE, .. } | Self::Tracepoint { .. } => Some(1),
            Self::Counter { .. } => None,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |names: &[(&'static str, u64)], wanted| {
            names
                .iter()
                .find(|(_, config)| *config == wanted)
                .map(|(name, _)| *name)
        };
        match self {
            Self::Tracepoint { category, name } => write!(f, "{category}:{name}"),
            Self::Counter { class: RAW, config } => write!(f, "r{config:x}"),
            Self::Counter {
                class: HARDWARE_CACHE,
                config,
            } => {
                let cache = name(&CACHES, config & 0xff).unwrap_or("cache");
                let wanted =
                    |(_, operation, result): &&(&str, u64, u64)| operation << 8 | result << 16 == config & !0xff;
                let used = CACHE_USES.iter().find(wanted).map_or("use", |(used, ..)| *used);
                write!(f, "{cache}-{used}")
            }
            Self::Counter { class, config } => {
                let names = if *class == SOFTWARE {
                    &SOFTWARE_NAMES[..]
                } else {
                    &HARDWARE_NAMES[..]
                };
                f.write_str(name(names, *config).unwrap_or("event"))
            }
        }
    }
}

/// `L1-dcache-load-misses`.
fn cache(name: &str) -> Option<u64> {
    CACHES.iter().find_map(|(cache, number)| {
        let used = name.strip_prefix(cache)?.strip_prefix('-')?;
        let (_, operation, result) = CACHE_USES.iter().find(|(known, ..)| *known == used)?;
        Some(number | operation << 8 | result << 16)
    })
}

/// `r1a8`: hexadecimal digits, of which a word like `read` has others too.
fn register(name: &str) -> Option<u64> {
    let digits = name.strip_prefix('r')?;
    let is_hexadecimal = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hexadecimal.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn counter(class: u32, config: u64) -> Option<Source> {
        Some(Source::Counter { class, config })
    }

    #[test]
    fn every_event_that_perf_lists_by_name_is_known() {
        let listed = |kind: &str| {
            let perf = Command::new("perf")
                .args(["list", "--raw-dump", kind])
                .output()
                .unwrap();
            let text = String::from_utf8(perf.stdout).unwrap();
            text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        // What a machine without counters lists of the others is nothing.
        for kind in ["sw", "hw", "cache"] {
            for name in listed(kind) {
                let of_no_use = ["dummy", "bpf-output", "duration_time", "user_time", "system_time"].contains(&&*name);
                let plain = !name.contains(['/', ':', '[']);
                assert!(of_no_use || !plain || Source::of(&name).is_some(), "{name}");
            }
        }
        assert!(
            listed("sw").contains(&"context-switches".to_owned()),
            "{:?}",
            listed("sw")
        );
    }

    #[test]
    fn names_of_caches_registers_and_tracepoints_have_their_numbers() {
        assert_eq!(Source::of("L1-dcache-load-misses"), counter(HARDWARE_CACHE, 0x1_0000));
        assert_eq!(Source::of("LLC-stores"), counter(HARDWARE_CACHE, 0x102));
        assert_eq!(Source::of("dTLB-prefetch-misses"), counter(HARDWARE_CACHE, 0x1_0203));
        assert_eq!(Source::of("r1a8"), counter(RAW, 0x1a8));
        assert_eq!(Source::of("cpu-clock"), Some(CPU_CLOCK));
        let tracepoint = Source::Tracepoint {
            category: "sched".to_owned(),
            name: "sched_switch".to_owned(),
        };
        assert_eq!(Source::of("sched:sched_switch"), Some(tracepoint));
        for name in [
            "L1-dcache-load-misses",
            "LLC-stores",
            "r1a8",
            "cpu-clock",
            "cycles",
            "page-faults",
            "sched:sched_switch",
        ] {
            assert_eq!(Source::of(name).unwrap().to_string(), name);
        }
        for bad in [
            "",
            "r",
            "rxyz",
            "L1-dcache",
            "L1-dcache-",
            "sched:",
            ":x",
            "a:b:c",
            "../x:y",
            "a:../../id",
            "r11223344556677889",
        ] {
            assert_eq!(Source::of(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_happens_in_the_kernel_is_told_from_what_a_program_does() {
        let is = |name: &str| Source::of(name).unwrap().is_of_the_kernel();
        assert!(is("context-switches") && is("cpu-migrations") && is("sched:sched_switch"));
        assert!(!is("page-faults") && !is("cpu-clock") && !is("cycles"));
    }
}
