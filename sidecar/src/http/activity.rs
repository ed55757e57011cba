//! When the API was last used, so that a server nobody can stop can end by itself (`--exit-when-idle`).
//!
//! Machines that ask on their own ([`UNNOTICED`]) are no use. Called by the router for each request, and by `serve`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::{Instant, sleep};

use crate::capture::Captures;

/// Paths of probes and scrapers: they would keep a server alive for ever.
const UNNOTICED: [&str; 2] = ["/healthz", "/metrics"];

/// The requests of now and the end of the last.
#[derive(Debug)]
pub struct Activity(Mutex<(usize, Instant)>);

impl Default for Activity {
    fn default() -> Self {
        Self(Mutex::new((0, Instant::now())))
    }
}

impl Activity {
    /// Waits until there has been no request and no running capture for `time`, or up to a quarter longer.
    pub async fn idle(&self, time: Duration, captures: &Captures) {
        loop {
            sleep(time / 4).await;
            let captures_run = captures.counters().running() > 0;
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let (requests, last) = *state;
            if requests > 0 || captures_run {
                *state = (requests, Instant::now());
            } else if last.elapsed() >= time {
                return;
            }
        }
    }

    fn change(&self, change: impl FnOnce(usize) -> usize) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = (change(state.0), Instant::now());
    }
}

/// Notices a request from its head to the head of its answer, or until its client goes away.
pub(super) async fn notice(State(activity): State<Arc<Activity>>, request: Request, next: Next) -> Response {
    struct Running(Arc<Activity>);
    impl Drop for Running {
        fn drop(&mut self) {
            self.0.change(|requests| requests - 1);
        }
    }
    if UNNOTICED.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    activity.change(|requests| requests + 1);
    let _running = Running(activity);
    next.run(request).await
}
