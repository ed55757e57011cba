//! Accepts connections and runs the router over them, within limits: the server lives beside an app, and must stay
//! small whatever clients do.

mod client_socket;
mod exchange;
mod places;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Activity;
use client_socket::ClientSocket;
use places::{Place, Places};

pub(super) use exchange::Overloaded;

/// What clients may use up.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time. Beyond it those without a request give way; more wait in the backlog of the listeners.
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
            // After the 25 s that captures may take to end, and within the 30 s that Kubernetes gives.
            grace: Duration::from_secs(3),
        }
    }
}

/// Serves on each listener its router until `shutdown` is done; then closes the listeners, lets running requests end
/// within the grace period, and returns. `activity` notices the requests.
///
/// Running captures are not ended here but by `shutdown`: [`crate::capture::Captures::shut_down`] also answers the clients that
/// wait.
pub async fn serve(
    listeners: Vec<(TcpListener, Router)>,
    limits: Limits,
    activity: Arc<Activity>,
    shutdown: impl Future<Output = ()>,
) {
    let graceful = Arc::new(GracefulShutdown::new());
    let grace = limits.grace;
    let server = Arc::new(Server {
        places: Places::new(limits.connections),
        limits,
        activity,
    });
    let mut accepting = JoinSet::new();
    for (listener, router) in listeners {
        accepting.spawn(Arc::clone(&server).run(listener, router, Arc::clone(&graceful)));
    }
    shutdown.await;
    accepting.shutdown().await;
    // The loops are gone, and with them all other references.
    let Some(graceful) = Arc::into_inner(graceful) else {
        return;
    };
    if timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::warn!("connections were still open after {} s", grace.as_secs());
    }
}

/// What all connections share.
struct Server {
    limits: Limits,
    places: Arc<Places>,
    activity: Arc<Activity>,
}

impl Server {
    /// One listener's accept loop. One connection is accepted beyond the limit, so that it is known that somebody waits;
    /// the others stay in the kernel's backlog and cost us nothing.
    async fn run(self: Arc<Self>, listener: TcpListener, router: Router, graceful: Arc<GracefulShutdown>) {
        loop {
            match listener.accept().await {
                Ok((socket, _)) => {
                    let place = self.places.take(&self.activity).await;
                    let router = TowerToHyperService::new(router.clone());
                    tokio::spawn(Arc::clone(&self).answer(socket, router, place, graceful.watcher()));
                    // It reads its request before the next connection could ask it to give way.
                    tokio::task::yield_now().await;
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

    /// Answers one client. HTTP/1 only: the other versions cost memory per connection, and no client speaks them
    /// without TLS.
    ///
    /// If the client goes away while a handler works, hyper drops the handler's future: that is what cancels a capture
    /// without a client.
    async fn answer(
        self: Arc<Self>,
        socket: TcpStream,
        router: TowerToHyperService<Router>,
        place: Place,
        watcher: Watcher,
    ) {
        let exchange = Arc::clone(&place.exchange);
        let socket = ClientSocket::new(socket, self.limits.write_time, Arc::clone(&exchange));
        let service = service_fn(|mut request: Request<Incoming>| {
            exchange.begin(&mut request);
            let answer = router.call(request);
            let exchange = Arc::clone(&exchange);
            async move { answer.await.map(|answer| answer.map(|body| exchange.follow(body))) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head_time)
            .max_buf_size(self.limits.head_bytes)
            .serve_connection(TokioIo::new(socket), service);
        let ended = tokio::select! {
            ended = watcher.watch(connection) => ended,
            () = place.exchange.must_give_way() => return,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
        }
    }
}

#[cfg(test)]
mod tests;
