//! The memory for all bodies that are on their way, as one sum.
//!
//! When it is used up, the body that has been on its way longest loses its share. A body of an API server is there within
//! milliseconds, so the oldest one is of a client that stalls: with places or shares of a fixed size, whoever takes them
//! all and waits would keep out every review. Called by `request_body`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What bodies may hold together.
#[derive(Debug)]
pub(super) struct BodyMemory {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    next: u64,
    /// By age, the oldest first.
    bodies: BTreeMap<u64, Held>,
}

#[derive(Debug)]
struct Held {
    bytes: usize,
    taken: Arc<Notify>,
}

impl BodyMemory {
    /// All bodies together hold at most `bytes`.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            most: bytes,
            state: Mutex::default(),
        }
    }

    /// The share of a new body, empty so far.
    pub(super) fn share(&self) -> Share<'_> {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        let taken = Arc::new(Notify::new());
        let held = Held {
            bytes: 0,
            taken: Arc::clone(&taken),
        };
        state.bodies.insert(number, held);
        Share {
            memory: self,
            number,
            taken,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.state().used
    }
}

impl State {
    fn remove(&mut self, number: u64) -> Option<Held> {
        let held = self.bodies.remove(&number)?;
        self.used -= held.bytes;
        Some(held)
    }
}

/// What one body holds; given back when dropped.
#[derive(Debug)]
pub(super) struct Share<'a> {
    memory: &'a BodyMemory,
    number: u64,
    taken: Arc<Notify>,
}

impl Share<'_> {
    /// Takes `bytes` more, from older bodies if need be. False if this is the oldest one, or lost its share before: then
    /// nothing may be kept.
    pub(super) fn grow(&self, bytes: usize) -> bool {
        let mut state = self.memory.state();
        while state.bodies.contains_key(&self.number) && state.used + bytes > self.memory.most {
            let oldest = state.bodies.iter().find(|(_, held)| held.bytes > 0);
            let oldest = oldest.map_or(self.number, |(number, _)| *number);
            if let Some(held) = state.remove(oldest) {
                held.taken.notify_one();
            }
        }
        let Some(own) = state.bodies.get_mut(&self.number) else {
            return false;
        };
        own.bytes += bytes;
        state.used += bytes;
        true
    }

    /// Ends when the share was taken away.
    pub(super) async fn taken(&self) {
        self.taken.notified().await;
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.memory.state().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_oldest_body_that_holds_something_makes_room() {
        let memory = BodyMemory::new(100);
        let (empty, old, new) = (memory.share(), memory.share(), memory.share());
        assert!(old.grow(60) && new.grow(30));
        assert!(new.grow(40), "taken from the older one");
        assert_eq!(memory.used(), 70);
        assert!(old.taken().now_or_never().is_some() && !old.grow(1));
        assert!(new.taken().now_or_never().is_none());
        assert!(empty.grow(30), "there is room");
        assert!(!empty.grow(1), "it is the oldest itself");
        assert_eq!(memory.used(), 70);
    }

    #[test]
    fn a_share_is_given_back_once() {
        let memory = BodyMemory::new(100);
        let (old, new) = (memory.share(), memory.share());
        assert!(old.grow(80) && new.grow(50));
        drop(old);
        assert_eq!(memory.used(), 50);
        drop(new);
        assert_eq!(memory.used(), 0);
        assert!(!memory.share().grow(101), "more than there is");
    }
}
