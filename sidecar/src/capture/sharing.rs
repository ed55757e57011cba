//! Requests of scrapers that one recording can answer together.
//!
//! A scraper asks for every profile of a process at once, and a JVM has one profiler: one after the other they would take
//! longer than the scraper waits. So a request that may be shared ([`crate::runtime::shares`]) opens a group, for a moment and for
//! as long as the group then waits for its slot; those who ask the same process for the same time join it. When the slot
//! is there, the group is closed and one recording of all that was asked for is made, of which each is given its event.
//!
//! The recording belongs to all of the group: it goes on until the last one has hung up. Knows who is in a group and not
//! what a recording is; called by [`super::Captures::profile`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::plan::{self, CapturePlan};
use super::request::CaptureRequest;
use super::{Artifact, Capture, CaptureError, Captures};
use crate::child::Inspection;
use crate::event::Event;
use crate::format::Format;
use crate::process::ProcessId;
use crate::profile::Names;

/// How long a group is open at least. A scraper's requests come within a few milliseconds of each other.
const WINDOW: Duration = Duration::from_millis(50);

/// How long a group waits for requests that have come and are still being planned: one may find the processes known, and the
/// next must look for them.
const LONGEST_ARRIVAL: Duration = Duration::from_secs(1);

/// Seconds that who does not say for how long puts up with. Who waits for the profiler instead waits for as long, and
/// is told when it is too long.
const LONGEST_FOR_ALL: u64 = 30;

/// A group of more is two: each of them holds a request of the server open.
const MOST_MEMBERS: usize = 32;

/// What a member of a group waits for.
type Outcome = Option<Result<Arc<Capture>, CaptureError>>;

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The process.
    pub target: ProcessId,
    /// Which.
    pub event: Event,
    /// How long; `None` takes whatever it is, within reason.
    pub seconds: Option<u64>,
    /// How long where that is not said.
    pub default_seconds: u64,
    /// How names are written.
    pub names: Names,
}

/// The groups that are open.
#[derive(Debug, Default)]
pub struct Sharing {
    open: Mutex<Vec<Arc<Group>>>,
    /// Requests of scrapers of which it is not known yet what they ask for.
    arriving: watch::Sender<usize>,
}

/// A request that may join a group when it has been planned; until it is dropped, groups wait for it.
#[derive(Debug)]
pub struct Arriving(watch::Sender<usize>);

impl Drop for Arriving {
    fn drop(&mut self) {
        self.0.send_modify(|arriving| *arriving -= 1);
    }
}

/// Those who share a recording.
#[derive(Debug)]
pub struct Group {
    target: ProcessId,
    names: Names,
    default_seconds: u64,
    asked: Mutex<Asked>,
    /// Its receivers are the members.
    outcome: watch::Sender<Outcome>,
    /// Somebody had an answer made of the recording, so that it is worth keeping.
    answered: AtomicBool,
}

/// What a group asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    events: Vec<Event>,
    seconds: Option<u64>,
}

/// Somebody who waits; leaves the group when dropped.
#[derive(Debug)]
pub struct Member {
    group: Arc<Group>,
    outcome: watch::Receiver<Outcome>,
}

impl Group {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn member(self: &Arc<Self>) -> Member {
        Member {
            group: Arc::clone(self),
            outcome: self.outcome.subscribe(),
        }
    }

    fn takes(&self, ask: &Ask) -> bool {
        let seconds = self.asked().seconds;
        let same_time = match (seconds, ask.seconds) {
            (Some(seconds), None) | (None, Some(seconds)) => seconds <= LONGEST_FOR_ALL,
            (seconds, asked) => seconds == asked,
        };
        let same = (self.target, self.names) == (ask.target, ask.names);
        same && same_time && self.outcome.receiver_count() < MOST_MEMBERS
    }

    fn add(&self, ask: &Ask) {
        let mut asked = self.asked();
        if !asked.events.contains(&ask.event) {
            asked.events.push(ask.event.clone());
        }
        asked.seconds = asked.seconds.or(ask.seconds);
    }

    /// Ends when no member is left.
    pub async fn abandoned(&self) {
        self.outcome.closed().await;
    }

    /// Whether an answer was made of the recording.
    pub fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }
}

impl Member {
    /// The recording of the group, once it has begun.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn capture(&mut self) -> Result<Arc<Capture>, CaptureError> {
        let outcome = self.outcome.wait_for(Option::is_some).await;
        let outcome = outcome.ok().and_then(|outcome| outcome.clone());
        outcome.unwrap_or(Err(CaptureError::ShuttingDown))
    }

    /// The recording was made something of, if only an error that says what else can be made of it.
    pub fn answered(self) {
        self.group.answered.store(true, Ordering::Relaxed);
    }
}

impl Sharing {
    /// To be called before a request is planned.
    pub fn arrive(&self) -> Arriving {
        self.arriving.send_modify(|arriving| *arriving += 1);
        Arriving(self.arriving.clone())
    }

    /// Joins a group, or opens one, which the caller must then [`lead`](Self::lead).
    pub fn join(&self, ask: &Ask) -> (Member, Option<Arc<Group>>) {
        let mut open = self.open();
        if let Some(group) = open.iter().find(|group| group.takes(ask)) {
            group.add(ask);
            return (group.member(), None);
        }
        let group = Arc::new(Group {
            target: ask.target,
            names: ask.names,
            default_seconds: ask.default_seconds,
            asked: Mutex::new(Asked {
                events: vec![ask.event.clone()],
                seconds: ask.seconds,
            }),
            outcome: watch::Sender::new(None),
            answered: AtomicBool::new(false),
        });
        open.push(Arc::clone(&group));
        (group.member(), Some(group))
    }

    /// Keeps a group open until `reserve` gives it the right to record for so many seconds, and has `start` begin a recording
    /// of all that is asked for by then. Gives what began; `None` if all members have left before or it failed, which they
    /// have been told.
    pub async fn lead<S>(
        &self,
        group: &Arc<Group>,
        reserve: impl AsyncFnOnce(u64) -> Result<S, CaptureError>,
        start: impl FnOnce(S, Vec<Event>, u64) -> Result<Arc<Capture>, CaptureError>,
    ) -> Option<Arc<Capture>> {
        let slot = async {
            tokio::time::sleep(WINDOW).await;
            let mut arriving = self.arriving.subscribe();
            let all_here = arriving.wait_for(|arriving| *arriving == 0);
            let _ = tokio::time::timeout(LONGEST_ARRIVAL, all_here).await;
            // From now on it has a length, as the slots and those who are refused are told it.
            let seconds = *group.asked().seconds.get_or_insert(group.default_seconds);
            Ok((reserve(seconds).await?, seconds))
        };
        let mut slot = std::pin::pin!(slot);
        let reserved = loop {
            tokio::select! {
                biased;
                reserved = &mut slot => break reserved,
                () = group.abandoned() => {
                    if self.close_unless_joined(group) {
                        return None;
                    }
                }
            }
        };
        let started = self.close_and(group, |events| {
            reserved.and_then(|(slot, seconds)| start(slot, events, seconds))
        });
        let capture = started.as_ref().ok().map(Arc::clone);
        group.outcome.send_replace(Some(started));
        capture
    }

    /// The group is closed from now on.
    fn close_and<T>(&self, group: &Arc<Group>, then: impl FnOnce(Vec<Event>) -> T) -> T {
        self.open().retain(|open| !Arc::ptr_eq(open, group));
        let mut events = group.asked().events.clone();
        // In one order, whoever came first.
        events.sort_by_key(|event| Event::ALL.iter().position(|known| known == event));
        then(events)
    }

    /// False if somebody joined after the last one left.
    fn close_unless_joined(&self, group: &Arc<Group>) -> bool {
        let mut open = self.open();
        let unwanted = group.outcome.receiver_count() == 0;
        if unwanted {
            open.retain(|open| !Arc::ptr_eq(open, group));
        }
        unwanted
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<Group>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Captures {
    /// Answers a request from a recording that others may have asked for, too. `plan` is what it would be by itself.
    pub(super) async fn shared(
        self: &Arc<Self>,
        request: &CaptureRequest,
        (plan, inspections): (CapturePlan, Vec<Inspection>),
        arriving: Option<Arriving>,
    ) -> Result<(Arc<Capture>, Artifact), CaptureError> {
        let event = plan.order.event.clone();
        let ask = Ask {
            target: plan.order.target.id(),
            event: event.clone(),
            seconds: (!request.snapshot).then_some(plan.order.seconds),
            default_seconds: plan.order.seconds,
            names: plan.names,
        };
        let (mut member, opened) = self.sharing.join(&ask);
        drop(arriving);
        if let Some(group) = opened {
            let first = request.clone();
            tokio::spawn(Arc::clone(self).lead(group, first, plan, inspections));
        }
        let capture = self.unless_closed(member.capture()).await?;
        self.finished(&capture).await?;
        let of_several = matches!(capture.event, Event::Several(_)).then_some(&event);
        let artifact = self
            .artifact(&capture, Some(Format::Pprof), of_several, &request.view)
            .await;
        member.answered();
        Ok((capture, artifact?))
    }

    /// Makes the recording of a group, and ends it early when all of the group have left.
    async fn lead(
        self: Arc<Self>,
        group: Arc<Group>,
        first: CaptureRequest,
        plan: CapturePlan,
        inspections: Vec<Inspection>,
    ) {
        let reserve = async |seconds| {
            let claim = plan.claim().lasting(Duration::from_secs(seconds));
            self.unless_closed(self.slots.reserve(claim)).await
        };
        let start = |slot, events: Vec<Event>, seconds| {
            let request = together(&first, &events, seconds);
            let plan = plan::plan(&request, &inspections, &self.settings)?;
            let capture = self.start_planned(plan, slot)?;
            capture.hold();
            Ok(capture)
        };
        let Some(capture) = self.sharing.lead(&group, reserve, start).await else {
            return;
        };
        group.abandoned().await;
        capture.release();
        if !group.is_answered() {
            let _ = self.delete(capture.id.as_str()).await;
        }
    }
}

/// The request for one recording of `events`.
fn together(first: &CaptureRequest, events: &[Event], seconds: u64) -> CaptureRequest {
    let (event, format) = match events {
        [event] => (event.clone(), first.format),
        events => {
            let names: Vec<_> = events.iter().map(ToString::to_string).collect();
            (Event::Several(names.join(",")), Some(Format::Jfr))
        }
    };
    CaptureRequest {
        event,
        format,
        seconds,
        snapshot: false,
        ..first.clone()
    }
}

#[cfg(test)]
mod tests;
