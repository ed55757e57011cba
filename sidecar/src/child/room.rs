//! The one thing a recorder's server side needs to know of the store.

/// Bytes that one file of the store may have.
pub trait Room {
    /// How many.
    fn bytes(&self) -> u64;

    /// Adds `more`, or as much of it as there is. True if it grew.
    fn grow(&mut self, more: u64) -> bool;
}
