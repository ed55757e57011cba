//! A set of open events with the rings that they write into, whatever they look at: threads, CPUs, or both.
//!
//! A ring is of a CPU, or of a thread where its events go with it. Must not know how a process is followed: that is `sampler`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::attr::{Place, Wanted, copies_stacks};
use super::error::PerfError;
use super::sys::{self, Ring};
use super::{decode::Envelope, machine};

/// Of all rings together; they lie in the kernel's memory.
const MOST_RING_MEMORY: usize = 32 << 20;

/// How large the rings are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RingSize {
    pages: usize,
    /// With fewer not even two of the largest records fit.
    least: usize,
    page_size: usize,
}

impl RingSize {
    /// For `rings` rings that take `record` bytes `rate` times a second, and are read every tenth of one.
    pub(super) fn new(record: usize, rate: usize, rings: usize, page_size: usize) -> Self {
        /// 2 MiB: a page more would be of no use to what is read ten times a second.
        const MOST: usize = 512;
        let pages = |bytes: usize| bytes.div_ceil(page_size).next_power_of_two();
        let least = pages(record * 2).max(2);
        let share = (MOST_RING_MEMORY / rings.max(1) / page_size).max(1);
        // A quarter of a second, as whoever reads may be kept from it.
        let wanted = pages(record * rate / 4).min(MOST).min(share.next_power_of_two());
        Self {
            pages: wanted.max(least),
            least,
            page_size,
        }
    }
}

/// An event that is open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened {
    /// -1: of all threads.
    tid: i32,
    /// It samples who leaves a CPU.
    pub(super) switches: bool,
    /// Registers and stack come with its samples.
    pub(super) copies: bool,
    /// What each sample stands for, if it does not say so itself.
    pub(super) period: Option<u64>,
}

#[derive(Debug)]
struct Outlet {
    ring: Ring,
    /// The event that it was made of.
    owner: OwnedFd,
}

/// Open events.
#[derive(Debug)]
pub(super) struct Descriptors {
    wanted: Vec<Wanted>,
    size: RingSize,
    outlets: BTreeMap<i32, Outlet>,
    /// Those that write into the ring of another one, with its key.
    others: Vec<(i32, OwnedFd)>,
    known: Known,
    enabled: bool,
}

/// Which event is whose.
#[derive(Debug, Default)]
pub(super) struct Known {
    opened: HashMap<u64, Opened>,
    /// Threads with events of their own.
    own: HashSet<i32>,
}

impl Known {
    /// The event that a record is of. `None` of one that another event has told already: a thread that inherited events before
    /// it got its own has both.
    pub(super) fn of(&self, envelope: &Envelope) -> Option<Opened> {
        let opened = self.opened.get(&envelope.event).copied()?;
        let repeated = opened.tid > 0 && opened.tid != envelope.tid && self.own.contains(&envelope.tid);
        (!repeated).then_some(opened)
    }

    /// The thread is gone: its number may be another one's from now on.
    pub(super) fn forget(&mut self, tid: i32) {
        self.own.remove(&tid);
    }
}

impl Descriptors {
    pub(super) fn new(wanted: Vec<Wanted>, size: RingSize) -> Self {
        Self {
            wanted,
            size,
            outlets: BTreeMap::new(),
            others: Vec::new(),
            known: Known::default(),
            enabled: false,
        }
    }

    /// Opens all events at `place`, which write into the ring `key`. False if there is no such thread or CPU (any more).
    pub(super) fn open(&mut self, place: Place, key: i32) -> Result<bool, PerfError> {
        for Wanted { attr, switches, period } in self.wanted.clone() {
            let event = match sys::open(&attr, place.tid, place.cpu) {
                Ok(event) => event,
                // A CPU can be switched off meanwhile.
                Err(Errno::ESRCH | Errno::ENODEV) => return Ok(false),
                Err(Errno::EMFILE | Errno::ENFILE) => return Err(PerfError::TooFewDescriptors),
                Err(source) => return Err(failed("open an event of the kernel")(source)),
            };
            let opened = Opened {
                tid: place.tid,
                switches,
                copies: copies_stacks(&attr),
                period,
            };
            let id = sys::id(event.as_fd()).map_err(failed("name an event"))?;
            self.connect(event, key)?;
            self.known.opened.insert(id, opened);
        }
        if place.tid > 0 {
            self.known.own.insert(place.tid);
        }
        Ok(true)
    }

    /// Gives an event its ring.
    fn connect(&mut self, event: OwnedFd, key: i32) -> Result<(), PerfError> {
        if let Some(outlet) = self.outlets.get(&key) {
            sys::write_to_ring_of(event.as_fd(), outlet.owner.as_fd()).map_err(failed("share a ring"))?;
            self.start(event.as_fd())?;
            self.others.push((key, event));
            return Ok(());
        }
        let ring = self.map(event.as_fd())?;
        self.start(event.as_fd())?;
        self.outlets.insert(key, Outlet { ring, owner: event });
        Ok(())
    }

    fn map(&self, event: BorrowedFd<'_>) -> Result<Ring, PerfError> {
        Ring::of(event, self.size.page_size, self.size.pages).map_err(|errno| match errno {
            Errno::EPERM => PerfError::LockedMemory {
                kib: machine::mlock_kib(),
            },
            errno => failed("map a ring")(errno),
        })
    }

    /// Closes everything, to begin again with rings of half the size; false if they would be too small. All of them, as they
    /// share the memory that may be locked: a first one as large as that allows would leave nothing to the others.
    pub(super) fn begin_again_smaller(&mut self) -> bool {
        let pages = self.size.pages / 2;
        if pages < self.size.least {
            return false;
        }
        self.outlets.clear();
        self.others.clear();
        self.known = Known::default();
        self.size.pages = pages;
        true
    }

    fn start(&self, event: BorrowedFd<'_>) -> Result<(), PerfError> {
        if self.enabled {
            sys::enable(event).map_err(failed("enable an event"))?;
        }
        Ok(())
    }

    fn events(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let owners = self.outlets.values().map(|outlet| outlet.owner.as_fd());
        owners.chain(self.others.iter().map(|(_, event)| event.as_fd()))
    }

    /// Lets all events sample, and those that will be opened.
    pub(super) fn enable(&mut self) -> Result<(), PerfError> {
        self.enabled = true;
        self.events()
            .try_for_each(sys::enable)
            .map_err(failed("enable an event"))
    }

    /// Ends sampling.
    pub(super) fn disable(&mut self) -> Result<(), PerfError> {
        self.enabled = false;
        self.events()
            .try_for_each(sys::disable)
            .map_err(failed("disable an event"))
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Closes what is of one thread alone; what its ring holds must have been read.
    pub(super) fn close(&mut self, tid: i32) {
        self.known.forget(tid);
        self.outlets.remove(&tid);
        self.others.retain(|(key, _)| *key != tid);
        self.known.opened.retain(|_, opened| opened.tid != tid);
    }

    pub(super) fn has(&self, tid: i32) -> bool {
        self.known.own.contains(&tid)
    }

    pub(super) fn threads(&self) -> usize {
        self.known.own.len()
    }

    pub(super) fn descriptors(&self) -> usize {
        self.outlets.len() + self.others.len()
    }

    /// Bytes of all rings.
    pub(super) fn memory(&self) -> usize {
        self.outlets.values().map(|outlet| outlet.ring.memory()).sum()
    }

    /// The rings to read, and whose records they hold.
    pub(super) fn split(&mut self) -> (impl Iterator<Item = &mut Ring>, &mut Known) {
        let rings = self.outlets.values_mut().map(|outlet| &mut outlet.ring);
        (rings, &mut self.known)
    }

    #[cfg(test)]
    pub(super) fn pages(&self) -> usize {
        self.size.pages
    }
}

fn failed(step: &'static str) -> impl Fn(Errno) -> PerfError {
    move |source| PerfError::System { step, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_are_as_large_as_a_quarter_second_of_records_within_the_memory_for_all() {
        let pages = |record, rate, rings| RingSize::new(record, rate, rings, 4096).pages;
        assert_eq!(pages(1200, 99, 2), 8);
        assert_eq!(pages(1200, 999, 2), 128);
        assert_eq!(pages(17_600, 99, 2), 128);
        assert_eq!(pages(17_600, 999, 2), 512, "the most");
        assert_eq!(pages(17_600, 999, 64), 128, "32 MiB for 64 CPUs");
        assert_eq!(pages(65_536, 1, 10_000), 32, "two records at least");
    }
}
