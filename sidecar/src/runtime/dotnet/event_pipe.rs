//! One EventPipe session in a target: start, read, stop, and never left behind.
//!
//! Must not know what the stream says. Called by [`super::capture`].
//!
//! A client has to go on reading while it waits for the answer to StopTracing: the runtime writes the rundown first,
//! and one that is not read blocks both sides. So stopping only *sends* the request; its answer comes after the end
//! of the stream.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::client::{ClientError, DiagnosticsClient, receive, wait_ready};
use super::ipc::{Command, Fields, IpcMessage, Payload, UNKNOWN_COMMAND};
use super::providers::{DEFAULT_RUNDOWN, NAMES_RUNDOWN, SessionPlan};

/// Upper bound of the runtime's event buffers in MiB. They live in the *app's* memory, count towards its container's
/// limit and are allocated only as they fill, i.e. when events come faster than we read.
///
/// That is during the rundown, which is written in one go: on .NET 10 with 14,577 methods 4 MiB lost 8,255 of them
/// and 16 MiB none, so this is room for four times as many at the least. dotnet-trace's default is 256.
pub const BUFFER_MB: u32 = 64;

/// `nettrace` as opposed to the older `netperf`.
const FORMAT_NETTRACE: u32 = 1;

/// How long the end of an unwanted session may take. An idle runtime ends one in 10 to 200 ms, rundown included.
const ABANDON: Duration = Duration::from_secs(3);

/// How long to read before the stop is requested again.
const AGAIN: Duration = Duration::from_millis(20);

/// What a read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// So many bytes.
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// The runtime closed the stream.
    End,
}

/// A running session. Dropping it stops it in the target.
#[derive(Debug)]
pub struct EventPipeSession<'a> {
    client: DiagnosticsClient<'a>,
    id: u64,
    stream: UnixStream,
    /// The connection on which StopTracing was sent.
    stop: Option<UnixStream>,
    ended: bool,
}

impl<'a> EventPipeSession<'a> {
    /// Starts what `plan` asks for with the newest command that the runtime knows.
    ///
    /// # Errors
    /// [`ClientError`] of the last command tried.
    pub fn start(client: DiagnosticsClient<'a>, plan: &SessionPlan, deadline: Instant) -> Result<Self, ClientError> {
        Self::start_with(client, plan, BUFFER_MB, deadline)
    }

    /// The same with buffers of at most so many MiB.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(
        client: DiagnosticsClient<'a>,
        plan: &SessionPlan,
        buffer_mb: u32,
        deadline: Instant,
    ) -> Result<Self, ClientError> {
        let mut last = ClientError::Closed;
        for &command in ladder(plan) {
            match client.call(&start_request(command, plan, buffer_mb), deadline) {
                Ok((payload, stream)) => {
                    let id = Fields::of(&payload).u64()?;
                    return Ok(Self {
                        client,
                        id,
                        stream,
                        stop: None,
                        ended: false,
                    });
                }
                Err(error @ (ClientError::Refused(UNKNOWN_COMMAND) | ClientError::Closed)) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Whose session it is.
    pub fn client(&self) -> DiagnosticsClient<'a> {
        self.client
    }

    /// Reads what is there, waiting up to `timeout` for the first byte.
    ///
    /// # Errors
    /// What the socket says.
    pub fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<Next> {
        for attempt in 0..2 {
            match self.stream.read(buffer) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(Next::End);
                }
                Ok(count) => return Ok(Next::Bytes(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if attempt > 0 || !wait_ready(&self.stream, PollFlags::POLLIN, timeout)? {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    self.ended = true;
                    return Ok(Next::End);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Next::Nothing)
    }

    /// Sends StopTracing on a second connection, unless it has been sent; go on reading until [`Next::End`].
    /// Does not wait: the runtime may need us to read before it accepts anybody.
    ///
    /// # Errors
    /// [`ClientError`]. `Connect` with `WouldBlock` means later; else the session ends when the stream is closed.
    pub fn request_stop(&mut self) -> Result<(), ClientError> {
        if self.stop.is_none() {
            let request = IpcMessage::request(Command::StopTracing, Payload::default().u64(self.id));
            self.stop = Some(self.client.send(&request, Instant::now())?);
        }
        Ok(())
    }

    /// The runtime's answer to StopTracing, to be asked for after the end of the stream.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn stop_answer(&mut self, deadline: Instant) -> Result<(), ClientError> {
        match &mut self.stop {
            Some(stream) => receive(stream, deadline).map(|_| ()),
            None => Ok(()),
        }
    }
}

impl Drop for EventPipeSession<'_> {
    /// Stops a session that is still running and reads its stream to the end, so that the runtime is not left with a
    /// rundown it cannot write. If it does not end in time the closed stream ends it: the next write fails.
    fn drop(&mut self) {
        let deadline = Instant::now() + ABANDON;
        let mut discarded = vec![0; 64 << 10];
        while !self.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = match self.request_stop() {
                Ok(()) => left,
                // There is no connection for it yet. A session without events would not notice that its stream is closed.
                Err(ClientError::Connect(error)) if error.kind() == io::ErrorKind::WouldBlock => left.min(AGAIN),
                Err(_) => return,
            };
            if left.is_zero() || self.read(&mut discarded, wait).is_err() {
                return;
            }
        }
    }
}

/// Commands to try, newest first.
///
/// CollectTracing2's `rundown: true` *is* the default keyword, so only another one needs CollectTracing4.
/// CollectTracing3 and 5 add a switch for stacks and a filter for event ids, which we do not use; 6 makes the app wait
/// for us instead of dropping events, which a profiler must not.
fn ladder(plan: &SessionPlan) -> &'static [Command] {
    const LADDER: [Command; 3] = [
        Command::CollectTracing4,
        Command::CollectTracing2,
        Command::CollectTracing,
    ];
    if plan.rundown == DEFAULT_RUNDOWN {
        &LADDER[1..]
    } else {
        &LADDER
    }
}

/// True if a request for `plan` fits into a message, by any command.
pub fn fits(plan: &SessionPlan) -> bool {
    // The newest command says the most.
    start_request(Command::CollectTracing4, plan, BUFFER_MB)
        .encode()
        .is_ok()
}

fn start_request(command: Command, plan: &SessionPlan, buffer_mb: u32) -> IpcMessage {
    const STACKS: bool = true;
    let payload = Payload::default().u32(buffer_mb).u32(FORMAT_NETTRACE);
    let payload = match command {
        Command::CollectTracing4 => payload.u64(plan.rundown).bool(STACKS),
        // A runtime that cannot choose brings all it has or nothing: whoever wants no names wants nothing.
        Command::CollectTracing2 => payload.bool(plan.rundown & NAMES_RUNDOWN == NAMES_RUNDOWN),
        _ => payload,
    };
    let count = u32::try_from(plan.providers.len()).unwrap_or(u32::MAX);
    let payload = plan.providers.iter().fold(payload.u32(count), |payload, provider| {
        payload
            .u64(provider.keywords)
            .u32(provider.level)
            .string(&provider.name)
            .string(&provider.arguments)
    });
    IpcMessage::request(command, payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    fn plan(profile: &str) -> SessionPlan {
        SessionPlan::of(&Event::Cpu, &[profile.to_owned()], &[]).unwrap()
    }

    #[test]
    fn all_names_need_no_newer_command_than_the_second() {
        assert_eq!(
            ladder(&plan("dotnet-common")),
            [Command::CollectTracing2, Command::CollectTracing]
        );
    }

    #[test]
    fn names_alone_need_the_fourth_and_are_all_there_is_on_older_runtimes() {
        let event = SessionPlan::of(&Event::Cpu, &[], &[]).unwrap();
        for (plan, rundown) in [(plan("gc-collect"), 0), (event, 1)] {
            assert_eq!(ladder(&plan)[0], Command::CollectTracing4);
            assert_eq!(
                start_request(Command::CollectTracing2, &plan, BUFFER_MB).payload[8],
                rundown
            );
        }
    }

    #[test]
    fn the_request_has_the_layout_of_its_command() {
        let plan = plan("dotnet-sampled-thread-time");
        let fixed = |command| start_request(command, &plan, BUFFER_MB).payload.len();
        let provider = 8 + 4 + (4 + 2 * (35 + 1)) + 4;
        assert_eq!(fixed(Command::CollectTracing), 4 + 4 + 4 + provider);
        assert_eq!(fixed(Command::CollectTracing2), 4 + 4 + 1 + 4 + provider);
        assert_eq!(fixed(Command::CollectTracing4), 4 + 4 + 8 + 1 + 4 + provider);
    }

    #[test]
    fn every_plan_there_can_be_fits_into_a_message_or_is_refused() {
        let all: Vec<String> = crate::runtime::dotnet::providers::profile_names()
            .iter()
            .map(|&name| name.to_owned())
            .collect();
        let plan = SessionPlan::of(&Event::Cpu, &all, &[]).unwrap();
        assert!(
            start_request(Command::CollectTracing4, &plan, BUFFER_MB)
                .encode()
                .is_ok()
        );
    }
}
