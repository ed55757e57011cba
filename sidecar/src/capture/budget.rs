//! How many bytes may be written into the store: they are reserved before they are written, and all reservations
//! together never exceed the store. Nothing is measured while files grow.
//!
//! Must not know files. Called by the registry and by those who write into the store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::registry::Registry;
use crate::child::Room;

/// The bytes of a store, shared by all that write into it.
#[derive(Debug)]
pub struct Budget {
    max: u64,
    reserved: AtomicU64,
    /// Makes room by evicting captures.
    registry: Weak<Registry>,
}

/// Bytes reserved for one file; given back when dropped.
#[derive(Debug)]
pub struct Lease {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    /// Reserves `max` bytes at most; `registry` evicts captures when more are asked for than are free.
    pub fn new(max: u64, registry: Weak<Registry>) -> Arc<Self> {
        Arc::new(Self {
            max,
            reserved: AtomicU64::new(0),
            registry,
        })
    }

    /// Bytes reserved now.
    pub fn reserved(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }

    /// Bytes that may still be reserved without evicting anything.
    pub fn free(&self) -> u64 {
        self.max - self.reserved()
    }

    /// Reserves `bytes`, or as many of them as there can be.
    pub fn lease(self: &Arc<Self>, bytes: u64) -> Lease {
        let mut lease = Lease {
            budget: Arc::clone(self),
            bytes: 0,
        };
        lease.grow(bytes);
        lease
    }

    fn make_room(&self, bytes: u64) {
        if let Some(registry) = self.registry.upgrade() {
            while self.free() < bytes && registry.evict_for_bytes() {}
        }
    }
}

impl Lease {
    /// Bytes its file may have.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds `more` bytes, or as many of them as there can be after evicting captures. True if it grew.
    pub fn grow(&mut self, more: u64) -> bool {
        self.budget.make_room(more);
        let mut grown = 0;
        // Relaxed: the number guards itself and no other memory.
        let _ = self
            .budget
            .reserved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |reserved| {
                grown = more.min(self.budget.max - reserved);
                Some(reserved + grown)
            });
        self.bytes += grown;
        grown > 0
    }

    /// Gives back all but the `bytes` that the finished file has.
    pub fn shrink(&mut self, bytes: u64) {
        let unused = self.bytes.saturating_sub(bytes);
        self.bytes -= unused;
        self.budget.reserved.fetch_sub(unused, Ordering::Relaxed);
    }
}

impl Room for Lease {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn grow(&mut self, more: u64) -> bool {
        Self::grow(self, more)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_lease_may_have_the_whole_budget_and_two_share_it() {
        let budget = Budget::new(100, Weak::new());
        let mut first = budget.lease(4);
        assert!(first.grow(90));
        let mut second = budget.lease(4);
        assert_eq!((first.bytes(), second.bytes(), budget.free()), (94, 4, 2));
        assert!(first.grow(50) && !first.grow(1) && !second.grow(1));
        assert_eq!(first.bytes(), 96);
        first.shrink(10);
        assert!(second.grow(1000));
        assert_eq!(second.bytes(), 90);
        drop((first, second));
        assert_eq!(budget.free(), 100);
    }

    proptest! {
        #[test]
        fn reservations_never_exceed_the_budget(max in 0_u64..1000, steps in proptest::collection::vec((0_usize..6, 0_u64..700, 0..4), 0..60)) {
            let budget = Budget::new(max, Weak::new());
            let mut leases: Vec<Lease> = Vec::new();
            for (at, bytes, step) in steps {
                match (step, leases.get_mut(at)) {
                    (0, _) => leases.push(budget.lease(bytes)),
                    (1, Some(lease)) => { lease.grow(bytes); }
                    (2, Some(lease)) => lease.shrink(bytes),
                    (_, Some(_)) => { leases.swap_remove(at); }
                    _ => {}
                }
                let sum: u64 = leases.iter().map(Lease::bytes).sum();
                prop_assert!(sum <= max);
                prop_assert_eq!(sum, budget.reserved());
                prop_assert_eq!(sum + budget.free(), max);
            }
        }
    }
}
