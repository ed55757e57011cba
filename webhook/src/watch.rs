//! Following a kind of object of the API server for ever: one back-off, one line of log per change of state.
//!
//! Must not know what is followed. Called by `namespaces` and `sidecars`; `authority` and `cli::serve` have its back-off for
//! what else they ask the API server.

use std::future::ready;
use std::time::Duration;

use backon::ExponentialBuilder;
use futures_util::{Stream, StreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::{Backoff, ResetTimerBackoff};
use kube::runtime::watcher::{self, Event, ExponentialBackoff};
use tokio::time::Instant;

/// After the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// At most; up to as much again is added by chance, so that replicas do not ask together.
const LONGEST: Duration = Duration::from_secs(60);
/// Without a failure for so long, the next one is a first one. A watch that goes on tells nothing until an object changes.
const CALM: Duration = Duration::from_secs(180);

/// Pauses after failures: a second, then longer and longer, up to two minutes.
pub(crate) fn backoff() -> impl Backoff {
    let growing = ExponentialBuilder::default()
        .with_min_delay(FIRST)
        .with_max_delay(LONGEST)
        .with_jitter()
        .without_max_times();
    ResetTimerBackoff::new(ExponentialBackoff::from(growing), CALM)
}

/// What the log says when things change.
pub(crate) struct Sentences {
    /// It does not work, and what to do.
    pub(crate) failing: &'static str,
    /// It works again.
    pub(crate) again: &'static str,
}

/// Hands over every event and every failure of `events`, a `watcher`, for ever.
///
/// The pauses begin anew when a list is complete or an object changed. Not earlier, as a `watcher` with its
/// `default_backoff` does: each attempt to list begins with an event that is no error, so that without the right to list it
/// would ask each second for ever.
pub(crate) async fn follow<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    sentences: Sentences,
    mut take: impl FnMut(Result<Event<K>, &watcher::Error>),
) {
    let mut failed: Option<Instant> = None;
    let proofs = events.filter_map(|event| {
        let proof = match event {
            Ok(event) => {
                let proves = !matches!(event, Event::Init | Event::InitApply(_));
                take(Ok(event));
                proves.then_some(Ok(()))
            }
            Err(error) => {
                take(Err(&error));
                Some(Err(error))
            }
        };
        ready(proof)
    });
    let mut proofs = std::pin::pin!(proofs.backoff(backoff()));
    // A watcher does not end.
    while let Some(proof) = proofs.next().await {
        match proof {
            Ok(()) => {
                if failed.take().is_some() {
                    tracing::info!("{}", sentences.again);
                }
            }
            Err(error) => {
                if failed.replace(Instant::now()).is_none_or(|at| at.elapsed() > CALM) {
                    tracing::warn!(%error, "{}", sentences.failing);
                }
            }
        }
    }
}
