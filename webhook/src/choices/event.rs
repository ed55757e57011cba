//! The events for which a user can have rights planned.

/// An event by what it takes to record it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// As in `GET /profile?event=`.
    pub name: &'static str,
    /// What the sidecar must be able to do.
    pub needs: Needs,
}

/// What recording an event takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Look into the process and talk to its runtime.
    Access,
    /// Only the program's own pprof port: any rights do.
    Pprof,
    /// Samples of the kernel's, or of hardware counters.
    PerfEvents,
    /// The same of what happens in the kernel.
    Kernel,
}

const fn event(name: &'static str, needs: Needs) -> Event {
    Event { name, needs }
}

impl Event {
    /// Every event with a name of its own.
    pub const ALL: [Self; 18] = [
        event("cpu", Needs::Access),
        event("wall", Needs::Access),
        event("alloc", Needs::Access),
        event("heap", Needs::Access),
        event("lock", Needs::Access),
        event("exceptions", Needs::Access),
        event("goroutine", Needs::Access),
        event("counters", Needs::Access),
        event("block", Needs::Pprof),
        event("threadcreate", Needs::Pprof),
        event("trace", Needs::Pprof),
        event("cycles", Needs::PerfEvents),
        event("instructions", Needs::PerfEvents),
        event("cache-misses", Needs::PerfEvents),
        event("branch-misses", Needs::PerfEvents),
        event("page-faults", Needs::PerfEvents),
        event("context-switches", Needs::Kernel),
        event("offcpu", Needs::Kernel),
    ];

    /// What is planned for by default.
    pub const DEFAULT: Self = Self::ALL[0];

    /// The event called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name == name)
    }
}
