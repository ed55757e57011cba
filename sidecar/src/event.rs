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
    /// What the kernel counts of the process, the runtime of itself, and the program through it.
    Counters,
    /// Several events of one JVM, in one recording: their names with commas between them.
    Several(String),
    /// An event name handed to async-profiler as it is, e.g. `cache-misses` or `java.lang.Thread.start`.
    Named(String),
}

impl Event {
    /// Every event with a name of our own.
    pub const ALL: [Self; 11] = [
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
        Self::Counters,
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
            Self::Counters => "counters",
            Self::Several(names) | Self::Named(names) => names,
        }
    }

    /// The events it is made of: itself, unless it is several.
    pub fn parts(&self) -> Vec<Self> {
        match self {
            Self::Several(names) => names.split(',').filter_map(|name| name.parse().ok()).collect(),
            one => vec![one.clone()],
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

/// Longest name, or list of names.
const MOST: usize = 128;

/// What `all` means. async-profiler's own word also looks at other processes, and drops what does not survive.
const EVERYTHING: &str = "cpu,wall,alloc,lock,nativemem,nativelock";

/// A name that could smuggle a second option into an agent's option string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an event is 1 to 128 characters of A-Z a-z 0-9 _ . : $ < > * / -; several have commas between them")]
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
        if name.contains(',') {
            let parts: Vec<Self> = name.split(',').map(str::parse).collect::<Result<_, _>>()?;
            let names: Vec<String> = parts.iter().map(ToString::to_string).collect();
            let names = names.join(",");
            return if names.len() > MOST {
                Err(InvalidEvent)
            } else {
                Ok(Self::Several(names))
            };
        }
        match name {
            "all" => return Ok(Self::Several(EVERYTHING.to_owned())),
            "mutex" => return Ok(Self::Lock),
            "allocs" => return Ok(Self::Alloc),
            _ => {}
        }
        if let Some(known) = Self::ALL.into_iter().find(|event| event.name() == name) {
            return Ok(known);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:$<>*/-".contains(c);
        if name.is_empty() || name.len() > MOST || !name.chars().all(allowed) {
            return Err(InvalidEvent);
        }
        Ok(Self::Named(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_events_are_a_list_of_events() {
        let event: Event = "cpu,allocs,mutex".parse().unwrap();
        assert_eq!(event, Event::Several("cpu,alloc,lock".to_owned()));
        assert_eq!(event.parts(), [Event::Cpu, Event::Alloc, Event::Lock]);
        let all: Event = "all".parse().unwrap();
        assert_eq!(all.parts().len(), 6);
        assert_eq!(String::from(all.clone()).parse(), Ok(all), "as it travels");
        for bad in ["cpu,", ",", "cpu,file=/x", "cpu, alloc"] {
            assert!(bad.parse::<Event>().is_err(), "{bad}");
        }
        assert_eq!(Event::Cpu.parts(), [Event::Cpu]);
    }
}
