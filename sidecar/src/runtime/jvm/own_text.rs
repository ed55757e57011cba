//! What a JVM tells by a command of its own, as text: no agent is loaded, so it works where none can be.
//!
//! Called by the recorders of threads and of the heap by class.

use std::io::Write;
use std::time::{Duration, Instant};

use super::attach::Attach;
use super::record::reach_to_attach;
use super::session::now_ms;
use crate::profile::Quality;
use crate::runtime::{Control, Phase, RecordError, RecordOrder, Reporter};

/// A command, and what it is in words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    /// What is tried, for errors.
    pub(super) step: &'a str,
    /// The longest that it may take.
    pub(super) limit: Duration,
    /// Of the attach protocol.
    pub(super) command: &'a str,
    /// Three at most.
    pub(super) arguments: &'a [&'a str],
    /// Who tells it, for the stamp.
    pub(super) sampler: &'a str,
}

/// Moves the answer to `output` as it comes.
///
/// # Errors
/// See [`crate::runtime::record`].
pub(super) fn record(
    order: &RecordOrder,
    question: Question<'_>,
    output: &mut dyn Write,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Quality, RecordError> {
    let (process, root, waits) = reach_to_attach(order, control, reporter)?;
    let started_at_ms = now_ms();
    let began = Instant::now();
    let mut text = PlainText::new(output);
    let mut attach = Attach::new(&root, &process);
    let what = (question.step, question.limit);
    let code = attach.stream(&waits, what, (question.command, question.arguments), &mut |bytes| {
        text.write(bytes)
    })?;
    if code != 0 {
        return Err(RecordError::Tool {
            tool: question.sampler.to_owned(),
            message: format!("it ended with code {code}"),
        });
    }
    reporter.phase(Phase::Transferring);
    text.finish()?;
    Ok(Quality {
        sampler: Some(question.sampler.to_owned()),
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
