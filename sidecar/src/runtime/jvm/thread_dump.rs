//! All threads of a JVM with their stacks, by its own commands: no agent is loaded, so it works where none can be.
//!
//! Without the list of `java.util.concurrent` locks that `-l` adds: for it the JVM stands still while it looks through the
//! whole heap. Called by [`crate::runtime`].

use std::io::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::own_text::{self, Question};
use super::virtual_dump;
use crate::profile::Quality;
use crate::runtime::{Asked, Control, PlanError, RecordError, RecordOrder, Reporter};

/// The JVM's own command, as `jstack` gives it.
const COMMAND: &str = "threaddump";

/// At a safepoint, some microseconds per frame: 10,000 threads of 100 frames are a few seconds.
const LIMIT: Duration = Duration::from_secs(60);

/// Asks for the threads of one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadDumpPlan {}

/// Plans a dump.
///
/// # Errors
/// A parameter of async-profiler, which has no part in it.
pub fn plan(asked: &Asked<'_>) -> Result<ThreadDumpPlan, PlanError> {
    match asked.options.jvm == super::parameters::JvmOptions::default() {
        true => Ok(ThreadDumpPlan {}),
        false => Err(PlanError::unsuitable(
            "event",
            "a thread dump is no sampling: it takes none of async-profiler's parameters".to_owned(),
        )),
    }
}

/// See [`crate::runtime::record`].
///
/// # Errors
/// See [`crate::runtime::record`].
pub fn record(
    order: &RecordOrder,
    output: &mut dyn Write,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Quality, RecordError> {
    let question = Question {
        step: "dump all threads",
        limit: LIMIT,
        command: COMMAND,
        arguments: &[],
        sampler: "the JVM's own thread dump",
    };
    let mut quality = own_text::record(order, question, output, control, reporter)?;
    quality.degraded.extend(virtual_dump::append(order, output, control)?);
    Ok(quality)
}
