//! The runtimes that can be profiled, one folder each, and the only `match` on which one it is.
//!
//! A runtime's folder knows how to recognise it (`detect`), what would work and why not (`doctor`), how to talk to it, and
//! how to record it (`record`). A folder must not know another one, HTTP, the store, or a format other than its own
//! recordings'. What is common to all stands beside this file.
//!
//! To add a runtime: a variant of [`Runtime`] and of [`RuntimeFacts`], its folder, and an arm in each `match` below; the
//! compiler names them.

pub mod control;
pub mod detected;
pub mod dotnet;
pub mod go;
pub mod jvm;
pub mod native;
pub mod no_access;
pub mod record_order;
pub mod report;
pub mod target;
pub mod verdict;
pub mod who;

use std::fs::File;
use std::io::Write;

use crate::process::{Process, ProcessTable, TargetRoot};
use crate::profile::Quality;

pub use control::{Control, Interruption};
pub use detected::Detected;
pub use go::settings::GoPprofSettings;
pub use no_access::no_access;
pub use record_order::{DotnetProvider, RecordOrder};
pub use report::{NoRoom, Phase, RecordError, Reporter};
pub use target::{JavaVm, PprofAbsence, PprofEndpoint, Runtime, RuntimeFacts, Target};
pub use verdict::{Availability, Examination, Reason, Verdict, stopped};
pub use who::Who;

/// Recognises `process`, by asking each runtime in turn; every process is at least native.
///
/// Runs in the inspector child with the target's credentials; everything it reads is the app's to forge.
pub fn detect(table: &ProcessTable, process: Process, go: &GoPprofSettings) -> Target {
    // The mapped files are read once: JVM and CoreCLR are recognised by a library, Go by its executable.
    let mapped = table.mapped_files(process.id.pid).unwrap_or_default();
    let detected = jvm::detect::detect(table, &process, &mapped)
        .or_else(|| dotnet::detect::detect(table, &process, &mapped))
        .or_else(|| go::detect::detect(table, &process, go))
        .unwrap_or_else(|| native::detect::detect(&process));
    Target {
        process,
        name: detected.name,
        facts: detected.facts,
    }
}

/// The verdicts for every event of the target's runtime, in the order of the design table.
///
/// Read-only: nothing is signalled, written or attached. Runs in the inspector child with the target's credentials.
pub fn examine(table: &ProcessTable, target: &Target) -> Vec<Verdict> {
    let root = TargetRoot::open(table, target.id());
    let examination = Examination {
        table,
        target,
        root: root.as_ref(),
    };
    match target.runtime() {
        Runtime::Jvm => jvm::doctor::verdicts(&examination),
        Runtime::Dotnet => dotnet::doctor::verdicts(&examination),
        Runtime::Go => go::doctor::verdicts(&examination),
        Runtime::Native => native::doctor::verdicts(&examination),
    }
}

/// Records as ordered, from attach to the last byte; the bytes go to `output`, progress to `reporter`. Runs in the
/// recorder child.
///
/// Returns the quality of a whole recording. On every return, also an error, nothing of ours runs or lies in the
/// target any more.
///
/// # Errors
/// Why there is no recording; [`RecordError::Cancelled`] when the server told us to give up.
pub fn record(
    order: &RecordOrder,
    agent: Option<File>,
    output: &mut dyn Write,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Quality, RecordError> {
    match order.target.runtime() {
        Runtime::Jvm => jvm::record::record(order, agent, output, control, reporter),
        Runtime::Dotnet => dotnet::record::record(order, output, control, reporter),
        Runtime::Go => go::record::record(order, output, control, reporter),
        Runtime::Native => Err(RecordError::Impossible(native::doctor::not_yet())),
    }
}

/// True if a recorder that was killed can leave anything in targets of `runtime`.
pub fn may_leave_something(runtime: Runtime) -> bool {
    runtime == Runtime::Jvm
}

/// Removes what an earlier recorder that was killed left in `target`: files of ours, a profiler still running.
pub fn sweep(target: &Target) {
    if may_leave_something(target.runtime()) {
        jvm::record::sweep(target);
    }
}
