//! One run at a time for whoever asks the same, and its answer for all who asked before it began.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::time::Instant;

/// The newest answer and when finding it began.
type Lane<V> = tokio::sync::Mutex<Option<(Instant, V)>>;

/// Runs by question. An answer lives no longer than those who wait for it.
#[derive(Debug)]
pub(super) struct SharedRuns<K, V>(Mutex<HashMap<K, Weak<Lane<V>>>>);

impl<K, V> Default for SharedRuns<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> SharedRuns<K, V> {
    /// The answer of `run`, or that of somebody else's run which began after this call: what an earlier one saw may be over.
    pub(super) async fn answer<E>(&self, question: K, run: impl Future<Output = Result<V, E>>) -> Result<V, E> {
        let asked = Instant::now();
        let lane = self.lane(question);
        let mut newest = lane.lock().await;
        if let Some((began, answer)) = &*newest
            && *began >= asked
        {
            return Ok(answer.clone());
        }
        let began = Instant::now();
        let answer = run.await?;
        // Who comes from now on may not have it, and it can be large.
        *newest = (Arc::strong_count(&lane) > 1).then(|| (began, answer.clone()));
        Ok(answer)
    }

    fn lane(&self, question: K) -> Arc<Lane<V>> {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(&question).and_then(Weak::upgrade) {
            return lane;
        }
        lanes.retain(|_, lane| lane.strong_count() > 0);
        let lane = Arc::default();
        lanes.insert(question, Arc::downgrade(&lane));
        lane
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_hundred_who_ask_at_once_cause_two_runs_and_see_nothing_older_than_their_question() {
        let shared = SharedRuns::default();
        let runs = AtomicUsize::new(0);
        let ask = |question, after: u64| {
            let run = async {
                tokio::time::sleep(Duration::from_secs(2)).await;
                Ok::<_, Infallible>(runs.fetch_add(1, Ordering::Relaxed))
            };
            let shared = &shared;
            async move {
                tokio::time::sleep(Duration::from_secs(after)).await;
                shared.answer(question, run).await.unwrap()
            }
        };
        let answers = futures_util::future::join_all((0..100).map(|asker| ask("all", u64::from(asker > 0)))).await;
        assert_eq!((answers[0], runs.load(Ordering::Relaxed)), (0, 2));
        assert!(answers[1..].iter().all(|answer| *answer == 1), "{answers:?}");
        // Nothing is kept for those who come later, nor mixed up between questions.
        assert_eq!(futures_util::future::join(ask("all", 0), ask("one", 0)).await, (2, 3));
    }
}
