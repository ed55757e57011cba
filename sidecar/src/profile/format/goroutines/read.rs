//! Reads what Go prints of all goroutines: `/debug/pprof/goroutine?debug=2`, a crash, SIGQUIT.
//!
//! Goroutines that do the same at the same place are one sample: programs have hundreds of thousands of them. Called by the renderer. Source:
//! Go `runtime/traceback.go` of 1.19 to 1.27, `runtime/pprof/pprof.go` for where it stops.

use std::io::{self, Read};

use hashbrown::HashMap;

use crate::format::RecordingKind;
use crate::profile::builder::ModelError;
use crate::profile::format::{ReadError, ReadOptions, Reader};
use crate::profile::model::{FrameKind, LocationId, Profile};
use crate::profile::thread_samples::{self as key, Fact, MAX_DEPTH, ThreadSamples, each_line};

/// What is counted.
const UNIT: &str = "goroutines";

/// The text is no dump of goroutines.
#[derive(Debug, thiserror::Error)]
pub enum GoroutinesError {
    /// The input could not be read.
    #[error("the dump of goroutines cannot be read")]
    Read(#[source] io::Error),
    /// It has none.
    #[error("not a dump of goroutines: no line is `goroutine 1 [state]:`")]
    NotADump,
    /// It does not fit the model.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Reads dumps of goroutines.
#[derive(Debug)]
pub struct Goroutines;

impl Reader for Goroutines {
    fn kind(&self) -> RecordingKind {
        RecordingKind::Goroutines
    }

    fn recognises(&self, head: &[u8]) -> bool {
        let first = head.split(|byte| *byte == b'\n').find(|line| !line.is_empty());
        let first = first.map(String::from_utf8_lossy);
        first.is_some_and(|line| header(line.trim_end()).is_some())
    }

    fn read(&self, input: &mut dyn Read, options: &ReadOptions) -> Result<Profile, ReadError> {
        let mut dump = Dump {
            samples: ThreadSamples::new(UNIT, options.names).map_err(GoroutinesError::Model)?,
            goroutine: None,
            function: None,
            places: HashMap::default(),
            groups: Vec::new(),
        };
        let mut input = Counted { input, bytes: 0 };
        each_line(&mut input, GoroutinesError::Read, |line| {
            dump.line(line).map_err(GoroutinesError::Model)
        })?;
        dump.end()?;
        if dump.groups.is_empty() {
            return Err(GoroutinesError::NotADump.into());
        }
        let bytes = input.bytes;
        Ok(dump.finish(bytes).map_err(GoroutinesError::Model)?)
    }
}

/// Counts what is read.
struct Counted<'a> {
    input: &'a mut dyn Read,
    bytes: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

#[derive(Debug)]
struct Dump {
    samples: ThreadSamples,
    goroutine: Option<Goroutine>,
    /// Its place follows in the next line.
    function: Option<(String, FrameKind)>,
    /// Where in `groups` are those that do this.
    places: HashMap<Doing, usize, ahash::RandomState>,
    groups: Vec<Group>,
}

#[derive(Debug, PartialEq, Eq)]
struct Goroutine {
    id: i64,
    minutes: Option<i64>,
    doing: Doing,
}

/// What tells goroutines apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Doing {
    state: String,
    stack: Vec<LocationId>,
    waits_for: Option<String>,
}

/// Goroutines that do the same.
#[derive(Debug)]
struct Group {
    doing: Doing,
    count: i64,
    /// Of the first.
    id: i64,
    /// Of the one that has waited for the longest time.
    minutes: Option<i64>,
}

impl Dump {
    fn line(&mut self, line: &str) -> Result<(), ModelError> {
        if let Some(goroutine) = header(line) {
            self.end()?;
            self.goroutine = Some(goroutine);
            return Ok(());
        }
        match line.strip_prefix('\t') {
            Some(place) => {
                let place = place_of(place);
                self.frame(place)
            }
            None => {
                // A function whose place did not follow.
                self.frame(("", 0))?;
                self.function = function(line);
                if let Some(Goroutine { doing, .. }) = &mut self.goroutine
                    && doing.waits_for.is_none()
                    && doing.state.starts_with("sync.")
                {
                    doing.waits_for = lock(line);
                }
                Ok(())
            }
        }
    }

    fn frame(&mut self, place: (&str, i64)) -> Result<(), ModelError> {
        if let (Some((name, kind)), Some(goroutine)) = (self.function.take(), &mut self.goroutine)
            && goroutine.doing.stack.len() < MAX_DEPTH
        {
            goroutine.doing.stack.push(self.samples.frame(&name, place, kind)?);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), ModelError> {
        self.frame(("", 0))?;
        let Some(Goroutine { id, minutes, doing }) = self.goroutine.take() else {
            return Ok(());
        };
        if let Some(place) = self.places.get(&doing) {
            let group = &mut self.groups[*place];
            group.count += 1;
            group.minutes = group.minutes.max(minutes);
            return Ok(());
        }
        self.places.insert(doing.clone(), self.groups.len());
        self.groups.push(Group {
            doing,
            count: 1,
            id,
            minutes,
        });
        Ok(())
    }

    /// The profile, of a text of so many bytes.
    fn finish(mut self, bytes: u64) -> Result<Profile, ModelError> {
        /// Go writes no more.
        const MOST_BYTES: u64 = 64 << 20;
        let mut told = 0;
        for group in &self.groups {
            told += group.count;
            let facts = [
                (group.count == 1).then_some((key::ID, Fact::Number(group.id))),
                Some((key::STATE, Fact::Text(&group.doing.state))),
                group.minutes.map(|minutes| (key::MINUTES, Fact::Number(minutes))),
                group
                    .doing
                    .waits_for
                    .as_deref()
                    .map(|lock| (key::WAITS_FOR, Fact::Text(lock))),
            ];
            let facts: Vec<_> = facts.into_iter().flatten().collect();
            self.samples.threads(group.count, &group.doing.stack, &facts)?;
        }
        let mut profile = self.samples.finish();
        if bytes >= MOST_BYTES {
            let sentence = format!(
                "Go writes no more than 64 MiB of text: {told} goroutines are told, and others left out; /debug/pprof/goroutine?debug=1 counts all"
            );
            profile.doubts.push((UNIT.to_owned(), sentence));
        }
        Ok(profile)
    }
}

/// `goroutine 18 gp=0xc… m=nil [chan receive, 2 minutes, locked to thread]:`; what is between the number and the state is a
/// crash's.
fn header(line: &str) -> Option<Goroutine> {
    let (id, rest) = line.strip_prefix("goroutine ")?.split_once(' ')?;
    let (_, state) = rest.strip_suffix("]:")?.split_once('[')?;
    let mut words = state.split(", ");
    let first = words.next()?;
    let minutes = words.find_map(|word| word.strip_suffix(" minutes")?.parse().ok());
    Some(Goroutine {
        id: id.parse().ok()?,
        minutes,
        doing: Doing {
            state: first.to_owned(),
            ..Doing::default()
        },
    })
}

/// `main.(*shop).sell(0xc000012345, {0x1, 0x2})`; inlined functions have `(...)`.
fn function(line: &str) -> Option<(String, FrameKind)> {
    // Who created it is no frame of it.
    if line.starts_with("created by ") {
        return None;
    }
    let (name, arguments) = line.strip_suffix(')')?.rsplit_once('(')?;
    let kind = if arguments == "..." {
        FrameKind::Inlined
    } else {
        FrameKind::Other
    };
    (!name.is_empty()).then(|| (name.to_owned(), kind))
}

/// The lock of `internal/sync.(*Mutex).lockSlow(0x133c853ac360)`: the method's receiver. What has a question mark may be anything.
fn lock(line: &str) -> Option<String> {
    let call = line.strip_prefix("internal/").unwrap_or(line).strip_prefix("sync.(*")?;
    let (kind, call) = call.split_once(").")?;
    let receiver = call.split_once('(')?.1.split([',', ')']).next()?;
    let digits = receiver.strip_prefix("0x")?;
    (!digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .then(|| format!("<{receiver}> (a sync.{kind})"))
}

/// `/src/main.go:20 +0x45`
fn place_of(text: &str) -> (&str, i64) {
    let place = text.split(" +0x").next().unwrap_or_default().trim();
    let (file, line) = place.rsplit_once(':').unwrap_or((place, ""));
    (file, line.parse().unwrap_or(0))
}
