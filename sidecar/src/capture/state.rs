//! One capture: what it is, where it stands, and how to steer it.

use std::fmt;
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::SystemTime;

use serde::Serialize;
use tokio::sync::watch;

use super::artifact::Made;
use super::plan::CapturePlan;
use super::store::CaptureDirectory;
use super::{CaptureError, unix_millis};
use crate::child::Command;
use crate::event::Event;
use crate::format::{Format, RecordingKind};
use crate::profile::{Names, Quality};
use crate::runtime::{Phase, Who};

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
    /// When it was accepted.
    pub created_at: SystemTime,
    /// Its folder in the store.
    pub(super) directory: CaptureDirectory,
    state: watch::Sender<CaptureState>,
    /// Set when it ends.
    expires_at: OnceLock<SystemTime>,
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
            created_at: SystemTime::now(),
            directory,
            state: watch::Sender::new(CaptureState::Running(Phase::Attaching)),
            expires_at: OnceLock::new(),
            commands,
            expendable: AtomicBool::new(false),
            held: AtomicBool::new(false),
            artifacts: Mutex::default(),
            making: tokio::sync::Mutex::default(),
        };
        (capture, heard)
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
        self.state.send_replace(CaptureState::Running(phase));
    }

    pub(super) fn finish(&self, quality: Quality, expires_at: SystemTime) {
        let _ = self.expires_at.set(expires_at);
        self.state.send_replace(CaptureState::Finished(Box::new(quality)));
    }

    pub(super) fn fail(&self, error: CaptureError, expires_at: SystemTime) {
        let _ = self.expires_at.set(expires_at);
        self.state.send_replace(CaptureState::Failed(error));
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

    /// Whoever asked for it has had an answer, so it need not be kept when there is no room.
    pub(super) fn mark_expendable(&self) {
        self.expendable.store(true, Ordering::Relaxed);
    }

    /// It is not evicted until [`Self::release`].
    pub(super) fn hold(&self) {
        self.held.store(true, Ordering::Relaxed);
    }

    /// See [`Self::hold`].
    pub(super) fn release(&self) {
        self.held.store(false, Ordering::Relaxed);
    }

    /// Failed, or finished and expendable; not while something of it is rendered or read.
    pub(super) fn may_be_evicted(&self) -> bool {
        match *self.state.borrow() {
            CaptureState::Running(_) => false,
            CaptureState::Finished(_) => {
                let at_rest = self.making.try_lock().is_ok() && self.directory.removable_bytes().is_some();
                at_rest && !self.held.load(Ordering::Relaxed) && self.expendable.load(Ordering::Relaxed)
            }
            CaptureState::Failed(_) => true,
        }
    }

    /// The JSON form.
    pub fn snapshot(&self) -> Snapshot {
        let (status, phase, quality, error) = match self.state() {
            CaptureState::Running(phase) => (Status::Running, Some(phase), None, None),
            CaptureState::Finished(quality) => (Status::Finished, None, Some(quality.shown()), None),
            CaptureState::Failed(error) => (Status::Failed, None, None, Some(error.to_string())),
        };
        Snapshot {
            id: self.id.to_string(),
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
            expires_at_ms: self.expires_at.get().copied().map(unix_millis),
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
    /// When it will be forgotten, milliseconds after the Unix epoch, once it has ended. A full store forgets earlier
    /// what was fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
    /// The quality stamp, when finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
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
