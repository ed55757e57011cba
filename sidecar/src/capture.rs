//! The use case: a request becomes a capture, a capture becomes artifacts.
//!
//! A capture is owned by its own task, never by the future of an HTTP handler: a dropped connection must still stop
//! the profiler inside the target. Must not know HTTP. Called by `http/` and by the `record` command.

pub mod artifact;
pub mod budget;
pub mod error;
pub mod plan;
pub mod request;
pub mod selector;
pub mod slots;
pub mod state;
pub mod store;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tracing::Instrument;

use crate::child::{Children, Command, Inspection, Inspector};
use crate::format::Format;
use crate::process::ProcessTable;
use crate::runtime::{RecordError, RuntimeSettings};

pub use artifact::Artifact;
pub use error::CaptureError;
pub use request::CaptureRequest;
pub use state::{Capture, CaptureId, CaptureState, Snapshot};

use budget::Lease;
use plan::CapturePlan;
use selector::Selector;
use slots::{Slot, Slots};
use store::Store;

/// What the operator decided; from flags, see [`crate::cli`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// About each runtime.
    pub runtimes: RuntimeSettings,
    /// Where the node lists its containers; `None` looks at the customary places.
    pub container_logs: Option<PathBuf>,
    /// Upper bound of `seconds`.
    pub max_seconds: u64,
    /// Captures at a time, over all targets.
    pub max_running: usize,
    /// Parent folder of the store.
    pub store_directory: PathBuf,
    /// Bytes in the store.
    pub store_bytes: u64,
    /// Captures in the store.
    pub store_captures: usize,
    /// How long a finished capture is kept.
    pub expiry: Duration,
}

/// All captures of this server.
#[derive(Debug)]
pub struct Captures {
    settings: Settings,
    children: Children,
    inspector: Inspector,
    slots: Slots,
    store: Store,
    captures: Mutex<BTreeMap<CaptureId, Arc<Capture>>>,
    shutting_down: watch::Sender<bool>,
    counters: state::Counters,
}

impl Captures {
    /// Prepares the store and removes what crashed servers left in it.
    ///
    /// # Errors
    /// The store's folder cannot be made.
    pub fn new(settings: Settings) -> std::io::Result<Arc<Self>> {
        let children = Children::default();
        Ok(Arc::new(Self {
            inspector: Inspector::new(
                children.clone(),
                ProcessTable::default(),
                settings.runtimes.clone(),
                settings.container_logs.clone(),
            ),
            children,
            slots: Slots::new(settings.max_running),
            store: Store::open(&settings.store_directory, settings.store_bytes)?,
            captures: Mutex::default(),
            shutting_down: watch::Sender::new(false),
            counters: state::Counters::default(),
            settings,
        }))
    }

    /// The operator's settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Counters for the metrics page.
    pub fn counters(&self) -> &state::Counters {
        &self.counters
    }

    /// Bytes the store holds now, those promised to running captures included.
    pub fn store_bytes(&self) -> u64 {
        self.store.budget().promised()
    }

    /// Every process we see, with its runtime and verdicts.
    ///
    /// # Errors
    /// An inspector child could not be started.
    pub async fn inspect(&self) -> Result<Vec<Inspection>, CaptureError> {
        Ok(self.inspector.inspect(None).await?)
    }

    /// The processes among which `selector` chooses. Who names a pid need not wait for a look at all the others.
    ///
    /// # Errors
    /// As [`Self::inspect`].
    pub async fn inspect_for(&self, selector: &Selector) -> Result<Vec<Inspection>, CaptureError> {
        if selector.pid.is_some() {
            let found = self.inspector.inspect(selector.pid).await?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        self.inspect().await
    }

    /// Removes what killed recorders of an earlier server left in targets.
    pub async fn sweep(&self) {
        match self.inspect().await {
            Ok(inspections) => {
                for inspection in inspections {
                    self.children.sweep(&inspection.target).await;
                }
            }
            Err(error) => tracing::warn!(%error, "could not look for leftovers of an earlier run"),
        }
    }

    /// Validates the request against the pod, takes a slot and starts a capture.
    ///
    /// # Errors
    /// Everything that can be known before something is started; nothing has touched the target then.
    pub async fn start(self: &Arc<Self>, request: &CaptureRequest) -> Result<Arc<Capture>, CaptureError> {
        if *self.shutting_down.borrow() {
            return Err(CaptureError::ShuttingDown);
        }
        let mut plan = self.plan(request).await?;
        let slot = self
            .slots
            .reserve(plan.order.target.id(), Duration::from_secs(plan.order.seconds))?;
        let lease = self.make_room()?;
        plan.order.room.granted_bytes = lease.bytes();
        let id = CaptureId::random().map_err(|error| CaptureError::internal("name the capture", &error))?;
        let directory = self.store.create(&id).map_err(|error| CaptureError::store(&error))?;
        let (capture, commands) = Capture::new(id.clone(), &plan, directory);
        let capture = Arc::new(capture);
        self.lock().insert(id, Arc::clone(&capture));
        self.counters.started();
        let target = &plan.order.target;
        // Not `name`: in JSON the span's own would hide it.
        let span = tracing::info_span!("capture", id = %capture.id, pid = target.id().pid, process = target.name,
            runtime = %target.runtime(), event = %plan.order.event, seconds = plan.order.seconds);
        tracing::info!(parent: &span, "capture started");
        tokio::spawn(
            Arc::clone(self)
                .run(Arc::clone(&capture), plan, (slot, lease), commands)
                .instrument(span),
        );
        Ok(capture)
    }

    /// What [`Self::profile`] would answer, without touching the target or taking a slot.
    ///
    /// # Errors
    /// Everything that can be known from the request and the doctor's verdicts.
    pub async fn check(&self, request: &CaptureRequest) -> Result<Format, CaptureError> {
        Ok(self.plan(request).await?.format)
    }

    async fn plan(&self, request: &CaptureRequest) -> Result<CapturePlan, CaptureError> {
        let inspections = self.inspect_for(&request.selector).await?;
        plan::plan(request, &inspections, &self.settings)
    }

    async fn run(
        self: Arc<Self>,
        capture: Arc<Capture>,
        plan: CapturePlan,
        (slot, mut lease): (Slot, Lease),
        commands: watch::Receiver<Command>,
    ) {
        let outcome = match capture.directory.create_recording() {
            Ok(output) => {
                let entered = |phase| capture.enter(phase);
                self.children
                    .record(&plan.order, output, &mut lease, commands, entered)
                    .await
            }
            Err(error) => Err(RecordError::io("create the recording", &error)),
        };
        let outcome = outcome.and_then(|quality| match capture.directory.keep_recording(lease) {
            Ok(()) => Ok(quality),
            Err(error) => Err(RecordError::io("keep the recording", &error)),
        });
        drop(slot);
        let expires_at = SystemTime::now() + self.settings.expiry;
        match outcome {
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
                capture.directory.remove_recording();
                capture.fail(CaptureError::Record(error), expires_at);
            }
        }
        tokio::time::sleep(self.settings.expiry).await;
        self.forget(&capture.id);
    }

    /// Waits until the capture is finished.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn finished(&self, capture: &Capture) -> Result<(), CaptureError> {
        let mut shutting_down = self.shutting_down.subscribe();
        tokio::select! {
            outcome = capture.finished() => outcome,
            _ = shutting_down.wait_for(|down| *down) => Err(CaptureError::ShuttingDown),
        }
    }

    /// The whole way of `GET /profile`. If the returned future is dropped before its end, the capture is cancelled.
    ///
    /// # Errors
    /// Whatever went wrong on the way.
    pub async fn profile(self: &Arc<Self>, request: &CaptureRequest) -> Result<(Arc<Capture>, Artifact), CaptureError> {
        let capture = self.start(request).await?;
        let guard = CancelOnDrop {
            captures: self,
            id: Some(capture.id.clone()),
        };
        self.finished(&capture).await?;
        let artifact = self.artifact(&capture, None).await?;
        guard.keep();
        Ok((capture, artifact))
    }

    /// An artifact of a finished capture, rendered at the first request.
    ///
    /// # Errors
    /// Not finished, failed, a format this recording does not give, or rendering failed.
    pub async fn artifact(&self, capture: &Capture, format: Option<Format>) -> Result<Artifact, CaptureError> {
        let format = format.unwrap_or(capture.format);
        if !capture.kind.formats().contains(&format) {
            let allowed = capture.kind.formats().to_vec();
            return Err(CaptureError::FormatNotOffered {
                runtime: capture.target.runtime,
                format,
                allowed,
            });
        }
        let artifact = capture.artifact(format, self.store.budget(), &self.children).await?;
        capture.mark_fetched();
        Ok(artifact)
    }

    /// Captures in the order of their ids.
    pub fn list(&self) -> Vec<Arc<Capture>> {
        self.lock().values().map(Arc::clone).collect()
    }

    /// One capture.
    ///
    /// # Errors
    /// [`CaptureError::NoSuchCapture`].
    pub fn get(&self, id: &str) -> Result<Arc<Capture>, CaptureError> {
        let found = self
            .lock()
            .iter()
            .find(|(known, _)| known.as_str() == id)
            .map(|(_, capture)| Arc::clone(capture));
        found.ok_or_else(|| CaptureError::NoSuchCapture(request::shorten(id)))
    }

    /// Ends a running capture early and keeps what there is.
    ///
    /// # Errors
    /// No such capture.
    pub fn stop(&self, id: &str) -> Result<Arc<Capture>, CaptureError> {
        let capture = self.get(id)?;
        capture.tell(Command::Stop);
        Ok(capture)
    }

    /// Cancels a capture if it runs, waits until the target is clean, and removes all of it.
    ///
    /// # Errors
    /// No such capture.
    pub async fn delete(&self, id: &str) -> Result<(), CaptureError> {
        let capture = self.get(id)?;
        capture.tell(Command::Cancel);
        // The outcome does not matter: the task has ended, so the target is clean.
        let _ = capture.finished().await;
        self.forget(&capture.id);
        Ok(())
    }

    /// Refuses new captures, cancels the running ones and waits until their targets are clean.
    pub async fn shut_down(&self) {
        self.shutting_down.send_replace(true);
        let running = self.list();
        for capture in &running {
            capture.tell(Command::Cancel);
        }
        for capture in running {
            let _ = capture.finished().await;
        }
        self.store.remove();
    }

    /// The first room of a new recording; captures that were fetched make room, others do not.
    fn make_room(&self) -> Result<Lease, CaptureError> {
        /// A recording needs some room to be worth starting.
        const LEAST: u64 = 4 << 20;
        let least = LEAST.min(self.settings.store_bytes);
        loop {
            let few = self.lock().len() < self.settings.store_captures;
            if few && self.store.budget().free() >= least {
                return Ok(self.store.budget().lease(least));
            }
            let Some(oldest) = self.oldest_fetched() else {
                return Err(CaptureError::StoreFull {
                    detail: format!(
                        "{} captures with {} bytes are kept, at most {} with {} bytes",
                        self.lock().len(),
                        self.store_bytes(),
                        self.settings.store_captures,
                        self.settings.store_bytes
                    ),
                });
            };
            self.forget(&oldest);
        }
    }

    fn oldest_fetched(&self) -> Option<CaptureId> {
        let captures = self.lock();
        let done = captures.values().filter(|capture| capture.may_be_evicted());
        done.min_by_key(|capture| capture.created_at)
            .map(|capture| capture.id.clone())
    }

    fn forget(&self, id: &CaptureId) {
        if let Some(capture) = self.lock().remove(id) {
            capture.directory.remove();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<CaptureId, Arc<Capture>>> {
        self.captures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cancels the capture of a waiting client that went away.
struct CancelOnDrop<'a> {
    captures: &'a Arc<Captures>,
    id: Option<CaptureId>,
}

impl CancelOnDrop<'_> {
    fn keep(mut self) {
        self.id = None;
    }
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            let captures = Arc::clone(self.captures);
            tokio::spawn(async move {
                let _ = captures.delete(id.as_str()).await;
            });
        }
    }
}

/// Milliseconds after the Unix epoch; 0 before it.
pub(crate) fn unix_millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
