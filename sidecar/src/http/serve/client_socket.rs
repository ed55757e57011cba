//! The socket of a client, with what hyper does not do for it: a limit for a client that reads nothing, news of what
//! has been sent, and an end that does not cost a refused client its answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_io_timeout::TimeoutWriter;

use super::exchange::Exchange;

/// Most bytes that are read after the last answer.
const MOST: usize = 4 << 20;

/// How long they are waited for.
const TIME: Duration = Duration::from_secs(1);

/// A connected socket.
#[derive(Debug)]
pub(super) struct ClientSocket {
    socket: Pin<Box<TimeoutWriter<TcpStream>>>,
    exchange: Arc<Exchange>,
    closing: Option<Closing>,
}

#[derive(Debug)]
struct Closing {
    deadline: Pin<Box<Sleep>>,
    bytes: usize,
}

impl ClientSocket {
    /// A response waits as long as a client reads, however slowly; after `write_time` without a byte the connection ends.
    pub(super) fn new(socket: TcpStream, write_time: Duration, exchange: Arc<Exchange>) -> Self {
        // Answers are written whole; waiting for more would only delay them.
        let _ = socket.set_nodelay(true);
        let mut socket = TimeoutWriter::new(socket);
        socket.set_timeout(Some(write_time));
        Self {
            socket: Box::pin(socket),
            exchange,
            closing: None,
        }
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.socket.as_mut().poll_read(cx, buffer)
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.as_mut().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket.as_mut().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// hyper calls it when its own buffer is empty.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.socket.as_mut().poll_flush(cx))?;
        self.exchange.flushed();
        Poll::Ready(Ok(()))
    }

    /// Reads what a refused client still sends, within bounds: closing a socket with unread bytes resets the connection,
    /// and the client would lose the answer that says why.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, closing, .. } = &mut *self;
        if closing.is_none() {
            ready!(socket.as_mut().poll_shutdown(cx))?;
        }
        let closing = closing.get_or_insert_with(|| Closing {
            deadline: Box::pin(sleep(TIME)),
            bytes: 0,
        });
        let mut chunk = [0; 4096];
        loop {
            if closing.deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = ReadBuf::new(&mut chunk);
            let read = ready!(socket.as_mut().poll_read(cx, &mut buffer));
            let count = buffer.filled().len();
            closing.bytes += count;
            if read.is_err() || count == 0 || closing.bytes >= MOST {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
