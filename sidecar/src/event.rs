//! What is sampled. The names are the ones users know from async-profiler, Go and dotnet-trace.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An event a runtime can be asked for; README has the table of which runtime offers which.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Event {
    /// Time on a CPU.
    Cpu,
    /// Elapsed time, waiting included.
    Wall,
    /// Allocation, by bytes.
    Alloc,
    /// Live objects.
    Heap,
    /// Lock contention. Go's `mutex`.
    Lock,
    /// Goroutines blocked on synchronisation.
    Block,
    /// Stacks of all goroutines (or threads) now.
    Goroutine,
    /// Stacks that created threads.
    Threadcreate,
    /// Thrown exceptions.
    Exceptions,
    /// Go's execution trace.
    Trace,
    /// An event name handed to async-profiler as it is, e.g. `cache-misses` or `java.lang.Thread.start`.
    Named(String),
}

impl Event {
    /// Every event with a name of our own.
    pub const ALL: [Self; 10] = [
        Self::Cpu,
        Self::Wall,
        Self::Alloc,
        Self::Heap,
        Self::Lock,
        Self::Block,
        Self::Goroutine,
        Self::Threadcreate,
        Self::Exceptions,
        Self::Trace,
    ];

    /// The name in URLs and on the command line.
    pub fn name(&self) -> &str {
        match self {
            Self::Cpu => "cpu",
            Self::Wall => "wall",
            Self::Alloc => "alloc",
            Self::Heap => "heap",
            Self::Lock => "lock",
            Self::Block => "block",
            Self::Goroutine => "goroutine",
            Self::Threadcreate => "threadcreate",
            Self::Exceptions => "exceptions",
            Self::Trace => "trace",
            Self::Named(name) => name,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Event> for String {
    fn from(event: Event) -> Self {
        event.name().to_owned()
    }
}

/// A name that could smuggle a second option into an agent's option string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an event is 1 to 128 characters of A-Z a-z 0-9 _ . : $ < > * / -")]
pub struct InvalidEvent;

impl TryFrom<String> for Event {
    type Error = InvalidEvent;

    fn try_from(name: String) -> Result<Self, InvalidEvent> {
        name.parse()
    }
}

impl std::str::FromStr for Event {
    type Err = InvalidEvent;

    fn from_str(name: &str) -> Result<Self, InvalidEvent> {
        match name {
            "mutex" => return Ok(Self::Lock),
            "allocs" => return Ok(Self::Alloc),
            _ => {}
        }
        if let Some(known) = Self::ALL.into_iter().find(|event| event.name() == name) {
            return Ok(known);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:$<>*/-".contains(c);
        if name.is_empty() || name.len() > 128 || !name.chars().all(allowed) {
            return Err(InvalidEvent);
        }
        Ok(Self::Named(name.to_owned()))
    }
}
