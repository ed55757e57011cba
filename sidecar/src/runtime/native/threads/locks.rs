//! Which thread waits for a lock that which other one has, and who waits for each other. Pure.

use std::collections::BTreeMap;

use super::futex::Futex;

/// Locks of one thread that are told.
const MOST_HELD: usize = 64;

/// The locks for which threads wait. Threads are told by their numbers in their own pid namespace.
#[derive(Debug, Default)]
pub(super) struct Locks {
    /// Who waits, for what.
    waiting: BTreeMap<u64, Futex>,
    /// Number of the deadlock by its threads.
    deadlocks: BTreeMap<u64, u64>,
}

impl Locks {
    /// Those of threads that wait, of which `is_thread` knows all there are: what looks like an owner and is none is no lock.
    pub(super) fn new(waiting: impl Iterator<Item = (u64, Futex)>, is_thread: impl Fn(u64) -> bool) -> Self {
        let waiting =
            waiting.filter(|(thread, futex)| futex.owner().is_some_and(|owner| owner != *thread && is_thread(owner)));
        Self {
            waiting: waiting.collect(),
            deadlocks: BTreeMap::new(),
        }
    }

    /// Finds threads that wait for each other. All were seen at different times: `now` says what one waits for at this moment, and
    /// only who waits for the same still is in a deadlock.
    pub(super) fn find_deadlocks(&mut self, now: impl Fn(u64) -> Option<Futex>) {
        let mut met = BTreeMap::new();
        let mut number = 0;
        for start in self.waiting.keys() {
            let mut way = Vec::new();
            let mut thread = *start;
            // A way ends at a thread that waits for no one, or has been on a way before.
            while let Some(futex) = self.waiting.get(&thread)
                && met.insert(thread, *start).is_none()
            {
                way.push(thread);
                thread = futex.owner().unwrap_or_default();
            }
            let Some(first) = way.iter().position(|member| *member == thread) else {
                continue;
            };
            let members = way.get(first..).unwrap_or_default();
            if members
                .iter()
                .all(|member| now(*member).as_ref() == self.waiting.get(member))
            {
                number += 1;
                self.deadlocks.extend(members.iter().map(|member| (*member, number)));
            }
        }
    }

    /// What a thread waits for.
    pub(super) fn waits_for(&self, thread: u64) -> Option<String> {
        self.waiting.get(&thread).map(|futex| name(futex.address))
    }

    /// What a thread has for which others wait.
    pub(super) fn held_by(&self, thread: u64) -> Vec<String> {
        let waited = self.waiting.values().filter(|futex| futex.owner() == Some(thread));
        let mut held: Vec<u64> = waited.map(|futex| futex.address).collect();
        held.sort_unstable();
        held.dedup();
        held.truncate(MOST_HELD);
        held.into_iter().map(name).collect()
    }

    /// The number of the deadlock to which a thread belongs, counted from 1.
    pub(super) fn deadlock(&self, thread: u64) -> Option<u64> {
        self.deadlocks.get(&thread).copied()
    }
}

fn name(address: u64) -> String {
    format!("mutex {address:#x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Threads below 10, each with the lock of its own number; these wait for that of another.
    fn locks(waits: &[(u64, u32)]) -> Locks {
        let waiting = waits.iter().map(|(thread, owner)| (*thread, Futex::of_owner(*owner)));
        Locks::new(waiting, |thread| thread < 10)
    }

    fn deadlocked(locks: &Locks) -> Vec<Option<u64>> {
        (1..8).map(|thread| locks.deadlock(thread)).collect()
    }

    #[test]
    fn who_waits_for_each_other_is_in_a_deadlock_and_who_waits_for_them_is_not() {
        let mut locks = locks(&[(1, 2), (2, 3), (3, 2), (4, 1), (5, 6), (6, 5), (7, 8)]);
        let seen = locks.waiting.clone();
        locks.find_deadlocks(|thread| seen.get(&thread).copied());
        assert_eq!(
            deadlocked(&locks),
            [None, Some(1), Some(1), None, Some(2), Some(2), None]
        );
        assert_eq!(locks.waits_for(1).unwrap(), locks.held_by(2)[0]);
        assert_eq!(locks.held_by(2).len(), 1, "two wait for the same one");
        assert_eq!(locks.held_by(8).len(), 1);
        assert_eq!(locks.waits_for(8), None);
    }

    #[test]
    fn who_has_gone_on_since_was_in_none() {
        let mut locks = locks(&[(1, 2), (2, 1)]);
        let seen = locks.waiting.clone();
        locks.find_deadlocks(|thread| seen.get(&thread).copied().filter(|_| thread == 1));
        assert_eq!(deadlocked(&locks), [None; 7]);
    }

    #[test]
    fn what_is_no_thread_of_the_process_or_the_waiting_one_itself_has_no_lock() {
        let locks = locks(&[(1, 77), (2, 2)]);
        assert_eq!((locks.waits_for(1), locks.waits_for(2)), (None, None));
        assert!(locks.held_by(77).is_empty());
    }
}
