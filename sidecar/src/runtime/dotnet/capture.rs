//! Copies a session's stream to the recording: while it samples, while it stops, to its last byte.
//!
//! Must not know providers or commands. Called by [`super::record`]. One thread does all: it reads with a short
//! timeout and looks at the control in between, so the stream is always drained, also while StopTracing is answered.

use std::io::Write;
use std::time::{Duration, Instant};

use super::client::ClientError;
use super::completeness::{CompletenessCheck, Flaw, Stream};
use super::event_pipe::{EventPipeSession, Next};
use super::heap_watch::{HeapWatch, Walk};
use crate::process::CpuTime;
use crate::runtime::{Control, Interruption, Phase, RecordError, Reporter};

/// How long one read waits; bounds how late a stop is noticed.
const POLL: Duration = Duration::from_millis(50);
/// How long a stopping session may be silent. A rundown of 16,000 methods takes 0.2 s; its runtime may be throttled.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a stopping session may take, silent or not: a target could go on for ever, one byte at a time.
const STOPPING: Duration = Duration::from_secs(300);
/// How long a walk through a heap may be silent: it is written in one go, and its end may be lost.
const WALK_SILENCE: Duration = Duration::from_secs(5);
/// How long to wait for the second half of an end: the answer after the stream, the exit after the closed socket.
const AFTERMATH: Duration = Duration::from_secs(2);

/// Why sampling ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Time is up, or the server said stop.
    Asked,
    /// The runtime closed the stream before we asked it to.
    Unasked,
}

/// A whole recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// What the stream told.
    pub stream: Stream,
    /// Time of sampling.
    pub sampled: Duration,
    /// CPU time of the target meanwhile: what its rundown takes is not the app's.
    pub cpu: Option<Duration>,
    /// The runtime ended the session before its time, e.g. because the process was exiting.
    pub ended_early: bool,
    /// How far a walk through the heap came.
    pub walk: Walk,
}

/// The copy in progress.
pub struct Capture<'a, 'b> {
    session: EventPipeSession<'a>,
    output: &'b mut dyn Write,
    control: &'b Control,
    check: CompletenessCheck,
    /// Of a heap; its end is that of the session.
    heap: Option<HeapWatch>,
    buffer: Vec<u8>,
    looked: Instant,
}

impl std::fmt::Debug for Capture<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture")
            .field("session", &self.session)
            .field("check", &self.check)
            .finish_non_exhaustive()
    }
}

impl<'a, 'b> Capture<'a, 'b> {
    /// Copies `session` to `output`.
    pub fn new(session: EventPipeSession<'a>, output: &'b mut dyn Write, control: &'b Control) -> Self {
        // The runtime writes blocks of about 100 KiB.
        let buffer = vec![0; 128 << 10];
        Self {
            session,
            output,
            control,
            check: CompletenessCheck::default(),
            heap: None,
            buffer,
            looked: Instant::now(),
        }
    }

    /// Ends sampling when the walk through the heap has ended.
    #[must_use]
    pub fn until_the_heap_is_walked(self) -> Self {
        Self {
            heap: Some(HeapWatch::default()),
            ..self
        }
    }

    /// Samples for `duration` or until told to stop, then stops the session and copies the rest.
    ///
    /// # Errors
    /// Why there is no whole recording. The session is stopped then, too.
    pub fn run(mut self, duration: Duration, reporter: &mut Reporter) -> Result<Copied, RecordError> {
        let used = || CpuTime::of_process(self.control.table(), self.control.target());
        let (start, before) = (Instant::now(), used());
        let ending = self.sample(start + duration)?;
        let sampled = start.elapsed();
        let cpu = before.zip(used()).map(|(before, after)| after.since(&before).process);
        reporter.phase(Phase::Stopping);
        if ending == Ending::Asked {
            self.stop()?;
        }
        let stream = self.whole()?;
        self.output
            .flush()
            .map_err(|error| RecordError::io("write the recording", &error))?;
        Ok(Copied {
            stream,
            sampled,
            cpu,
            ended_early: ending == Ending::Unasked,
            walk: self.walk(),
        })
    }

    fn walk(&self) -> Walk {
        self.heap.as_ref().map_or(Walk::NotBegun, HeapWatch::walk)
    }

    fn sample(&mut self, until: Instant) -> Result<Ending, RecordError> {
        let mut heard = Instant::now();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Ending::Asked);
            }
            match self.copy(POLL.min(left))? {
                Next::End => return Ok(Ending::Unasked),
                Next::Bytes(_) => heard = Instant::now(),
                Next::Nothing => {}
            }
            match self.walk() {
                Walk::Over => return Ok(Ending::Asked),
                Walk::Begun if heard.elapsed() > WALK_SILENCE => return Ok(Ending::Asked),
                Walk::Begun | Walk::NotBegun => {}
            }
            match self.interruption() {
                Some(Interruption::Stop) => return Ok(Ending::Asked),
                Some(Interruption::Cancel) => return Err(RecordError::Cancelled),
                // What it wrote before it died is still in the socket; the end of the stream follows.
                Some(Interruption::TargetExited) | None => {}
            }
        }
    }

    fn stop(&mut self) -> Result<(), RecordError> {
        let start = Instant::now();
        let mut heard = start;
        loop {
            let requested = self.session.request_stop();
            match self.copy(POLL)? {
                Next::Bytes(_) => heard = Instant::now(),
                Next::End => break,
                Next::Nothing => requested.or_else(|error| self.later(error))?,
            }
            if heard.elapsed() > SILENCE {
                return Err(timeout(SILENCE));
            }
            if start.elapsed() > STOPPING {
                return Err(timeout(STOPPING));
            }
            if self.interruption() == Some(Interruption::Cancel) {
                return Err(RecordError::Cancelled);
            }
        }
        // The stream is the recording and its end is proof enough; the answer only frees the connection in order.
        let _ = self.session.stop_answer(Instant::now() + AFTERMATH);
        Ok(())
    }

    /// Moves what is there from the session to the output.
    fn copy(&mut self, timeout: Duration) -> Result<Next, RecordError> {
        let next = self
            .session
            .read(&mut self.buffer, timeout)
            .map_err(|error| RecordError::Protocol {
                step: "read the nettrace stream".to_owned(),
                detail: error.to_string(),
            })?;
        if let Next::Bytes(count) = next {
            let bytes = self.buffer.get(..count).unwrap_or_default();
            self.check.feed(bytes).map_err(|flaw| broken(&flaw))?;
            if let Some(heap) = &mut self.heap {
                heap.feed(bytes).map_err(|error| RecordError::Protocol {
                    step: "read the walk through the heap".to_owned(),
                    detail: error.to_string(),
                })?;
            }
            self.output
                .write_all(bytes)
                .map_err(|error| RecordError::io("write the recording", &error))?;
        }
        Ok(next)
    }

    /// The control's word. It is asked every [`POLL`] and not for every block, because it reads /proc.
    fn interruption(&mut self) -> Option<Interruption> {
        if self.looked.elapsed() < POLL {
            return None;
        }
        self.looked = Instant::now();
        self.control.wait(Duration::ZERO)
    }

    fn whole(&self) -> Result<Stream, RecordError> {
        self.check.finish().map_err(|flaw| {
            if self.target_exited() {
                RecordError::TargetExited
            } else {
                broken(&flaw)
            }
        })
    }

    /// A full backlog is a matter of time. Any other failed request means that no end will come, unless the target is
    /// on its way out.
    fn later(&self, error: ClientError) -> Result<(), RecordError> {
        match error {
            ClientError::Connect(source) if source.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            _ if self.target_exited() => Err(RecordError::TargetExited),
            _ => Err(RecordError::Protocol {
                step: "stop the EventPipe session".to_owned(),
                detail: error.to_string(),
            }),
        }
    }

    /// True if the target is gone, or goes within [`AFTERMATH`]: a dying process closes its sockets first.
    fn target_exited(&self) -> bool {
        !self.control.target_is_alive()
            || self.session.client().has_ceased_to_call(AFTERMATH)
            || self.control.wait(AFTERMATH) == Some(Interruption::TargetExited)
    }
}

fn broken(flaw: &Flaw) -> RecordError {
    RecordError::Protocol {
        step: "copy the nettrace stream".to_owned(),
        detail: flaw.to_string(),
    }
}

fn timeout(bound: Duration) -> RecordError {
    RecordError::Timeout {
        step: "the end of the EventPipe session".to_owned(),
        seconds: bound.as_secs(),
    }
}
