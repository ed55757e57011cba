//! async-profiler's option strings and messages as values.
//!
//! Knows no files, sockets or processes. Called by the recorder. Source: async-profiler 4.6, `arguments.cpp`,
//! `profiler.cpp` and `frameName.cpp`.

use crate::event::Event;
use crate::format::RecordingKind;
use crate::profile::quality::Clock;
use crate::runtime::{RecordError, RecordOrder};

use super::interval::{self, Measure};
use super::transfer::Scale;

/// async-profiler's own defaults, made explicit so that the quality stamp can name them.
const CPU_INTERVAL: u64 = 10_000_000;
/// Wall clock samples every thread, also an idle one: this much for each of them keeps it at 2000 samples a second,
/// some per cent of one core.
const WALL_INTERVAL_PER_THREAD: u64 = 500_000;
/// Bytes between two samples.
const ALLOC_INTERVAL: u64 = 524_287;
/// Nanoseconds of waiting between two samples.
const LOCK_INTERVAL: u64 = 10_000;
/// The deepest stack that it records (`jstackdepth`).
pub const MAX_FRAMES: u32 = 2048;

/// Options of one recording; nothing in them comes from a user unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// `event=cpu,interval=10000000`: what to sample.
    pub sampling: String,
    /// Distance of two samples, 0 if async-profiler chooses.
    pub interval: u64,
    /// Unit of the interval and, after [`Self::scale`], of `value × interval`.
    pub unit: &'static str,
    /// What a sample measures.
    pub clock: Clock,
    /// True if async-profiler shall write its counter, not its number of samples.
    pub total: bool,
    /// What to do with the numbers it writes.
    pub scale: Scale,
    survivors: bool,
    threads: bool,
    kind: RecordingKind,
    filters: String,
    timeout: u64,
}

/// Seconds after the ordered end at which async-profiler stops by itself, should nobody tell it to.
const GRACE: u64 = 15;

impl Plan {
    /// Translates an order.
    ///
    /// # Errors
    /// [`RecordError::BadArgument`] for what async-profiler would misread, [`RecordError::Impossible`] for an event
    /// that a JVM does not have.
    pub fn of(order: &RecordOrder) -> Result<Self, RecordError> {
        let mut plan = sampling(order)?;
        plan.filters = filters(&order.include, &order.exclude)?;
        Ok(plan)
    }

    /// The same plan, sampled by a timer per thread instead of perf_events. The timer may fire late and then counts
    /// what it missed, so its counter is the truth, not its number of samples.
    pub fn with_ctimer(&self) -> Self {
        Self {
            sampling: format!("event=ctimer,interval={}", self.interval),
            ..self.counting_overruns()
        }
    }

    /// The plan for the engine that async-profiler chose.
    pub fn counting_overruns(&self) -> Self {
        Self {
            total: true,
            scale: Scale::Divide(self.interval),
            ..self.clone()
        }
    }

    /// Seconds from the start to the end async-profiler keeps by itself.
    pub fn timeout(&self) -> u64 {
        self.timeout
    }

    /// Options of the command that starts sampling; `recording` is where a JFR goes.
    pub fn start(&self, recording: &str) -> String {
        let mut options = format!("start,{},timeout={}", self.sampling, self.timeout);
        if self.threads {
            options.push_str(",threads");
        }
        // Collapsed text is written on stop only: started with a file, async-profiler would also write it when its
        // timeout ends it, after everybody who could remove it is gone.
        if self.kind == RecordingKind::Jfr {
            options.push_str(",jfr,file=");
            options.push_str(recording);
        }
        options
    }

    /// Options of the command that stops sampling and writes the recording.
    pub fn stop(&self, recording: &str) -> String {
        if self.kind == RecordingKind::Jfr {
            return "stop,jfr".to_owned();
        }
        format!("stop,{}", self.collapsed(recording, self.total))
    }

    /// Options of the command that writes, after the stop, the sizes of the survivors whose numbers are the recording; `None`
    /// if one text says everything.
    pub fn sizes(&self, file: &str) -> Option<String> {
        let wanted = self.survivors && self.kind != RecordingKind::Jfr;
        wanted.then(|| format!("dump,{}", self.collapsed(file, true)))
    }

    fn collapsed(&self, file: &str, total: bool) -> String {
        let counter = if total { ",total" } else { "" };
        format!("file={file},collapsed,ann,dot{counter}{}", self.filters)
    }

    /// True if each sample stands for a fixed time.
    pub fn counts_samples_by_time(&self) -> bool {
        self.clock != Clock::None && self.interval > 0 && (!self.total || self.scale != Scale::Keep)
    }

    /// True if the filters do not apply to the recording: async-profiler does not filter a JFR.
    pub fn ignores_filters(&self) -> bool {
        self.kind == RecordingKind::Jfr && !self.filters.is_empty()
    }
}

fn sampling(order: &RecordOrder) -> Result<Plan, RecordError> {
    let measured = |measure, default| interval::of(order, measure, default);
    let plan = |sampling: String, interval, unit, clock| Plan {
        sampling,
        interval,
        unit,
        clock,
        total: false,
        scale: Scale::Keep,
        survivors: false,
        threads: order.threads,
        kind: order.kind,
        filters: String::new(),
        timeout: order.seconds.saturating_add(GRACE),
    };
    let timed = |event: &str, default, clock| {
        let interval = measured(Measure::Time, default)?;
        Ok(plan(
            format!("event={event},interval={interval}"),
            interval,
            "nanoseconds",
            clock,
        ))
    };
    match &order.event {
        Event::Cpu => timed("cpu", CPU_INTERVAL, Clock::Cpu),
        Event::Wall => {
            let default = order
                .target
                .process
                .threads
                .saturating_mul(WALL_INTERVAL_PER_THREAD)
                .max(CPU_INTERVAL);
            let plan = timed("wall", default, Clock::Wall)?;
            // Without this, a thread that used less than 10 us of CPU since its last sample is taken to be where it
            // was: measured, waits of 60 : 30 : 10 came out as 43 : 43 : 14.
            Ok(Plan {
                sampling: plan.sampling.clone() + ",nobatch",
                ..plan
            })
        }
        Event::Alloc => {
            let interval = measured(Measure::Bytes, ALLOC_INTERVAL)?;
            Ok(Plan {
                total: true,
                ..plan(format!("alloc={interval}"), interval, "bytes", Clock::None)
            })
        }
        Event::Heap => {
            let interval = measured(Measure::Bytes, ALLOC_INTERVAL)?;
            let options = format!("alloc={interval},live");
            Ok(Plan {
                survivors: true,
                ..plan(options, interval, "bytes", Clock::None)
            })
        }
        Event::Lock => {
            let interval = measured(Measure::Duration, LOCK_INTERVAL)?;
            Ok(Plan {
                total: true,
                ..plan(format!("lock={interval}"), interval, "nanoseconds", Clock::None)
            })
        }
        Event::Named(name) => named(name, &timed, &measured, &plan),
        event => Err(RecordError::Impossible(super::doctor::no_such_event(event))),
    }
}

/// Events that only async-profiler knows by name.
fn named(
    name: &str,
    timed: &dyn Fn(&str, u64, Clock) -> Result<Plan, RecordError>,
    measured: &dyn Fn(Measure, u64) -> Result<u64, RecordError>,
    plan: &dyn Fn(String, u64, &'static str, Clock) -> Plan,
) -> Result<Plan, RecordError> {
    let counted = |plan: Plan| Plan { total: true, ..plan };
    match name {
        "ctimer" => Ok(timed(name, CPU_INTERVAL, Clock::Cpu)?.counting_overruns()),
        "itimer" | "cpu-clock" => timed(name, CPU_INTERVAL, Clock::Cpu),
        "nativemem" => {
            let interval = measured(Measure::Bytes, ALLOC_INTERVAL)?;
            Ok(counted(plan(
                format!("nativemem={interval}"),
                interval,
                "bytes",
                Clock::None,
            )))
        }
        "nativelock" => {
            let interval = measured(Measure::Duration, LOCK_INTERVAL)?;
            Ok(counted(plan(
                format!("nativelock={interval}"),
                interval,
                "nanoseconds",
                Clock::None,
            )))
        }
        _ => {
            let interval = measured(Measure::Count, 0)?;
            let every = if interval == 0 {
                String::new()
            } else {
                format!(",interval={interval}")
            };
            Ok(counted(plan(
                format!("event={name}{every}"),
                interval,
                "count",
                Clock::None,
            )))
        }
    }
}

fn filters(include: &[String], exclude: &[String]) -> Result<String, RecordError> {
    let mut options = String::new();
    for (key, patterns) in [("include", include), ("exclude", exclude)] {
        for pattern in patterns {
            let forbidden = |c: char| c == ',' || c.is_control();
            if pattern.is_empty() || pattern.contains(forbidden) {
                return Err(RecordError::BadArgument {
                    parameter: key.to_owned(),
                    message: format!("{key} must not be empty nor contain a comma or a control character"),
                });
            }
            let pattern = dotted(pattern);
            // Frames are matched with their suffix: a compiled Split.sixty is `Split.sixty_[j]`.
            let suffixes: &[&str] = if pattern.ends_with('*') { &[""] } else { &["", "_[*"] };
            for suffix in suffixes {
                options.extend([",", key, "=", &pattern, suffix]);
            }
        }
    }
    Ok(options)
}

/// `java/lang/Thread` as the recording spells it, by async-profiler's own rule: a slash before a digit stays, it is
/// part of a hidden class's name.
fn dotted(pattern: &str) -> String {
    let next = pattern.chars().skip(1).map(Some).chain([None]);
    let dot = |(c, next): (char, Option<char>)| match next {
        Some(digit) if c == '/' && digit.is_ascii_digit() => c,
        _ if c == '/' => '.',
        _ => c,
    };
    pattern.chars().zip(next).map(dot).collect()
}

/// What a failed command said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A session runs.
    AlreadyStarted,
    /// No session runs.
    NotActive,
    /// perf_events are closed to the target.
    PerfDenied,
    /// perf_events ran out of descriptors or memory.
    PerfLimit,
    /// Anything else, in its words.
    Other(String),
}

/// Reads the log of a command that returned an error.
pub fn refusal(log: &str) -> Refusal {
    let errors: Vec<&str> = messages(log, "[ERROR] ").collect();
    let text = errors.join("; ");
    match text.as_str() {
        text if text.contains("Profiler already started") => Refusal::AlreadyStarted,
        text if text.contains("Profiler is not active") || text.contains("Profiler has not started") => {
            Refusal::NotActive
        }
        text if text.contains("Perf events resource limit") => Refusal::PerfLimit,
        text if text.contains("Perf events unavailable. Try") => Refusal::PerfDenied,
        "" => Refusal::Other("it gave no reason".to_owned()),
        text => Refusal::Other(text.to_owned()),
    }
}

/// The kernel's word on a perf event it refused.
pub fn perf_failure(log: &str) -> Option<&str> {
    let failure = |text: &str| text.starts_with("perf_event_open for TID ");
    messages(log, "[WARN] ")
        .find(|text| failure(text))?
        .split_once("failed: ")
        .map(|(_, cause)| cause)
}

/// Messages of one level; they are short, and control characters are not for us to pass on.
pub fn messages<'a>(log: &'a str, level: &'a str) -> impl Iterator<Item = &'a str> {
    log.lines()
        .filter_map(move |line| line.strip_prefix(level))
        .map(|line| line.trim_end_matches(char::is_control))
}

/// Seconds a session has been running, from the answer to `status`; `None` if none runs.
pub fn running_for(status: &str) -> Option<u64> {
    let rest = status
        .lines()
        .find_map(|line| line.strip_prefix("Profiling is running for "))?;
    rest.split(' ').next()?.parse().ok()
}

/// A number of the answer to `metrics`.
pub fn metric(metrics: &str, name: &str) -> Option<u64> {
    metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The answer to `version`, if it is one.
pub fn version(log: &str) -> Option<&str> {
    let text = log.lines().next_back()?.trim();
    let plausible = text.starts_with(|c: char| c.is_ascii_digit())
        && text.len() <= 32
        && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-+".contains(c));
    plausible.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(json: serde_json::Value) -> RecordOrder {
        let mut whole = serde_json::json!({
            "target": {
                "pid": 7, "startTime": 42, "parentPid": 1, "namespacePid": 7, "command": "java", "commandLine": ["java"],
                "executable": null, "credentials": {"uid": 1, "gid": 1, "capabilities": 0}, "signalsCaught": 4,
                "signalsIgnored": 0, "state": "S", "threads": 20, "noNewPrivileges": false
            },
            "event": "cpu", "kind": "collapsed", "seconds": 30, "frequency": null, "interval": null, "threads": false,
            "include": [], "exclude": [], "dotnetProfiles": [], "dotnetProviders": [], "asyncProfiler": "/ap.so",
            "goPprof": {"ports": [], "pathPrefix": "", "headers": [], "insecureTls": false},
            "grantedBytes": 4096, "maxBytes": 65536
        });
        let process = whole["target"].take();
        whole["target"] = serde_json::json!({
            "process": process, "name": "shop", "facts": {"runtime": "jvm", "vm": "hotspot", "version": "17"}
        });
        for (key, value) in json.as_object().unwrap() {
            whole[key] = value.clone();
        }
        serde_json::from_value(whole).unwrap()
    }

    fn plan(json: serde_json::Value) -> Result<Plan, RecordError> {
        Plan::of(&order(json))
    }

    #[test]
    fn every_session_ends_by_itself_and_only_a_jfr_has_a_file_from_the_start() {
        let collapsed = plan(serde_json::json!({"threads": true})).unwrap();
        assert_eq!(
            collapsed.start("/out"),
            "start,event=cpu,interval=10000000,timeout=45,threads"
        );
        assert_eq!(collapsed.stop("/out"), "stop,file=/out,collapsed,ann,dot");
        let jfr = plan(serde_json::json!({"kind": "jfr", "frequency": 50})).unwrap();
        assert_eq!(
            jfr.start("/out"),
            "start,event=cpu,interval=20000000,timeout=45,jfr,file=/out"
        );
        assert_eq!(jfr.stop("/out"), "stop,jfr");
    }

    #[test]
    fn amounts_are_totals_and_times_are_samples() {
        let of = |event: &str| plan(serde_json::json!({ "event": event })).unwrap();
        assert_eq!(of("alloc").start("/o"), "start,alloc=524287,timeout=45");
        assert!(of("alloc").stop("/o").contains(",total"));
        assert_eq!(of("lock").start("/o"), "start,lock=10000,timeout=45");
        assert!(of("lock").total && !of("cpu").total && !of("wall").total);
        assert_eq!(of("heap").start("/o"), "start,alloc=524287,live,timeout=45");
        assert_eq!(of("heap").stop("/o"), "stop,file=/o,collapsed,ann,dot");
        assert_eq!(of("heap").sizes("/s").unwrap(), "dump,file=/s,collapsed,ann,dot,total");
        assert_eq!(of("alloc").sizes("/s"), None);
        assert_eq!(
            plan(serde_json::json!({"event": "heap", "kind": "jfr"}))
                .unwrap()
                .sizes("/s"),
            None
        );
        assert_eq!(of("ctimer").scale, Scale::Divide(10_000_000));
        assert_eq!(of("cache-misses").start("/o"), "start,event=cache-misses,timeout=45");
        assert!(of("cpu").counts_samples_by_time() && of("ctimer").counts_samples_by_time());
        assert!(!of("lock").counts_samples_by_time() && !of("alloc").counts_samples_by_time());
    }

    #[test]
    fn wall_is_never_batched_and_rarer_with_many_threads() {
        let wall = |threads: u64| {
            let mut order = order(serde_json::json!({"event": "wall"}));
            order.target.process.threads = threads;
            Plan::of(&order).unwrap().sampling
        };
        assert_eq!(wall(20), "event=wall,interval=10000000,nobatch");
        assert_eq!(wall(200), "event=wall,interval=100000000,nobatch");
    }

    #[test]
    fn a_filter_matches_a_frame_with_and_without_its_suffix() {
        let filters = |json| plan(json).map(|plan| plan.filters);
        assert_eq!(
            filters(serde_json::json!({"include": ["demo/shop/Split.ten"], "exclude": ["java.*"]})).unwrap(),
            ",include=demo.shop.Split.ten,include=demo.shop.Split.ten_[*,exclude=java.*"
        );
        assert_eq!(dotted("Main$$Lambda/0x1.run"), "Main$$Lambda/0x1.run");
        for bad in ["a,file=/etc/passwd", "a\nb", ""] {
            assert!(filters(serde_json::json!({"include": [bad]})).is_err(), "{bad}");
        }
    }

    #[test]
    fn refusals_are_told_apart_by_their_words() {
        assert_eq!(refusal("[ERROR] Profiler already started\n"), Refusal::AlreadyStarted);
        assert_eq!(refusal("[ERROR] Profiler is not active\n"), Refusal::NotActive);
        let denied = "[WARN] perf_event_open for TID 9 failed: Permission denied\n[ERROR] Perf events unavailable. Try \
                      --fdtransfer or --all-user option or 'sysctl kernel.perf_event_paranoid=1'\n";
        assert_eq!(refusal(denied), Refusal::PerfDenied);
        assert_eq!(perf_failure(denied), Some("Permission denied"));
        assert_eq!(
            refusal("[ERROR] Unsupported event type\n"),
            Refusal::Other("Unsupported event type".to_owned())
        );
        assert_eq!(refusal(""), Refusal::Other("it gave no reason".to_owned()));
    }

    #[test]
    fn answers_are_read_and_nonsense_is_none() {
        assert_eq!(running_for("Profiling is running for 12 seconds\n"), Some(12));
        assert_eq!(running_for("Profiler is not active\n"), None);
        assert_eq!(running_for("Profiling is running for ever"), None);
        assert_eq!(
            metric("samples_total 5\nsamples_skipped_total 2\n", "samples_skipped_total"),
            Some(2)
        );
        assert_eq!(version("4.6"), Some("4.6"));
        assert_eq!(version("[WARN] odd\n4.6\n"), Some("4.6"));
        assert_eq!(version("<b>"), None);
        assert_eq!(version(""), None);
    }
}
