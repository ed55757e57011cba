//! Who may profile now, and who waits for it.
//!
//! Two captures that need the same part of a runtime cannot run at once, and a pod bears only a few profilers: the app
//! comes first. What cannot run yet waits in order of arrival, in a queue with a cap and a deadline, so that scrapers and
//! people do not refuse each other. Knows no more of a capture than its [`Claim`]; called by [`super::Captures`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::CaptureError;
use crate::process::ProcessId;
use crate::runtime::Exclusive;

/// Captures at a time that take nothing for themselves: they cost a small process each, and all that a Go program can
/// give at once is eight.
const SIDE_BY_SIDE: usize = 8;

/// Captures of one process that wait: a scraper asks for some six at once, and then again for the next six.
const QUEUE: usize = 12;

/// Behind a capture of the usual 30 s, its attach and its transfer. Proxies give up after a minute.
const LONGEST_WAIT: Duration = Duration::from_secs(40);

/// Attach, stop and transfer come on top of the sampling time; this covers them nearly always.
const OVERHEAD: Duration = Duration::from_secs(1);

/// What a capture needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Whose.
    pub target: ProcessId,
    /// The part of its runtime that it takes for itself.
    pub exclusive: Option<Exclusive>,
    /// About how long.
    pub duration: Duration,
}

impl Claim {
    fn collides_with(&self, other: &Self) -> bool {
        self.exclusive.is_some() && self.target == other.target && self.exclusive == other.exclusive
    }

    /// The same, of another length.
    pub fn lasting(self, duration: Duration) -> Self {
        Self { duration, ..self }
    }

    /// True if both count against the same number of places.
    fn shares_places_with(&self, other: &Self) -> bool {
        self.exclusive.is_some() == other.exclusive.is_some()
    }
}

/// Every capture that runs or waits.
#[derive(Debug)]
pub struct Slots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Notify,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to profile; given back when dropped, as is a place in the queue.
#[derive(Debug)]
pub struct Slot {
    ticket: u64,
    shared: Arc<Shared>,
}

impl Slots {
    /// At most `most` captures at a time that take a part of a runtime for themselves.
    pub fn new(most: usize) -> Self {
        let queue = Queue {
            most,
            entries: Vec::new(),
            last_ticket: 0,
        };
        Self(Arc::new(Shared {
            queue: Mutex::new(queue),
            changed: Notify::new(),
        }))
    }

    /// Waits until `claim` may run, if that will be soon. A dropped future leaves the queue.
    ///
    /// # Errors
    /// [`CaptureError::Busy`] with the seconds until it could run: at once if these are too many or too many wait already,
    /// else when the others took longer than they said.
    pub async fn reserve(&self, claim: Claim) -> Result<Slot, CaptureError> {
        let deadline = Instant::now() + LONGEST_WAIT;
        let slot = Slot {
            ticket: self.0.queue().enter(claim)?,
            shared: Arc::clone(&self.0),
        };
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            changed.as_mut().enable();
            if self.0.queue().begin(slot.ticket, &claim) {
                return Ok(slot);
            }
            tokio::select! {
                () = changed => {}
                () = sleep_until(deadline) => return Err(self.0.queue().busy(&claim, slot.ticket)),
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.queue().leave(self.ticket);
        self.shared.changed.notify_waiters();
    }
}

#[derive(Debug)]
struct Entry {
    ticket: u64,
    claim: Claim,
    /// About when it ends; `None` while it waits.
    ends: Option<Instant>,
}

/// In order of arrival.
#[derive(Debug)]
struct Queue {
    most: usize,
    entries: Vec<Entry>,
    last_ticket: u64,
}

impl Queue {
    fn enter(&mut self, claim: Claim) -> Result<u64, CaptureError> {
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        let of_process = |entry: &&Entry| entry.ends.is_none() && entry.claim.target == claim.target;
        let waiting = self.entries.iter().filter(of_process).count();
        self.entries.push(Entry {
            ticket,
            claim,
            ends: None,
        });
        let too_long = self.begins(&claim, ticket) > Instant::now() + LONGEST_WAIT;
        if !self.may_begin(ticket, &claim) && (too_long || waiting >= QUEUE) {
            let busy = self.busy(&claim, ticket);
            self.leave(ticket);
            return Err(busy);
        }
        Ok(ticket)
    }

    fn leave(&mut self, ticket: u64) {
        self.entries.retain(|entry| entry.ticket != ticket);
    }

    /// Makes a waiting entry a running one if it may be.
    fn begin(&mut self, ticket: u64, claim: &Claim) -> bool {
        let may = self.may_begin(ticket, claim);
        if may && let Some(entry) = self.entries.iter_mut().find(|entry| entry.ticket == ticket) {
            entry.ends = Some(Instant::now() + claim.duration + OVERHEAD);
        }
        may
    }

    /// What goes before the entry: everything that runs, and what has waited for longer.
    fn ahead_of(&self, ticket: u64) -> impl Iterator<Item = &Entry> {
        let ahead = move |entry: &&Entry| entry.ends.is_some() || entry.ticket < ticket;
        self.entries.iter().filter(ahead)
    }

    fn may_begin(&self, ticket: u64, claim: &Claim) -> bool {
        let collides = |ticket, claim: &Claim| self.ahead_of(ticket).any(|other| other.claim.collides_with(claim));
        // One that waits for a part of a runtime leaves its place to who can use it.
        let takes_place = |other: &&Entry| other.ends.is_some() || !collides(other.ticket, &other.claim);
        let rivals = self
            .ahead_of(ticket)
            .filter(|other| other.claim.shares_places_with(claim));
        !collides(ticket, claim) && rivals.filter(takes_place).count() < self.places(claim)
    }

    fn places(&self, claim: &Claim) -> usize {
        if claim.exclusive.is_some() {
            self.most
        } else {
            SIDE_BY_SIDE
        }
    }

    /// About when the entry will begin.
    fn begins(&self, claim: &Claim, ticket: u64) -> Instant {
        let now = Instant::now();
        let mut ends: Vec<(&Claim, Instant)> = Vec::new();
        let (running, waiting): (Vec<_>, Vec<_>) = self.ahead_of(ticket).partition(|entry| entry.ends.is_some());
        for entry in running.into_iter().chain(waiting) {
            let begins = || self.after(&ends, &entry.claim, now) + entry.claim.duration + OVERHEAD;
            let end = entry.ends.map_or_else(begins, |end| end.max(now));
            ends.push((&entry.claim, end));
        }
        self.after(&ends, claim, now)
    }

    /// When `claim` can begin if those ahead of it end as they say.
    fn after(&self, ahead: &[(&Claim, Instant)], claim: &Claim, now: Instant) -> Instant {
        let of = |rival: fn(&Claim, &Claim) -> bool| {
            let rivals = ahead.iter().filter(|(other, _)| rival(other, claim));
            let mut ends: Vec<Instant> = rivals.map(|(_, end)| *end).collect();
            ends.sort_unstable();
            ends
        };
        let part = of(Claim::collides_with).last().copied();
        let ends = of(Claim::shares_places_with);
        let place = ends.len().checked_sub(self.places(claim)).and_then(|at| ends.get(at));
        [part, place.copied()].into_iter().flatten().fold(now, Instant::max)
    }

    fn busy(&self, claim: &Claim, ticket: u64) -> CaptureError {
        let collides = self.ahead_of(ticket).any(|other| other.claim.collides_with(claim));
        let what = match claim.exclusive {
            Some(Exclusive(part)) if collides => {
                format!("{part} of process {} is taken by another capture", claim.target)
            }
            _ => format!("{} captures are running, the most there may be", self.places(claim)),
        };
        let wait = self.begins(claim, ticket).saturating_duration_since(Instant::now());
        CaptureError::Busy {
            what,
            retry_after: wait.as_secs() + u64::from(wait.subsec_nanos() > 0 || wait.is_zero()),
        }
    }
}

#[cfg(test)]
mod tests;
