//! A stream that remembers how the answer began and that can be told to end our half of it.
//!
//! Both are needed below hyper: it throws away bytes that are not HTTP, and it cannot half-close. Ending our half is
//! how a capture stops early: Go's server sees the end of input, cancels the request's context, and the pprof handler
//! stops its profiler and still sends what it has.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// TCP, or TLS over it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What the wire and its handles share.
#[derive(Debug, Default)]
struct Shared {
    hang_up: AtomicBool,
    waker: AtomicWaker,
    /// The first two bytes received and how many there are, see [`Wire::note`].
    first: AtomicU16,
    received: AtomicU16,
}

/// Ends our half of a connection; the other half stays open for the rest of the answer.
#[derive(Debug, Clone)]
pub(crate) struct HangUp(Arc<Shared>);

impl HangUp {
    /// Sends the end of input once; more calls change nothing.
    pub(crate) fn now(&self) {
        self.0.hang_up.store(true, Ordering::Release);
        self.0.waker.wake();
    }

    /// True when the first bytes received are a TLS record: an alert (21) or a handshake (22) of version 3.x
    /// (RFC 8446 §5.1).
    pub(super) fn answered_with_tls(&self) -> bool {
        let [kind, version] = self.0.first.load(Ordering::Acquire).to_be_bytes();
        self.0.received.load(Ordering::Acquire) == 2 && matches!(kind, 21 | 22) && version == 3
    }
}

/// The stream as hyper sees it.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    shared: Arc<Shared>,
    ended: bool,
}

impl Wire {
    /// Wraps a connected stream.
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            shared: Arc::default(),
            ended: false,
        }
    }

    /// The handle of this wire.
    pub(super) fn hang_up(&self) -> HangUp {
        HangUp(Arc::clone(&self.shared))
    }

    /// Only the reading side writes these; the order lets a handle that sees two bytes see both.
    fn note(&self, bytes: &[u8]) {
        let have = self.shared.received.load(Ordering::Relaxed);
        for (index, byte) in (have..2).zip(bytes) {
            let mut first = self.shared.first.load(Ordering::Relaxed).to_be_bytes();
            first[usize::from(index)] = *byte;
            self.shared.first.store(u16::from_be_bytes(first), Ordering::Release);
            self.shared.received.store(index + 1, Ordering::Release);
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.shared.waker.register(context.waker());
        if !this.ended && this.shared.hang_up.load(Ordering::Acquire) {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            this.ended = true;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        this.note(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
