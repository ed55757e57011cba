//! What runs in a recorder child: one target, one event, from attach to the last byte of the recording.
//!
//! Knows runtimes and no format but their own. Must not know HTTP, the store or rendering. Called by the binary's
//! hidden `recorder` command, which the capture service starts.

pub mod control;
pub mod dotnet;
pub mod go;
pub mod jvm;
pub mod metered_file;
pub mod report;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::discovery::GoPprofSettings;
use crate::event::Event;
use crate::format::RecordingKind;
use crate::target::{Runtime, Target};

pub use control::{Control, Interruption};
pub use metered_file::MeteredFile;
pub use report::{NoRoom, Phase, RecordError, Report, Reporter};

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

/// Records as ordered; the bytes go to `output`, progress to `reporter`.
///
/// Returns the quality of a whole recording. On every return, also an error, nothing of ours runs or lies in the
/// target any more.
///
/// # Errors
/// Why there is no recording; [`RecordError::Cancelled`] when the server told us to give up.
pub fn record(
    order: &RecordOrder,
    agent: Option<std::fs::File>,
    output: &mut dyn std::io::Write,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<crate::profile::Quality, RecordError> {
    match order.target.runtime() {
        Runtime::Jvm => jvm::record(order, agent, output, control, reporter),
        Runtime::Dotnet => dotnet::record(order, output, control, reporter),
        Runtime::Go => go::record(order, output, control, reporter),
        Runtime::Native => Err(RecordError::Impossible(crate::doctor::native::not_yet())),
    }
}

/// True if a recorder that was killed can leave anything in targets of `runtime`.
pub fn may_leave_something(runtime: Runtime) -> bool {
    runtime == Runtime::Jvm
}

/// Removes what an earlier recorder that was killed left in `target`: files of ours, a profiler still running.
pub fn sweep(target: &Target) {
    if may_leave_something(target.runtime()) {
        jvm::sweep(target);
    }
}
