//! Accepts connections and runs a router over them, within limits, until the end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutWriter;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::peers::{Peers, Place};
use crate::metrics::Metrics;

/// What clients may use up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time; more wait in the backlog of the listener.
    pub connections: usize,
    /// Connections of one address; more are closed at once.
    pub per_peer: usize,
    /// For the handshake, and again for the first request after it.
    pub handshake: Duration,
    /// Between two requests. Above the 90 s after which an API server closes its idle connections: the side that closes
    /// second never closes into a request that is on its way.
    pub idle: Duration,
    /// How long a client may take not one byte of its answer.
    pub write: Duration,
    /// How long answers may take after the end was announced.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 128,
            per_peer: 64,
            handshake: Duration::from_secs(5),
            idle: Duration::from_secs(120),
            write: Duration::from_secs(10),
            grace: Duration::from_secs(5),
        }
    }
}

/// Bytes of a head, and of the read buffer of a connection.
const HEAD_BYTES: usize = 32 << 10;
/// Requests at a time of one HTTP/2 connection. An API server that has more opens another connection; it works on 600
/// requests at most, which are 38 connections.
const STREAMS: u32 = 16;
/// Bytes that a client may send ahead of what is read, per connection and per stream: 64 KiB is what HTTP/2 begins with, so
/// that the review of most pods is on its way at once. A request is always read, so one stream does not hold up the others.
const WINDOW: u32 = 64 << 10;

/// How a listener speaks.
#[derive(Debug, Clone)]
pub enum Protocol {
    /// HTTP/1.1 in the clear.
    Plain,
    /// HTTP/1.1 or HTTP/2, whatever the client begins with after the handshake.
    Tls(Arc<ServerConfig>),
}

/// A socket with what is served on it.
#[derive(Debug)]
pub struct Listener {
    /// The open socket.
    pub socket: TcpListener,
    /// How it speaks.
    pub protocol: Protocol,
    /// What it serves.
    pub router: Router,
}

/// Serves `listener` until `end` is done; then closes the socket, tells clients to go, lets running requests end
/// within the grace period, and returns.
pub async fn serve(listener: Listener, limits: Limits, metrics: Arc<Metrics>, end: impl Future<Output = ()>) {
    let Listener {
        socket,
        protocol,
        router,
    } = listener;
    let http = http(&protocol, limits);
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(limits.connections));
    let peers = Peers::new(limits);
    let mut end = pin!(end);
    loop {
        let accepted = tokio::select! {
            () = &mut end => break,
            accepted = accept(&socket, &permits) => accepted,
        };
        match accepted {
            Ok((stream, address, permit)) => {
                let Some(place) = peers.admit(address.ip()) else {
                    metrics.connections_refused.inc();
                    continue;
                };
                let connection = Connection {
                    http: http.clone(),
                    router: router.clone(),
                    limits,
                    watcher: graceful.watcher(),
                    metrics: Arc::clone(&metrics),
                    _permit: permit,
                    _place: place,
                };
                tokio::spawn(connection.run(stream, protocol.clone()));
            }
            // A client that is gone already needs no pause; too many open files would spin without one.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(socket);
    if timeout(limits.grace, graceful.shutdown()).await.is_err() {
        tracing::warn!("connections were still open after {:?}", limits.grace);
    }
}

/// A permit first: connections beyond the limit stay in the kernel's backlog and cost us nothing.
async fn accept(
    socket: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, address) = socket.accept().await?;
    Ok((stream, address, permit))
}

/// HTTP within the limits.
fn http(protocol: &Protocol, limits: Limits) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        // hyper's one timer is for a head and for the pause before it.
        .header_read_timeout(limits.idle)
        .max_buf_size(HEAD_BYTES);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW)
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(limits.idle / 4)
        .keep_alive_timeout(limits.write);
    match protocol {
        Protocol::Plain => http.http1_only(),
        Protocol::Tls(_) => http,
    }
}

/// One client.
struct Connection {
    http: auto::Builder<TokioExecutor>,
    router: Router,
    limits: Limits,
    watcher: Watcher,
    metrics: Arc<Metrics>,
    _permit: OwnedSemaphorePermit,
    _place: Place,
}

impl Connection {
    async fn run(self, stream: TcpStream, protocol: Protocol) {
        // Answers are written whole; waiting for more would only delay them.
        let _ = stream.set_nodelay(true);
        let connections = self.metrics.connections.clone();
        connections.inc();
        // One that takes nothing at all would hold its place for ever.
        let mut stream = Box::pin(TimeoutWriter::new(stream));
        stream.as_mut().set_timeout_pinned(Some(self.limits.write));
        let outcome = match protocol {
            Protocol::Plain => self.speak(stream).await,
            Protocol::Tls(config) => self.tls(stream, config).await,
        };
        connections.dec();
        if let Err(error) = outcome {
            tracing::debug!(error, "connection ended");
        }
    }

    async fn tls(self, stream: Pin<Box<TimeoutWriter<TcpStream>>>, config: Arc<ServerConfig>) -> Result<(), String> {
        let handshake = timeout(self.limits.handshake, TlsAcceptor::from(config).accept(stream)).await;
        let stream = handshake.map_err(|_| "the handshake took too long".to_owned())?;
        let stream = stream.map_err(|error| format!("the handshake failed: {error}"))?;
        self.speak(stream).await
    }

    /// HTTP to its end; gives up on a client that sends no request.
    async fn speak(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<(), String> {
        let seen = Arc::new(AtomicBool::new(false));
        let note = Arc::clone(&seen);
        let service = self.router.map_request(move |request: Request<Incoming>| {
            note.store(true, Ordering::Relaxed);
            request
        });
        let service = TowerToHyperService::new(service);
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        let silent = async {
            sleep(self.limits.handshake).await;
            if seen.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            outcome = self.watcher.watch(connection) => outcome.map_err(|error| error.to_string()),
            () = silent => Err("no request came in time".to_owned()),
        }
    }
}
