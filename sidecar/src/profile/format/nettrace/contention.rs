//! Waits for monitors: where each began and how long it took.
//!
//! Called by [`super::collector`].

use hashbrown::HashMap;

use super::stack_tree::StackId;

/// Threads that wait at a time.
const MAX_THREADS: usize = 1 << 20;

/// Waits that have begun, by thread.
#[derive(Debug, Default)]
pub(super) struct Contention {
    waiting: HashMap<u64, (StackId, u64), ahash::RandomState>,
}

impl Contention {
    /// A thread begins to wait.
    pub(super) fn start(&mut self, thread: u64, stack: StackId, time: u64) {
        if self.waiting.len() < MAX_THREADS || self.waiting.contains_key(&thread) {
            self.waiting.insert(thread, (stack, time));
        }
    }

    /// Its wait is over: where it began, and its nanoseconds, which the runtime tells from .NET Core 3.0 on. A wait from before the
    /// trace has only what is told at its end.
    pub(super) fn stop(&mut self, thread: u64, stack: StackId, time: u64, told: Option<u64>) -> Option<(StackId, u64)> {
        match self.waiting.remove(&thread) {
            Some((began, since)) => Some((began, told.unwrap_or_else(|| time.saturating_sub(since)))),
            None => told.map(|told| (stack, told)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_where_it_began_and_as_long_as_the_runtime_says() {
        let mut contention = Contention::default();
        contention.start(1, 10, 100);
        contention.start(2, 20, 100);
        assert_eq!(contention.stop(1, 11, 400, Some(290)), Some((10, 290)));
        assert_eq!(contention.stop(2, 21, 400, None), Some((20, 300)));
        assert_eq!(contention.stop(3, 30, 400, Some(1000)), Some((30, 1000)), "from before");
        assert_eq!(contention.stop(3, 30, 400, None), None);
    }
}
