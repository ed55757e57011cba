//! How the JVM recorder waits between two steps: until the server stops or cancels the capture, or, while it cleans up,
//! whatever the server says. Called by every part of the recorder that polls for something in the target.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::process::{ProcessId, ProcessTable};
use crate::runtime::{Control, Interruption, RecordError};

/// Pauses that end when the target does.
#[derive(Debug)]
pub struct Waits<'a> {
    /// `None` while cleaning up.
    control: Option<&'a Control>,
    table: &'a ProcessTable,
    target: ProcessId,
    /// A `stop` that came before sampling began; it ends the sampling at once.
    stop: Cell<bool>,
}

impl<'a> Waits<'a> {
    /// Pauses that `control` can interrupt.
    pub fn interruptible(control: &'a Control, target: ProcessId) -> Self {
        Self {
            control: Some(control),
            table: control.table(),
            target,
            stop: Cell::new(false),
        }
    }

    /// Pauses that only the end of the target cuts short.
    pub fn uninterruptible(table: &'a ProcessTable, target: ProcessId) -> Self {
        Self {
            control: None,
            table,
            target,
            stop: Cell::new(false),
        }
    }

    /// Waits `duration`.
    ///
    /// # Errors
    /// [`RecordError::Cancelled`] or [`RecordError::TargetExited`] when that happened meanwhile.
    pub fn pause(&self, duration: Duration) -> Result<(), RecordError> {
        let Some(control) = self.control else {
            std::thread::sleep(duration);
            return self.expect_target();
        };
        let end = Instant::now() + duration;
        loop {
            match control.wait(end.saturating_duration_since(Instant::now())) {
                None => return self.expect_target(),
                Some(Interruption::Stop) => self.stop.set(true),
                Some(Interruption::Cancel) => return Err(RecordError::Cancelled),
                Some(Interruption::TargetExited) => return Err(RecordError::TargetExited),
            }
        }
    }

    /// Waits `duration` of sampling; `false` if an early stop ends it.
    ///
    /// # Errors
    /// As [`Self::pause`].
    pub fn sample(&self, duration: Duration) -> Result<bool, RecordError> {
        let Some(control) = self.control.filter(|_| !self.stop.get()) else {
            return Ok(false);
        };
        match control.wait(duration) {
            None => Ok(true),
            Some(Interruption::Stop) => Ok(false),
            Some(Interruption::Cancel) => Err(RecordError::Cancelled),
            Some(Interruption::TargetExited) => Err(RecordError::TargetExited),
        }
    }

    /// Fails if the server gave up; does not look at the target.
    ///
    /// # Errors
    /// As [`Self::pause`].
    pub fn check(&self) -> Result<(), RecordError> {
        while let Some(said) = self.control.and_then(Control::poll) {
            match said {
                Interruption::Stop => self.stop.set(true),
                Interruption::Cancel => return Err(RecordError::Cancelled),
                Interruption::TargetExited => return Err(RecordError::TargetExited),
            }
        }
        Ok(())
    }

    /// Fails if the target is gone.
    ///
    /// # Errors
    /// [`RecordError::TargetExited`].
    pub fn expect_target(&self) -> Result<(), RecordError> {
        if self.table.is_alive(self.target) {
            Ok(())
        } else {
            Err(RecordError::TargetExited)
        }
    }

    /// Identity of the process we wait for.
    pub fn target(&self) -> ProcessId {
        self.target
    }

    /// The proc file system it lives in.
    pub fn table(&self) -> &ProcessTable {
        self.table
    }
}
