//! What async-profiler is asked to do in one JVM, as its option strings. Pure.
//!
//! Made and checked by the server before anything starts ([`plan`]); the recorder executes it. Source: async-profiler 4.6,
//! `arguments.cpp`, `profiler.cpp` and `frameName.cpp`.

use std::borrow::Cow;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::parameters::{self, JvmOptions};
use super::sampling::{self, Engine, Part, Sampling};
use super::settings::JvmSettings;
use super::transfer::Scale;
use crate::event::Event;
use crate::format::{Format, RecordingKind};
use crate::profile::quality::Clock;
use crate::runtime::dump::DUMP;
use crate::runtime::{Asked, HISTOGRAM, PlanError};

/// The deepest stack that is recorded unless the request says otherwise (`jstackdepth`). async-profiler keeps 16 buffers of
/// 16 bytes for each frame of it in the application: 2 MiB. A deeper stack keeps one frame less, the innermost, below
/// `[truncated]`.
pub const MAX_FRAMES: u32 = 8192;

/// What all distinct stacks of a session may take of the application's memory (`memlimit`), a thousand of the deepest or
/// eighty thousand of the usual hundred frames. What does not fit is counted as lost.
pub const STACK_MEMORY: u64 = 128 << 20;

/// One recording of a JVM; nothing in the options comes from a user unchecked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JvmPlan {
    /// libasyncProfiler.so on our side.
    pub library: PathBuf,
    /// The recording to make.
    pub kind: RecordingKind,
    /// What interrupts threads, and whether a timer may do it instead.
    pub engine: Engine,
    /// Everything else that is sampled, and how: `,alloc=524287,live`.
    sampling: String,
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
    /// The deepest stack that is recorded.
    pub max_frames: u32,
    /// What happens in the kernel is left out.
    pub user_only: bool,
    /// What a JFR says of arguments and properties stays in it.
    pub keep_secrets: bool,
    survivors: bool,
    /// Of several events, what the numbers of each are.
    pub parts: Vec<Part>,
    /// Options of the walk and of what a stack holds besides its methods.
    walk: String,
    /// How names are written.
    style: String,
    filters: String,
    timeout: u64,
}

/// Seconds after the ordered end at which async-profiler stops by itself, if it was not told to.
const GRACE: u64 = 15;

/// The recordings a JVM can give of an event, the usual one first. Only a JFR tells several events apart.
pub fn recordings(event: &Event) -> &'static [RecordingKind] {
    match event {
        Event::Several(_) => &[RecordingKind::Jfr],
        Event::Goroutine => &[RecordingKind::Threads],
        Event::Named(name) if name == HISTOGRAM => &[RecordingKind::ClassHistogram],
        Event::Named(name) if name == DUMP => &[RecordingKind::HeapDump, RecordingKind::HeapDumpGz],
        // No text has addresses or durations.
        Event::Named(name) if matches!(name.as_str(), "leaks" | "latency") => &[RecordingKind::Jfr],
        _ => &[RecordingKind::Collapsed, RecordingKind::Jfr],
    }
}

/// What a recording of one event becomes where that is not said: a picture, also where only a JFR has what it is made of.
pub fn usual_format(kind: RecordingKind, event: &Event) -> Option<Format> {
    match (kind, event, recordings(event)) {
        (RecordingKind::Jfr, Event::Named(_), [RecordingKind::Jfr]) => Some(Format::Svg),
        _ => kind.formats().first().copied(),
    }
}

/// True of events that one session has beside each other without a choice of the caller's.
pub fn shares(event: &Event) -> bool {
    matches!(event, Event::Cpu | Event::Alloc | Event::Heap | Event::Lock)
}

/// Plans a recording.
///
/// # Errors
/// What async-profiler would misread, an event that a JVM does not have, or no library of ours to load.
pub fn plan(asked: &Asked<'_>, settings: &JvmSettings) -> Result<JvmPlan, PlanError> {
    let options = &asked.options.jvm;
    let Sampling {
        engine,
        others,
        interval,
        unit,
        clock,
        total,
        scale,
        survivors,
        parts,
    } = sampling::of(asked)?;
    let max_frames = options.max_frames.unwrap_or(MAX_FRAMES);
    if options.keep_secrets && asked.kind != RecordingKind::Jfr {
        return Err(PlanError::Unsuitable {
            parameter: "secrets",
            message: "only a JFR has them to keep: format=jfr".to_owned(),
        });
    }
    if options.all {
        return Err(PlanError::unsuitable("all", "all is of GET /histogram and POST /dump"));
    }
    Ok(JvmPlan {
        library: settings.library().map_err(PlanError::Impossible)?.to_owned(),
        kind: asked.kind,
        engine,
        sampling: others,
        interval,
        unit: unit.into(),
        clock,
        total,
        scale,
        max_frames,
        user_only: options.sampling.contains(&parameters::USER_ONLY),
        keep_secrets: options.keep_secrets,
        survivors,
        parts,
        walk: walk(options, max_frames),
        style: options.style.concat(),
        filters: filters(&options.include, &options.exclude),
        timeout: asked.seconds.saturating_add(GRACE),
    })
}

/// The options that say how stacks are walked, and what marks they get.
fn walk(options: &JvmOptions, max_frames: u32) -> String {
    let kept = max_frames - 1;
    let mut walk = format!(",jstackdepth={max_frames}/{kept},memlimit={STACK_MEMORY}");
    if options.threads {
        walk.push_str(",threads");
    }
    if let Some(mode) = &options.cstack {
        walk.extend([",cstack=", mode]);
    }
    if !options.features.is_empty() {
        walk.extend([",features=", &options.features.join("+")]);
    }
    walk.extend(options.sampling.iter().copied());
    if let Some(seconds) = options.processes {
        walk.extend([",proc=", &seconds.to_string()]);
    }
    walk
}

impl JvmPlan {
    /// The same plan, sampled by a timer per thread instead of perf_events. The timer may fire late and then counts
    /// what it missed, so its counter is the truth, not its number of samples.
    pub fn with_ctimer(&self) -> Self {
        Self {
            engine: Engine::Timer(self.interval),
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
        let Self {
            engine,
            sampling,
            timeout,
            walk,
            ..
        } = self;
        let mut options = format!("start{}{sampling},timeout={timeout}{walk}", engine.options());
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
        format!("file={file},collapsed,ann,dot{counter}{}{}", self.style, self.filters)
    }

    /// True if each sample stands for a fixed time.
    pub fn counts_samples_by_time(&self) -> bool {
        self.clock != Clock::None && self.interval > 0 && (!self.total || self.scale != Scale::Keep)
    }

    /// The parameters that do not apply to the recording: async-profiler filters and writes names in texts only.
    pub fn ignored(&self) -> Option<&'static str> {
        match (self.kind, self.filters.is_empty(), self.style.is_empty()) {
            (RecordingKind::Jfr, false, _) => {
                Some("include and exclude do not apply to a JFR, which holds every stack")
            }
            (RecordingKind::Jfr, _, false) => {
                Some("sig, simple and lib do not apply to a JFR, which holds names whole")
            }
            _ => None,
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
pub(super) mod tests {
    use super::*;

    use crate::process::Process;
    use crate::runtime::{JavaVm, Options, RuntimeFacts, Target};

    /// The plan for `event` with the given parameters, for a process of 20 threads.
    pub(in crate::runtime::jvm) fn plan_with(
        event: &str,
        kind: RecordingKind,
        given: &[(&str, &str)],
        threads: u64,
    ) -> Result<JvmPlan, PlanError> {
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
        let walk = "jstackdepth=8192/8191,memlimit=134217728";
        assert_eq!(
            collapsed.start("/out"),
            format!("start,event=cpu-clock,interval=10000000,timeout=45,{walk},threads")
        );
        assert_eq!(collapsed.stop("/out"), "stop,file=/out,collapsed,ann,dot");
        let jfr = plan_with("cpu", RecordingKind::Jfr, &[("frequency", "50")], 20).unwrap();
        assert_eq!(
            jfr.start("/out"),
            format!("start,event=cpu-clock,interval=20000000,timeout=45,{walk},jfr,file=/out")
        );
        assert_eq!(jfr.stop("/out"), "stop,jfr");
    }

    #[test]
    fn amounts_are_totals_and_times_are_samples() {
        let of = |event: &str| planned(event, &[]);
        let started = |event: &str| {
            let options = of(event).start("/o");
            options.split_once(",timeout=").unwrap().0.to_owned()
        };
        assert_eq!(started("alloc"), "start,alloc=524287");
        assert!(of("alloc").stop("/o").contains(",total"));
        assert_eq!(started("lock"), "start,lock=10000");
        assert!(of("lock").total && !of("cpu").total && !of("wall").total);
        assert_eq!(started("heap"), "start,alloc=524287,live");
        assert_eq!(of("heap").stop("/o"), "stop,file=/o,collapsed,ann,dot");
        assert_eq!(of("heap").sizes("/s").unwrap(), "dump,file=/s,collapsed,ann,dot,total");
        assert_eq!(of("alloc").sizes("/s"), None);
        let jfr = plan_with("heap", RecordingKind::Jfr, &[], 20).unwrap();
        assert_eq!(jfr.sizes("/s"), None);
        assert_eq!(of("ctimer").scale, Scale::Divide(10_000_000));
        assert_eq!(started("cache-misses"), "start,event=cache-misses");
        assert!(of("cpu").counts_samples_by_time() && of("ctimer").counts_samples_by_time());
        assert!(!of("lock").counts_samples_by_time() && !of("alloc").counts_samples_by_time());
    }

    #[test]
    fn wall_is_never_batched_and_rarer_with_many_threads() {
        let wall = |threads| {
            let plan = plan_with("wall", RecordingKind::Collapsed, &[], threads);
            plan.unwrap().engine.options()
        };
        assert_eq!(wall(20), ",event=wall,interval=10000000,nobatch");
        assert_eq!(wall(200), ",event=wall,interval=100000000,nobatch");
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

    #[test]
    fn timers_take_the_place_of_perf_events_and_of_nothing_beside_them() {
        let several = plan_with("cpu,alloc", RecordingKind::Jfr, &[("interval", "5ms")], 20).unwrap();
        let timed = several.with_ctimer().start("/o");
        assert!(
            timed.starts_with("start,event=ctimer,interval=5000000,alloc=524287,timeout=45,"),
            "{timed}"
        );
    }

    #[test]
    fn several_events_are_one_session_and_a_jfr() {
        let jfr = |event: &str| plan_with(event, RecordingKind::Jfr, &[], 20);
        let started = |event: &str| {
            let options = jfr(event).unwrap().start("/o");
            options.split_once(",timeout=").unwrap().0.to_owned()
        };
        assert_eq!(
            started("cpu,alloc,lock"),
            "start,event=cpu-clock,interval=10000000,alloc=524287,lock=10000"
        );
        assert_eq!(started("wall,heap"), "start,wall=10000000,nobatch,alloc=524287,live");
        assert_eq!(
            started("all"),
            "start,event=cpu-clock,interval=10000000,wall=10000000,nobatch,alloc=524287,lock=10000,nativemem=524287,\
             nativelock=10000"
        );
        for both in ["alloc,heap,lock", "heap,alloc,lock"] {
            assert_eq!(started(both), "start,alloc=524287,live,lock=10000");
        }
        for bad in ["cpu,ctimer", "alloc,alloc", "lock,lock", "cpu,goroutine"] {
            assert!(jfr(bad).is_err(), "{bad}");
        }
        let of = |part: &Part| (part.event.to_string(), part.interval, part.unit.to_string(), part.clock);
        let parts: Vec<_> = jfr("cpu,heap").unwrap().parts.iter().map(of).collect();
        assert_eq!(
            parts,
            [
                ("cpu".to_owned(), 10_000_000, "nanoseconds".to_owned(), Clock::Cpu),
                ("heap".to_owned(), 524_287, "bytes".to_owned(), Clock::None)
            ]
        );
        assert_eq!(recordings(&"cpu,alloc".parse().unwrap()), [RecordingKind::Jfr]);
        let aimless = plan_with("wall,alloc", RecordingKind::Jfr, &[("interval", "5ms")], 20);
        assert!(
            matches!(
                aimless,
                Err(PlanError::Unsuitable {
                    parameter: "interval",
                    ..
                })
            ),
            "{aimless:?}"
        );
    }

    #[test]
    fn how_stacks_are_walked_is_said_at_the_start_and_how_names_are_written_at_the_end() {
        let given = [
            ("jstackdepth", "100"),
            ("cstack", "vmx"),
            ("features", "vtable,comptask"),
            ("alluser", "true"),
            ("sched", "true"),
            ("sig", "true"),
            ("lib", "false"),
        ];
        let plan = planned("cpu", &given);
        let walk = "jstackdepth=100/99,memlimit=134217728,cstack=vmx,features=vtable+comptask,alluser,sched";
        assert!(plan.start("/o").ends_with(walk), "{}", plan.start("/o"));
        assert_eq!(plan.stop("/o"), "stop,file=/o,collapsed,ann,dot,sig");
        assert_eq!(plan.max_frames, 100);
        let jfr = plan_with("cpu", RecordingKind::Jfr, &[("simple", "true")], 20).unwrap();
        assert!(jfr.ignored().is_some() && planned("cpu", &[("simple", "true")]).ignored().is_none());
    }
}
