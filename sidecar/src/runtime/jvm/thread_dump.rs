//! All threads of a JVM with their stacks, by its own command: no agent is loaded, so it works where none can be.
//!
//! Without the list of `java.util.concurrent` locks that `-l` adds: for it the JVM stands still while it looks through the
//! whole heap. Called by [`crate::runtime`].

use std::io::Write;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::attach::Attach;
use super::doctor;
use super::record::reach;
use super::session::now_ms;
use super::waits::Waits;
use crate::profile::Quality;
use crate::runtime::{Asked, Control, Phase, PlanError, RecordError, RecordOrder, Reporter};

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
    let table = control.table();
    let (process, root) = reach(table, &order.target)?;
    if let Some(reason) = doctor::attach_blocker(table, &order.target, &process, &root) {
        return Err(RecordError::Impossible(reason));
    }
    reporter.phase(Phase::Attaching);
    let waits = Waits::interruptible(control, process.id);
    waits.check()?;
    let started_at_ms = now_ms();
    let began = Instant::now();
    let mut text = PlainText::new(output);
    let mut attach = Attach::new(&root, &process);
    let code = attach.stream(&waits, ("dump all threads", LIMIT), COMMAND, &mut |bytes| {
        text.write(bytes)
    })?;
    if code != 0 {
        return Err(RecordError::Tool {
            tool: "the JVM's own thread dump".to_owned(),
            message: format!("it ended with code {code}"),
        });
    }
    reporter.phase(Phase::Transferring);
    text.finish()?;
    Ok(Quality {
        sampler: Some("the JVM's own thread dump".to_owned()),
        interval_unit: "count".to_owned(),
        runtime: Some(order.target.runtime_and_version()),
        event: Some(order.event.to_string()),
        started_at_ms: Some(started_at_ms),
        duration_ms: u64::try_from(began.elapsed().as_millis()).ok(),
        ..Quality::default()
    })
}

/// Passes text on without what a terminal obeys: names of threads are the app's, and the dump is shown as it is.
struct PlainText<'a> {
    output: &'a mut dyn Write,
    /// The last byte was the first of two that may be a control character (U+0080 to U+009F).
    pending: bool,
    line: Vec<u8>,
}

impl<'a> PlainText<'a> {
    fn new(output: &'a mut dyn Write) -> Self {
        Self {
            output,
            pending: false,
            line: Vec::new(),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
        const LEAD: u8 = 0xc2;
        self.line.clear();
        for byte in bytes {
            let is_control = match byte {
                0x80..=0x9f if self.pending => true,
                b'\n' | b'\t' => false,
                byte => byte.is_ascii_control(),
            };
            if self.pending && !(0x80..=0x9f).contains(byte) {
                self.line.push(LEAD);
            }
            self.pending = *byte == LEAD;
            if is_control {
                self.line.push(b'?');
            } else if !self.pending {
                self.line.push(*byte);
            }
        }
        self.output
            .write_all(&self.line)
            .map_err(|error| RecordError::io("store the recording", &error))
    }

    fn finish(self) -> Result<(), RecordError> {
        // What was cut behind it is no text.
        let rest: &[u8] = if self.pending { b"?" } else { b"" };
        self.output
            .write_all(rest)
            .and_then(|()| self.output.flush())
            .map_err(|error| RecordError::io("store the recording", &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(text: &[u8], chunk: usize) -> String {
        let mut output = Vec::new();
        let mut plain = PlainText::new(&mut output);
        for bytes in text.chunks(chunk) {
            plain.write(bytes).unwrap();
        }
        plain.finish().unwrap();
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn names_of_threads_give_a_terminal_no_orders() {
        let text = "\"caf\u{e9} \u{a9}\u{1b}[2J\u{9b}2J\u{7f}\"\n\tat a.b(C.java:1)\r\n";
        for chunk in [1, 2, 3, 100] {
            assert_eq!(
                passed(text.as_bytes(), chunk),
                "\"caf\u{e9} \u{a9}?[2J?2J?\"\n\tat a.b(C.java:1)?\n"
            );
        }
    }
}
