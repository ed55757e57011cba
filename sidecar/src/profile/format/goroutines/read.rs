//! Reads what Go prints of all goroutines: `/debug/pprof/goroutine?debug=2`, a crash, SIGQUIT.
//!
//! Called by the renderer. Source: Go `runtime/traceback.go` of 1.19 to 1.27.

use std::io::{self, Read};

use crate::format::RecordingKind;
use crate::profile::builder::ModelError;
use crate::profile::format::{ReadError, ReadOptions, Reader};
use crate::profile::model::{FrameKind, LocationId, Profile};
use crate::profile::thread_samples::{self as key, Fact, MAX_DEPTH, ThreadSamples, each_line};

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
            samples: ThreadSamples::new("goroutines", options.names).map_err(GoroutinesError::Model)?,
            goroutine: None,
            function: None,
            any: false,
        };
        each_line(input, GoroutinesError::Read, |line| {
            dump.line(line).map_err(GoroutinesError::Model)
        })?;
        dump.end()?;
        if !dump.any {
            return Err(GoroutinesError::NotADump.into());
        }
        Ok(dump.samples.finish())
    }
}

#[derive(Debug)]
struct Dump {
    samples: ThreadSamples,
    goroutine: Option<Goroutine>,
    /// Its place follows in the next line.
    function: Option<(String, FrameKind)>,
    any: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Goroutine {
    id: i64,
    state: String,
    minutes: Option<i64>,
    stack: Vec<LocationId>,
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
                Ok(())
            }
        }
    }

    fn frame(&mut self, place: (&str, i64)) -> Result<(), ModelError> {
        if let (Some((name, kind)), Some(goroutine)) = (self.function.take(), &mut self.goroutine)
            && goroutine.stack.len() < MAX_DEPTH
        {
            goroutine.stack.push(self.samples.frame(&name, place, kind)?);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), ModelError> {
        self.frame(("", 0))?;
        let Some(goroutine) = self.goroutine.take() else {
            return Ok(());
        };
        self.any = true;
        let facts = [
            Some((key::ID, Fact::Number(goroutine.id))),
            Some((key::STATE, Fact::Text(&goroutine.state))),
            goroutine.minutes.map(|minutes| (key::MINUTES, Fact::Number(minutes))),
        ];
        let facts: Vec<_> = facts.into_iter().flatten().collect();
        self.samples.thread(&goroutine.stack, &facts)
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
        state: first.to_owned(),
        minutes,
        stack: Vec::new(),
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

/// `/src/main.go:20 +0x45`
fn place_of(text: &str) -> (&str, i64) {
    let place = text.split(" +0x").next().unwrap_or_default().trim();
    let (file, line) = place.rsplit_once(':').unwrap_or((place, ""));
    (file, line.parse().unwrap_or(0))
}
