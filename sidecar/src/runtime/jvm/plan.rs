//! What async-profiler is asked to do in one JVM, as its option strings. Pure.
//!
//! Made and checked by the server before anything starts ([`plan`]); the recorder executes it. Source: async-profiler 4.6,
//! `arguments.cpp` and `frameName.cpp`.

use std::borrow::Cow;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::interval::{self, Measure};
use super::parameters::JvmOptions;
use super::settings::JvmSettings;
use super::transfer::Scale;
use crate::event::Event;
use crate::format::RecordingKind;
use crate::profile::quality::Clock;
use crate::runtime::{Asked, PlanError};

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

/// One recording of a JVM; nothing in the options comes from a user unchecked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JvmPlan {
    /// libasyncProfiler.so on our side.
    pub library: PathBuf,
    /// The recording to make.
    pub kind: RecordingKind,
    /// `event=cpu,interval=10000000`: what to sample.
    pub sampling: String,
    /// Distance of two samples, 0 if async-profiler chooses.
    pub interval: u64,
    /// Unit of the interval and, after [`Self::scale`], of `value × interval`.
    pub unit: Cow<'static, str>,
    /// What a sample measures.
    pub clock: Clock,
    /// True if async-profiler shall write its counter, not its number of samples.
    pub total: bool,
    /// What to do with the numbers it writes.
    pub scale: Scale,
    survivors: bool,
    threads: bool,
    filters: String,
    timeout: u64,
}

/// Seconds after the ordered end at which async-profiler stops by itself, if it was not told to.
const GRACE: u64 = 15;

/// The recordings a JVM can give, the usual one first.
pub const RECORDINGS: &[RecordingKind] = &[RecordingKind::Collapsed, RecordingKind::Jfr];

/// Plans a recording.
///
/// # Errors
/// What async-profiler would misread, an event that a JVM does not have, or no library of ours to load.
pub fn plan(asked: &Asked<'_>, settings: &JvmSettings) -> Result<JvmPlan, PlanError> {
    let options = &asked.options.jvm;
    let mut plan = sampling(asked, options)?;
    plan.filters = filters(&options.include, &options.exclude);
    plan.library = settings.library().map_err(PlanError::Impossible)?.to_owned();
    Ok(plan)
}

impl JvmPlan {
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

fn sampling(asked: &Asked<'_>, options: &JvmOptions) -> Result<JvmPlan, PlanError> {
    let measured = |measure, default| interval::of(options, asked.event, measure, default);
    let plan = |sampling: String, interval, unit: &'static str, clock| JvmPlan {
        library: PathBuf::new(),
        kind: asked.kind,
        sampling,
        interval,
        unit: unit.into(),
        clock,
        total: false,
        scale: Scale::Keep,
        survivors: false,
        threads: options.threads,
        filters: String::new(),
        timeout: asked.seconds.saturating_add(GRACE),
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
    match asked.event {
        Event::Cpu => timed("cpu", CPU_INTERVAL, Clock::Cpu),
        Event::Wall => {
            let default = asked
                .target
                .process
                .threads
                .saturating_mul(WALL_INTERVAL_PER_THREAD)
                .max(CPU_INTERVAL);
            let plan = timed("wall", default, Clock::Wall)?;
            // Without this, a thread that used less than 10 us of CPU since its last sample is taken to be where it
            // was: measured, waits of 60 : 30 : 10 came out as 43 : 43 : 14.
            Ok(JvmPlan {
                sampling: plan.sampling.clone() + ",nobatch",
                ..plan
            })
        }
        Event::Alloc => {
            let interval = measured(Measure::Bytes, ALLOC_INTERVAL)?;
            Ok(JvmPlan {
                total: true,
                ..plan(format!("alloc={interval}"), interval, "bytes", Clock::None)
            })
        }
        Event::Heap => {
            let interval = measured(Measure::Bytes, ALLOC_INTERVAL)?;
            let options = format!("alloc={interval},live");
            Ok(JvmPlan {
                survivors: true,
                ..plan(options, interval, "bytes", Clock::None)
            })
        }
        Event::Lock => {
            let interval = measured(Measure::Duration, LOCK_INTERVAL)?;
            Ok(JvmPlan {
                total: true,
                ..plan(format!("lock={interval}"), interval, "nanoseconds", Clock::None)
            })
        }
        Event::Named(name) => named(name, &timed, &measured, &plan),
        event => Err(PlanError::Impossible(super::doctor::no_such_event(event))),
    }
}

/// Events that only async-profiler knows by name.
fn named(
    name: &str,
    timed: &dyn Fn(&str, u64, Clock) -> Result<JvmPlan, PlanError>,
    measured: &dyn Fn(Measure, u64) -> Result<u64, PlanError>,
    plan: &dyn Fn(String, u64, &'static str, Clock) -> JvmPlan,
) -> Result<JvmPlan, PlanError> {
    let counted = |plan: JvmPlan| JvmPlan { total: true, ..plan };
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

/// The filters as options; [`super::parameters`] keeps commas out of them.
fn filters(include: &[String], exclude: &[String]) -> String {
    let mut options = String::new();
    for (key, patterns) in [("include", include), ("exclude", exclude)] {
        for pattern in patterns {
            let pattern = dotted(pattern);
            // Frames are matched with their suffix: a compiled Split.sixty is `Split.sixty_[j]`.
            let suffixes: &[&str] = if pattern.ends_with('*') { &[""] } else { &["", "_[*"] };
            for suffix in suffixes {
                options.extend([",", key, "=", &pattern, suffix]);
            }
        }
    }
    options
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

#[cfg(test)]
mod tests {
    use super::*;

    use crate::process::Process;
    use crate::runtime::{JavaVm, Options, RuntimeFacts, Target};

    /// The plan for `event` with the given parameters, for a process of 20 threads.
    fn plan_with(event: &str, kind: RecordingKind, given: &[(&str, &str)], threads: u64) -> Result<JvmPlan, PlanError> {
        let mut options = Options::default();
        for (name, value) in given {
            options.set(name, value).unwrap();
        }
        let target = Target {
            process: Process {
                threads,
                ..Process::example(7)
            },
            name: "shop".to_owned(),
            facts: RuntimeFacts::Jvm {
                vm: JavaVm::HotSpot,
                version: None,
            },
        };
        let asked = Asked {
            target: &target,
            event: &event.parse().unwrap(),
            seconds: 30,
            kind,
            options: &options,
        };
        plan(&asked, &JvmSettings::new(std::env::current_exe().ok()))
    }

    fn planned(event: &str, given: &[(&str, &str)]) -> JvmPlan {
        plan_with(event, RecordingKind::Collapsed, given, 20).unwrap()
    }

    #[test]
    fn every_session_ends_by_itself_and_only_a_jfr_has_a_file_from_the_start() {
        let collapsed = planned("cpu", &[("threads", "true")]);
        assert_eq!(
            collapsed.start("/out"),
            "start,event=cpu,interval=10000000,timeout=45,threads"
        );
        assert_eq!(collapsed.stop("/out"), "stop,file=/out,collapsed,ann,dot");
        let jfr = plan_with("cpu", RecordingKind::Jfr, &[("frequency", "50")], 20).unwrap();
        assert_eq!(
            jfr.start("/out"),
            "start,event=cpu,interval=20000000,timeout=45,jfr,file=/out"
        );
        assert_eq!(jfr.stop("/out"), "stop,jfr");
    }

    #[test]
    fn amounts_are_totals_and_times_are_samples() {
        let of = |event: &str| planned(event, &[]);
        assert_eq!(of("alloc").start("/o"), "start,alloc=524287,timeout=45");
        assert!(of("alloc").stop("/o").contains(",total"));
        assert_eq!(of("lock").start("/o"), "start,lock=10000,timeout=45");
        assert!(of("lock").total && !of("cpu").total && !of("wall").total);
        assert_eq!(of("heap").start("/o"), "start,alloc=524287,live,timeout=45");
        assert_eq!(of("heap").stop("/o"), "stop,file=/o,collapsed,ann,dot");
        assert_eq!(of("heap").sizes("/s").unwrap(), "dump,file=/s,collapsed,ann,dot,total");
        assert_eq!(of("alloc").sizes("/s"), None);
        let jfr = plan_with("heap", RecordingKind::Jfr, &[], 20).unwrap();
        assert_eq!(jfr.sizes("/s"), None);
        assert_eq!(of("ctimer").scale, Scale::Divide(10_000_000));
        assert_eq!(of("cache-misses").start("/o"), "start,event=cache-misses,timeout=45");
        assert!(of("cpu").counts_samples_by_time() && of("ctimer").counts_samples_by_time());
        assert!(!of("lock").counts_samples_by_time() && !of("alloc").counts_samples_by_time());
    }

    #[test]
    fn wall_is_never_batched_and_rarer_with_many_threads() {
        let wall = |threads| {
            let plan = plan_with("wall", RecordingKind::Collapsed, &[], threads);
            plan.unwrap().sampling
        };
        assert_eq!(wall(20), "event=wall,interval=10000000,nobatch");
        assert_eq!(wall(200), "event=wall,interval=100000000,nobatch");
    }

    #[test]
    fn a_filter_matches_a_frame_with_and_without_its_suffix() {
        assert_eq!(
            planned("cpu", &[("include", "demo/shop/Split.ten"), ("exclude", "java.*")]).filters,
            ",include=demo.shop.Split.ten,include=demo.shop.Split.ten_[*,exclude=java.*"
        );
        assert_eq!(dotted("Main$$Lambda/0x1.run"), "Main$$Lambda/0x1.run");
    }

    #[test]
    fn what_async_profiler_would_misread_is_refused_by_the_name_of_its_parameter() {
        for (event, given, parameter) in [
            ("alloc", ("frequency", "99"), "frequency"),
            ("alloc", ("interval", "10ms"), "interval"),
            ("cpu", ("interval", "512k"), "interval"),
            ("cpu", ("interval", "1us"), "interval"),
            ("alloc", ("interval", "1"), "interval"),
        ] {
            let refused = plan_with(event, RecordingKind::Collapsed, &[given], 20);
            assert!(
                matches!(&refused, Err(PlanError::Unsuitable { parameter: blamed, .. }) if *blamed == parameter),
                "{event} {given:?}: {refused:?}"
            );
        }
        let foreign = plan_with("goroutine", RecordingKind::Collapsed, &[], 20);
        assert!(matches!(foreign, Err(PlanError::Impossible(_))), "{foreign:?}");
    }
}
