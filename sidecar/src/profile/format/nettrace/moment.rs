//! What all threads did at one moment: the last whole tick of the sample profiler.
//!
//! The runtime stands still for a tick, and each managed thread has one sample in it. Called by [`super::collector`].

use std::collections::BTreeMap;

use super::sampled_threads::Sample;

/// Threads that are listed; a runtime with more would take gigabytes for their stacks.
const MAX_THREADS: usize = 100_000;

/// Ticks by their threads.
#[derive(Debug, Default)]
pub(super) struct Moment {
    whole: BTreeMap<u64, Sample>,
    /// May be cut by the end of the session.
    current: BTreeMap<u64, Sample>,
}

impl Moment {
    /// Takes the next sample. One thread samples all others, so that a thread that comes again begins the next tick.
    pub(super) fn add(&mut self, sample: Sample) {
        if self.current.contains_key(&sample.thread) {
            self.whole = std::mem::take(&mut self.current);
        }
        if self.current.len() < MAX_THREADS {
            self.current.insert(sample.thread, sample);
        }
    }

    /// A sample of each thread, in the order of their numbers.
    pub(super) fn finish(self) -> impl Iterator<Item = Sample> {
        let tick = if self.whole.is_empty() {
            self.current
        } else {
            self.whole
        };
        tick.into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::super::clr::ThreadState;
    use super::super::stack_tree::StackId;
    use super::*;

    fn at_end(samples: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut moment = Moment::default();
        for &(thread, time) in samples {
            moment.add(Sample {
                thread,
                stack: StackId::default(),
                state: ThreadState::Managed,
                time,
            });
        }
        moment.finish().map(|sample| (sample.thread, sample.time)).collect()
    }

    #[test]
    fn a_moment_is_the_last_tick_that_was_not_cut() {
        assert_eq!(
            at_end(&[(2, 1), (1, 1), (2, 5), (1, 5), (3, 5), (2, 9)]),
            [(1, 5), (2, 5), (3, 5)]
        );
        assert_eq!(at_end(&[(2, 1), (1, 1), (1, 5), (1, 9)]), [(1, 5)], "one has ended");
        assert_eq!(at_end(&[(2, 1), (1, 1)]), [(1, 1), (2, 1)], "the only tick");
        assert_eq!(at_end(&[]), []);
    }
}
