//! What a recorder child is told.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{GoPprofSettings, Target};
use crate::event::Event;
use crate::format::RecordingKind;

/// Everything a recorder needs; validated by the server, trusted by the recorder. Crosses as JSON on stdin because
/// an argument list is readable by every process of the pod and headers are secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordOrder {
    /// Whom to profile.
    pub target: Target,
    /// What to sample.
    pub event: Event,
    /// What to write to stdout.
    pub kind: RecordingKind,
    /// How long to sample. 0 for Go's `alloc`, `heap`, `lock`, `block`, `goroutine` and `threadcreate`: the totals
    /// since the start of the program (no `seconds=` in the request to the target).
    pub seconds: u64,
    /// Sampling rate in Hz, for events that are a matter of time.
    pub frequency: Option<u32>,
    /// Interval in async-profiler's notation (`10ms`, `512k`), for the JVM. Never together with `frequency`.
    pub interval: Option<String>,
    /// Split stacks by thread.
    pub threads: bool,
    /// Only stacks with a frame that matches (async-profiler's pattern).
    pub include: Vec<String>,
    /// No stacks with a frame that matches.
    pub exclude: Vec<String>,
    /// dotnet-trace profiles. Without any, and without providers, those that fit the event.
    pub dotnet_profiles: Vec<String>,
    /// dotnet-trace providers, added to the profiles given, in place of the event's own.
    pub dotnet_providers: Vec<DotnetProvider>,
    /// libasyncProfiler.so on our side.
    pub async_profiler: PathBuf,
    /// How to talk to a Go pprof port.
    pub go_pprof: GoPprofSettings,
    /// Bytes of recording that the store has room for at the start; the recorder asks for more.
    pub granted_bytes: u64,
    /// The most it can ever be granted.
    pub max_bytes: u64,
}

/// `Name:keywords:level:arguments` as dotnet-trace takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DotnetProvider {
    /// Event provider.
    pub name: String,
    /// Keyword bit mask.
    pub keywords: u64,
    /// 0 LogAlways … 5 Verbose.
    pub level: u32,
    /// `key=value;key="value"`.
    pub arguments: String,
}
