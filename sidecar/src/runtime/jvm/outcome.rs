//! What a finished capture is worth, in numbers and sentences. Called by [`super::run`].

use std::time::Duration;

use super::agent::Answer;
use super::async_profiler;
use super::doctor;
use super::engine::Engine;
use super::plan::{self, JvmPlan};
use super::transfer::{Moved, Scale};
use crate::event::Event;
use crate::format::RecordingKind;
use crate::process::ProcessTable;
use crate::profile::Quality;
use crate::runtime::{Reason, RecordOrder};

/// What a finished capture is judged by.
#[derive(Debug)]
pub struct Sampled {
    /// What was asked of async-profiler.
    pub plan: JvmPlan,
    /// How it sampled.
    pub engine: Engine,
    /// Why perf_events were not even tried.
    pub scarce: Option<Reason>,
    /// Its answer to the start.
    pub start: Answer,
    /// Its answer to the stop.
    pub stop: Answer,
    /// The recording.
    pub moved: Moved,
    /// When sampling began, milliseconds after the Unix epoch.
    pub started_at_ms: u64,
    /// How long it lasted.
    pub duration: Duration,
}

impl Sampled {
    /// The quality stamp. `version` is async-profiler's, `lost` what it skipped.
    pub fn quality(&self, order: &RecordOrder, table: &ProcessTable, version: &str, lost: Option<u64>) -> Quality {
        let plan = &self.plan;
        let duration_ns = u64::try_from(self.duration.as_nanos()).unwrap_or(u64::MAX);
        Quality {
            sampler: Some(format!(
                "async-profiler {} {}{}",
                version,
                order.event,
                self.engine.label()
            )),
            interval: plan.interval,
            interval_unit: plan.unit.clone().into_owned(),
            clock: Some(plan.clock),
            samples: self.samples(),
            expected_samples: plan
                .counts_samples_by_time()
                .then(|| duration_ns / plan.interval.max(1)),
            lost,
            max_frames: Some(plan::MAX_FRAMES),
            runtime: Some(
                order
                    .target
                    .version()
                    .map_or("jvm".to_owned(), |version| format!("jvm {version}")),
            ),
            event: Some(order.event.to_string()),
            started_at_ms: Some(self.started_at_ms),
            duration_ms: Some(duration_ns / 1_000_000),
            degraded: self.limitations(order, table),
            ..Quality::default()
        }
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

    fn limitations(&self, order: &RecordOrder, table: &ProcessTable) -> Vec<String> {
        let mut sentences = Vec::new();
        if order.event == Event::Cpu && self.engine == Engine::Ctimer {
            let reason = doctor::perf_events_unavailable(table, &order.target.process).or_else(|| self.scarce.clone());
            sentences.push(reason.map_or_else(
                || "perf_events are not available to the process: cpu by timers, without kernel frames".to_owned(),
                |reason| reason.sentence,
            ));
        }
        let mut warnings = async_profiler::messages(&self.start.log, "[WARN] ");
        if warnings.any(|text| text.contains("Kernel symbols are unavailable")) {
            let reason = doctor::perf_events_unavailable(table, &order.target.process);
            sentences.push(reason.map_or_else(
                || "kernel frames are missing: kernel.kptr_restrict hides the kernel's symbols".to_owned(),
                |_| "only user space was sampled: the process may not use perf_events on the kernel".to_owned(),
            ));
        }
        if order.event == Event::Heap {
            sentences.push(doctor::heap_since_start().sentence);
        }
        if self.plan.ignores_filters() {
            sentences.push("include and exclude do not apply to a JFR, which holds every stack".to_owned());
        }
        let mut infos = async_profiler::messages(&self.stop.log, "[INFO] ");
        if let Some(text) = infos.find(|text| text.contains("No samples were") || text.contains("filtered out")) {
            sentences.push(format!("the recording is empty: {text}"));
        }
        sentences
    }
}
