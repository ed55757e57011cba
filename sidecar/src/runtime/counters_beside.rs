//! Adds what the kernel counts to the counters that a runtime tells in a session.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::counters::write;
use super::{Control, Reason, RecordOrder, Sources};

/// Passes a session's lines on, and between them, once an interval, those of the kernel.
pub struct Beside<'a> {
    output: &'a mut dyn Write,
    sources: Sources,
    refresh: Duration,
    next: Instant,
    /// The last byte that was passed on ended a line.
    between_lines: bool,
    has_written: bool,
}

impl std::fmt::Debug for Beside<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Beside").finish_non_exhaustive()
    }
}

impl<'a> Beside<'a> {
    /// Writes to `output`, every `refresh` seconds.
    pub fn new(output: &'a mut dyn Write, order: &RecordOrder, control: &Control, refresh: u32) -> Self {
        Self {
            output,
            sources: Sources::open(control.table(), &order.target),
            refresh: Duration::from_secs(refresh.into()),
            next: Instant::now(),
            between_lines: true,
            has_written: false,
        }
    }

    /// True if the recording has begun.
    pub fn has_written(&self) -> bool {
        self.has_written
    }

    /// Adds a last reading; gives what is left out.
    ///
    /// # Errors
    /// The output fails.
    pub fn finish(mut self) -> io::Result<Vec<Reason>> {
        self.add()?;
        Ok(self.sources.missing)
    }

    fn add(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if !self.between_lines || now < self.next {
            return Ok(());
        }
        self.next = now.max(self.next + self.refresh);
        let values = self.sources.read().unwrap_or_default();
        write(&values, self.output)
    }
}

impl Write for Beside<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.output.write(bytes)?;
        self.has_written = true;
        if let Some(last) = bytes[..written].last() {
            self.between_lines = *last == b'\n';
            self.add()?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
