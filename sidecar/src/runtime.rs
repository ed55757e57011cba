//! The runtimes that can be profiled, one folder each. Which one it is ask this file, of what can be had of a process,
//! [`runtime_plan`] and [`recording`], and no other.
//!
//! A runtime's folder knows how to recognise it (`detect`), what would work and why not (`doctor`), which parameters it
//! takes (`parameters`), what exactly will be done (`plan`, pure, in the server), how to talk to it, and how to record it
//! (`record`). A folder must not know another one, HTTP, the store, or a format other than its own recordings'. What is
//! common to all stands beside this file.
//!
//! To add a runtime: a variant of [`Runtime`], [`RuntimeFacts`] and [`RuntimePlan`], its folder, and an arm in each `match`
//! below; the compiler names them.

pub mod control;
pub mod counter_sources;
pub mod counters;
pub mod counters_beside;
pub mod detected;
pub mod dotnet;
pub mod dump;
pub mod go;
pub mod jvm;
pub mod kernel_counters;
pub mod native;
pub mod no_access;
pub mod options;
pub mod output;
mod own_directory;
pub mod plan_error;
pub mod record_order;
pub mod recording;
pub mod report;
pub mod runtime_plan;
pub mod target;
pub mod verdict;
pub mod who;

use std::path::PathBuf;
use std::sync::Arc;

use crate::event::Event;
use crate::format::{Format, RecordingKind};
use crate::process::{Process, ProcessTable, TargetRoot};

pub use control::{Control, Interruption};
pub use counter_sources::Sources;
pub use detected::Detected;
pub use dotnet::caller::{Advertise, Caller};
pub use dotnet::dump::DumpType;
pub use dotnet::introduction::{Introduction, by_port};
pub use dotnet::line::Line;
pub use dump::{CORE, DUMP};
pub use go::server::{AllowedUrl, ApiServer, SecretName, ServerSettings, ServerUrl, URL_NOT_ALLOWED};
pub use go::settings::{GoPprofSettings, Scope, Scoped};
pub use jvm::settings::JvmSettings;
pub use native::perf::PerfRights;
pub use no_access::no_access;
pub use options::Options;
pub use output::Output;
pub use plan_error::PlanError;
pub use record_order::{RecordOrder, RoomGrant};
pub use recording::{Opened, may_leave_something, record, sweep};
pub use report::{NoRoom, Phase, RecordError, Reporter};
pub use runtime_plan::{Asked, Exclusive, RuntimePlan, plan, plan_node, shares};
pub use target::{JavaVm, PprofAbsence, PprofEndpoint, Runtime, RuntimeFacts, Target};
pub use verdict::{ALREADY_PROFILED, Availability, Examination, Reason, Verdict, stopped};
pub use who::Who;

/// What the operator told us about each runtime; from flags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeSettings {
    /// About async-profiler.
    pub jvm: JvmSettings,
    /// About pprof ports.
    pub go: GoPprofSettings,
    /// About servers that are named by their URLs.
    pub servers: ServerSettings,
}

/// Recognises `process`, by asking each runtime in turn; every process is at least native.
///
/// Runs in the inspector child with the target's credentials; everything it reads is the app's to forge.
pub fn detect(table: &ProcessTable, process: Process, go: &GoPprofSettings) -> Target {
    let mapped = telling_files(table, &process);
    let detected = jvm::detect::detect(table, &process, &mapped)
        .or_else(|| dotnet::detect::detect(table, &process, &mapped))
        .or_else(|| go::detect::detect(table, &process, go));
    recognised(process, detected)
}

/// Recognises `process` by its files alone: nothing is said to it, so that what only it could tell is not known.
///
/// Runs in a child with the target's credentials, at each scrape.
pub fn recognise(table: &ProcessTable, process: Process) -> Target {
    let mapped = telling_files(table, &process);
    let detected = jvm::detect::detect(table, &process, &mapped)
        .or_else(|| dotnet::detect::recognise(&process, &mapped))
        .or_else(|| go::detect::recognise(table, &process));
    recognised(process, detected)
}

fn recognised(process: Process, detected: Option<Detected>) -> Target {
    let detected = detected.unwrap_or_else(|| native::detect::detect(&process));
    Target {
        process,
        name: detected.name,
        facts: detected.facts,
    }
}

/// The mapped files that tell the runtime, of which there are two at most. They are read once, and no further than to a
/// library of a JVM or of CoreCLR; Go is recognised by its executable.
fn telling_files(table: &ProcessTable, process: &Process) -> Vec<PathBuf> {
    let mut telling = Vec::new();
    for path in table.mapped_files(process.id.pid).into_iter().flatten() {
        if jvm::detect::is_library(&path) || dotnet::detect::is_library(&path) {
            telling.push(path);
            break;
        }
        if telling.is_empty() && dotnet::detect::is_jitted_code(&path) {
            telling.push(path);
        }
    }
    telling
}

/// The verdicts for every event of the target's runtime, in the order in which README lists events.
///
/// Read-only: nothing is signalled, written or attached. Runs in the inspector child with the target's credentials; `perf` was
/// tried before it had those.
pub fn examine(table: &ProcessTable, target: &Target, perf: &PerfRights) -> Vec<Verdict> {
    let root = TargetRoot::open(table, target.id());
    let examination = Examination {
        table,
        target,
        root: root.as_ref(),
        perf,
    };
    let mut verdicts = match target.runtime() {
        Runtime::Jvm => jvm::doctor::verdicts(&examination),
        Runtime::Dotnet => dotnet::doctor::verdicts(&examination, native::doctor::sampled(&examination)),
        Runtime::Go => go::doctor::verdicts(&examination, native::doctor::sampled(&examination)),
        Runtime::Native => native::doctor::verdicts(&examination),
    };
    verdicts.push(native::doctor::core(&examination));
    counters::judge(&mut verdicts, &examination);
    verdicts
}

/// A server that is named by its URL, as a target with its verdicts.
pub fn server(url: &ServerUrl) -> (Target, Vec<Verdict>) {
    (go::server::target(url), go::doctor::verdicts_of_server())
}

/// What the runtime of `target` counts and shares with whoever may read its files, or why it does not; `None` of a runtime that
/// must be asked. `process` is a fresh row of `/proc`.
pub fn shared_counters(
    table: &ProcessTable,
    root: &TargetRoot,
    (target, process): (&Target, &Process),
) -> Option<Result<jvm::counters::SharedCounters, Reason>> {
    match target.facts {
        RuntimeFacts::Jvm { vm, .. } => Some(jvm::counters::SharedCounters::open(table, root, process, vm)),
        RuntimeFacts::Dotnet { .. } | RuntimeFacts::Go { .. } | RuntimeFacts::Native => None,
    }
}

/// The runtime whose ways serve `event` of the target: machine code's, where the kernel samples what the program's own runtime
/// does not, or not without a port.
pub fn served_by(target: &Target, event: &Event) -> Runtime {
    match target.runtime() {
        Runtime::Jvm if jvm::doctor::leaves_to_the_kernel(event) && !target.id().is_outside() => Runtime::Native,
        Runtime::Go
            if !go::doctor::serves(target, event) && native::doctor::knows(event) && !target.id().is_outside() =>
        {
            Runtime::Native
        }
        Runtime::Dotnet
            if !dotnet::doctor::serves(event) && native::doctor::knows(event) && !target.id().is_outside() =>
        {
            Runtime::Native
        }
        runtime => runtime,
    }
}

/// Adds what only the server knows, as whether a library of ours is there, to the verdicts of an inspector. Many processes
/// share theirs: those that nothing is added to still do.
pub fn complete_verdicts(target: &Target, verdicts: &mut Arc<[Verdict]>, settings: &RuntimeSettings) {
    match target.runtime() {
        Runtime::Jvm => jvm::doctor::complete(Arc::make_mut(verdicts), &settings.jvm),
        Runtime::Dotnet | Runtime::Go | Runtime::Native => {}
    }
}

/// True if nothing can be had from the process by looking into it, and it is not its own state that forbids all: then the
/// connections of a runtime to our port are the way to it.
pub fn needs_port(verdicts: &[Verdict]) -> bool {
    let is_its_state = |verdict: &Verdict| {
        let key = verdict.reason.as_ref().map(|reason| reason.key.as_ref());
        matches!(key, Some("target_stopped" | "paused_at_startup"))
    };
    let impossible = |verdict: &Verdict| verdict.availability == Availability::Impossible;
    // What the kernel samples of it does not make up for what only its runtime can tell.
    verdicts
        .iter()
        .filter(|verdict| dotnet::doctor::serves(&verdict.event) && verdict.event != Event::Counters)
        .all(|verdict| impossible(verdict) && !is_its_state(verdict))
}

/// The event whose verdict counts for `event`.
pub fn judged_as(runtime: Runtime, event: &Event) -> &Event {
    match runtime {
        Runtime::Jvm => jvm::doctor::judged_as(event),
        Runtime::Dotnet if !dotnet::doctor::serves(event) => native::doctor::judged_as(event),
        Runtime::Dotnet => dotnet::doctor::judged_as(event),
        Runtime::Go => go::doctor::judged_as(event),
        Runtime::Native => native::doctor::judged_as(event),
    }
}

/// The events whose verdicts count for `event`: several of them where the runtime samples several at once.
pub fn parts(runtime: Runtime, event: &Event) -> Vec<Event> {
    match runtime {
        Runtime::Jvm => event.parts(),
        Runtime::Dotnet | Runtime::Go | Runtime::Native => vec![event.clone()],
    }
}

/// An option of a runtime's own profiler that is no parameter, and why not.
pub fn refused_option(word: &str) -> Option<(&'static str, &'static str)> {
    jvm::agent_options::refused(word)
}

/// The native recordings that can be made of an event, the usual one first.
pub fn recordings(runtime: Runtime, event: &Event) -> &'static [RecordingKind] {
    match runtime {
        _ if *event == Event::Counters => &[RecordingKind::Counters],
        Runtime::Jvm => jvm::plan::recordings(event),
        Runtime::Dotnet => dotnet::plan::recordings(event),
        Runtime::Go => go::plan::recordings(event),
        Runtime::Native => native::plan::recordings(event),
    }
}

/// What a recording becomes where that is not said. A session of .NET that was put together by hand is for tools that read all of it.
pub fn usual_format(runtime: Runtime, (kind, event): (RecordingKind, &Event), options: &Options) -> Option<Format> {
    match runtime {
        Runtime::Dotnet if options.dotnet.are_for_tools() => Some(kind.native_format()),
        Runtime::Jvm => jvm::plan::usual_format(kind, event),
        Runtime::Dotnet | Runtime::Go | Runtime::Native => kind.formats().first().copied(),
    }
}

/// True if the runtime keeps totals of `event` since the start of the program; zero seconds ask for them.
pub fn keeps_totals(runtime: Runtime, event: &Event) -> bool {
    match runtime {
        Runtime::Jvm | Runtime::Go | Runtime::Native if *event == Event::Counters => true,
        Runtime::Go => go::plan::keeps_totals(event),
        Runtime::Jvm | Runtime::Dotnet | Runtime::Native => false,
    }
}

/// What a runtime has for an event that it does not know by the name of Go's profile.
pub fn scraped_as(runtime: Runtime, event: &Event) -> Option<Event> {
    match (runtime, event) {
        // Its threads wait for locks, monitors and semaphores; there are no channels.
        (Runtime::Jvm, Event::Block) => Some(Event::Lock),
        _ => None,
    }
}

/// What is in a heap by type, where the event of that name is of something else or not asked for as one.
pub const HISTOGRAM: &str = "histogram";

/// The event that a runtime has for what is in its heap by type.
pub fn histogram_event(runtime: Runtime) -> Event {
    match runtime {
        Runtime::Jvm | Runtime::Go => Event::Named(HISTOGRAM.to_owned()),
        Runtime::Dotnet | Runtime::Native => Event::Heap,
    }
}

fn is_histogram(event: &Event) -> bool {
    matches!(event, Event::Named(name) if name == HISTOGRAM)
}

/// Why the heap of a runtime cannot be told by type, and what it has in its place.
pub fn no_histogram(runtime: Runtime) -> Option<Reason> {
    match runtime {
        Runtime::Dotnet | Runtime::Jvm | Runtime::Go => None,
        Runtime::Native => Some(Reason::new(
            "no_histogram",
            "machine code has no types that could be counted",
            "see GET /doctor for what can be had of the process",
        )),
    }
}

/// Why a walk through the heap of a runtime cannot be had as a file, and what it has in its place.
pub fn no_walk(runtime: Runtime) -> Option<Reason> {
    let remedy = match runtime {
        Runtime::Dotnet => return None,
        Runtime::Jvm => "GET /histogram counts the objects of a JVM by class, POST /dump is its heap",
        Runtime::Go => "GET /histogram, GET /debug/pprof/heap, or GET /profile?event=heap for a flame graph of it",
        Runtime::Native => "see GET /doctor for what can be had of the process",
    };
    let sentence = "only .NET tells its heap as a session of EventPipe";
    Some(Reason::new("no_walk", sentence, remedy))
}

/// What can be had in place of `event`, by the verdicts of the process: who keeps tools out of a runtime does not mind the kernel.
pub fn instead_of(event: &Event, verdicts: &[Verdict]) -> Option<&'static str> {
    let possible = |verdict: &Verdict| verdict.availability != Availability::Impossible;
    let core = verdicts.iter().find(|verdict| verdict.event.name() == CORE)?;
    (is_dump(event) && possible(core))
        .then_some("take POST /dump?type=core&confirm=yes, for which the runtime is not asked")
}

fn is_dump(event: &Event) -> bool {
    matches!(event, Event::Named(name) if name == DUMP)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::path::Path;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    const ROW: &str = "7f0000000000-7f0000001000 r--p 00000000 08:01 7      ";

    /// The telling ones of a process with these files mapped, after which `maps` does not end.
    fn telling(mapped: &[&str]) -> Vec<PathBuf> {
        let proc = tempfile::tempdir().unwrap();
        std::fs::create_dir(proc.path().join("17")).unwrap();
        let maps = proc.path().join("17/maps");
        nix::unistd::mkfifo(&maps, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let table = ProcessTable::at(proc.path());
        let (tell, told) = channel();
        std::thread::spawn(move || tell.send(telling_files(&table, &Process::example(17))));
        let mut maps = File::options().write(true).open(maps).unwrap();
        for path in mapped {
            writeln!(maps, "{ROW}{path}").unwrap();
        }
        told.recv_timeout(Duration::from_secs(20))
            .expect("an end without the end of the file")
    }

    #[test]
    fn mapped_files_are_read_until_the_runtime_is_known_and_no_further() {
        let jvm = "/usr/lib/jvm/17/lib/server/libjvm.so";
        assert_eq!(telling(&["/usr/lib/libc.so.6", jvm]), [Path::new(jvm)]);
        // The library tells the version, code of the JIT only that it is .NET.
        let jitted = "/memfd:doublemapper (deleted)";
        let library = "/dotnet/shared/Microsoft.NETCore.App/8.0.30/libcoreclr.so";
        assert_eq!(
            telling(&[jitted, "/usr/lib/libc.so.6", jitted, library]),
            [Path::new(jitted), Path::new(library)]
        );
    }
}
