//! Sends one command per connection to a runtime's diagnostic server, each with a deadline.
//!
//! Must not know what EventPipe is. Called by [`super::event_pipe`] and [`super::process_info`].

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::ipc::{HEADER_LEN, IpcError, IpcHeader, IpcMessage, IpcReply};
use super::line::Line;
use crate::process::TargetRoot;

/// How long to wait for a place in the backlog before asking again.
const AGAIN: Duration = Duration::from_millis(20);

/// Why a command has no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The socket is not there, not the target's or not ours to use.
    #[error("cannot connect to the diagnostic socket: {0}")]
    Connect(#[source] io::Error),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[source] io::Error),
    /// The runtime closed the connection without an answer, as old ones do for commands they do not know.
    #[error("the runtime closed the connection without an answer")]
    Closed,
    /// No whole answer before the deadline.
    #[error("the runtime did not answer in time")]
    Timeout,
    /// The runtime answered with an HRESULT.
    #[error("the runtime refused with {0:#010x}")]
    Refused(u32),
    /// The same with the reason in its words.
    #[error("the runtime refused with {code:#010x}: {words}")]
    RefusedBecause {
        /// The HRESULT.
        code: u32,
        /// As they came.
        words: String,
    },
    /// Not the protocol.
    #[error(transparent)]
    Malformed(#[from] IpcError),
}

/// The diagnostic server of one target.
#[derive(Debug, Clone, Copy)]
pub struct DiagnosticsClient<'a>(Door<'a>);

/// Where its connections come from.
#[derive(Debug, Clone, Copy)]
enum Door<'a> {
    Socket(&'a TargetRoot, &'a Path),
    Line(&'a Line),
}

impl<'a> DiagnosticsClient<'a> {
    /// Talks to `socket`, a path in the target's own mount namespace.
    pub fn new(root: &'a TargetRoot, socket: &'a Path) -> Self {
        Self(Door::Socket(root, socket))
    }

    /// Talks over connections that the runtime has made, and `line` hands on.
    pub fn by_line(line: &'a Line) -> Self {
        Self(Door::Line(line))
    }

    /// True if the runtime calls by itself and does not any more, or not within `timeout`: one that lives always does.
    pub fn has_ceased_to_call(&self, timeout: Duration) -> bool {
        matches!(self.0, Door::Line(line) if next(line, Instant::now() + timeout).is_err())
    }

    /// Connects and sends `request`; the answer is still to be read, with [`receive`].
    ///
    /// # Errors
    /// [`ClientError`]; never `Closed` or `Refused`.
    pub fn send(&self, request: &IpcMessage, deadline: Instant) -> Result<UnixStream, ClientError> {
        let bytes = request.encode()?;
        let mut stream = self.connect(deadline)?;
        stream.set_nonblocking(true).map_err(ClientError::Io)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match stream.write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready(&stream, PollFlags::POLLOUT, deadline)?
                }
                Err(error) => return Err(ClientError::Io(error)),
            }
        }
        Ok(stream)
    }

    /// Connects, again and again while the backlog is full: other tools may be at it as well.
    fn connect(&self, deadline: Instant) -> Result<UnixStream, ClientError> {
        let (root, socket) = match self.0 {
            Door::Socket(root, socket) => (root, socket),
            Door::Line(line) => return next(line, deadline),
        };
        loop {
            match root.connect(socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                    std::thread::sleep(AGAIN);
                }
                connected => return connected.map_err(ClientError::Connect),
            }
        }
    }

    /// Sends `request` and reads the answer. The connection stays open for what may follow the answer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn call(&self, request: &IpcMessage, deadline: Instant) -> Result<(Vec<u8>, UnixStream), ClientError> {
        let mut stream = self.send(request, deadline)?;
        let payload = receive(&mut stream, deadline)?;
        Ok((payload, stream))
    }
}

/// The next connection of a line; `Connect` with `WouldBlock` if there is none before the deadline.
fn next(line: &Line, deadline: Instant) -> Result<UnixStream, ClientError> {
    loop {
        match line.connection() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                let left = deadline.saturating_duration_since(Instant::now());
                wait_ready(line, PollFlags::POLLIN, left).map_err(ClientError::Io)?;
            }
            connection => return connection.map_err(ClientError::Connect),
        }
    }
}

/// Reads one answer, and not a byte more.
///
/// # Errors
/// [`ClientError`]; never `Connect`.
pub fn receive(stream: &mut UnixStream, deadline: Instant) -> Result<Vec<u8>, ClientError> {
    let mut header = [0; HEADER_LEN];
    fill(stream, &mut header, deadline)?;
    let header = IpcHeader::decode(&header)?;
    let mut payload = vec![0; header.payload_len()];
    fill(stream, &mut payload, deadline)?;
    match IpcReply::decode(header, payload)? {
        IpcReply::Ok(payload) => Ok(payload),
        IpcReply::Error(code) => Err(ClientError::Refused(code)),
        IpcReply::ErrorBecause(code, words) => Err(ClientError::RefusedBecause { code, words }),
    }
}

fn fill(stream: &mut UnixStream, mut buffer: &mut [u8], deadline: Instant) -> Result<(), ClientError> {
    while !buffer.is_empty() {
        match stream.read(buffer) {
            Ok(0) => return Err(ClientError::Closed),
            Ok(read) => buffer = buffer.get_mut(read..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready(stream, PollFlags::POLLIN, deadline)?,
            // A runtime that closes with our request unread resets the connection.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(ClientError::Closed),
            Err(error) => return Err(ClientError::Io(error)),
        }
    }
    Ok(())
}

fn ready(stream: &UnixStream, events: PollFlags, deadline: Instant) -> Result<(), ClientError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ClientError::Timeout);
    }
    wait_ready(stream, events, left).map(|_| ()).map_err(ClientError::Io)
}

/// Waits until `stream` is ready (or broken) or `timeout` ends; true when it is ready.
///
/// # Errors
/// What `poll` says, an interruption by a signal aside.
pub fn wait_ready(stream: &impl AsFd, events: PollFlags, timeout: Duration) -> io::Result<bool> {
    // Rounded up: a rest below one millisecond would otherwise spin.
    let milliseconds = u16::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
    match poll(
        &mut [PollFd::new(stream.as_fd(), events)],
        PollTimeout::from(milliseconds),
    ) {
        Ok(count) => Ok(count > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
