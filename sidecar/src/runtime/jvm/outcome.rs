//! What a finished capture is worth, in numbers and sentences. Called by [`super::run`].

use std::time::Duration;

use super::agent::Answer;
use super::async_profiler::{self, Metrics};
use super::doctor;
use super::inlining;
use super::plan::{JvmPlan, STACK_MEMORY};
use super::sampling::{Engine, Part};
use super::startup::Startup;
use super::transfer::{Moved, Scale};
use super::virtual_threads;
use crate::event::Event;
use crate::format::RecordingKind;
use crate::process::{CpuUse, ProcessTable, TargetRoot};
use crate::profile::quality::{Clock, OfEvent};
use crate::profile::{Quality, stamp};
use crate::runtime::{Reason, RecordError, RecordOrder};

/// The kernel's timers fire once in its tick.
const LONGEST_TICK: Duration = Duration::from_millis(10);

/// What a finished capture is judged by.
#[derive(Debug)]
pub struct Sampled {
    /// What was asked of async-profiler.
    pub plan: JvmPlan,
    /// Why perf_events were not even tried.
    pub scarce: Option<Reason>,
    /// Its answer to the start.
    pub start: Answer,
    /// Its answer to the stop.
    pub stop: Answer,
    /// The recording.
    pub moved: Moved,
    /// What it counted.
    pub metrics: Metrics,
    /// CPU time that the process used from its answer to the start until it was told to stop.
    pub cpu: Option<CpuUse>,
    /// What it said in between.
    pub meanwhile: String,
    /// When sampling began, milliseconds after the Unix epoch.
    pub started_at_ms: u64,
    /// How long it lasted.
    pub duration: Duration,
}

impl Sampled {
    /// The quality stamp. `version` is async-profiler's.
    ///
    /// # Errors
    /// [`RecordError::SamplerDied`].
    pub fn quality(
        &self,
        order: &RecordOrder,
        (table, root): (&ProcessTable, &TargetRoot),
        version: &str,
    ) -> Result<Quality, RecordError> {
        self.expect_a_living_sampler()?;
        let plan = &self.plan;
        // Of any other event the name says it.
        let engine = match order.event.parts().contains(&Event::Cpu) {
            true => plan.engine.label(),
            false => "",
        };
        let duration_ns = u64::try_from(self.duration.as_nanos()).unwrap_or(u64::MAX);
        Ok(Quality {
            sampler: Some(format!("async-profiler {version} {}{engine}", order.event)),
            interval: plan.interval,
            interval_unit: plan.unit.clone().into_owned(),
            clock: Some(plan.clock),
            samples: self.samples(),
            expected_samples: plan
                .counts_samples_by_time()
                .then(|| duration_ns / plan.interval.max(1)),
            lost: self.metrics.lost(),
            cpu_ms: self.cpu.map(|cpu| millis(cpu.process)),
            sampled_cpu_ms: self.sampled_cpu().map(millis),
            max_frames: Some(plan.max_frames),
            runtime: Some(order.target.runtime_and_version()),
            event: Some(order.event.to_string()),
            started_at_ms: Some(self.started_at_ms),
            duration_ms: Some(duration_ns / 1_000_000),
            degraded: match plan.parts.is_empty() {
                true => self.limitations(std::slice::from_ref(&order.event), order, table, root),
                false => self.limitations(&[], order, table, root),
            },
            events: plan
                .parts
                .iter()
                .map(|part| self.of_event(part, order, table, root))
                .collect(),
            ..Quality::default()
        })
    }

    /// What is true of one of several events.
    fn of_event(&self, part: &Part, order: &RecordOrder, table: &ProcessTable, root: &TargetRoot) -> OfEvent {
        let of_all = self.limitations(&[], order, table, root);
        let mut degraded = self.limitations(std::slice::from_ref(&part.event), order, table, root);
        degraded.retain(|sentence| !of_all.contains(sentence));
        let by_time = part.clock != Clock::None && part.interval > 0;
        let duration_ns = u64::try_from(self.duration.as_nanos()).unwrap_or(u64::MAX);
        OfEvent {
            event: part.event.to_string(),
            interval: part.interval,
            interval_unit: part.unit.clone().into_owned(),
            clock: Some(part.clock),
            expected_samples: by_time.then(|| duration_ns / part.interval.max(1)),
            least_samples: self.least_samples(part),
            degraded,
        }
    }

    /// The fewest samples of a living sampler, of which there are several events: only who reads the recording can tell
    /// whose they are.
    fn least_samples(&self, part: &Part) -> Option<u64> {
        (part.clock == Clock::Cpu && self.sees_every_thread()).then_some(())?;
        let lasting = self.cpu?.lasting;
        let interval = Duration::from_nanos(part.interval.max(1));
        if lasting < enough_cpu(interval) {
            return Some(0);
        }
        let step = match self.plan.engine {
            Engine::Timer(_) => interval.max(LONGEST_TICK),
            _ => interval,
        };
        u64::try_from(lasting.as_nanos() / 2 / step.as_nanos()).ok()
    }

    /// CPU time that the samples stand for, where they stand for CPU time. A timer that fired late counts what it missed in the
    /// recording, of which filters may have left a part; async-profiler's own number has no such sum.
    fn sampled_cpu(&self) -> Option<Duration> {
        (self.plan.clock == Clock::Cpu && self.plan.interval > 0).then_some(())?;
        let counted = self.metrics.samples?.saturating_mul(self.plan.interval);
        let recorded = match self.plan.scale {
            Scale::Divide(_) => self.moved.sum,
            Scale::Keep => self.moved.sum.saturating_mul(self.plan.interval),
        };
        Some(Duration::from_nanos(counted.max(recorded)))
    }

    /// True if the sampler should see all CPU time of each thread. Not without the kernel's, and not by the one timer of
    /// `itimer`, which fires for one thread at a time.
    fn sees_every_thread(&self) -> bool {
        match self.plan.engine {
            Engine::Perf(_) => !self.plan.user_only,
            Engine::Timer(_) => true,
            Engine::Other(_) | Engine::Off => false,
        }
    }

    /// Fails if the sampler saw less than half of the CPU time that it had to see.
    ///
    /// Threads that lived throughout are sampled whole: a working sampler sees all of what they used, and that of others
    /// besides. Half leaves room for what a signal cannot reach (threads of native libraries that block it). A second of
    /// CPU time is 100 samples of the usual interval, of which half cannot be missing by chance. The kernel's timers fire once
    /// in its tick, 10 ms at most; what they missed is in a text, but not in a JFR.
    fn expect_a_living_sampler(&self) -> Result<(), RecordError> {
        let (Some(sampled), Some(used), true) = (self.sampled_cpu(), self.cpu, self.sees_every_thread()) else {
            return Ok(());
        };
        let interval = Duration::from_nanos(self.plan.interval);
        let late = matches!(self.plan.engine, Engine::Timer(_)) && self.plan.kind == RecordingKind::Jfr;
        let sampled = match u32::try_from(self.metrics.samples.unwrap_or(0)) {
            Ok(samples) if late => sampled.max(LONGEST_TICK.saturating_mul(samples)),
            _ => sampled,
        };
        if used.lasting < enough_cpu(interval) || sampled >= used.lasting / 2 {
            return Ok(());
        }
        Err(RecordError::SamplerDied {
            sampled_ms: millis(sampled),
            cpu_ms: millis(used.lasting),
            cause: self.end_of_perf_events(),
        })
    }

    /// What ended perf_events before the end of the capture: async-profiler gives all of them up when a new thread finds no
    /// descriptor or no memory for its own (`PerfEvents::createForThread`).
    fn end_of_perf_events(&self) -> Option<String> {
        const FATAL: [&str; 2] = ["Too many open files", "Cannot allocate memory"];
        let mut causes = async_profiler::perf_failures(&self.meanwhile);
        let cause = causes.find(|cause| FATAL.contains(cause))?;
        Some(format!("perf_events: {cause}"))
    }

    /// Samples in the recording, where its numbers are samples.
    fn samples(&self) -> Option<u64> {
        match (self.plan.kind, self.plan.scale) {
            (RecordingKind::Jfr, _) => None,
            (_, Scale::Divide(by)) => self.moved.sum.checked_div(by),
            _ if self.plan.total => None,
            _ => Some(self.moved.sum),
        }
    }

    /// The sentences that are true of `events`, and those that are true of all.
    fn limitations(
        &self,
        events: &[Event],
        order: &RecordOrder,
        table: &ProcessTable,
        root: &TargetRoot,
    ) -> Vec<String> {
        let process = &order.target.process;
        let interrupted = events.iter().any(inlining::interrupt_code);
        let mut sentences = Vec::new();
        let ended = interrupted.then(|| self.end_of_perf_events()).flatten();
        sentences.extend(ended.map(|cause| format!("sampling ended before the capture did ({cause})")));
        if events.contains(&Event::Cpu) && matches!(self.plan.engine, Engine::Timer(_)) {
            let reason = doctor::perf_events_unavailable(table, process).or_else(|| self.scarce.clone());
            sentences.push(reason.map_or_else(
                || "perf_events are not available to the process: cpu by timers, without kernel frames".to_owned(),
                |reason| reason.sentence,
            ));
        }
        let mut warnings = async_profiler::messages(&self.start.log, "[WARN] ");
        if interrupted && warnings.any(|text| text.contains("Kernel symbols are unavailable")) {
            let reason = doctor::perf_events_unavailable(table, process);
            sentences.push(reason.map_or_else(
                || "kernel frames are missing: kernel.kptr_restrict hides the kernel's symbols".to_owned(),
                |_| "only user space was sampled: the process may not use perf_events on the kernel".to_owned(),
            ));
        }
        if events.contains(&Event::Heap) {
            sentences.push(doctor::heap_since_start().sentence);
        }
        sentences.extend(self.plan.ignored().map(str::to_owned));
        if let Some(overflows) = self.metrics.overflows.filter(|overflows| *overflows > 0) {
            let room = STACK_MEMORY >> 20;
            sentences.push(format!(
                "{overflows} samples are lost: their stacks did not fit into {room} MiB of the application's memory"
            ));
        }
        sentences.extend(self.unseen_cpu());
        let mut infos = async_profiler::messages(&self.stop.log, "[INFO] ");
        if let Some(text) = infos.find(|text| text.contains("No samples were") || text.contains("filtered out")) {
            sentences.push(format!("the recording is empty: {text}"));
        }
        if events.contains(&Event::Wall) {
            sentences.extend(virtual_threads::unseen(table, process).map(|reason| reason.sentence));
        }
        // Last: it is true of most JVMs, and a picture has room for one line.
        let unseen = interrupted
            .then(|| inlining::unseen(&Startup::of(table, root, process), table, root, process))
            .flatten();
        sentences.extend(unseen.map(|reason| format!("{}; {}", reason.sentence, reason.remedy)));
        sentences
    }

    /// The sentence about CPU time that no sample stands for, if it is a good part.
    fn unseen_cpu(&self) -> Option<String> {
        let (sampled, used) = (self.sampled_cpu()?, self.cpu?.process);
        self.sees_every_thread().then(|| stamp::unseen_cpu(sampled, used))?
    }
}

/// The CPU time of which a living sampler cannot have missed half by chance.
fn enough_cpu(interval: Duration) -> Duration {
    const ENOUGH: Duration = Duration::from_secs(1);
    const ENOUGH_SAMPLES: u32 = 50;
    ENOUGH.max(interval.saturating_mul(ENOUGH_SAMPLES))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::jvm::plan::tests::plan_with;

    /// A capture of `cpu` that counted `samples` of 10 ms, while lasting threads used `lasting` ms of `process` ms.
    fn sampled(samples: u64, lasting: u64, process: u64) -> Sampled {
        let answer = || Answer {
            code: 0,
            log: String::new(),
        };
        Sampled {
            plan: plan_with("cpu", RecordingKind::Collapsed, &[], 20).unwrap(),
            scarce: None,
            start: answer(),
            stop: answer(),
            moved: Moved::default(),
            metrics: Metrics {
                samples: Some(samples),
                ..Metrics::default()
            },
            cpu: Some(CpuUse {
                process: Duration::from_millis(process),
                lasting: Duration::from_millis(lasting),
            }),
            meanwhile: String::new(),
            started_at_ms: 0,
            duration: Duration::from_secs(10),
        }
    }

    #[test]
    fn a_sampler_that_sees_less_than_half_of_what_lasting_threads_use_is_dead() {
        let lives = |sampled: Sampled| sampled.expect_a_living_sampler().is_ok();
        assert!(lives(sampled(500, 10_000, 10_000)));
        assert!(!lives(sampled(499, 10_000, 10_000)));
        assert!(
            lives(sampled(0, 990, 10_000)),
            "too little to tell, or threads that come and go"
        );
        let mut dead = sampled(0, 5_000, 5_000);
        dead.meanwhile =
            "[WARN] perf_event_open for TID 98 failed: No such process\n[WARN] perf_event_open for TID 99 failed: Too \
                          many open files\n"
                .to_owned();
        let error = dead.expect_a_living_sampler().unwrap_err().to_string();
        assert!(
            error.contains("0.0 s of the 5.0 s") && error.contains("Too many open files"),
            "{error}"
        );
        for (event, given, why) in [
            ("alloc", [].as_slice(), "bytes say nothing of time"),
            ("itimer", &[], "one timer for all threads"),
            ("cpu", &[("alluser", "true")], "the kernel's part may be large"),
        ] {
            let mut other = sampled(0, 5_000, 5_000);
            other.plan = plan_with(event, RecordingKind::Collapsed, given, 20).unwrap();
            assert!(lives(other), "{why}");
        }
    }

    #[test]
    fn what_a_late_timer_missed_was_seen() {
        let mut late = sampled(100, 10_000, 10_000);
        late.plan = late.plan.with_ctimer();
        late.moved.sum = 9_900_000_000;
        assert_eq!(late.sampled_cpu(), Some(Duration::from_millis(9_900)));
        assert!(late.expect_a_living_sampler().is_ok());
    }

    #[test]
    fn a_good_part_of_unseen_cpu_time_is_said() {
        assert_eq!(sampled(800, 5_000, 10_000).unseen_cpu(), None);
        let sentence = sampled(799, 5_000, 10_000).unseen_cpu().unwrap();
        assert!(sentence.contains("8.0 s of the 10.0 s"), "{sentence}");
        assert_eq!(sampled(0, 500, 999).unseen_cpu(), None);
    }
}
