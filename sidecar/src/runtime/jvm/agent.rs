//! Commands to the async-profiler in a JVM, and its answers.
//!
//! Every command is a `load` of the library with an option string; what async-profiler has to say goes to a log file in
//! our session, because without one it writes to the application's output. Called by the recorder.

use std::time::{Duration, Instant};

use super::async_profiler::{self, Metrics};
use super::attach::Attach;
use super::attach_protocol::{LoadOutcome, load_outcome};
use super::doctor;
use super::session::{Marker, Session, now_ms};
use super::waits::Waits;
use crate::runtime::RecordError;

/// Name of the log in the session.
const LOG: &str = "log";

/// A command that does nothing long.
const QUICK: Duration = Duration::from_secs(10);

/// Ending a session for good: a cancelled capture must not wait longer.
pub const BRIEF: Duration = Duration::from_secs(5);

/// Pause before a JVM that is still starting is asked again.
const STARTING_POLL: Duration = Duration::from_millis(100);

/// What a command left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What the agent returned: 0, 100 for bad options, 200 for a failure.
    pub code: i32,
    /// Its messages.
    pub log: String,
}

/// async-profiler in one JVM.
#[derive(Debug)]
pub struct Agent<'a> {
    attach: Attach<'a>,
    session: &'a Session,
    library: String,
    /// The library is there and may have a log open.
    answered: bool,
}

impl<'a> Agent<'a> {
    /// Will load `library`; sends nothing.
    pub fn new(attach: Attach<'a>, session: &'a Session, library: String) -> Self {
        Self {
            attach,
            session,
            library,
            answered: false,
        }
    }

    /// Talks to another copy of the library from now on.
    pub fn switch_to(&mut self, library: String) -> String {
        std::mem::replace(&mut self.library, library)
    }

    /// Runs one command.
    ///
    /// # Errors
    /// As [`Attach::command`]; [`RecordError::Impossible`] or [`RecordError::Tool`] if the library was not loaded.
    pub fn run(&mut self, waits: &Waits<'_>, step: (&str, Duration), options: &str) -> Result<Answer, RecordError> {
        let options = format!("{options},log={}", self.session.path_of(LOG));
        let code = self.load(waits, step, &options)?;
        Ok(Answer {
            code,
            log: self.session.text(LOG),
        })
    }

    fn load(&mut self, waits: &Waits<'_>, step: (&str, Duration), options: &str) -> Result<i32, RecordError> {
        let deadline = Instant::now() + step.1;
        loop {
            let reply = self
                .attach
                .command(waits, step, "load", &[&self.library, "true", options])?;
            match load_outcome(&reply) {
                LoadOutcome::Returned(code) => {
                    self.answered = true;
                    return Ok(code);
                }
                LoadOutcome::NotLoaded(text) if still_starting(&text) && Instant::now() < deadline => {
                    waits.pause(STARTING_POLL)?;
                }
                LoadOutcome::NotLoaded(text) => return Err(not_loaded(&text)),
            }
        }
    }

    /// Version of the library, as it says itself. The first command loads it.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn version(&mut self, waits: &Waits<'_>) -> Result<String, RecordError> {
        // Half a second on a quiet machine; the library reads the symbols of the JVM.
        const FIRST_LOAD: Duration = Duration::from_secs(30);
        let answer = self.run(waits, ("load async-profiler", FIRST_LOAD), "version")?;
        Ok(async_profiler::version(&answer.log)
            .unwrap_or("of unknown version")
            .to_owned())
    }

    /// Seconds a session has been running; `None` if none runs.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn running_for(&mut self, waits: &Waits<'_>) -> Result<Option<u64>, RecordError> {
        let answer = self.run(waits, ("ask async-profiler for its status", QUICK), "status")?;
        Ok(async_profiler::running_for(&answer.log))
    }

    /// What async-profiler counted in its last session; nothing if it does not say.
    pub fn metrics(&mut self, waits: &Waits<'_>) -> Metrics {
        let answer = self.run(waits, ("ask async-profiler for its metrics", QUICK), "metrics");
        answer.map_or_else(|_| Metrics::default(), |answer| Metrics::read(&answer.log))
    }

    /// What it has said since the last command.
    pub fn said(&self) -> String {
        self.session.text(LOG)
    }

    /// Ends the session of ours that `marker` announced, and no other. True if nothing of ours runs any more.
    pub fn stop_announced(&mut self, waits: &Waits<'_>, marker: Marker) -> bool {
        match self.running_for(waits) {
            Ok(Some(seconds)) if marker.announced(seconds, now_ms()) => self.discard(waits),
            Ok(_) => true,
            Err(_) => false,
        }
    }

    /// Ends a session that is known to be ours and keeps nothing. True if nothing of ours runs any more.
    pub fn discard(&mut self, waits: &Waits<'_>) -> bool {
        // A session that is over already is refused, and that is as good.
        self.run(waits, ("stop async-profiler", BRIEF), "stop").is_ok()
    }

    /// Closes the log in the JVM and keeps async-profiler quiet until somebody gives it another one: its log would
    /// hold a descriptor, and its last resort is the application's output.
    pub fn silence(&mut self, waits: &Waits<'_>) {
        if !self.answered {
            return;
        }
        // Nothing to do about a JVM that does not even answer this.
        let _ = self.load(waits, ("close async-profiler's log", QUICK), "status,loglevel=none");
    }
}

/// Seconds on a tight CPU limit: the attach listener answers before the JVM is ready for agents (JDK 21 and later say so).
fn still_starting(text: &str) -> bool {
    text.contains("only permitted in the live phase")
}

/// Why the JVM did not load the library, from its words.
fn not_loaded(text: &str) -> RecordError {
    if text.contains("failed to map segment") {
        return RecordError::Impossible(doctor::tmp_noexec());
    }
    if text.contains("Dynamic agent loading is not enabled") {
        return RecordError::Impossible(doctor::agent_loading_disabled());
    }
    let message: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(1000)
        .collect();
    RecordError::Tool {
        tool: "loading libasyncProfiler.so".to_owned(),
        message,
    }
}
