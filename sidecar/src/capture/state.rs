//! One capture: what it is, where it stands, and how to steer it.

use std::fmt;
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use tokio::sync::watch;

use super::artifact::Made;
use super::metadata::{Evidence, Metadata, Outcome};
use super::plan::CapturePlan;
use super::remarks::{Remarks, RemarksChange};
use super::store::CaptureDirectory;
use super::{CaptureError, unix_millis};
use crate::child::Command;
use crate::event::Event;
use crate::format::{Format, RecordingKind};
use crate::profile::{Names, Quality};
use crate::runtime::{Phase, RecordError, Who};

/// Unguessable name of a capture.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CaptureId(String);

impl CaptureId {
    /// 64 random bits as 16 hexadecimal digits.
    ///
    /// # Errors
    /// The kernel's random source cannot be read.
    pub fn random() -> std::io::Result<Self> {
        let mut bytes = [0; 8];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(format!("{:016x}", u64::from_ne_bytes(bytes))))
    }

    /// The id that is written so, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == 16 && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CaptureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a capture stands.
#[derive(Debug, Clone)]
pub enum CaptureState {
    /// The recorder works.
    Running(Phase),
    /// The recording is whole.
    Finished(Box<Quality>),
    /// There is none.
    Failed(CaptureError),
}

/// A capture from its start to its expiry.
#[derive(Debug)]
pub struct Capture {
    /// Name.
    pub id: CaptureId,
    /// The target.
    pub target: Who,
    /// What is sampled.
    pub event: Event,
    /// Seconds asked for.
    pub seconds: u64,
    /// The native file.
    pub kind: RecordingKind,
    /// The format asked for.
    pub format: Format,
    /// How its artifacts write names that differ from run to run.
    pub names: Names,
    /// How long it is kept when it has ended, if not as long as others.
    pub keep: Option<Duration>,
    /// When it was accepted.
    pub created_at: SystemTime,
    /// The process as it was then.
    pub evidence: Evidence,
    /// Its folder in the store.
    pub(super) directory: CaptureDirectory,
    state: watch::Sender<CaptureState>,
    sampling_since: OnceLock<Instant>,
    /// Set when it ends; not while it is pinned.
    expires_at: Mutex<Option<SystemTime>>,
    remarks: Mutex<Remarks>,
    /// SHA-256 of the recording in hexadecimal digits.
    pub(super) digest: tokio::sync::OnceCell<String>,
    commands: watch::Sender<Command>,
    expendable: AtomicBool,
    /// Several wait for artifacts of it, and some have not had theirs.
    held: AtomicBool,
    /// What was made of the recording so far.
    pub(super) artifacts: Mutex<Made>,
    /// Held by whoever makes another artifact.
    pub(super) making: tokio::sync::Mutex<()>,
}

impl Capture {
    pub(super) fn new(
        id: CaptureId,
        plan: &CapturePlan,
        directory: CaptureDirectory,
    ) -> (Self, watch::Receiver<Command>) {
        let (commands, heard) = watch::channel(Command::default());
        let order = &plan.order;
        let capture = Self {
            id,
            target: Who::from(&order.target),
            event: order.event.clone(),
            seconds: order.seconds,
            kind: order.kind(),
            format: plan.format,
            names: plan.names,
            keep: plan.keep,
            created_at: SystemTime::now(),
            evidence: Evidence::of(plan),
            directory,
            state: watch::Sender::new(CaptureState::Running(Phase::Attaching)),
            sampling_since: OnceLock::new(),
            expires_at: Mutex::default(),
            remarks: Mutex::default(),
            digest: tokio::sync::OnceCell::new(),
            commands,
            expendable: AtomicBool::new(false),
            held: AtomicBool::new(false),
            artifacts: Mutex::default(),
            making: tokio::sync::Mutex::default(),
        };
        (capture, heard)
    }

    /// One of a server that is gone. What was being recorded then has failed.
    pub(super) fn restored(id: CaptureId, metadata: Metadata, directory: CaptureDirectory) -> Self {
        let created_at = metadata.created_at();
        let (state, digest) = match metadata.end.map(|end| end.outcome) {
            Some(Outcome::Finished { quality, sha256, .. }) => (CaptureState::Finished(quality), sha256),
            Some(Outcome::Failed { error }) => (CaptureState::Failed(error.into()), None),
            None => (CaptureState::Failed(RecordError::Interrupted.into()), None),
        };
        Self {
            id,
            target: Who::from(&metadata.evidence.process),
            event: metadata.event,
            seconds: metadata.seconds,
            kind: metadata.kind,
            format: metadata.format,
            names: metadata.names,
            keep: None,
            created_at,
            evidence: metadata.evidence,
            directory,
            state: watch::Sender::new(state),
            sampling_since: OnceLock::new(),
            expires_at: Mutex::default(),
            remarks: Mutex::new(metadata.remarks),
            digest: tokio::sync::OnceCell::new_with(digest),
            commands: watch::channel(Command::default()).0,
            expendable: AtomicBool::new(metadata.fetched),
            held: AtomicBool::new(false),
            artifacts: Mutex::default(),
            making: tokio::sync::Mutex::default(),
        }
    }

    /// Where it stands now.
    pub fn state(&self) -> CaptureState {
        self.state.borrow().clone()
    }

    /// Follows the state; for progress displays.
    pub fn watch(&self) -> watch::Receiver<CaptureState> {
        self.state.subscribe()
    }

    pub(super) fn enter(&self, phase: Phase) {
        if phase == Phase::Sampling {
            let _ = self.sampling_since.set(Instant::now());
        }
        self.state.send_replace(CaptureState::Running(phase));
    }

    pub(super) fn finish(&self, quality: Quality, expires_at: SystemTime) {
        self.expire_at(Some(expires_at));
        self.state.send_replace(CaptureState::Finished(Box::new(quality)));
    }

    pub(super) fn fail(&self, error: CaptureError, expires_at: SystemTime) {
        self.expire_at(Some(expires_at));
        self.state.send_replace(CaptureState::Failed(error));
    }

    /// When it will be forgotten, once that is known.
    pub fn expires_at(&self) -> Option<SystemTime> {
        *self.expires_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn expire_at(&self, time: Option<SystemTime>) {
        *self.expires_at.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }

    /// What people say of it.
    pub fn remarks(&self) -> Remarks {
        self.said().clone()
    }

    pub(super) fn remark(&self, change: &RemarksChange) {
        self.said().apply(change);
    }

    fn said(&self) -> MutexGuard<'_, Remarks> {
        self.remarks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is kept whatever comes.
    pub fn is_pinned(&self) -> bool {
        self.said().pinned
    }

    /// True until it has ended.
    pub fn is_running(&self) -> bool {
        matches!(*self.state.borrow(), CaptureState::Running(_))
    }

    /// SHA-256 of the recording, if somebody has counted it.
    pub(super) fn known_digest(&self) -> Option<String> {
        self.digest.get().cloned()
    }

    /// Tells the recorder; too late is no error.
    pub fn tell(&self, command: Command) {
        command.raise(&self.commands);
    }

    /// Waits for the end.
    pub(super) async fn finished(&self) -> Result<(), CaptureError> {
        let mut state = self.state.subscribe();
        let end = state.wait_for(|state| !matches!(state, CaptureState::Running(_))).await;
        match end.as_deref() {
            Ok(CaptureState::Failed(error)) => Err(error.clone()),
            Ok(_) => Ok(()),
            Err(_) => Err(CaptureError::ShuttingDown),
        }
    }

    /// Whoever asked for it has had an answer, so it need not be kept when there is no room. True the first time.
    pub(super) fn mark_expendable(&self) -> bool {
        !self.expendable.swap(true, Ordering::Relaxed)
    }

    /// See [`Self::mark_expendable`].
    pub(super) fn is_expendable(&self) -> bool {
        self.expendable.load(Ordering::Relaxed)
    }

    /// It is not evicted until [`Self::release`].
    pub(super) fn hold(&self) {
        self.held.store(true, Ordering::Relaxed);
    }

    /// See [`Self::hold`].
    pub(super) fn release(&self) {
        self.held.store(false, Ordering::Relaxed);
    }

    /// Failed, or finished and expendable; not while something of it is rendered or read, and not if it is pinned.
    pub(super) fn may_be_evicted(&self) -> bool {
        if self.is_pinned() {
            return false;
        }
        match *self.state.borrow() {
            CaptureState::Running(_) => false,
            CaptureState::Finished(_) => {
                let at_rest = self.making.try_lock().is_ok() && self.directory.removable_bytes().is_some();
                at_rest && !self.held.load(Ordering::Relaxed) && self.is_expendable()
            }
            CaptureState::Failed(_) => true,
        }
    }

    /// Removes what was made of the recording and can be made again; not while something is made or read. True if there was
    /// something.
    pub(super) fn remove_artifacts(&self) -> bool {
        let Ok(_making) = self.making.try_lock() else {
            return false;
        };
        let removed = self.directory.remove_artifacts();
        let mut artifacts = self.artifacts.lock().unwrap_or_else(PoisonError::into_inner);
        artifacts.forget(&removed);
        !removed.is_empty()
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let since = self.sampling_since.get();
        let mut elapsed = since.map_or(0, |since| {
            u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
        });
        let mut bytes = self.directory.recording_bytes();
        let (status, phase) = match self.state() {
            CaptureState::Running(phase) => {
                let growing = self.directory.open_growing().and_then(|file| file.metadata());
                bytes = growing.map_or(0, |file| file.len());
                (Status::Running, Some(phase))
            }
            CaptureState::Finished(quality) => {
                elapsed = quality.duration_ms.unwrap_or(elapsed);
                (Status::Finished, None)
            }
            CaptureState::Failed(_) => (Status::Failed, None),
        };
        Progress {
            id: self.id.to_string(),
            status,
            phase,
            elapsed_ms: elapsed,
            seconds: self.seconds,
            bytes,
        }
    }

    /// The JSON form.
    pub fn snapshot(&self) -> Snapshot {
        let (status, phase, quality, error) = match self.state() {
            CaptureState::Running(phase) => (Status::Running, Some(phase), None, None),
            CaptureState::Finished(quality) => (Status::Finished, None, Some(quality.shown()), None),
            CaptureState::Failed(error) => (Status::Failed, None, None, Some(error.to_string())),
        };
        let remarks = self.remarks();
        Snapshot {
            id: self.id.to_string(),
            capture_name: remarks.name,
            note: remarks.note,
            pinned: remarks.pinned,
            status,
            phase,
            target: self.target.clone(),
            event: self.event.name().to_owned(),
            seconds: self.seconds,
            events: match &self.event {
                Event::Several(_) => self.event.parts().iter().map(ToString::to_string).collect(),
                _ => Vec::new(),
            },
            format: self.format,
            formats: self.kind.formats().to_vec(),
            created_at_ms: unix_millis(self.created_at),
            expires_at_ms: self.expires_at().map(unix_millis),
            quality,
            error,
        }
    }
}

/// Life of a capture in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being recorded.
    Running,
    /// Artifacts can be fetched.
    Finished,
    /// `error` says why there are none.
    Failed,
}

/// A capture as `GET /captures/{id}` shows it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Name, part of the URL.
    pub id: String,
    /// What people call it; `name` is that of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture_name: Option<String>,
    /// What people say of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// It is kept until it is deleted or unpinned.
    pub pinned: bool,
    /// Life in one word.
    pub status: Status,
    /// What the recorder does, while running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The target.
    #[serde(flatten)]
    pub target: Who,
    /// What is sampled.
    pub event: String,
    /// Seconds asked for.
    pub seconds: u64,
    /// The events of a recording of several, of which an artifact is asked for by `event`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// The format asked for.
    pub format: Format,
    /// Formats that can be fetched.
    pub formats: Vec<Format>,
    /// When it was accepted, milliseconds after the Unix epoch.
    pub created_at_ms: u64,
    /// When it will be forgotten, milliseconds after the Unix epoch, once it has ended, unless it is pinned. A full store forgets
    /// earlier what was fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
    /// The quality stamp, when finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How far a capture is.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Name, part of the URL.
    pub id: String,
    /// Life in one word.
    pub status: Status,
    /// What the recorder does, while running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Milliseconds since sampling began, in the end for how long it sampled; 0 before.
    pub elapsed_ms: u64,
    /// Seconds asked for.
    pub seconds: u64,
    /// Bytes of the recording that are in the store.
    pub bytes: u64,
}

impl Progress {
    /// Whether there is more to tell than that time has passed.
    pub fn differs(&self, later: &Self) -> bool {
        (self.status, self.phase, self.bytes) != (later.status, later.phase, later.bytes)
    }
}

/// Captures by outcome, for `/metrics`.
#[derive(Debug, Default)]
pub struct Counters {
    started: AtomicU64,
    finished: AtomicU64,
    failed: AtomicU64,
}

impl Counters {
    pub(super) fn started(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn finished(&self) {
        self.finished.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Captures being recorded now.
    pub fn running(&self) -> u64 {
        let (started, finished, failed) = self.read();
        started.saturating_sub(finished + failed)
    }

    /// Captures started, finished and failed since the server's start.
    pub fn read(&self) -> (u64, u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.started), read(&self.finished), read(&self.failed))
    }
}
