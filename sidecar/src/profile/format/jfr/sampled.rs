//! What the samples of a recording are of. Called by the modules of this folder.

/// A kind of sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sampled {
    /// Whatever interrupted a thread: a clock of CPU time, a counter, a call.
    Cpu,
    /// All threads in turn.
    Wall,
    /// Allocations.
    Alloc,
    /// Objects that were allocated during the recording and are still there.
    Heap,
    /// Waiting for a lock.
    Lock,
    /// Memory that native code asked for.
    Nativemem,
    /// Native code that waits for a lock.
    Nativelock,
    /// Memory that native code asked for and did not give back.
    Leaks,
    /// Calls of methods that took long.
    Latency,
}

impl Sampled {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Cpu,
        Self::Wall,
        Self::Alloc,
        Self::Heap,
        Self::Lock,
        Self::Nativemem,
        Self::Nativelock,
        Self::Leaks,
        Self::Latency,
    ];

    /// What is meant by the name of an event. All that is no kind of its own interrupts threads.
    pub fn named(event: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == event)
            .unwrap_or(Self::Cpu)
    }

    /// The name of its event.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Wall => "wall",
            Self::Alloc => "alloc",
            Self::Heap => "heap",
            Self::Lock => "lock",
            Self::Nativemem => "nativemem",
            Self::Nativelock => "nativelock",
            Self::Leaks => "leaks",
            Self::Latency => "latency",
        }
    }
}
