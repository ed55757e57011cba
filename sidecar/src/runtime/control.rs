//! How a recorder waits: for time to pass, for the server's word, for the target's end.
//!
//! Must not know how the server's word arrives. Called by every runtime's `record`.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::process::{ProcessId, ProcessTable};

/// Why a wait ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// Stop early and keep a whole recording.
    Stop,
    /// Clean up and keep nothing.
    Cancel,
    /// The target is gone.
    TargetExited,
}

/// What can interrupt a recorder. Cheap to poll; all waits go through it.
#[derive(Debug)]
pub struct Control {
    /// Behind a lock only so that a recorder may share it with a second thread.
    inbox: Mutex<Receiver<Interruption>>,
    table: ProcessTable,
    target: ProcessId,
}

/// How often a wait looks whether the target still lives.
const TARGET_CHECK: Duration = Duration::from_millis(100);

impl Control {
    /// A control that the returned sender interrupts.
    pub fn channel(table: ProcessTable, target: ProcessId) -> (Self, Sender<Interruption>) {
        let (sender, inbox) = channel();
        (
            Self {
                inbox: Mutex::new(inbox),
                table,
                target,
            },
            sender,
        )
    }

    /// Waits `duration`, or less if interrupted. `None` when the time passed.
    pub fn wait(&self, duration: Duration) -> Option<Interruption> {
        let deadline = Instant::now() + duration;
        let inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match inbox.recv_timeout(left.min(TARGET_CHECK)) {
                Ok(interruption) => return Some(interruption),
                // Every sender is gone: the server, too.
                Err(RecvTimeoutError::Disconnected) => return Some(Interruption::Cancel),
                Err(RecvTimeoutError::Timeout) if !self.target_is_alive() => return Some(Interruption::TargetExited),
                Err(RecvTimeoutError::Timeout) if left <= TARGET_CHECK => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// What has been said so far, without waiting. Does not look at the target.
    pub fn poll(&self) -> Option<Interruption> {
        self.inbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .try_recv()
            .ok()
    }

    /// True while the target process exists, and where that cannot be seen: there the end of its connections tells.
    pub fn target_is_alive(&self) -> bool {
        self.target.is_outside() || self.table.is_alive(self.target)
    }

    /// The target.
    pub fn target(&self) -> ProcessId {
        self.target
    }

    /// The proc file system the target lives in.
    pub fn table(&self) -> &ProcessTable {
        &self.table
    }
}
