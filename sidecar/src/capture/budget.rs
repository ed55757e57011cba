//! Who may write how much into the store: bytes are promised before they are written, and all promises together never
//! exceed the store. Nothing is measured while files grow.
//!
//! Must not know files. Called by the store and by those who write into it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::child::Room;

/// The bytes of a store, shared by everybody who writes into it.
#[derive(Debug, Clone)]
pub struct Budget {
    max: u64,
    promised: Arc<AtomicU64>,
}

/// Bytes promised to one file; given back when dropped.
#[derive(Debug)]
pub struct Lease {
    budget: Budget,
    bytes: u64,
}

impl Budget {
    /// Promises `max` bytes at most.
    pub fn new(max: u64) -> Self {
        Self {
            max,
            promised: Arc::default(),
        }
    }

    /// Bytes promised now.
    pub fn promised(&self) -> u64 {
        self.promised.load(Ordering::Relaxed)
    }

    /// Bytes that may still be promised.
    pub fn free(&self) -> u64 {
        self.max - self.promised()
    }

    /// Promises `bytes`, or as much of them as there is.
    pub fn lease(&self, bytes: u64) -> Lease {
        let mut lease = Lease {
            budget: self.clone(),
            bytes: 0,
        };
        lease.grow(bytes);
        lease
    }
}

impl Lease {
    /// Bytes its file may have.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds `more` bytes, or as much of them as there is. True if it grew.
    pub fn grow(&mut self, more: u64) -> bool {
        let mut grown = 0;
        // Relaxed: the number guards itself and no other memory.
        let _ = self
            .budget
            .promised
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |promised| {
                grown = more.min(self.budget.max - promised);
                Some(promised + grown)
            });
        self.bytes += grown;
        grown > 0
    }

    /// Gives back all but the `bytes` that the finished file has.
    pub fn shrink(&mut self, bytes: u64) {
        let unused = self.bytes.saturating_sub(bytes);
        self.bytes -= unused;
        self.budget.promised.fetch_sub(unused, Ordering::Relaxed);
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
        let budget = Budget::new(100);
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
        fn promises_never_exceed_the_budget(max in 0_u64..1000, steps in proptest::collection::vec((0_usize..6, 0_u64..700, 0..4), 0..60)) {
            let budget = Budget::new(max);
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
                prop_assert_eq!(sum, budget.promised());
                prop_assert_eq!(sum + budget.free(), max);
            }
        }
    }
}
