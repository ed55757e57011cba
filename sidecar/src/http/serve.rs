//! Accepts connections and runs the router over them, within limits: the server lives beside an app, and must stay
//! small whatever clients do.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutWriter;

/// What clients may use up.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time; more wait in the backlog of the listeners.
    pub connections: usize,
    /// For a request line with its headers, and between two requests of a connection.
    pub head_time: Duration,
    /// Bytes of a request line with its headers; also the read buffer of a connection. At least 8192.
    pub head_bytes: usize,
    /// How long a client may take not one byte of its answer.
    pub write_time: Duration,
    /// How long answers may take after the shutdown.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // With full read buffers, 128 connections are 4 MiB.
            connections: 128,
            head_time: Duration::from_secs(10),
            // Four times the longest query, so that one that is too long gets an explained answer.
            head_bytes: 32 << 10,
            write_time: Duration::from_secs(60),
            grace: Duration::from_secs(5),
        }
    }
}

/// Serves `router` on all `listeners` until `shutdown` is done; then closes the listeners, lets running requests end
/// within the grace period, and returns.
///
/// Running captures are not ended here: [`crate::capture::Captures::shut_down`] does that, at the same time, and
/// answers the clients that wait.
pub async fn serve(listeners: Vec<TcpListener>, router: Router, limits: Limits, shutdown: impl Future<Output = ()>) {
    let (stopping, stop) = watch::channel(false);
    // Every connection holds a sender; the receiver ends with the last of them.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    let permits = Arc::new(Semaphore::new(limits.connections));
    let grace = limits.grace;
    for listener in listeners {
        let server = Server {
            router: router.clone(),
            limits: limits.clone(),
            permits: Arc::clone(&permits),
            stop: stop.clone(),
            open: open.clone(),
        };
        tokio::spawn(server.run(listener));
    }
    drop(open);
    shutdown.await;
    stopping.send_replace(true);
    if timeout(grace, all_closed.recv()).await.is_err() {
        tracing::warn!("connections were still open after {} s", grace.as_secs());
    }
}

/// One listener's accept loop.
struct Server {
    router: Router,
    limits: Limits,
    permits: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
    open: mpsc::Sender<()>,
}

impl Server {
    async fn run(self, listener: TcpListener) {
        let mut stop = self.stop.clone();
        loop {
            let accepted = tokio::select! {
                () = stopped(&mut stop) => return,
                accepted = self.accept(&listener) => accepted,
            };
            match accepted {
                Ok((socket, permit)) => {
                    let connection = Connection {
                        router: self.router.clone(),
                        limits: self.limits.clone(),
                        stop: self.stop.clone(),
                        _permit: permit,
                        _open: self.open.clone(),
                    };
                    tokio::spawn(connection.run(socket));
                }
                Err(error) => {
                    // A client that is gone already needs no pause; too many open files would spin without one.
                    if error.kind() != io::ErrorKind::ConnectionAborted {
                        tracing::warn!(%error, "a connection could not be accepted");
                        sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        }
    }

    /// A permit first: connections beyond the limit stay in the kernel's backlog and cost us nothing.
    async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let (socket, _) = listener.accept().await?;
        Ok((socket, permit))
    }
}

/// One client.
struct Connection {
    router: Router,
    limits: Limits,
    stop: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
    _open: mpsc::Sender<()>,
}

impl Connection {
    /// If the client goes away while a handler works, hyper drops the handler's future: that is what cancels a capture
    /// nobody waits for.
    async fn run(mut self, socket: TcpStream) {
        // Answers are written whole; waiting for more would only delay them.
        let _ = socket.set_nodelay(true);
        // A response waits as long as a client reads, however slowly; one that reads nothing at all would hold a
        // connection and an open file for ever.
        let mut socket = TimeoutWriter::new(socket);
        socket.set_timeout(Some(self.limits.write_time));
        let io = TokioIo::new(Box::pin(socket));
        let service = TowerToHyperService::new(self.router);
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head_time)
            .max_buf_size(self.limits.head_bytes)
            .serve_connection(io, service);
        let first = tokio::select! {
            outcome = poll_fn(|cx| connection.poll_without_shutdown(cx)) => Some(outcome),
            () = stopped(&mut self.stop) => None,
        };
        let outcome = match first {
            Some(outcome) => outcome,
            None => {
                Pin::new(&mut connection).graceful_shutdown();
                poll_fn(|cx| connection.poll_without_shutdown(cx)).await
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "connection ended");
        }
        linger(connection.into_parts().io.into_inner()).await;
    }
}

/// Ends when the server stops, or is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Reads what a refused client still sends, within bounds: closing a socket with unread bytes resets the connection,
/// and the client would lose the answer that says why.
async fn linger<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(mut socket: S) {
    const MOST: u64 = 4 << 20;
    const TIME: Duration = Duration::from_secs(1);
    let drain = async {
        socket.shutdown().await?;
        tokio::io::copy(&mut socket.take(MOST), &mut tokio::io::sink()).await
    };
    let _ = timeout(TIME, drain).await;
}

#[cfg(test)]
mod tests;
