//! The runtimes that can be profiled, one folder each, and the only `match` on which one it is.
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
pub mod report;
pub mod target;
pub mod verdict;
pub mod who;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::format::{Format, RecordingKind};
use crate::process::{CpuTime, Process, ProcessTable, TargetRoot};
use crate::profile::Quality;
use crate::profile::quality::Clock;
use dotnet::way::Way;

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
pub use report::{NoRoom, Phase, RecordError, Reporter};
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

/// True if one recording can answer the order and others of the same process.
pub fn shares(order: &RecordOrder) -> bool {
    match &order.plan {
        RuntimePlan::Jvm(_) => jvm::plan::shares(&order.event),
        RuntimePlan::JvmThreads(_)
        | RuntimePlan::JvmHistogram(_)
        | RuntimePlan::JvmDump(_)
        | RuntimePlan::Dotnet(_)
        | RuntimePlan::DotnetHeap(_)
        | RuntimePlan::DotnetDump(_)
        | RuntimePlan::Go(_)
        | RuntimePlan::Native(_)
        | RuntimePlan::NativeThreads(_)
        | RuntimePlan::NativeDump(_)
        | RuntimePlan::Counters(_)
        | RuntimePlan::DotnetMixed(_) => false,
    }
}

/// What is asked of a runtime.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The process.
    pub target: &'a Target,
    /// What to sample.
    pub event: &'a Event,
    /// How long; zero for totals.
    pub seconds: u64,
    /// The recording to make.
    pub kind: RecordingKind,
    /// Parameters of the runtime.
    pub options: &'a Options,
}

/// A part of a runtime that only one capture of a process can use at a time, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exclusive(pub &'static str);

/// What the recorder of one runtime does, whole and checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RuntimePlan {
    /// To a JVM.
    Jvm(jvm::plan::JvmPlan),
    /// To a JVM, without any profiler.
    JvmThreads(jvm::thread_dump::ThreadDumpPlan),
    /// To a JVM, of its heap by class.
    JvmHistogram(jvm::class_histogram::ClassHistogramPlan),
    /// To a JVM, of its heap.
    JvmDump(jvm::heap_dump::HeapDumpPlan),
    /// To a .NET process.
    Dotnet(dotnet::plan::DotnetPlan),
    /// To a .NET process, of its heap.
    DotnetHeap(dotnet::heap_snapshot::HeapPlan),
    /// To a .NET process, of all that it has in memory.
    DotnetDump(dotnet::dump::DumpPlan),
    /// To a Go program.
    Go(go::plan::GoPlan),
    /// To the kernel.
    Native(native::plan::NativePlan),
    /// To the kernel, of the threads of a moment.
    NativeThreads(native::threads::ThreadsPlan),
    /// To the kernel, of the memory and the threads of a process.
    NativeDump(native::dump::DumpPlan),
    /// To the kernel, and to a .NET process for the names of its methods.
    DotnetMixed(native::plan::NativePlan),
    /// To no runtime: what is counted of it, and shared.
    Counters(counters::CountersPlan),
}

/// Plans a recording: everything that can be known before the target notices anything is checked here, once. Runs in
/// the server; reads nothing of the target.
///
/// # Errors
/// A parameter that does not fit, or why it is impossible.
pub fn plan(asked: &Asked<'_>, settings: &RuntimeSettings) -> Result<RuntimePlan, PlanError> {
    counters::refuse_foreign(asked)?;
    if *asked.event == Event::Counters {
        return plan_counters(asked, settings);
    }
    match served_by(asked.target, asked.event) {
        Runtime::Jvm if *asked.event == Event::Goroutine => jvm::thread_dump::plan(asked).map(RuntimePlan::JvmThreads),
        Runtime::Jvm if is_histogram(asked.event) => jvm::class_histogram::plan(asked).map(RuntimePlan::JvmHistogram),
        Runtime::Jvm if is_dump(asked.event) => jvm::heap_dump::plan(asked).map(RuntimePlan::JvmDump),
        Runtime::Jvm => jvm::plan::plan(asked, &settings.jvm).map(RuntimePlan::Jvm),
        Runtime::Dotnet if *asked.event == Event::Heap => {
            dotnet::heap_snapshot::plan(asked).map(RuntimePlan::DotnetHeap)
        }
        Runtime::Dotnet if is_dump(asked.event) => dotnet::dump::plan(asked).map(RuntimePlan::DotnetDump),
        Runtime::Dotnet => dotnet::plan::plan(asked).map(RuntimePlan::Dotnet),
        Runtime::Go => match &asked.options.go.url {
            Some(url) => go::server::plan(asked, url, &settings.servers),
            None => go::plan::plan(asked, &settings.go),
        }
        .map(RuntimePlan::Go),
        Runtime::Native if *asked.event == Event::Goroutine => {
            native::threads::plan(asked).map(RuntimePlan::NativeThreads)
        }
        Runtime::Native if dump::asks_for_one(asked.event) => native::dump::plan(asked).map(RuntimePlan::NativeDump),
        Runtime::Native => {
            let plan = native::plan::plan(asked)?;
            Ok(match asked.target.runtime() {
                Runtime::Dotnet => RuntimePlan::DotnetMixed(plan),
                Runtime::Jvm | Runtime::Go | Runtime::Native => RuntimePlan::Native(plan),
            })
        }
    }
}

/// Counters of a runtime that must be asked for them, or those that need no question.
fn plan_counters(asked: &Asked<'_>, settings: &RuntimeSettings) -> Result<RuntimePlan, PlanError> {
    let (mut expvar, mut without) = (None, None);
    let runtime = asked.target.runtime();
    if let Some(parameter) = asked.options.given_beside("refresh")
        && runtime != Runtime::Dotnet
    {
        let message = format!("event=counters samples nothing: it does not take {parameter}");
        return Err(PlanError::unsuitable(parameter, message));
    }
    match runtime {
        Runtime::Dotnet => match dotnet::plan::plan(asked) {
            Err(PlanError::Impossible(reason)) => without = Some(reason),
            planned => return planned.map(RuntimePlan::Dotnet),
        },
        Runtime::Go => match go::expvar::plan(asked, &settings.go) {
            Ok(plan) => expvar = Some(plan),
            Err(reason) => without = Some(reason),
        },
        Runtime::Jvm | Runtime::Native => {}
    }
    Ok(RuntimePlan::Counters(counters::CountersPlan {
        refresh: asked.options.refresh(),
        expvar,
        without,
    }))
}

/// Plans a recording of all processes of the node, for which `asked.target` stands; `known` are those that have names.
///
/// # Errors
/// As [`plan`].
pub fn plan_node<'a>(asked: &Asked<'_>, known: impl Iterator<Item = &'a Target>) -> Result<RuntimePlan, PlanError> {
    native::plan::plan_node(asked, known).map(RuntimePlan::Native)
}

impl RuntimePlan {
    /// The recording to make.
    pub fn kind(&self) -> RecordingKind {
        match self {
            Self::Jvm(plan) => plan.kind,
            Self::JvmThreads(_) => RecordingKind::Threads,
            Self::JvmHistogram(_) => RecordingKind::ClassHistogram,
            Self::JvmDump(plan) => plan.kind(),
            Self::Dotnet(plan) => plan.kind,
            Self::DotnetHeap(_) => RecordingKind::Heap,
            Self::DotnetDump(_) | Self::NativeDump(_) => RecordingKind::Dump,
            Self::Go(plan) => plan.kind(),
            Self::Native(plan) | Self::DotnetMixed(plan) => plan.kind(),
            Self::NativeThreads(_) => RecordingKind::PprofThreads,
            Self::Counters(_) => RecordingKind::Counters,
        }
    }

    /// The runtime that is reached by its own connections to the server's port, for which the recorder gets a line.
    pub fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Dotnet(dotnet::plan::DotnetPlan { way, .. })
            | Self::DotnetHeap(dotnet::heap_snapshot::HeapPlan { way })
            | Self::DotnetDump(dotnet::dump::DumpPlan { way, .. }) => match way {
                Way::Port(caller) => Some(caller),
                Way::Socket(_) => None,
            },
            Self::Jvm(_)
            | Self::JvmThreads(_)
            | Self::JvmHistogram(_)
            | Self::JvmDump(_)
            | Self::Go(_)
            | Self::Native(_)
            | Self::NativeThreads(_)
            | Self::NativeDump(_)
            | Self::DotnetMixed(_)
            | Self::Counters(_) => None,
        }
    }

    /// What the recording takes for itself; one that takes nothing can run beside any other.
    pub fn exclusive(&self) -> Option<Exclusive> {
        match self {
            // While a dump is written nothing else can be told to stop.
            Self::Jvm(_) | Self::JvmDump(_) => Some(Exclusive("async-profiler")),
            Self::Dotnet(plan) if !plan.runs_beside_others() => Some(Exclusive("the event session")),
            Self::DotnetHeap(_) | Self::DotnetDump(_) => Some(Exclusive("the event session")),
            // Two would hold twice the memory and see the same.
            Self::Native(plan) if plan.node.is_some() => Some(Exclusive("the view of the whole node")),
            // One would remove the map that the other reads.
            Self::DotnetMixed(_) => Some(Exclusive("the perf map")),
            // The kernel lets one of them look at a thread at a time.
            Self::NativeThreads(_) | Self::NativeDump(_) => Some(Exclusive("the view of its threads")),
            Self::JvmThreads(_) | Self::JvmHistogram(_) | Self::Dotnet(_) | Self::Native(_) | Self::Counters(_) => None,
            Self::Go(plan) => plan.exclusive(),
        }
    }

    /// True if the recording takes no time: what it is of is there already.
    pub fn is_of_a_moment(&self) -> bool {
        match self {
            Self::Go(plan) => plan.is_of_a_moment(),
            Self::Dotnet(plan) => plan.is_of_a_moment(),
            Self::JvmThreads(_)
            | Self::JvmHistogram(_)
            | Self::JvmDump(_)
            | Self::NativeThreads(_)
            | Self::NativeDump(_)
            | Self::DotnetHeap(_)
            | Self::DotnetDump(_) => true,
            Self::Jvm(_) | Self::Native(_) | Self::DotnetMixed(_) | Self::Counters(_) => false,
        }
    }

    /// True if there is no process that the recorder is to be like: it gives up all rights.
    pub fn is_of_a_server(&self) -> bool {
        matches!(self, Self::Go(plan) if plan.is_of_a_server())
    }

    /// True if the recorder connects to an address, which means something in the target's network namespace only.
    pub fn needs_network(&self) -> bool {
        match self {
            Self::Go(plan) => !plan.is_of_a_server(),
            Self::Counters(plan) => plan.expvar.is_some(),
            Self::Jvm(_)
            | Self::JvmThreads(_)
            | Self::JvmHistogram(_)
            | Self::JvmDump(_)
            | Self::Dotnet(_)
            | Self::DotnetHeap(_)
            | Self::DotnetDump(_)
            | Self::Native(_)
            | Self::NativeThreads(_)
            | Self::NativeDump(_)
            | Self::DotnetMixed(_) => false,
        }
    }
}

/// What a recorder opens before it becomes the target, whose user may have no right to.
#[derive(Debug)]
pub enum Opened {
    /// Nothing.
    Nothing,
    /// A file of ours.
    File(File),
    /// Events of the kernel.
    Events(Box<native::record::Opened>),
    /// What a server is to be trusted and told by.
    Server(Result<Box<go::server::Opened>, RecordError>),
}

impl Opened {
    /// The events of the kernel.
    fn events(self) -> Result<native::record::Opened, RecordError> {
        match self {
            Self::Events(events) => Ok(*events),
            Self::Nothing | Self::File(_) | Self::Server(_) => Err(RecordError::TargetExited),
        }
    }

    /// What the order needs. Nothing of the target is read.
    pub fn open(order: &RecordOrder, table: &ProcessTable) -> Self {
        match &order.plan {
            RuntimePlan::Jvm(plan) => File::open(&plan.library).map_or(Self::Nothing, Self::File),
            RuntimePlan::Native(plan) | RuntimePlan::DotnetMixed(plan) => {
                Self::Events(Box::new(native::record::Opened::open(table, order, plan)))
            }
            RuntimePlan::JvmThreads(_)
            | RuntimePlan::JvmHistogram(_)
            | RuntimePlan::JvmDump(_)
            | RuntimePlan::Dotnet(_)
            | RuntimePlan::DotnetHeap(_)
            | RuntimePlan::DotnetDump(_)
            | RuntimePlan::NativeThreads(_)
            | RuntimePlan::NativeDump(_)
            | RuntimePlan::Counters(_) => Self::Nothing,
            RuntimePlan::Go(plan) => plan
                .open()
                .map_or(Self::Nothing, |opened| Self::Server(opened.map(Box::new))),
        }
    }
}

/// Records as ordered, from attach to the last byte; the bytes go to `output`, progress to `reporter`. Runs in the
/// recorder child; `opened` is what the order needs, and `line` leads to [`RuntimePlan::caller`].
///
/// Returns the quality of a whole recording. On every return, also an error, nothing of ours runs or lies in the
/// target any more.
///
/// # Errors
/// Why there is no recording; [`RecordError::Cancelled`] when the server told us to give up.
pub fn record(
    order: &RecordOrder,
    opened: Opened,
    line: Option<&Line>,
    output: &mut dyn Output,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Quality, RecordError> {
    let used = || CpuTime::of_process(control.table(), order.target.id());
    let before = used();
    let mut quality = match &order.plan {
        RuntimePlan::Jvm(plan) => {
            let library = match opened {
                Opened::File(library) => Some(library),
                Opened::Nothing | Opened::Events(_) | Opened::Server(_) => None,
            };
            jvm::record::record(order, plan, library, output, control, reporter)
        }
        RuntimePlan::Native(plan) => native::record::record(order, plan, opened.events()?, output, control, reporter),
        RuntimePlan::DotnetMixed(plan) => {
            let sampled = native::record::sample(order, plan, opened.events()?, control, reporter)?;
            let map = dotnet::perf_map::PerfMap::write(order, control);
            let mut quality = sampled.write(output)?;
            quality.degraded.extend(map.err().map(|unnamed| unnamed.sentence));
            Ok(quality)
        }
        RuntimePlan::JvmThreads(_) => jvm::thread_dump::record(order, output, control, reporter),
        RuntimePlan::NativeThreads(_) => native::threads::record(order, output, control, reporter),
        RuntimePlan::NativeDump(_) => native::dump::record(order, output, control, reporter),
        RuntimePlan::JvmHistogram(plan) => jvm::class_histogram::record(order, plan, output, control, reporter),
        RuntimePlan::JvmDump(plan) => jvm::heap_dump::record(order, plan, output, control, reporter),
        RuntimePlan::Counters(plan) => counters::record(order, plan, output, control, reporter),
        RuntimePlan::Dotnet(plan) if plan.kind == RecordingKind::Counters => {
            record_with_counters(order, plan, line, output, control, reporter)
        }
        RuntimePlan::Dotnet(plan) => dotnet::record::record(order, plan, line, output, control, reporter),
        RuntimePlan::DotnetHeap(plan) => dotnet::heap_snapshot::record(order, plan, line, output, control, reporter),
        RuntimePlan::DotnetDump(plan) => dotnet::dump::record(order, plan, output, control, reporter),
        RuntimePlan::Go(plan) => {
            let opened = match opened {
                Opened::Server(opened) => Some(*opened?),
                Opened::Nothing | Opened::File(_) | Opened::Events(_) => None,
            };
            go::record::record(order, (plan, opened), output, control, reporter)
        }
    }?;
    let by_kernel = matches!(order.plan, RuntimePlan::Native(_)) && order.event == Event::Cpu;
    if by_kernel && order.target.runtime() == Runtime::Go {
        let reason = go::doctor::sampled_by_kernel(&order.target);
        quality.degraded.insert(0, reason.sentence);
    }
    // A recorder that knows better when its sampler ran has said it.
    if quality.cpu_ms.is_none() {
        let used = before.zip(used()).map(|(before, after)| after.since(&before).process);
        quality.cpu_ms = used.and_then(|used| u64::try_from(used.as_millis()).ok());
    }
    if quality.sampled_cpu_ms.is_none() && quality.clock == Some(Clock::Cpu) && quality.interval_unit == "nanoseconds" {
        let sampled = quality.samples.map(|samples| samples.saturating_mul(quality.interval));
        quality.sampled_cpu_ms = sampled.map(|nanoseconds| nanoseconds / 1_000_000);
    }
    Ok(quality)
}

/// What a .NET runtime counts, and what the kernel counts of it. Where the runtime does not answer, the kernel's alone.
fn record_with_counters(
    order: &RecordOrder,
    plan: &dotnet::plan::DotnetPlan,
    line: Option<&Line>,
    output: &mut dyn Write,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Quality, RecordError> {
    let row = control.table().find(order.target.id());
    let error = if row.is_some_and(|row| row.is_stopped()) {
        RecordError::Impossible(stopped())
    } else {
        let mut beside = counters_beside::Beside::new(output, order, control, plan.refresh);
        match dotnet::record::record(order, plan, line, &mut beside, control, reporter) {
            Ok(mut quality) => {
                let missing = beside
                    .finish()
                    .map_err(|error| RecordError::io("store the recording", &error))?;
                quality
                    .degraded
                    .extend(missing.into_iter().map(|reason| reason.sentence));
                return Ok(quality);
            }
            Err(error) if beside.has_written() || order.target.id().is_outside() => return Err(error),
            Err(error) => error,
        }
    };
    let is_silent = matches!(
        error,
        RecordError::Impossible(_) | RecordError::Timeout { .. } | RecordError::Tool { .. }
    );
    if !is_silent {
        return Err(error);
    }
    let plan = counters::CountersPlan {
        refresh: plan.refresh,
        expvar: None,
        without: Some(Reason::new(
            "runtime_silent",
            format!("{error}: what the .NET runtime counts is missing"),
            "see GET /doctor",
        )),
    };
    counters::record(order, &plan, output, control, reporter)
}

/// True if a recorder that was killed can leave anything in targets of `runtime`.
pub fn may_leave_something(runtime: Runtime) -> bool {
    matches!(runtime, Runtime::Jvm | Runtime::Dotnet)
}

/// Removes what an earlier recorder that was killed left in `target`: files of ours, a profiler still running.
pub fn sweep(target: &Target) {
    match target.runtime() {
        Runtime::Jvm => {
            jvm::record::sweep(target);
            jvm::heap_dump::sweep(target);
            jvm::virtual_dump::sweep(target);
        }
        Runtime::Dotnet => {
            dotnet::dump::sweep(target);
            dotnet::perf_map::sweep(target);
        }
        Runtime::Go | Runtime::Native => {}
    }
}

#[cfg(test)]
mod tests {
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
