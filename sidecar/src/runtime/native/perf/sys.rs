//! The system calls of the sampler, the memory that the kernel shares with it, and what of `ptrace` has no safe wrapper everywhere: the
//! only module of the workspace with `unsafe`.
//!
//! Must not know what a record says. Called by its siblings only, but for [`register_set`].

#![expect(
    unsafe_code,
    reason = "perf_event_open, its ioctls, the clock, the ring shared with the kernel and, with musl, PTRACE_GETREGSET have no safe wrapper"
)]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;
use perf_event_open_sys::bindings::{PERF_FLAG_FD_CLOEXEC, perf_event_attr, perf_event_mmap_page};
use perf_event_open_sys::{ioctls, perf_event_open};

/// Opens an event of the thread `tid` (0: of the calling one, -1: of all) on `cpu` (-1: wherever it runs).
pub(super) fn open(attr: &perf_event_attr, tid: i32, cpu: i32) -> Result<OwnedFd, Errno> {
    let mut attr = *attr;
    // SAFETY: `attr` is a whole `perf_event_attr` of which we own this copy, as the kernel may write to its `size`; every field
    // is set through safe code, and none of them makes the kernel write to our memory or run code of ours (`sigtrap`, which
    // would send signals, is not set by anyone).
    let fd = unsafe { perf_event_open(&raw mut attr, tid, cpu, -1, PERF_FLAG_FD_CLOEXEC.into()) };
    let fd = Errno::result(fd)?;
    // SAFETY: the call has just succeeded, so that `fd` is open and known to no one else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lets an event count and sample, with all that inherited it.
pub(super) fn enable(event: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: ENABLE takes a number, not an address; the descriptor is borrowed, so it is open.
    Errno::result(unsafe { ioctls::ENABLE(event.as_raw_fd(), 0) }).map(drop)
}

/// Ends what [`enable`] began.
pub(super) fn disable(event: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: DISABLE takes a number, not an address; the descriptor is borrowed, so it is open.
    Errno::result(unsafe { ioctls::DISABLE(event.as_raw_fd(), 0) }).map(drop)
}

/// Has an event write into the ring of another one.
pub(super) fn write_to_ring_of(event: BorrowedFd<'_>, owner: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: SET_OUTPUT takes the number of a descriptor; both are borrowed, so they are open. The kernel counts its own
    // references to the ring: it stays when the owner is closed first.
    Errno::result(unsafe { ioctls::SET_OUTPUT(event.as_raw_fd(), owner.as_raw_fd()) }).map(drop)
}

/// By which its samples name an event, also those of what inherited it.
pub(super) fn id(event: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut id = 0;
    // SAFETY: ID writes a `u64` to the address, which is of one of ours that lives for the call.
    Errno::result(unsafe { ioctls::ID(event.as_raw_fd(), &raw mut id) })?;
    Ok(id)
}

/// Nanoseconds of `CLOCK_MONOTONIC`, the clock of all records.
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes a `timespec` to the address, which is of one of ours that lives for the call.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    if done != 0 {
        // It has been there since Linux 2.6; without it no record is held back.
        return u64::MAX;
    }
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or_default() * 1_000_000_000 + nanoseconds.unwrap_or_default()
}

/// Reads a set of registers, by the number of its note in a core file, of a thread that the calling one has seized and that stands still.
/// Gives the number of bytes.
///
/// # Errors
/// `ESRCH` of one that does not stand, `EINVAL` or `ENODEV` for a set that the processor does not have.
pub fn register_set(tid: Pid, set: u32, into: &mut [u8]) -> Result<usize, Errno> {
    let mut place = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    let (request, tid) = (
        libc::c_long::from(libc::PTRACE_GETREGSET),
        libc::c_long::from(tid.as_raw()),
    );
    let set = libc::c_long::from(set);
    // SAFETY: GETREGSET writes at most `iov_len` bytes to `iov_base`, which is `into`, borrowed for the call, and how many they were into
    // `place`, which is ours and lives for the call; the other arguments are numbers, of the width that the kernel takes.
    let done = unsafe { libc::syscall(libc::SYS_ptrace, request, tid, set, &raw mut place) };
    Errno::result(done)?;
    Ok(place.iov_len.min(into.len()))
}

/// A ring of records: the kernel writes at its head, we read at its tail.
///
/// One page that tells both, then a power of two of pages with data.
#[derive(Debug)]
pub(super) struct Ring {
    page: NonNull<perf_event_mmap_page>,
    /// Of the control page, and so where the data begins.
    page_size: usize,
    /// Of the data.
    size: usize,
    /// Bytes read since the ring was made; the kernel sees a copy.
    tail: u64,
}

// SAFETY: the mapping belongs to the process, not to a thread; whoever has the `Ring` is the only one of us that reads or
// writes it, as it is not `Sync` and not `Clone`.
unsafe impl Send for Ring {}

impl Ring {
    /// Maps the ring of an event with `pages` of data, a power of two.
    pub(super) fn of(event: BorrowedFd<'_>, page_size: usize, pages: usize) -> Result<Self, Errno> {
        Self::map(page_size, pages, libc::MAP_SHARED, event.as_raw_fd())
    }

    fn map(page_size: usize, pages: usize, flags: i32, fd: i32) -> Result<Self, Errno> {
        let size = page_size.checked_mul(pages).ok_or(Errno::ENOMEM)?;
        let whole = size.checked_add(page_size).ok_or(Errno::ENOMEM)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: without an address and MAP_FIXED the kernel chooses a range that nothing of ours uses; the result is checked
        // before use, and unmapped once, in `drop`.
        let start = unsafe { libc::mmap(ptr::null_mut(), whole, protection, flags, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let page = NonNull::new(start.cast()).ok_or(Errno::EFAULT)?;
        Ok(Self {
            page,
            page_size,
            size,
            tail: 0,
        })
    }

    /// Bytes of memory that it takes.
    pub(super) fn memory(&self) -> usize {
        self.page_size + self.size
    }

    fn head(&self) -> &AtomicU64 {
        // SAFETY: the page is mapped as long as `self` lives, begins at a multiple of its size, and `data_head` is an aligned
        // `u64` of it. The kernel writes it as a whole from any CPU and nothing else does: so it is read as an atomic, by
        // Acquire, which orders the reads of the data after it.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.page.as_ptr()).data_head) }
    }

    /// Bytes that can be read.
    pub(super) fn available(&self) -> usize {
        let length = self.head().load(Ordering::Acquire).wrapping_sub(self.tail);
        // More than it holds cannot be: then nothing of it can be believed.
        usize::try_from(length).map_or(0, |length| if length <= self.size { length } else { 0 })
    }

    /// Copies what stands `at` bytes behind the tail; false if that is not there.
    pub(super) fn copy(&self, at: usize, into: &mut [u8]) -> bool {
        let within = at.checked_add(into.len()).is_some_and(|end| end <= self.available());
        if !within {
            return false;
        }
        // The size is a power of two, which divides 2^64: an offset stays right when the count of bytes begins anew.
        let start = usize::try_from(self.tail % self.size as u64).unwrap_or_default() + at;
        let start = start % self.size;
        let (first, second) = into.split_at_mut(into.len().min(self.size - start));
        let data = self.page.as_ptr().cast::<u8>();
        // SAFETY: the data begins `page_size` bytes into the mapping and has `size` bytes; `start` is less than `size`, the first
        // part ends at `size` at most, and the second, which begins at its begin, is shorter than `size`, as both together are.
        // The kernel does not write between tail and head, where both parts lie (checked above, against a head that was read
        // by Acquire); `into` is ours alone, so that nothing overlaps.
        unsafe {
            ptr::copy_nonoverlapping(data.add(self.page_size + start), first.as_mut_ptr(), first.len());
            ptr::copy_nonoverlapping(data.add(self.page_size), second.as_mut_ptr(), second.len());
        }
        true
    }

    /// Gives the next `bytes` back to the kernel.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.tail = self.tail.wrapping_add(bytes.min(self.available()) as u64);
        // SAFETY: as for `data_head`, but it is we who write `data_tail` and the kernel that reads it: by Release, so that our
        // reads of the data are done before it may write there again.
        let tail = unsafe { AtomicU64::from_ptr(&raw mut (*self.page.as_ptr()).data_tail) };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the range is what `map` got, it has not been unmapped, and no reference into it outlives `self`.
        unsafe { libc::munmap(self.page.as_ptr().cast(), self.memory()) };
    }
}

#[cfg(test)]
impl Ring {
    /// A ring that no kernel writes, `used` bytes after its begin.
    pub(super) fn example(pages: usize, used: u64) -> Self {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let mut ring = Self::map(4096, pages, flags, -1).unwrap();
        ring.tail = used;
        ring.head().store(used, Ordering::Release);
        ring
    }

    /// Does as the kernel does. False if there is no room.
    pub(super) fn push(&self, bytes: &[u8]) -> bool {
        let head = self.head().load(Ordering::Acquire);
        if self.available() + bytes.len() > self.size {
            return false;
        }
        for (at, byte) in bytes.iter().enumerate() {
            let at = usize::try_from((head.wrapping_add(at as u64)) % self.size as u64).unwrap();
            // SAFETY: `at` is less than the size of the data, which begins `page_size` bytes into the mapping.
            unsafe { self.page.as_ptr().cast::<u8>().add(self.page_size + at).write(*byte) };
        }
        self.head()
            .store(head.wrapping_add(bytes.len() as u64), Ordering::Release);
        true
    }

    /// Claims what no kernel would.
    pub(super) fn claim(&self, head: u64) {
        self.head().store(head, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wraps_around_the_end_is_read_as_one_piece() {
        // Also where the count of bytes begins anew.
        for used in [0, 4090, 3 * 4096 - 1, u64::MAX - 5] {
            let mut ring = Ring::example(1, used);
            let written: Vec<u8> = (0..200).collect();
            assert!(ring.push(&written));
            let mut read = [0; 190];
            assert!(ring.copy(10, &mut read), "{used}");
            assert_eq!(read[..], written[10..], "{used}");
            assert!(!ring.copy(11, &mut read), "beyond the head");
            ring.consume(200);
            assert_eq!(ring.available(), 0);
        }
    }

    #[test]
    fn a_full_ring_has_room_again_after_reading() {
        let mut ring = Ring::example(1, 17);
        assert!(ring.push(&[1; 4096]) && !ring.push(&[2]));
        ring.consume(4096);
        assert!(ring.push(&[2; 4096]));
        let mut all = [0; 4096];
        assert!(ring.copy(0, &mut all) && all == [2; 4096]);
    }

    #[test]
    fn a_head_that_cannot_be_shows_nothing() {
        let ring = Ring::example(1, 0);
        for head in [4097, u64::MAX, 1 << 40] {
            ring.claim(head);
            assert_eq!(ring.available(), 0);
            assert!(!ring.copy(0, &mut [0; 8]));
        }
    }
}
