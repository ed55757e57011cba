//! The end: not ready first, then, when no more requests come, closed.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use crate::readiness::Readiness;

/// The signals that end us.
#[derive(Debug)]
pub(super) struct Shutdown {
    terminate: Signal,
    interrupt: Signal,
}

impl Shutdown {
    /// Signals before this end us the default way: nothing has been started yet.
    pub(super) fn prepare() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn signalled(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Ends when the listener may close. For `drain`, new requests are still answered: endpoints are taken out of a
    /// service a little after readiness changes. A second signal cuts this short.
    pub(super) async fn drained(&mut self, readiness: &Readiness, drain: Duration) {
        let signal = self.signalled().await;
        readiness.drain();
        tracing::info!(signal, ?drain, "shutting down: not ready any more, still answering");
        tokio::select! {
            () = sleep(drain) => {}
            signal = self.signalled() => tracing::info!(signal, "second signal: closing now"),
        }
    }
}
