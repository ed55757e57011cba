//! How many events were lost, by the numbers that every thread gives to its own.
//!
//! Called by [`super::decoder`].

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

/// Threads whose numbers are known. A process has some hundred at a time; of those that ended, version 4 does not tell.
const MAX_THREADS: usize = 1 << 20;

/// The numbers seen so far.
#[derive(Debug, Default)]
pub struct SequenceNumbers {
    last: HashMap<u64, u32, ahash::RandomState>,
    /// The thread of the event before, which is mostly that of the next: it is not looked up.
    current: Option<(u64, u32)>,
    lost: u64,
}

impl SequenceNumbers {
    /// An event of `thread` with this number. Numbers begin at 1 for each thread.
    pub fn event(&mut self, thread: u64, number: u32) {
        let before = match self.current {
            Some((current, before)) if current == thread => Some(before),
            _ => {
                self.keep();
                self.last.get(&thread).copied()
            }
        };
        // From 1 on again: a new thread with the number of one that ended.
        if number != 1 {
            self.lost += missing(before.unwrap_or(0), number.wrapping_sub(1));
        }
        self.current = Some((thread, number));
    }

    /// A sequence point says that `thread` has given out this number.
    pub fn bound(&mut self, thread: u64, number: u32) {
        self.keep();
        let room = self.last.len() < MAX_THREADS;
        match self.last.entry(thread) {
            Entry::Occupied(mut last) => {
                let gap = missing(*last.get(), number);
                self.lost += gap;
                if gap > 0 {
                    last.insert(number);
                }
            }
            Entry::Vacant(last) => {
                // One of a time before ours, or of which all events were lost.
                self.lost += u64::from(number);
                if room {
                    last.insert(number);
                }
            }
        }
    }

    /// The thread has ended.
    pub fn forget(&mut self, thread: u64) {
        self.keep();
        self.last.remove(&thread);
    }

    /// All threads have other numbers from now on.
    pub fn clear(&mut self) {
        self.current = None;
        self.last.clear();
    }

    /// Events that were numbered and did not come.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn keep(&mut self) {
        if let Some((thread, number)) = self.current.take()
            && (self.last.len() < MAX_THREADS || self.last.contains_key(&thread))
        {
            self.last.insert(thread, number);
        }
    }
}

/// Numbers after `before` up to `now`; none where `now` is earlier. They wrap around.
fn missing(before: u32, now: u32) -> u64 {
    let gap = now.wrapping_sub(before);
    if gap < 1 << 31 { u64::from(gap) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(events: &[(u64, u32)]) -> u64 {
        let mut numbers = SequenceNumbers::default();
        for &(thread, number) in events {
            numbers.event(thread, number);
        }
        numbers.lost()
    }

    #[test]
    fn gaps_are_counted_per_thread() {
        assert_eq!(lost(&[(7, 1), (7, 2), (9, 1), (7, 3), (9, 2)]), 0);
        assert_eq!(lost(&[(7, 1), (9, 1), (7, 4), (9, 2), (7, 5)]), 2);
        assert_eq!(lost(&[(7, 3)]), 2, "the first two of a thread");
        assert_eq!(
            lost(&[(7, 1), (7, 2), (7, 1), (7, 2)]),
            0,
            "a new thread with the number of an old one"
        );
        assert_eq!(
            lost(&[(7, u32::MAX), (7, 0)]) - lost(&[(7, u32::MAX)]),
            0,
            "numbers wrap around"
        );
    }

    #[test]
    fn a_sequence_point_tells_of_events_that_never_came() {
        let mut numbers = SequenceNumbers::default();
        numbers.event(7, 1);
        numbers.bound(7, 1);
        numbers.bound(9, 0);
        assert_eq!(numbers.lost(), 0);
        numbers.bound(7, 4);
        numbers.bound(9, 2);
        assert_eq!(numbers.lost(), 5);
        numbers.event(7, 5);
        numbers.event(9, 3);
        assert_eq!(numbers.lost(), 5, "they are counted once");
    }
}
