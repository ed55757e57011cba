//! The quality stamp: what a reader must know before believing a flame graph.
//!
//! A recorder fills it, the store keeps it beside the recording, every writer prints it.

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

/// How a recording was made and how complete it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quality {
    /// Who sampled and how, e.g. `async-profiler 4.6 cpu (perf_events)`.
    pub sampler: String,
    /// Sampling interval in `interval_unit`; 0 when the runtime does not tell. With a clock, samples × interval is time.
    pub interval: u64,
    /// `nanoseconds`, `bytes` or `count`.
    pub interval_unit: String,
    /// What one sample measures.
    pub clock: Clock,
    /// Samples in the recording, if the recorder or the renderer counted them.
    pub samples: Option<u64>,
    /// Samples that interval and duration would give for one busy thread, where that is defined.
    pub expected_samples: Option<u64>,
    /// Samples known to be lost.
    pub lost: Option<u64>,
    /// Share of frames without a name, 0 to 1, counted when rendered.
    pub unresolved: Option<f64>,
    /// Pid of the target.
    pub pid: i32,
    /// Name of the target.
    pub process: String,
    /// `namespace/name` of its pod, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Name of its container, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Runtime and version, e.g. `jvm 17.0.15`.
    pub runtime: String,
    /// What was sampled.
    pub event: String,
    /// When sampling began, milliseconds after the Unix epoch.
    pub started_at_ms: u64,
    /// How long it sampled, milliseconds.
    pub duration_ms: u64,
    /// Why the result is less than asked for, one sentence each; empty when it is not.
    pub degraded: Vec<String>,
}
