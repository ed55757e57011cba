//! The threads of a process at one moment as a profile: a sample each, with what is known of it beside its stack as labels.
//!
//! Called by the readers of thread dumps, and by the writer that lists threads again.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};

use super::builder::{ModelError, ProfileBuilder};
use super::hidden_class::Names;
use super::model::{FrameKind, Function, FunctionId, Label, LabelValue, Line, LocationId, Profile, ValueType};
use super::strings::StringId;

/// Name of the thread.
pub const NAME: &str = "thread";
/// The runtime's own number of it.
pub const ID: &str = "id";
/// The kernel's number of it, in its own pid namespace.
pub const TID: &str = "tid";
/// What it does, in the runtime's words.
pub const STATE: &str = "state";
/// Minutes for which it has been doing nothing else.
pub const MINUTES: &str = "minutes";
/// The lock for which it waits.
pub const WAITS_FOR: &str = "waits for";
/// A lock that it has; there may be several.
pub const HOLDS: &str = "holds";
/// Number of the deadlock to which it belongs, counted from 1.
pub const DEADLOCK: &str = "deadlock";

/// 1 if it is a virtual thread, which the runtime puts onto threads of the kernel.
pub const VIRTUAL: &str = "virtual";

/// Frames of one stack that are read. HotSpot prints 1,024 unless told otherwise (`MaxJavaStackTraceDepth`), Go 100.
pub const MAX_DEPTH: usize = 16 << 10;

/// Hands the lines of a dump to `take`, without what is blank at their ends. A line of more than 64 KiB comes in pieces.
///
/// # Errors
/// The input fails, of which `unread` makes an error, or what `take` says.
pub fn each_line<E>(
    input: &mut dyn Read,
    unread: fn(io::Error) -> E,
    mut take: impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    const MAX_LINE: u64 = 64 << 10;
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = (&mut input).take(MAX_LINE).read_until(b'\n', &mut line);
        if length.map_err(unread)? == 0 {
            return Ok(());
        }
        take(String::from_utf8_lossy(&line).trim_end())?;
    }
}

/// A fact about a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact<'a> {
    /// In words.
    Text(&'a str),
    /// A number.
    Number(i64),
}

/// Collects threads into a [`Profile`].
#[derive(Debug)]
pub struct ThreadSamples {
    builder: ProfileBuilder,
    places: HashMap<(FunctionId, i64), LocationId>,
}

impl ThreadSamples {
    /// A profile that counts `what`, e.g. `threads`.
    ///
    /// # Errors
    /// None: it has one sample type.
    pub fn new(what: &str, names: Names) -> Result<Self, ModelError> {
        let mut builder = ProfileBuilder::new(vec![ValueType::new(what, "count")])?;
        builder.names = names;
        Ok(Self {
            builder,
            places: HashMap::new(),
        })
    }

    /// A line of a function; an empty `file` and line 0 are unknown.
    ///
    /// # Errors
    /// The profile is too large.
    pub fn frame(&mut self, name: &str, (file, line): (&str, i64), kind: FrameKind) -> Result<LocationId, ModelError> {
        let name = self.builder.names.of(name);
        let (name, file) = (self.builder.string(&name)?, self.builder.string(file)?);
        let function = self.builder.function(Function {
            name,
            system_name: StringId::default(),
            file,
            start_line: 0,
            kind,
        })?;
        if let Some(place) = self.places.get(&(function, line)) {
            return Ok(*place);
        }
        let at = Line {
            function,
            line,
            column: 0,
        };
        let place = self.builder.location(None, 0, false, &[at])?;
        self.places.insert((function, line), place);
        Ok(place)
    }

    /// A thread with its stack, leaf first.
    ///
    /// # Errors
    /// The profile is too large.
    pub fn thread(&mut self, stack: &[LocationId], facts: &[(&str, Fact<'_>)]) -> Result<(), ModelError> {
        self.threads(1, stack, facts)
    }

    /// So many threads of which all is equal.
    ///
    /// # Errors
    /// The profile is too large.
    pub fn threads(&mut self, count: i64, stack: &[LocationId], facts: &[(&str, Fact<'_>)]) -> Result<(), ModelError> {
        let mut labels = Vec::with_capacity(facts.len());
        for (key, fact) in facts {
            let key = self.builder.string(key)?;
            let value = match fact {
                Fact::Text(text) => LabelValue::Text(self.builder.string(text)?),
                Fact::Number(number) => LabelValue::Number(*number, StringId::default()),
            };
            labels.push(Label { key, value });
        }
        self.builder.sample(stack, &[count], &labels)
    }

    /// The profile.
    pub fn finish(self) -> Profile {
        self.builder.finish()
    }
}
