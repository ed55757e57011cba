//! When the API was last used, so that a server nobody can stop can end by itself (`--exit-when-idle`).
//!
//! Machines that ask on their own ([`UNNOTICED`]) are no use. Each connection holds an [`InUse`] for the request it
//! answers, until the last byte of the answer is out ([`super::serve`]).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

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
    /// Waits until there has been no request, and nothing else that makes `busy` true, for `time` or up to a quarter
    /// longer.
    pub async fn idle(&self, time: Duration, busy: impl Fn() -> bool) {
        loop {
            sleep(time / 4).await;
            let busy = busy();
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let (requests, last) = *state;
            if requests > 0 || busy {
                *state = (requests, Instant::now());
            } else if last.elapsed() >= time {
                return;
            }
        }
    }

    /// Notices a request for `path` until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>, path: &str) -> Option<InUse> {
        (!UNNOTICED.contains(&path)).then(|| {
            self.change(|requests| requests + 1);
            InUse(Arc::clone(self))
        })
    }

    fn change(&self, change: impl FnOnce(usize) -> usize) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = (change(state.0), Instant::now());
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct InUse(Arc<Activity>);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.change(|requests| requests - 1);
    }
}
