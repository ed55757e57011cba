//! The one owner of captures: their states from the registration until they are forgotten, the gate that a shutdown
//! closes, the task that forgets what has expired, and the room in the store, for which it evicts.
//!
//! A capture is evicted, oldest first, when it failed or somebody had its artifact; never while it is recorded, rendered
//! or read. Must not know children. Called by [`super::Captures`] and by leases that grow.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::time::{DelayQueue, delay_queue};

use super::budget::{Budget, Lease};
use super::metadata::{End, Metadata, Outcome};
use super::plan::CapturePlan;
use super::remarks::RemarksChange;
use super::state::{Capture, CaptureId, CaptureState, Counters};
use super::store::{Found, LARGEST_METADATA, ReadLease, Store};
use super::{CaptureError, Settings};
use crate::child::Command;
use crate::profile::Quality;
use crate::runtime::RecordError;

/// All captures of this server.
#[derive(Debug)]
pub struct Registry {
    store: Store,
    budget: Arc<Budget>,
    bytes: u64,
    most: usize,
    expiry: Duration,
    /// The next server is told of the captures.
    keeps: bool,
    /// Changed only while `held` is locked.
    closed: watch::Sender<bool>,
    held: Mutex<Held>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Held {
    captures: BTreeMap<CaptureId, Entry>,
    expiring: DelayQueue<CaptureId>,
}

#[derive(Debug)]
struct Entry {
    capture: Arc<Capture>,
    /// Its place among the expiring ones, once it has ended.
    expires: Option<delay_queue::Key>,
}

impl Held {
    fn take(&mut self, id: &CaptureId) -> Option<Arc<Capture>> {
        let entry = self.captures.remove(id)?;
        if let Some(key) = entry.expires {
            self.expiring.try_remove(&key);
        }
        Some(entry.capture)
    }

    /// Forgets the oldest capture that may be evicted and is `worth` it. False if there is none.
    fn evict(&mut self, worth: impl Fn(&Capture) -> bool) -> bool {
        let captures = self.captures.values().map(|entry| &entry.capture);
        let evictable = captures.filter(|capture| capture.may_be_evicted() && worth(capture));
        let oldest = evictable.min_by_key(|capture| capture.created_at);
        let evicted = oldest.map(|capture| capture.id.clone()).and_then(|id| self.take(&id));
        if let Some(capture) = &evicted {
            tracing::debug!(id = %capture.id, "evicted to make room");
            capture.directory.remove();
        }
        evicted.is_some()
    }

    /// What is pinned is its recording; what was made of it can be made again. False if there is nothing.
    fn remove_artifacts_of_pinned(&self) -> bool {
        let mut captures = self.captures.values().map(|entry| &entry.capture);
        captures.any(|capture| capture.is_pinned() && capture.remove_artifacts())
    }
}

impl Registry {
    /// Makes the store and starts the task that forgets; to be called inside a tokio runtime.
    ///
    /// # Errors
    /// The store's folder cannot be made.
    pub fn open(settings: &Settings) -> io::Result<Arc<Self>> {
        /// The queue of expiring captures cannot hold more than two years.
        const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
        let store = Store::open(settings.store_directory.as_deref(), settings.keeps)?;
        let registry = Arc::new_cyclic(|registry| Self {
            store,
            budget: Budget::new(settings.store_bytes, Weak::clone(registry)),
            bytes: settings.store_bytes,
            most: settings.store_captures,
            expiry: settings.expiry.min(LONGEST),
            keeps: settings.keeps,
            closed: watch::Sender::new(false),
            held: Mutex::default(),
            counters: Counters::default(),
        });
        if settings.keeps {
            registry.adopt();
        }
        let weak = Arc::downgrade(&registry);
        tokio::spawn(poll_fn(move |context| match weak.upgrade() {
            Some(registry) => registry.poll_expired(context),
            None => Poll::Ready(()),
        }));
        Ok(registry)
    }

    /// Captures by outcome.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Bytes the store holds, those reserved for running captures included.
    pub fn reserved(&self) -> u64 {
        self.budget.reserved()
    }

    /// How many files of the store are being read, also of captures that are forgotten.
    pub fn being_read(&self) -> usize {
        self.store.being_read()
    }

    /// Reserves `bytes`, if need be by evicting captures.
    ///
    /// # Errors
    /// [`CaptureError::StoreFull`].
    pub fn room(&self, bytes: u64) -> Result<Lease, CaptureError> {
        let lease = self.lease(bytes);
        if lease.bytes() < bytes {
            return Err(self.full(self.lock().captures.len()));
        }
        Ok(lease)
    }

    /// As [`Self::room`], but gives what there is.
    pub fn lease(&self, bytes: u64) -> Lease {
        self.budget.lease(bytes)
    }

    /// A file without a name in the store's folder; what is written into it must be leased.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn scratch(&self) -> io::Result<std::fs::File> {
        self.store.scratch()
    }

    /// The place of a file that is open and no capture's.
    pub fn hold(&self, lease: Lease) -> ReadLease {
        self.store.hold(lease)
    }

    /// Evicts one capture for the bytes it holds. False if there is none.
    pub(super) fn evict_for_bytes(&self) -> bool {
        let bytes = |capture: &Capture| capture.directory.removable_bytes().is_some_and(|bytes| bytes > 0);
        let mut held = self.lock();
        held.evict(bytes) || held.remove_artifacts_of_pinned()
    }

    /// A new, running capture with a folder of its own.
    ///
    /// # Errors
    /// The server is shutting down, too many captures are kept, or the folder cannot be made.
    pub fn register(&self, plan: &CapturePlan) -> Result<(Arc<Capture>, watch::Receiver<Command>), CaptureError> {
        let id = CaptureId::random().map_err(|error| CaptureError::internal("name the capture", &error))?;
        let mut held = self.lock();
        if *self.closed.borrow() {
            return Err(CaptureError::ShuttingDown);
        }
        while held.captures.len() >= self.most {
            if !held.evict(|_| true) {
                return Err(self.full(held.captures.len()));
            }
        }
        let directory = self.store.create(&id).map_err(|error| CaptureError::store(&error))?;
        let (capture, commands) = Capture::new(id.clone(), plan, directory);
        let capture = Arc::new(capture);
        let entry = Entry {
            capture: Arc::clone(&capture),
            expires: None,
        };
        held.captures.insert(id, entry);
        drop(held);
        self.counters.started();
        self.describe(&capture);
        Ok((capture, commands))
    }

    /// Takes the captures of servers that are gone, as far as there is room: the pinned and the newest first.
    fn adopt(&self) {
        let now = SystemTime::now();
        let mut found: Vec<(Found, Metadata)> = Vec::new();
        for one in self.store.found() {
            match Metadata::read(&one.metadata, &one.id, one.recording, now) {
                Ok(metadata) => found.push((one, metadata)),
                Err(error) => {
                    tracing::warn!(id = %one.id, %error, "a capture of an earlier server is not kept");
                    one.directory.remove();
                }
            }
        }
        found.sort_by_key(|(_, metadata)| std::cmp::Reverse((metadata.remarks.pinned, metadata.created_at())));
        let whole = found.len();
        let kept = found
            .into_iter()
            .filter_map(|one| self.adopt_one(one, now).then_some(()))
            .count();
        if whole > 0 {
            tracing::info!(kept, forgotten = whole - kept, "captures of an earlier server");
        }
    }

    /// False if it has expired, or there is no room for it; nothing is left of it then.
    fn adopt_one(&self, (found, mut metadata): (Found, Metadata), now: SystemTime) -> bool {
        let Found {
            id,
            directory,
            recording,
            ..
        } = found;
        let until = metadata.end.as_ref().and_then(|end| end.expires_at_ms);
        let until = until.map(|until| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(until)));
        let left = match until {
            // Just ended, or unpinned by us.
            None => self.expiry,
            Some(until) => {
                let left = until.and_then(|until| until.duration_since(now).ok());
                left.unwrap_or_default().min(self.expiry)
            }
        };
        let bytes = match &metadata.end {
            Some(End {
                outcome: Outcome::Finished { .. },
                ..
            }) => recording.unwrap_or_default(),
            _ => 0,
        };
        let full = self.lock().captures.len() >= self.most || self.budget.free() < bytes;
        metadata.remarks.pinned &= self.may_pin(bytes).is_ok();
        let pinned = metadata.remarks.pinned;
        if full || (left.is_zero() && !pinned) {
            directory.remove();
            return false;
        }
        let capture = Capture::restored(id.clone(), metadata, directory);
        if matches!(capture.state(), CaptureState::Finished(_)) {
            if let Err(error) = capture.directory.keep_recording(self.lease(bytes)) {
                tracing::warn!(%id, %error, "a recording of an earlier server cannot be read");
                capture.directory.remove();
                return false;
            }
        } else {
            capture.directory.empty();
        }
        let capture = Arc::new(capture);
        let mut held = self.lock();
        let expires = (!pinned).then(|| {
            capture.expire_at(Some(now + left));
            held.expiring.insert(id.clone(), left)
        });
        let entry = Entry {
            capture: Arc::clone(&capture),
            expires,
        };
        held.captures.insert(id, entry);
        drop(held);
        self.describe(&capture);
        true
    }

    /// Tells the next server what there is to say of `capture` now. If that fails it will not be kept, which is no reason to
    /// lose it now.
    pub fn describe(&self, capture: &Capture) {
        if !self.keeps {
            return;
        }
        let described = serde_json::to_vec(&Metadata::of(capture)).map_err(io::Error::from);
        let described = described.and_then(|metadata| {
            let bytes = u64::try_from(metadata.len()).unwrap_or(u64::MAX);
            let lease = self.lease(bytes.min(LARGEST_METADATA));
            if lease.bytes() < bytes {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            capture.directory.describe(&metadata, lease)
        });
        match described {
            Ok(()) => {}
            // It was removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(id = %capture.id, %error, "the capture will not outlive the server"),
        }
    }

    /// Somebody had an artifact of it.
    pub fn fetched(&self, capture: &Capture) {
        if capture.mark_expendable() {
            self.describe(capture);
        }
    }

    /// Changes what people say of `capture`.
    ///
    /// # Errors
    /// A text is not taken; of a pin, the capture still runs, or enough is pinned.
    pub fn remark(&self, capture: &Capture, change: &RemarksChange) -> Result<(), CaptureError> {
        change.check()?;
        let pinned = capture.is_pinned();
        match change.pinned {
            Some(true) if !pinned => {
                if capture.is_running() {
                    return Err(CaptureError::NotFinished(capture.id.to_string()));
                }
                self.may_pin(capture.directory.recording_bytes())?;
                self.set_expiry(capture, None);
            }
            Some(false) if pinned => self.set_expiry(capture, Some(self.expiry)),
            _ => {}
        }
        capture.remark(change);
        self.describe(capture);
        Ok(())
    }

    /// Half of the store may be pinned: the other half is for what is recorded next.
    fn may_pin(&self, bytes: u64) -> Result<(), CaptureError> {
        let (most, most_bytes) = (self.most.div_ceil(2), self.bytes / 2);
        let held = self.lock();
        let captures = held.captures.values().map(|entry| &entry.capture);
        let pinned: Vec<u64> = captures
            .filter(|capture| capture.is_pinned())
            .map(|capture| capture.directory.recording_bytes())
            .collect();
        let held_bytes: u64 = pinned.iter().sum();
        if pinned.len() < most && held_bytes.saturating_add(bytes) <= most_bytes {
            return Ok(());
        }
        Err(CaptureError::TooMuchPinned {
            detail: format!(
                "{} captures with {held_bytes} bytes are pinned and this one has {bytes}; at most {most} with {most_bytes} bytes may be",
                pinned.len()
            ),
        })
    }

    /// From now on it is forgotten after that time, or never.
    fn set_expiry(&self, capture: &Capture, after: Option<Duration>) {
        let mut held = self.lock();
        let Held { captures, expiring } = &mut *held;
        let Some(entry) = captures.get_mut(&capture.id) else {
            return;
        };
        if let Some(key) = entry.expires.take() {
            expiring.try_remove(&key);
        }
        entry.expires = after.map(|after| expiring.insert(capture.id.clone(), after));
        capture.expire_at(after.map(|after| SystemTime::now() + after));
    }

    /// The recording of `capture`, of at most `lease`, is whole, or there is none.
    pub fn end(&self, capture: &Capture, lease: Lease, recorded: Result<Quality, RecordError>) {
        let recorded = recorded.and_then(|quality| match capture.directory.keep_recording(lease) {
            Ok(_) => Ok(quality),
            Err(error) => Err(RecordError::io("keep the recording", &error)),
        });
        let kept_for = capture.keep.unwrap_or(self.expiry);
        let expires_at = SystemTime::now() + kept_for;
        let mut held = self.lock();
        match recorded {
            Ok(quality) => {
                tracing::info!(
                    samples = quality.samples,
                    duration_ms = quality.duration_ms,
                    "capture finished"
                );
                self.counters.finished();
                capture.finish(quality, expires_at);
            }
            Err(error) => {
                if matches!(error, RecordError::Cancelled) {
                    tracing::info!("capture cancelled");
                } else {
                    tracing::warn!(%error, "capture failed");
                }
                self.counters.failed();
                if self.keeps {
                    capture.directory.empty();
                } else {
                    capture.directory.remove();
                }
                capture.fail(CaptureError::Record(error), expires_at);
            }
        }
        let Held { captures, expiring } = &mut *held;
        if let Some(entry) = captures.get_mut(&capture.id) {
            entry.expires = Some(expiring.insert(capture.id.clone(), kept_for));
        }
        drop(held);
        self.describe(capture);
    }

    /// Captures in the order of their ids.
    pub fn list(&self) -> Vec<Arc<Capture>> {
        let held = self.lock();
        held.captures.values().map(|entry| Arc::clone(&entry.capture)).collect()
    }

    /// One capture.
    pub fn get(&self, id: &str) -> Option<Arc<Capture>> {
        let held = self.lock();
        let mut captures = held.captures.values().map(|entry| &entry.capture);
        captures.find(|capture| capture.id.as_str() == id).map(Arc::clone)
    }

    /// Removes a capture and its files.
    pub fn forget(&self, id: &CaptureId) {
        let forgotten = self.lock().take(id);
        if let Some(capture) = forgotten {
            capture.directory.remove();
        }
    }

    /// From now on nothing can be registered. Gives what is there.
    pub fn close(&self) -> Vec<Arc<Capture>> {
        let held = self.lock();
        self.closed.send_replace(true);
        drop(held);
        self.list()
    }

    /// Ends when the registry is closed.
    pub async fn closed(&self) {
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// Removes the files of all captures, after [`Self::close`], unless there are some that the next server is told of.
    pub fn leave_store(&self) {
        if !self.keeps || self.lock().captures.is_empty() {
            self.store.remove();
        }
    }

    /// Forgets what has expired; never ready.
    fn poll_expired(&self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut held = self.lock();
            // An empty queue says "ready, nothing", and wakes us when something is put into it.
            let Poll::Ready(Some(expired)) = held.expiring.poll_expired(context) else {
                return Poll::Pending;
            };
            let expired = held.captures.remove(expired.get_ref());
            drop(held);
            if let Some(entry) = expired {
                entry.capture.directory.remove();
            }
        }
    }

    fn full(&self, captures: usize) -> CaptureError {
        CaptureError::StoreFull {
            detail: format!(
                "{captures} captures with {} bytes are kept, at most {} with {} bytes",
                self.reserved(),
                self.most,
                self.bytes
            ),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
