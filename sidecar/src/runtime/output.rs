//! Where a recording goes: a file that has no more room than it was granted.
//!
//! Must not know who grants it. Written by every runtime's `record`.

use std::io::{self, Write};

/// The file of a recording.
pub trait Output: Write {
    /// Makes sure that the file can have `bytes` bytes in all, before the first of them is written: for who must not find out in the
    /// middle. What is not used is given back by `flush`, which comes last.
    ///
    /// # Errors
    /// There is no room, as `write` would say it.
    fn reserve(&mut self, bytes: u64) -> io::Result<()>;
}

#[cfg(test)]
impl Output for Vec<u8> {
    fn reserve(&mut self, _bytes: u64) -> io::Result<()> {
        Ok(())
    }
}
