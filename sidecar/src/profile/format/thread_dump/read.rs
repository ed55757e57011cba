//! Reads what HotSpot prints of all threads: `jstack`, `jcmd Thread.print`, SIGQUIT.
//!
//! Threads of the virtual machine itself (compilers, garbage collectors) have no Java stack and are left out. Called by the
//! renderer. Source: OpenJDK `vmThread.cpp`, `thread.cpp`, `javaThread.cpp`, `deadlockCycle` of 8, 17, 21 and 25.

use std::io::{self, Read};

use crate::format::RecordingKind;
use crate::profile::builder::ModelError;
use crate::profile::format::{ReadError, ReadOptions, Reader};
use crate::profile::model::{FrameKind, LocationId, Profile};
use crate::profile::thread_samples::{self as key, Fact, MAX_DEPTH, ThreadSamples, each_line};

/// Java threads; the kernel has no more.
const MAX_THREADS: usize = 4 << 20;
/// Locks of one thread that are told.
const MAX_LOCKS: usize = 64;

const BEGINNING: &str = "Full thread dump ";
/// Every version ends its list of threads with it: `JNI global refs: 12, weak refs: 0`, `JNI global references: 30`.
const END_OF_THREADS: &str = "JNI global ref";
/// The line with which a list of virtual threads begins, which our recorder appends.
pub const VIRTUAL_THREADS: &str = "Virtual threads:";
/// The beginning of the line with which it ends.
pub const END_OF_VIRTUAL: &str = "Virtual threads told: ";
const DEADLOCK: &str = "Found one Java-level deadlock:";
const STACKS_AGAIN: &str = "Java stack information for the threads listed above:";

/// The text is no whole thread dump.
#[derive(Debug, thiserror::Error)]
pub enum ThreadDumpError {
    /// The input could not be read.
    #[error("the thread dump cannot be read")]
    Read(#[source] io::Error),
    /// It does not say that it is one.
    #[error("not a thread dump of HotSpot: it has no line `{BEGINNING}…`")]
    NotADump,
    /// The end is missing.
    #[error("the thread dump is cut: it does not tell the number of global references")]
    Cut,
    /// It does not fit the model.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Reads thread dumps of HotSpot.
#[derive(Debug)]
pub struct ThreadDump;

impl Reader for ThreadDump {
    fn kind(&self) -> RecordingKind {
        RecordingKind::Threads
    }

    fn recognises(&self, head: &[u8]) -> bool {
        let beginning = head.get(..head.len().min(4096)).unwrap_or_default();
        let text = String::from_utf8_lossy(beginning);
        text.lines().take(8).any(|line| line.starts_with(BEGINNING))
    }

    fn read(&self, input: &mut dyn Read, options: &ReadOptions) -> Result<Profile, ReadError> {
        let mut dump = Dump::new(ThreadSamples::new("threads", options.names).map_err(ThreadDumpError::Model)?);
        each_line(input, ThreadDumpError::Read, |line| dump.line(line))?;
        Ok(dump.finish()?)
    }
}

/// What the lines that come next belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Preface,
    Threads,
    /// The list has ended.
    Behind,
    /// The members of a deadlock.
    Deadlock,
    /// Those of the JDK.
    Virtual,
}

#[derive(Debug)]
struct Dump {
    samples: ThreadSamples,
    section: Section,
    /// The last one may have lines to come.
    threads: Vec<Thread>,
    /// Of the thread at hand: a blank line ends it.
    open: bool,
    deadlocks: Vec<Vec<String>>,
}

#[derive(Debug, Default)]
struct Thread {
    name: String,
    id: Option<i64>,
    tid: Option<i64>,
    state: String,
    /// It has a Java stack, be it empty.
    is_java: bool,
    is_virtual: bool,
    stack: Vec<LocationId>,
    waits_for: Option<String>,
    holds: Vec<String>,
}

impl Dump {
    fn new(samples: ThreadSamples) -> Self {
        Self {
            samples,
            section: Section::Preface,
            threads: Vec::new(),
            open: false,
            deadlocks: Vec::new(),
        }
    }

    fn line(&mut self, line: &str) -> Result<(), ThreadDumpError> {
        if line.starts_with(BEGINNING) {
            // Of several dumps in one file the last counts.
            self.section = Section::Threads;
            self.threads.clear();
            self.deadlocks.clear();
            self.open = false;
            return Ok(());
        }
        match self.section {
            Section::Threads if line.starts_with(END_OF_THREADS) => self.section = Section::Behind,
            Section::Threads => self.thread_line(line)?,
            Section::Behind if line == VIRTUAL_THREADS => {
                self.drop_if_no_java();
                self.open = false;
                self.section = Section::Virtual;
            }
            Section::Virtual if line.starts_with(END_OF_VIRTUAL) => self.section = Section::Behind,
            Section::Virtual => self.thread_line(line)?,
            Section::Behind | Section::Deadlock if line == DEADLOCK => {
                self.section = Section::Deadlock;
                self.deadlocks.push(Vec::new());
            }
            Section::Deadlock if line == STACKS_AGAIN => self.section = Section::Behind,
            Section::Deadlock => {
                let member = line.strip_prefix('"').and_then(|rest| rest.strip_suffix("\":"));
                if let (Some(member), Some(last)) = (member, self.deadlocks.last_mut()) {
                    last.push(member.to_owned());
                }
            }
            Section::Preface | Section::Behind => {}
        }
        Ok(())
    }

    fn thread_line(&mut self, line: &str) -> Result<(), ThreadDumpError> {
        let thread = match self.section {
            Section::Virtual => virtual_header(line),
            _ => header(line),
        };
        if let Some(thread) = thread {
            if self.threads.len() == MAX_THREADS {
                return Err(ModelError::TooLarge {
                    what: "threads",
                    limit: MAX_THREADS,
                }
                .into());
            }
            self.drop_if_no_java();
            self.threads.push(thread);
            self.open = true;
            return Ok(());
        }
        if line.is_empty() {
            // `Locked ownable synchronizers` follow after one.
            return Ok(());
        }
        let Some(thread) = self.threads.last_mut().filter(|_| self.open) else {
            return Ok(());
        };
        let text = line.trim_start();
        if let Some(state) = text.strip_prefix("java.lang.Thread.State: ") {
            state.clone_into(&mut thread.state);
            thread.is_java = true;
        } else if let Some(frame) = text.strip_prefix("at ") {
            if thread.stack.len() < MAX_DEPTH
                && let Some((name, place, kind)) = frame_of(frame)
            {
                thread.stack.push(self.samples.frame(name, place, kind)?);
            }
        } else if let Some(note) = text.strip_prefix("- ") {
            thread.note(note);
        }
        Ok(())
    }

    fn drop_if_no_java(&mut self) {
        if self.threads.last().is_some_and(|thread| !thread.is_java) {
            self.threads.pop();
        }
    }

    fn finish(mut self) -> Result<Profile, ThreadDumpError> {
        match self.section {
            Section::Preface => return Err(ThreadDumpError::NotADump),
            Section::Threads | Section::Deadlock | Section::Virtual => return Err(ThreadDumpError::Cut),
            Section::Behind => self.drop_if_no_java(),
        }
        for thread in &self.threads {
            let deadlock = self.deadlocks.iter().position(|members| members.contains(&thread.name));
            let deadlock = deadlock.and_then(|index| i64::try_from(index + 1).ok());
            let number = |key, number: Option<i64>| number.map(|number| (key, Fact::Number(number)));
            let holds = thread.holds.iter().map(|lock| Some((key::HOLDS, Fact::Text(lock))));
            let facts = [
                Some((key::NAME, Fact::Text(&thread.name))),
                number(key::ID, thread.id),
                number(key::TID, thread.tid),
                Some((key::STATE, Fact::Text(&thread.state))),
                thread
                    .waits_for
                    .as_deref()
                    .map(|lock| (key::WAITS_FOR, Fact::Text(lock))),
                number(key::DEADLOCK, deadlock),
                thread.is_virtual.then_some((key::VIRTUAL, Fact::Number(1))),
            ];
            let facts: Vec<_> = facts.into_iter().chain(holds).flatten().collect();
            self.samples.thread(&thread.stack, &facts)?;
        }
        Ok(self.samples.finish())
    }
}

impl Thread {
    /// `locked <0x…> (a java.lang.Object)`, `waiting to lock <…>`, `parking to wait for  <…>`.
    fn note(&mut self, note: &str) {
        const WAITS: [&str; 3] = ["waiting to lock ", "waiting on ", "parking to wait for "];
        let waits = WAITS.iter().find_map(|words| note.strip_prefix(words));
        if let Some(lock) = waits.filter(|lock| !lock.trim_start().starts_with("<no object")) {
            self.waits_for.get_or_insert_with(|| lock.trim_start().to_owned());
        } else if let Some(lock) = note.strip_prefix("locked ").or(note.starts_with('<').then_some(note))
            && self.holds.len() < MAX_LOCKS
        {
            self.holds.push(lock.to_owned());
        }
    }
}

/// `"main" #1 [4711] prio=5 os_prio=0 cpu=50.12ms elapsed=12.30s tid=0x… nid=4711 waiting on condition  [0x…]`. The name may
/// have quotes; what follows it has none.
fn header(line: &str) -> Option<Thread> {
    let (name, facts) = line.strip_prefix('"')?.rsplit_once('"')?;
    let mut thread = Thread {
        name: name.to_owned(),
        ..Thread::default()
    };
    let (before, after) = facts.strip_prefix(' ')?.split_once("nid=")?;
    thread.id = before
        .split(' ')
        .find_map(|word| word.strip_prefix('#'))
        .and_then(|id| id.parse().ok());
    let (nid, state) = after.split_once(' ').unwrap_or((after, ""));
    // JDK 20 and before write it in hexadecimal.
    thread.tid = match nid.strip_prefix("0x") {
        Some(hexadecimal) => i64::from_str_radix(hexadecimal, 16).ok(),
        None => nid.parse().ok(),
    };
    let state = state.split(" [0x").next().unwrap_or_default();
    state.trim().clone_into(&mut thread.state);
    Some(thread)
}

/// `"guest" #104 virtual`.
fn virtual_header(line: &str) -> Option<Thread> {
    let (name, facts) = line.strip_prefix('"')?.rsplit_once('"')?;
    let id = facts.strip_prefix(" #")?.strip_suffix(" virtual")?;
    Some(Thread {
        name: name.to_owned(),
        id: Some(id.parse().ok()?),
        is_java: true,
        is_virtual: true,
        ..Thread::default()
    })
}

/// `java.lang.Thread.sleep(java.base@17.0.9/Native Method)`, `demo.Main.main(Main.java:12)`.
fn frame_of(text: &str) -> Option<(&str, (&str, i64), FrameKind)> {
    let (name, place) = text.strip_suffix(')')?.rsplit_once('(')?;
    let place = place.rsplit_once('/').map_or(place, |(_, place)| place);
    Some(match place {
        "Native Method" => (name, ("", 0), FrameKind::Native),
        "Unknown Source" | "Redefined" => (name, ("", 0), FrameKind::Other),
        _ => {
            let (file, line) = place.rsplit_once(':').unwrap_or((place, ""));
            (name, (file, line.parse().unwrap_or(0)), FrameKind::Other)
        }
    })
}
