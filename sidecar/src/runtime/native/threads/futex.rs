//! The word that a thread waits for in the kernel (`futex`), and whose lock it is.
//!
//! Says what C libraries keep beside the word of a mutex: `pthread_mutex_t` of glibc since 2.0 is lock, count, owner; the word of a
//! mutex that the kernel or musl looks after has the owner in itself (`man 2 futex`, `FUTEX_LOCK_PI`). Of the locks of Rust, Go and
//! others no word says whose they are.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::libc::{
    FUTEX_CMD_MASK, FUTEX_LOCK_PI, FUTEX_LOCK_PI2, FUTEX_TID_MASK, FUTEX_WAIT, FUTEX_WAIT_BITSET, FUTEX_WAITERS,
    SYS_futex,
};

/// What glibc puts into a mutex for which a thread waits.
const CONTENDED: u32 = 2;

/// A word, and the two behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Futex {
    pub(super) address: u64,
    words: [u32; 3],
}

impl Futex {
    /// That of a thread that waits for one; `memory` is that of its process.
    pub(super) fn of(task: &Path, memory: &File) -> Option<Self> {
        let address = waited_for(&fs::read_to_string(task.join("syscall")).ok()?)?;
        let mut bytes = [0; 12];
        memory.read_exact_at(&mut bytes, address).ok()?;
        let mut words = [0; 3];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u32::from_ne_bytes(*bytes);
        }
        Some(Self { address, words })
    }

    /// The thread that has the lock, by its number in its own pid namespace, if the word is that of a mutex. It may be any number: the
    /// app's memory says it.
    pub(super) fn owner(&self) -> Option<u64> {
        let [word, _, owner] = self.words;
        let owner = match word {
            CONTENDED => owner,
            _ if word & FUTEX_WAITERS != 0 => word & FUTEX_TID_MASK,
            _ => return None,
        };
        (owner != 0).then(|| owner.into())
    }
}

/// Address in a line of `/proc/PID/task/TID/syscall`: number of the call, arguments, stack pointer, program counter.
fn waited_for(line: &str) -> Option<u64> {
    let mut fields = line.split_ascii_whitespace();
    if fields.next()?.parse() != Ok(SYS_futex) {
        return None;
    }
    let mut argument = || u64::from_str_radix(fields.next()?.strip_prefix("0x")?, 16).ok();
    let (address, operation) = (argument()?, argument()?);
    let operation = i32::try_from(operation & 0xffff_ffff).ok()? & FUTEX_CMD_MASK;
    [FUTEX_WAIT, FUTEX_WAIT_BITSET, FUTEX_LOCK_PI, FUTEX_LOCK_PI2]
        .contains(&operation)
        .then_some(address)
}

#[cfg(test)]
impl Futex {
    /// A mutex of glibc that this thread has, at an address of its own.
    pub(super) fn of_owner(owner: u32) -> Self {
        Self {
            address: owner.into(),
            words: [CONTENDED, 0, owner],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wait_for_a_word_has_one() {
        let call = |number: i64, operation: u64| {
            waited_for(&format!(
                "{number} 0x7f00 {operation:#x} 0x2 0x0 0x0 0x0 0x7ffe 0x7f01\n"
            ))
        };
        for operation in [0, 0x80, 0x189, 6, 0x8d] {
            assert_eq!(call(SYS_futex, operation), Some(0x7f00), "{operation:#x}");
        }
        assert_eq!(call(SYS_futex, 1), None, "wakes");
        assert_eq!(call(SYS_futex + 1, 0), None);
        for line in ["running\n", "-1 0x7ffe 0x7f01\n", "", "202 7f00"] {
            assert_eq!(waited_for(line), None, "{line:?}");
        }
    }

    #[test]
    fn the_owner_of_a_mutex_stands_in_it_or_behind_it() {
        let owner = |words| Futex { address: 8, words }.owner();
        assert_eq!(owner([2, 1, 77]), Some(77), "glibc");
        assert_eq!(owner([0x8000_004d, 0, 0]), Some(77), "priority inheritance, and musl");
        assert_eq!(owner([2, 0, 0]), None);
        assert_eq!(owner([1, 0, 77]), None, "not contended, or no mutex");
        assert_eq!(owner([0x8000_0000, 0, 77]), None);
    }
}
