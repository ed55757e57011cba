//! Accepts connections and runs a router over them, within limits, until it is told to end.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutWriter;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::metrics::Metrics;

/// What clients may use up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time; more wait in the backlog of the listener.
    pub connections: usize,
    /// For the handshake, and again for the first request after it.
    pub handshake: Duration,
    /// Between two requests. Above the 90 s after which an API server closes its idle connections: whoever closes
    /// last never closes into a request that is on its way.
    pub idle: Duration,
    /// How long a client may take not one byte of its answer.
    pub write: Duration,
    /// How long answers may take after the end was announced.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            handshake: Duration::from_secs(5),
            idle: Duration::from_secs(120),
            write: Duration::from_secs(10),
            grace: Duration::from_secs(5),
        }
    }
}

/// Bytes of a head, and of the read buffer of a connection.
const HEAD_BYTES: usize = 32 << 10;
/// Requests at a time of one HTTP/2 connection.
const STREAMS: u32 = 64;

/// How a listener speaks.
#[derive(Debug, Clone)]
pub enum Protocol {
    /// HTTP/1.1 in the clear.
    Plain,
    /// HTTP/1.1 or HTTP/2, whatever the handshake agrees on.
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
    let (stopping, stop) = watch::channel(false);
    // Every connection holds a sender; the receiver ends with the last of them.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    let Listener {
        socket,
        protocol,
        router,
    } = listener;
    let permits = Arc::new(Semaphore::new(limits.connections));
    let mut end = pin!(end);
    loop {
        let accepted = tokio::select! {
            () = &mut end => break,
            accepted = accept(&socket, &permits) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                let connection = Connection {
                    router: router.clone(),
                    limits,
                    stop: stop.clone(),
                    metrics: Arc::clone(&metrics),
                    _permit: permit,
                    _open: open.clone(),
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
    drop((socket, open));
    stopping.send_replace(true);
    if timeout(limits.grace, all_closed.recv()).await.is_err() {
        tracing::warn!("connections were still open after {:?}", limits.grace);
    }
}

/// A permit first: connections beyond the limit stay in the kernel's backlog and cost us nothing.
async fn accept(socket: &TcpListener, permits: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = socket.accept().await?;
    Ok((stream, permit))
}

/// One client.
struct Connection {
    router: Router,
    limits: Limits,
    stop: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
    _permit: OwnedSemaphorePermit,
    _open: mpsc::Sender<()>,
}

impl Connection {
    async fn run(self, stream: TcpStream, protocol: Protocol) {
        // Answers are written whole; waiting for more would only delay them.
        let _ = stream.set_nodelay(true);
        let metrics = Arc::clone(&self.metrics);
        metrics.connections.add(1);
        // One that takes nothing at all would hold its place for ever.
        let mut stream = Box::pin(TimeoutWriter::new(stream));
        stream.as_mut().set_timeout_pinned(Some(self.limits.write));
        let outcome = match protocol {
            Protocol::Plain => self.http1(stream).await,
            Protocol::Tls(config) => self.tls(stream, config).await,
        };
        metrics.connections.add(-1);
        if let Err(error) = outcome {
            tracing::debug!(error, "connection ended");
        }
    }

    async fn tls(self, stream: Pin<Box<TimeoutWriter<TcpStream>>>, config: Arc<ServerConfig>) -> Result<(), String> {
        let handshake = timeout(self.limits.handshake, TlsAcceptor::from(config).accept(stream)).await;
        let stream = handshake.map_err(|_| "the handshake took too long".to_owned())?;
        let stream = stream.map_err(|error| format!("the handshake failed: {error}"))?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.http2(stream).await
        } else {
            self.http1(stream).await
        }
    }

    async fn http1(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<(), String> {
        let seen = Arc::new(AtomicBool::new(false));
        let service = service(self.router, Arc::clone(&seen));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // hyper's one timer is for a head and for the pause before it.
            .header_read_timeout(self.limits.idle)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let connection = pin!(connection);
        drive(
            connection,
            http1::Connection::graceful_shutdown,
            seen,
            self.limits,
            self.stop,
        )
        .await
    }

    async fn http2(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<(), String> {
        let seen = Arc::new(AtomicBool::new(false));
        let service = service(self.router, Arc::clone(&seen));
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
            .keep_alive_interval(self.limits.idle / 4)
            .keep_alive_timeout(self.limits.write)
            .serve_connection(TokioIo::new(stream), service);
        let connection = pin!(connection);
        drive(
            connection,
            http2::Connection::graceful_shutdown,
            seen,
            self.limits,
            self.stop,
        )
        .await
    }
}

/// The router, with a note that a request has come.
fn service(
    router: Router,
    seen: Arc<AtomicBool>,
) -> impl hyper::service::Service<
    Request<hyper::body::Incoming>,
    Response = axum::response::Response,
    Error = std::convert::Infallible,
    Future = impl Future<Output = Result<axum::response::Response, std::convert::Infallible>> + Send + 'static,
> {
    service_fn(move |request: Request<hyper::body::Incoming>| {
        seen.store(true, Ordering::Relaxed);
        router.clone().oneshot(request.map(Body::new))
    })
}

/// Runs a connection to its end; gives up on one that sends no request, and asks it to end when we do.
async fn drive<C, E>(
    mut connection: Pin<&mut C>,
    shut_down: fn(Pin<&mut C>),
    seen: Arc<AtomicBool>,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) -> Result<(), String>
where
    C: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let mut first_request = pin!(sleep(limits.handshake));
    let mut waiting = true;
    let mut running = true;
    loop {
        tokio::select! {
            outcome = connection.as_mut() => return outcome.map_err(|error| error.to_string()),
            () = &mut first_request, if waiting => {
                if !seen.load(Ordering::Relaxed) {
                    return Err("no request came in time".to_owned());
                }
                waiting = false;
            }
            _ = stop.wait_for(|stop| *stop), if running => {
                shut_down(connection.as_mut());
                running = false;
            }
        }
    }
}
