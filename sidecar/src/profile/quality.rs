//! The quality stamp: what a reader must know before believing a flame graph.
//!
//! A recorder fills it, except for whose recording it is, which the server knows better. The store keeps it beside the
//! recording, every writer prints it, and our own pprof files carry it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the sampled value measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// Time on a CPU.
    Cpu,
    /// Elapsed time.
    Wall,
    /// Not sampled time: bytes, objects, counts, or delays that were measured and summed up (`lock`).
    None,
}

/// The part of a recording that is shown.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Shown {
    /// What was asked for, e.g. `focus=Cart.total`.
    pub view: String,
    /// Its value.
    pub value: u64,
    /// The value of the whole.
    pub total: u64,
    /// The one of the other, 0 to 1; nothing if the whole is nothing.
    pub share: Option<f64>,
    /// What is added up, e.g. `samples`.
    pub sample_type: String,
    /// In which unit.
    pub unit: String,
    /// Names that match, those with the most value first, 20 at most.
    pub functions: Vec<String>,
}

/// A thread while it was sampled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ThreadFacts {
    /// Its name; the kernel keeps 15 bytes of it.
    pub name: String,
    /// CPU time that it used, milliseconds.
    pub cpu_ms: u64,
}

/// What of a stamp is another for each event of a recording of several.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OfEvent {
    /// Which.
    pub event: String,
    /// As [`Quality::interval`].
    pub interval: u64,
    /// As [`Quality::interval_unit`].
    pub interval_unit: String,
    /// As [`Quality::clock`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    /// As [`Quality::expected_samples`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_samples: Option<u64>,
    /// A sampler that saw fewer had died; known where it has to see all of the CPU time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub least_samples: Option<u64>,
    /// As [`Quality::degraded`], beside what is true of all events.
    pub degraded: Vec<String>,
}

/// How a recording was made and how complete it is. What is not known is absent: the default knows nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Quality {
    /// Who sampled and how, e.g. `async-profiler 4.6 cpu (perf_events)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampler: Option<String>,
    /// Sampling interval in `interval_unit`; 0 when it is not known. With a clock, samples × interval is time.
    pub interval: u64,
    /// `nanoseconds`, `bytes` or `count`; empty when it is not known.
    pub interval_unit: String,
    /// What one sample measures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    /// Samples in the recording, if the recorder or the renderer counted them.
    pub samples: Option<u64>,
    /// Samples that interval and duration would give for one busy thread, where that is defined.
    pub expected_samples: Option<u64>,
    /// Samples known to be lost.
    pub lost: Option<u64>,
    /// CPU time that the process used while it was sampled, milliseconds, by the kernel's count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// CPU time that the samples stand for, milliseconds, where they stand for CPU time; before any filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampled_cpu_ms: Option<u64>,
    /// Bytes that survived the collection before a heap was walked through, by the collector's own count: what was seen should be as much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live_bytes: Option<u64>,
    /// Share of the shown value, 0 to 1, whose leaf has no name or whose stack could not be walked; counted when rendered.
    pub unresolved: Option<f64>,
    /// The most frames that the sampler takes of one stack, if it has a limit that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_frames: Option<u32>,
    /// Share of the shown value, 0 to 1, whose stack reached `max_frames` or is marked as cut: it may lack its callers.
    /// Counted when rendered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncated: Option<f64>,
    /// Pid of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Name of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// `namespace/name` of its pod, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Name of its container, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Runtime and version, e.g. `jvm 17.0.15`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// What was sampled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// When sampling began, milliseconds after the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at_ms: Option<u64>,
    /// How long it sampled, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Stacks are to be split by thread, where the recording has them as one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_thread: bool,
    /// What the kernel says of threads that the recording knows by number only. Not in the stamp of an artifact.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub threads: BTreeMap<u64, ThreadFacts>,
    /// Why the result is less than asked for, one sentence each; empty when it is not.
    pub degraded: Vec<String>,
    /// What of the recording is shown, where that is not all; the rest of the stamp is of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown: Option<Box<Shown>>,
    /// Of a recording of several events, what is true of one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<OfEvent>,
}

impl Quality {
    /// As it is shown: without what only a reader of the recording needs.
    pub fn shown(self) -> Self {
        Self {
            threads: BTreeMap::new(),
            ..self
        }
    }

    /// The stamp of one event of the recording, and what is known of that event alone. The sampler goes on to name the
    /// whole session.
    pub fn of_event(mut self, event: &str) -> (Self, Option<OfEvent>) {
        let events = std::mem::take(&mut self.events);
        let found = events.into_iter().find(|of| of.event == event);
        if let Some(of) = &found {
            self.event = Some(of.event.clone());
            self.interval = of.interval;
            self.interval_unit.clone_from(&of.interval_unit);
            self.clock = of.clock;
            self.expected_samples = of.expected_samples;
            self.degraded.extend(of.degraded.iter().cloned());
        }
        (self, found)
    }

    /// The stamp of the whole recording, with the doubts about each event.
    pub fn of_all(mut self) -> Self {
        let doubts: Vec<String> = self.events.iter().flat_map(|of| of.degraded.clone()).collect();
        for doubt in doubts {
            if !self.degraded.contains(&doubt) {
                self.degraded.push(doubt);
            }
        }
        self
    }

    /// What a picture of it is called.
    pub fn title(&self) -> String {
        let known: Vec<_> = [&self.process, &self.event]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        known.join(" · ")
    }
}
