//! How long each sample stands for: until the next one of its thread.
//!
//! The runtime stops all threads for a tick, and ticks are late where the process is short of CPU: an interval that is taken for
//! granted would count too little. Called by [`super::collector`].

use hashbrown::HashMap;

use super::clr::ThreadState;
use super::stack_tree::StackId;

/// A longer pause is not time of the function seen before it: the thread has ended, and another has its number, or the process was
/// stopped.
const LONGEST_NANOSECONDS: u64 = 1_000_000_000;
/// Threads that have been sampled.
const MAX_THREADS: usize = 1 << 20;

/// A thread at a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) thread: u64,
    pub(super) stack: StackId,
    pub(super) state: ThreadState,
    /// Nanoseconds.
    pub(super) time: u64,
}

/// The last sample of each thread.
#[derive(Debug, Default)]
pub(super) struct SampledThreads {
    last: HashMap<u64, Sample, ahash::RandomState>,
    /// What a sample stands for that has no next one.
    interval: u64,
}

impl SampledThreads {
    /// For a sampler with this interval in nanoseconds; 0 if it is not known.
    pub(super) fn new(interval: u64) -> Self {
        /// That of .NET up to version 10.
        const USUAL: u64 = 1_000_000;
        Self {
            interval: if interval == 0 { USUAL } else { interval },
            ..Self::default()
        }
    }

    /// Takes the next sample of a thread; gives back the one before it, and how long that stood.
    pub(super) fn next(&mut self, sample: Sample) -> Option<(Sample, u64)> {
        if self.last.len() >= MAX_THREADS && !self.last.contains_key(&sample.thread) {
            return Some((sample, self.interval));
        }
        let before = self.last.insert(sample.thread, sample)?;
        let time = sample.time.saturating_sub(before.time);
        let time = if time > LONGEST_NANOSECONDS {
            self.interval
        } else {
            time
        };
        Some((before, time))
    }

    /// The last sample of every thread.
    pub(super) fn finish(&mut self) -> Vec<(Sample, u64)> {
        let interval = self.interval;
        self.last.drain().map(|(_, sample)| (sample, interval)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_stands_until_the_next_of_its_thread() {
        let mut threads = SampledThreads::new(1_000_000);
        let sample = |thread, stack, time| Sample {
            thread,
            stack,
            state: ThreadState::Managed,
            time,
        };
        let mut next = |thread, stack, time: u64| {
            let next = threads.next(sample(thread, stack, time));
            next.map(|(sample, time)| (sample.stack, time))
        };
        assert_eq!(next(1, 10, 0), None);
        assert_eq!(next(2, 20, 0), None);
        assert_eq!(next(1, 11, 3_000_000), Some((10, 3_000_000)), "a late tick");
        assert_eq!(next(1, 12, 2_000_000), Some((11, 0)), "out of order");
        assert_eq!(
            next(2, 21, 9_000_000_000),
            Some((20, 1_000_000)),
            "another thread by now"
        );
        let mut rest: Vec<_> = threads
            .finish()
            .iter()
            .map(|(sample, time)| (sample.stack, *time))
            .collect();
        rest.sort_unstable();
        assert_eq!(rest, [(12, 1_000_000), (21, 1_000_000)]);
    }
}
