//! What the recorder of each runtime does, and what is true of it before it begins: one `match` for each question.
//!
//! Must not know how a plan is carried out, which is [`super::recording`]. Called by the capture service and the children.

use serde::{Deserialize, Serialize};

use super::dotnet::way::Way;
use super::{
    Caller, Options, PlanError, RecordOrder, Runtime, RuntimeSettings, Target, counters, dotnet, dump, go, is_dump,
    is_histogram, jvm, native, served_by,
};
use crate::event::Event;
use crate::format::RecordingKind;

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
