//! Parameters → [`CaptureRequest`]. After this file nothing re-checks bounds or characters.
//!
//! Knows no target: what only makes sense for one runtime is decided in [`super::plan`]. The parameters of every capture
//! are declared here, those that choose the process in [`super::selector`], those of one runtime in its folder.

use std::time::Duration;

use super::selector::{SELECTORS, Selector};
use super::views::{self, VIEWS};
use crate::event::Event;
use crate::format::Format;
use crate::parameter::{self, Parameter, Refusal, Row, Takes};
use crate::profile::{Names, View};
use crate::runtime::{self, Options, Runtime};

/// A capture as it was asked for, whatever runs here.
#[derive(Debug, Clone, PartialEq)]
pub struct CaptureRequest {
    /// Which process.
    pub selector: Selector,
    /// All processes of the node in place of one.
    pub whole_node: bool,
    /// How long, seconds.
    pub seconds: u64,
    /// What has accumulated until now, where the runtime keeps such totals; where it does not, what comes within a few seconds.
    /// Set by `/debug/pprof/` only, whose profiles are cumulative without `seconds`.
    pub snapshot: bool,
    /// Asked for by a scraper: what is recorded may be shared, and is called what Go calls it. Set by `/debug/pprof/` only.
    pub scraped: bool,
    /// The heap by type, which not every runtime tells. Set by `/histogram` and `/gcdump` only.
    pub by_type: bool,
    /// How long it is kept when it has ended, in place of the operator's choice. Set by `/processor/goProfiler` only.
    pub keep: Option<Duration>,
    /// What is sampled.
    pub event: Event,
    /// The format asked for by name.
    pub format: Option<Format>,
    /// Formats the client prefers (Accept), best first; used only without `format`.
    pub accept: Vec<Format>,
    /// How names that differ from run to run are written.
    pub names: Names,
    /// What of the recording the artifact shows.
    pub view: View,
    /// Parameters that only some runtimes take.
    pub options: Options,
}

/// What is wrong with the parameters; every text says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No such parameter.
    #[error("unknown parameter {name:?}; allowed are: {}", .allowed.join(", "))]
    Unknown {
        /// As given, shortened.
        name: String,
        /// All parameters.
        allowed: Vec<&'static str>,
    },
    /// An option of a profiler that is not the user's to set.
    #[error("{name} cannot be given: {because}")]
    Refused {
        /// Which.
        name: &'static str,
        /// Why not.
        because: &'static str,
    },
    /// A parameter that takes one value was given twice.
    #[error("parameter {name:?} is given more than once")]
    Repeated {
        /// Which.
        name: &'static str,
    },
    /// A value that the parameter does not take.
    #[error("{name}={value}: {expected}")]
    Invalid {
        /// Which.
        name: &'static str,
        /// As given, shortened.
        value: String,
        /// What it takes, in words.
        expected: String,
        /// What it takes, where that can be listed.
        allowed: Vec<String>,
    },
    /// A value that does not fit the event or the process.
    #[error("{message}")]
    Unsuitable {
        /// Which parameter.
        name: &'static str,
        /// What is wrong and what would fit.
        message: String,
    },
    /// Two parameters that exclude each other.
    #[error("give either {0} or {1}, not both")]
    Conflict(&'static str, &'static str),
}

/// Default of `seconds`: long enough for 3,000 samples of a busy thread at 100 Hz.
pub const DEFAULT_SECONDS: u64 = 30;

/// Parameters of every capture.
static ROWS: [Row<CaptureRequest>; 5] = [
    Row::new(
        Parameter {
            excludes: &["pid", "name", "pod", "container"],
            ..Parameter::new(
                "scope",
                "SCOPE",
                Takes::Name {
                    names: || vec!["node".to_owned()],
                    or: None,
                },
                "All processes of the node, in one graph by pod, container and process, in place of one process",
            )
        },
        |request, _, value| {
            request.whole_node = (value == "node").then_some(true).ok_or_else(Refusal::default)?;
            Ok(())
        },
    ),
    Row::new(
        Parameter {
            flag: "duration",
            short: Some('d'),
            variable: Some("SIDEFLAME_DURATION"),
            default: Some("30"),
            ..Parameter::new("seconds", "TIME", Takes::Seconds, "How long to sample")
        },
        |request, takes, value| {
            request.seconds = takes.number(value)?;
            Ok(())
        },
    ),
    Row::new(
        Parameter {
            short: Some('e'),
            variable: Some("SIDEFLAME_EVENT"),
            default: Some("cpu"),
            ..Parameter::new(
                "event",
                "EVENT",
                Takes::Name {
                    names: || Event::ALL.iter().map(ToString::to_string).collect(),
                    or: Some(
                        "the name of an async-profiler event, e.g. cache-misses; several of a JVM for format=jfr: cpu,alloc,lock or all",
                    ),
                },
                "What to sample",
            )
        },
        |request, takes, value| {
            let parsed = value.parse::<Event>();
            request.event = parsed.map_err(|error| Refusal::because(format!("{}; {error}", takes.expected())))?;
            Ok(())
        },
    ),
    Row::new(
        Parameter {
            flag: "output",
            short: Some('o'),
            ..Parameter::new(
                "format",
                "FORMAT",
                Takes::Name {
                    names: || Format::ALL.map(|format| format.name().to_owned()).into(),
                    or: None,
                },
                "Format of the artifact; without it what the Accept header or the ending of the file says, else svg; nettrace with \
                 profile= and providers=",
            )
        },
        |request, _, value| {
            request.format = Some(value.parse().map_err(|_| Refusal::default())?);
            Ok(())
        },
    ),
    Row::new(
        Parameter {
            default: Some("normalised"),
            ..Parameter::new(
                "names",
                "NAMES",
                Takes::Name {
                    names: || Names::ALL.map(|names| names.name().to_owned()).into(),
                    or: None,
                },
                "Names of lambdas and hidden classes of a JVM: without the address and number that differ from run to run, \
                 or as they are",
            )
        },
        |request, _, value| {
            request.names = Names::named(value).ok_or_else(Refusal::default)?;
            Ok(())
        },
    ),
];

impl Default for CaptureRequest {
    fn default() -> Self {
        Self {
            selector: Selector::default(),
            whole_node: false,
            seconds: DEFAULT_SECONDS,
            snapshot: false,
            scraped: false,
            by_type: false,
            keep: None,
            event: Event::Cpu,
            format: None,
            accept: Vec::new(),
            names: Names::default(),
            view: View::default(),
            options: Options::default(),
        }
    }
}

impl CaptureRequest {
    /// Every parameter, with the runtimes that take it where not all do.
    pub fn parameters() -> impl Iterator<Item = (&'static [Runtime], &'static Parameter)> {
        let common = ROWS.iter().map(|row| &row.parameter);
        let common = Selector::parameters()
            .chain(common)
            .chain(views::parameters())
            .map(|parameter| (&[][..], parameter));
        common.chain(Options::parameters())
    }

    /// Validates `pairs` in the order given. `max_seconds` is the operator's bound.
    ///
    /// # Errors
    /// The first thing wrong, with what is allowed instead.
    pub fn parse(pairs: &[(String, String)], max_seconds: u64) -> Result<Self, RequestError> {
        let known: Vec<_> = Self::parameters().map(|(_, parameter)| parameter).collect();
        let mut request = Self::default();
        read(pairs, &known, |parameter, value| {
            let in_time = |seconds| (1..=max_seconds).contains(&seconds);
            match request.set(parameter.name, value) {
                Ok(()) if parameter.name != "seconds" || in_time(request.seconds) => Ok(()),
                Err(refusal) if parameter.name != "seconds" => Err(refusal),
                _ => Err(Refusal::because(format!(
                    "whole seconds, 1 to {max_seconds}, or with a unit: 30s, 2m"
                ))),
            }
        })?;
        Ok(request)
    }

    /// Takes the value of one parameter.
    ///
    /// # Errors
    /// It is none that the parameter takes.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        if let Some(row) = parameter::row(&SELECTORS, name) {
            row.set(&mut self.selector, value)
        } else if let Some(row) = parameter::row(&ROWS, name) {
            row.set(self, value)
        } else if let Some(row) = parameter::row(&VIEWS, name) {
            row.set(&mut self.view, value)
        } else {
            self.options.set(name, value)
        }
    }
}

/// Hands each of `pairs` to `set`, with the parameter it names.
///
/// # Errors
/// A name that is not `known`, one given twice, two that exclude each other, a value that was refused.
pub(super) fn read(
    pairs: &[(String, String)],
    known: &[&'static Parameter],
    mut set: impl FnMut(&'static Parameter, &str) -> Result<(), Refusal>,
) -> Result<(), RequestError> {
    let mut seen: Vec<&'static Parameter> = Vec::new();
    for (word, value) in pairs {
        let Some(parameter) = known.iter().find(|parameter| parameter.is_called(word)) else {
            if let Some((name, because)) = runtime::refused_option(word) {
                return Err(RequestError::Refused { name, because });
            }
            return Err(RequestError::Unknown {
                name: shorten(word),
                allowed: known.iter().map(|parameter| parameter.name).collect(),
            });
        };
        let name = parameter.name;
        if !parameter.repeatable && seen.iter().any(|earlier| earlier.name == name) {
            return Err(RequestError::Repeated { name });
        }
        seen.push(parameter);
        set(parameter, value).map_err(|refusal| RequestError::Invalid {
            name,
            value: if refusal.concealed {
                "…".to_owned()
            } else {
                shorten(value)
            },
            expected: refusal.because.unwrap_or_else(|| parameter.takes.expected()),
            allowed: parameter.takes.allowed(),
        })?;
    }
    let given = |name: &str| seen.iter().any(|parameter| parameter.name == name);
    // In the order of the table, whatever the order of the request.
    for one in known.iter().filter(|one| given(one.name)) {
        if let Some(other) = one.excludes.iter().copied().find(|other| given(other)) {
            return Err(RequestError::Conflict(one.name, other));
        }
    }
    Ok(())
}

/// What we repeat to the caller: short, and without characters that could confuse a terminal.
pub(crate) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().filter(|c| !c.is_control()).take(64).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests;
