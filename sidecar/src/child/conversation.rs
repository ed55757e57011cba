//! The server's end of a running child: what is said to it and heard from it, each within its bound.
//!
//! Everything a child says is evidence from somebody who may have been taken over by what it looked at: a frame is at most
//! [`LONGEST_FRAME`] long, all of them together have a cap, and of stderr only the end is kept. Whoever says more is not
//! listened to any longer. Knows no role.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use futures_util::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, ChildStderr};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

use super::channel::{self, LONGEST_FRAME};
use super::ending::{ChildError, Ending};
use super::order::ChildOrder;
use super::{Children, Executable};
use crate::confine;

/// Bytes of stderr a child may write; a panic with its backtrace has some ten KB.
const MOST_NOISE: usize = 1 << 20;

/// How much of its end is kept: what a dying child says last is why.
const KEPT_NOISE: usize = 4 << 10;

/// One child.
#[derive(Debug)]
pub(super) struct Conversation {
    role: &'static str,
    process: Child,
    frames: FramedRead<OwnedReadHalf, LengthDelimitedCodec>,
    /// `None` once we hung up.
    writer: Option<OwnedWriteHalf>,
    /// What the socket had no room for yet.
    outbox: Vec<u8>,
    /// Hang up when everything is said.
    last_word: bool,
    noise: Noise,
    /// Bytes of messages it may still send.
    left: usize,
    out_of_memory_kills: Option<u64>,
}

impl Conversation {
    /// Starts a child, hands it `order` and `files`, and will hear `most` bytes from it.
    ///
    /// # Errors
    /// [`ChildError::Start`].
    pub(super) fn start(
        executable: &Executable,
        order: &ChildOrder,
        files: &[BorrowedFd<'_>],
        most: usize,
    ) -> Result<Self, ChildError> {
        let role = order.role();
        let start = || {
            let outbox = channel::frame(order)?;
            let out_of_memory_kills = confine::out_of_memory_kills();
            let (ours, theirs) = channel::pair(files)?;
            ours.set_nonblocking(true)?;
            let (reader, writer) = UnixStream::from_std(ours)?.into_split();
            let mut process = executable.spawn(role, theirs)?;
            Ok(Self {
                role,
                noise: Noise::of(process.stderr.take()),
                process,
                frames: FramedRead::new(reader, channel::codec()),
                writer: Some(writer),
                outbox,
                last_word: false,
                left: most,
                out_of_memory_kills,
            })
        };
        start().map_err(|error: std::io::Error| ChildError::Start {
            role,
            detail: error.to_string(),
        })
    }

    /// Says `message`, as soon as the child reads.
    pub(super) fn say(&mut self, message: &impl Serialize) {
        // Only a type that cannot be JSON fails; each has been in a test.
        if let Ok(frame) = channel::frame(message) {
            self.outbox.extend(frame);
        }
    }

    /// Nothing will be said any more: the child sees the end of its channel after what was said before.
    pub(super) fn end_of_orders(&mut self) {
        self.last_word = true;
    }

    /// Hangs up at once, which tells a recorder to cancel.
    pub(super) fn hang_up(&mut self) {
        self.writer = None;
    }

    /// The next message; `None` when the child hung up. Can be cancelled without a loss.
    ///
    /// # Errors
    /// [`ChildError::Protocol`]; it is not worth listening any more then.
    pub(super) async fn next<M: DeserializeOwned>(&mut self) -> Result<Option<M>, ChildError> {
        let protocol = |role, detail: &str| ChildError::Protocol {
            role,
            detail: detail.to_owned(),
        };
        loop {
            if self.last_word && self.outbox.is_empty() {
                self.writer = None;
            }
            tokio::select! {
                frame = self.frames.next() => {
                    let frame = match frame {
                        None => return Ok(None),
                        Some(Ok(frame)) => frame,
                        // A child that dies with something unread resets the connection.
                        Some(Err(error)) if error.kind() != std::io::ErrorKind::InvalidData => return Ok(None),
                        Some(Err(_)) => {
                            return Err(protocol(self.role, &format!("a message of more than {LONGEST_FRAME} bytes")));
                        }
                    };
                    self.left = self.left.checked_sub(frame.len() + 4)
                        .ok_or_else(|| protocol(self.role, "too many messages"))?;
                    return match serde_json::from_slice(&frame) {
                        Ok(message) => Ok(Some(message)),
                        Err(error) => Err(protocol(self.role, &format!("not a message: {error}"))),
                    };
                }
                written = write(self.writer.as_mut(), &self.outbox) => match written {
                    Ok(written) => _ = self.outbox.drain(..written),
                    // It ended without reading: its last words and its status say why.
                    Err(_) => self.writer = None,
                },
                () = self.noise.read() => {
                    if self.noise.is_too_much() {
                        return Err(protocol(self.role, &format!("more than {MOST_NOISE} bytes on stderr")));
                    }
                }
            }
        }
    }

    /// Hangs up, waits until the child ends, and kills it at `until`, after which the kernel gets `reap`.
    pub(super) async fn end(self, until: Instant, reap: Duration) -> Ending {
        let Self {
            role,
            mut process,
            frames,
            writer,
            mut noise,
            out_of_memory_kills,
            ..
        } = self;
        // Whoever still talks gets an error.
        drop((frames, writer));
        let status = timeout_at(until, async {
            noise.read_to_end().await;
            process.wait().await
        });
        let status = match status.await {
            Ok(status) => status.ok(),
            Err(_) => {
                tracing::warn!(child = role, "it does not end; killing it");
                let _ = process.start_kill();
                // Dead or not, it gets nothing more from us; tokio reaps it later.
                let _ = timeout(reap, process.wait()).await;
                None
            }
        };
        let kills = out_of_memory_kills.zip(confine::out_of_memory_kills());
        let out_of_memory_kill = kills.is_some_and(|(before, after)| after > before);
        Ending {
            status,
            noise: noise.text(),
            out_of_memory_kill,
        }
    }
}

impl Children {
    /// Runs a child that answers an order by messages and needs no further word: all it says goes to `heard`.
    ///
    /// # Errors
    /// It did not end well within `limit`; what was heard before is not to be used then.
    pub(super) async fn ask<M: DeserializeOwned>(
        &self,
        order: &ChildOrder,
        files: &[BorrowedFd<'_>],
        (most, limit): (usize, Duration),
        mut heard: impl FnMut(M),
    ) -> Result<(), ChildError> {
        let role = order.role();
        let until = Instant::now() + limit;
        let mut child = Conversation::start(&self.executable, order, files, most)?;
        child.end_of_orders();
        let listened = timeout_at(until, async {
            while let Some(message) = child.next().await? {
                heard(message);
            }
            Ok(())
        });
        let listened = listened.await;
        // Whoever breaks the protocol is given no time.
        let until = if let Ok(Err(_)) = listened {
            Instant::now()
        } else {
            until
        };
        let ending = child.end(until, self.timeouts.reap).await;
        match listened {
            Ok(Err(error)) => Err(error),
            _ if ending.success() => Ok(()),
            _ if ending.status.is_none() => Err(ChildError::TimedOut {
                role,
                seconds: limit.as_secs(),
            }),
            _ => Err(ending.error(role)),
        }
    }
}

/// Never ready with nothing to write, or nowhere to.
async fn write(writer: Option<&mut OwnedWriteHalf>, bytes: &[u8]) -> std::io::Result<usize> {
    match writer {
        Some(writer) if !bytes.is_empty() => writer.write(bytes).await,
        _ => std::future::pending().await,
    }
}

/// What a child writes to stderr.
#[derive(Debug)]
struct Noise {
    /// `None` after its end, and when there was too much.
    stderr: Option<ChildStderr>,
    /// Twice what is kept at most.
    end: Vec<u8>,
    read: usize,
}

impl Noise {
    fn of(stderr: Option<ChildStderr>) -> Self {
        Self {
            stderr,
            end: Vec::new(),
            read: 0,
        }
    }

    /// Reads a little; for ever pending after the end. Can be cancelled without a loss.
    async fn read(&mut self) {
        let Some(stderr) = &mut self.stderr else {
            return std::future::pending().await;
        };
        let mut buffer = [0; 1 << 10];
        let read = stderr.read(&mut buffer).await.unwrap_or_default();
        self.read += read;
        self.end.extend_from_slice(&buffer[..read]);
        if self.end.len() > 2 * KEPT_NOISE {
            self.end.drain(..self.end.len() - KEPT_NOISE);
        }
        if read == 0 || self.is_too_much() {
            self.stderr = None;
        }
    }

    async fn read_to_end(&mut self) {
        while self.stderr.is_some() {
            self.read().await;
        }
    }

    fn is_too_much(&self) -> bool {
        self.read > MOST_NOISE
    }

    fn text(&self) -> String {
        let start = self.end.len().saturating_sub(KEPT_NOISE);
        String::from_utf8_lossy(&self.end[start..]).into_owned()
    }
}
