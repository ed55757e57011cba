//! Our own certificate authority: in one Secret, shared by all replicas, without a leader.
//!
//! The Secret is the lock: every write of it is a create or a compare-and-swap, and a replica that loses takes what the
//! winner wrote. From it every replica makes a serving certificate of its own, whose key stays in memory, and keeps the caBundle
//! of every entry of our two webhook configurations. An authority is replaced with an overlap: first the caBundle has
//! both, then leaves come from the new one, and the old one goes when no leaf of it can be left.
//!
//! What to do is decided in `rotation`, from values alone; `keeper` does it, round after round, by the wall clock and
//! never asleep for long, so that a clock that jumps or a machine that was asleep costs seconds. Must not know reviews.
//! Started by `cli::serve`, unless certificates are supplied.

mod bundle;
mod ca;
mod content;
mod keeper;
mod kubernetes;
mod rotation;

pub use bundle::{Bundles, Configuration, Entry, Kind};
pub use ca::{AuthorityError, Ca, Leaf};
pub use content::{Content, Data, Previous};
pub use keeper::{Cluster, ClusterError, Keeper, Stored};
pub use kubernetes::KubernetesCluster;

/// How long things live. Seconds, as everything here: certificates know nothing finer.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// An authority.
    pub authority: i64,
    /// A serving certificate.
    pub leaf: i64,
    /// Between two rounds; also how long the cluster is given to see a new caBundle, twice.
    pub interval: i64,
}

impl Lifetimes {
    /// When two thirds of a life are over.
    pub(crate) const fn renewal(issued: i64, not_after: i64) -> i64 {
        issued.saturating_add(not_after.saturating_sub(issued) / 3 * 2)
    }
}

#[cfg(test)]
mod tests;
