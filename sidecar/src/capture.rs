//! The use case: a request becomes a capture, a capture becomes artifacts.
//!
//! A capture is owned by its own task, never by the future of an HTTP handler: a dropped connection must still stop
//! the profiler inside the target. Must not know HTTP. Called by `http/` and by the `record` command.

pub mod artifact;
pub mod budget;
pub mod diff;
pub mod error;
#[cfg(test)]
mod examples;
pub mod export;
pub mod following;
pub mod metadata;
pub mod plan;
pub mod registry;
pub mod remarks;
pub mod render_queue;
pub mod request;
pub mod selector;
pub mod sharing;
pub mod slots;
pub mod state;
pub mod store;
pub mod views;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use tracing::Instrument;

use crate::child::{Children, Command, Inspection, Inspector, Port, Scrape};
use crate::event::Event;
use crate::format::Format;
use crate::process::ProcessTable;
use crate::profile::View;
use crate::runtime::{self, RecordError, RuntimeSettings};
use tokio::sync::watch;

pub use artifact::Artifact;
pub use error::CaptureError;
pub use request::CaptureRequest;
pub use state::{Capture, CaptureId, CaptureState, Snapshot};

use artifact::Workshop;
use budget::Lease;
use plan::CapturePlan;
use registry::Registry;
use remarks::RemarksChange;
use render_queue::RenderQueue;
use selector::Selector;
use sharing::Sharing;
use slots::{Slot, Slots};

/// For the recorders to clean their targets when the server goes down: Kubernetes kills us 30 s after SIGTERM.
const SHUT_DOWN: Duration = Duration::from_secs(25);

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
    /// Parent folder of the store; `None` is a place of our own below the temporary directory.
    pub store_directory: Option<PathBuf>,
    /// Captures outlive the server: what an earlier one left there is kept, and what is there at our end stays.
    pub keeps: bool,
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
    registry: Arc<Registry>,
    sharing: Sharing,
    render_queue: RenderQueue,
}

impl Captures {
    /// Prepares the store and removes what crashed servers left in it. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// The store's folder cannot be made, or is not ours.
    pub fn new(settings: Settings) -> std::io::Result<Arc<Self>> {
        Self::with_port(settings, None)
    }

    /// The same, also for the runtimes that connect to `port`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_port(settings: Settings, port: Option<Port>) -> std::io::Result<Arc<Self>> {
        let children = Children::default().with_port(port);
        Ok(Arc::new(Self {
            inspector: Inspector::new(
                children.clone(),
                ProcessTable::default(),
                settings.runtimes.clone(),
                settings.container_logs.clone(),
            ),
            children,
            slots: Slots::new(settings.max_running),
            registry: Registry::open(&settings)?,
            sharing: Sharing::default(),
            render_queue: RenderQueue::default(),
            settings,
        }))
    }

    /// The operator's settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Counters for the metrics page.
    pub fn counters(&self) -> &state::Counters {
        self.registry.counters()
    }

    /// Bytes the store holds now, those reserved for running captures included.
    pub fn store_bytes(&self) -> u64 {
        self.registry.reserved()
    }

    /// How many artifacts are being read now, also of captures that are gone: somebody uses the server.
    pub fn being_read(&self) -> usize {
        self.registry.being_read()
    }

    /// Every process we see, with its runtime and verdicts.
    ///
    /// # Errors
    /// An inspector child could not be started.
    pub async fn inspect(&self) -> Result<Vec<Inspection>, CaptureError> {
        Ok(self.inspector.inspect(None).await?)
    }

    /// What is counted of every process we see, without asking any.
    ///
    /// # Errors
    /// As [`Self::inspect`].
    pub async fn meter(&self) -> Result<Arc<Scrape>, CaptureError> {
        Ok(self.inspector.meter().await?)
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

    /// Validates the request against the pod, waits for a slot if that will not be long, and starts a capture.
    ///
    /// # Errors
    /// Everything that can be known before something is started; nothing has touched the target then.
    pub async fn start(self: &Arc<Self>, request: &CaptureRequest) -> Result<Arc<Capture>, CaptureError> {
        let (plan, _) = self.unless_closed(self.plan(request)).await?;
        self.start_alone(plan).await
    }

    async fn start_alone(self: &Arc<Self>, plan: CapturePlan) -> Result<Arc<Capture>, CaptureError> {
        let slot = self.unless_closed(self.slots.reserve(plan.claim())).await?;
        self.start_planned(plan, slot)
    }

    fn start_planned(self: &Arc<Self>, mut plan: CapturePlan, slot: Slot) -> Result<Arc<Capture>, CaptureError> {
        /// A recording needs some room to be worth starting; its recorder asks for more.
        const LEAST: u64 = 4 << 20;
        let lease = self.registry.room(LEAST.min(self.settings.store_bytes))?;
        plan.order.room.granted_bytes = lease.bytes();
        let (capture, commands) = self.registry.register(&plan)?;
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
        Ok(self.plan(request).await?.0.format)
    }

    /// The plan, and what it was made by.
    async fn plan(&self, request: &CaptureRequest) -> Result<(CapturePlan, Vec<Inspection>), CaptureError> {
        let inspections = match &request.options.go.url {
            // Nothing of it is in our `/proc`.
            Some(url) => vec![Inspection::of_server(url)],
            None => self.inspect_for(&request.selector).await?,
        };
        let plan = plan::plan(request, &inspections, &self.settings);
        Ok((plan.map_err(|error| self.or_not_connected(error))?, inspections))
    }

    /// Where nothing is seen, the port says why.
    fn or_not_connected(&self, error: CaptureError) -> CaptureError {
        match (error, self.idle_port()) {
            (CaptureError::NoSuchProcess { candidates }, Some(port)) if candidates.is_empty() => {
                CaptureError::NotConnected(port)
            }
            (error, _) => error,
        }
    }

    /// The path of the port for runtimes, if there is one and none is connected to it.
    pub fn idle_port(&self) -> Option<String> {
        let port = self.children.port().filter(|port| port.is_idle())?;
        Some(port.path().display().to_string())
    }

    async fn run(
        self: Arc<Self>,
        capture: Arc<Capture>,
        plan: CapturePlan,
        (slot, mut lease): (Slot, Lease),
        commands: watch::Receiver<Command>,
    ) {
        let recorded = match capture.directory.create_recording() {
            Ok(output) => {
                let entered = |phase| capture.enter(phase);
                self.children
                    .record(&plan.order, output, &mut lease, commands, entered)
                    .await
            }
            Err(error) => Err(RecordError::io("create the recording", &error)),
        };
        // First the slot: who sees the end may start another capture at once.
        drop(slot);
        self.registry.end(&capture, lease, recorded);
        // Without it the next server could not tell whether the recording is as it was.
        if self.settings.keeps && capture.recording_digest().await.is_ok() {
            self.registry.describe(&capture);
        }
    }

    /// Waits until the capture is finished.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn finished(&self, capture: &Capture) -> Result<(), CaptureError> {
        self.unless_closed(capture.finished()).await
    }

    /// The whole way of `GET /profile`. If the returned future is dropped before its end, the capture is cancelled, unless
    /// it is shared and others go on to wait for it.
    ///
    /// # Errors
    /// Whatever went wrong on the way.
    pub async fn profile(self: &Arc<Self>, request: &CaptureRequest) -> Result<(Arc<Capture>, Artifact), CaptureError> {
        let arriving = request.scraped.then(|| self.sharing.arrive());
        let (plan, inspections) = self.unless_closed(self.plan(request)).await?;
        if request.scraped && runtime::shares(&plan.order) {
            // With all that it holds while it waits it is the largest part of an answer.
            return Box::pin(self.shared(request, (plan, inspections), arriving)).await;
        }
        drop(arriving);
        let capture = Box::pin(self.start_alone(plan)).await?;
        let artifact = Box::pin(self.wait_for(&capture, &request.view)).await?;
        Ok((capture, artifact))
    }

    /// For a client that waits: if the returned future is dropped before its end, the capture is cancelled.
    async fn wait_for(self: &Arc<Self>, capture: &Capture, view: &View) -> Result<Artifact, CaptureError> {
        let guard = CancelOnDrop {
            captures: self,
            id: Some(capture.id.clone()),
        };
        self.finished(capture).await?;
        let artifact = self.artifact(capture, None, None, view).await;
        // Without an artifact it stays as well: the error says how to get another one of it.
        self.registry.fetched(capture);
        guard.keep();
        artifact
    }

    /// An artifact of a finished capture, rendered at the first request.
    ///
    /// # Errors
    /// Not finished, failed, a format, event or part that this recording does not have, or rendering failed.
    pub async fn artifact(
        &self,
        capture: &Capture,
        format: Option<Format>,
        event: Option<&Event>,
        view: &View,
    ) -> Result<Artifact, CaptureError> {
        let wanted = capture.wanted(format, event, view)?;
        let workshop = Workshop {
            registry: &self.registry,
            queue: &self.render_queue,
            children: &self.children,
            render: Children::render,
        };
        // On the heap: what rendering holds would be a part of every future that waits for an artifact.
        let artifact = Box::pin(capture.artifact(wanted, &workshop));
        let artifact = self.unless_closed(artifact).await?;
        self.registry.fetched(capture);
        Ok(artifact)
    }

    /// Waits for `outcome`, but not beyond the beginning of a shutdown.
    async fn unless_closed<T>(
        &self,
        outcome: impl Future<Output = Result<T, CaptureError>>,
    ) -> Result<T, CaptureError> {
        tokio::select! {
            biased;
            outcome = outcome => outcome,
            () = self.registry.closed() => Err(CaptureError::ShuttingDown),
        }
    }

    /// Captures in the order of their ids.
    pub fn list(&self) -> Vec<Arc<Capture>> {
        self.registry.list()
    }

    /// One capture.
    ///
    /// # Errors
    /// [`CaptureError::NoSuchCapture`].
    pub fn get(&self, id: &str) -> Result<Arc<Capture>, CaptureError> {
        self.registry
            .get(id)
            .ok_or_else(|| CaptureError::NoSuchCapture(request::shorten(id)))
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

    /// Changes what people say of a capture.
    ///
    /// # Errors
    /// No such capture; a text that is not taken; of a pin, that the capture still runs or that enough are pinned.
    pub fn remark(&self, id: &str, change: &RemarksChange) -> Result<Arc<Capture>, CaptureError> {
        let capture = self.get(id)?;
        self.registry.remark(&capture, change)?;
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
        self.registry.forget(&capture.id);
        Ok(())
    }

    /// Refuses new captures, cancels the running ones, waits until their targets are clean, at most 25 s, and
    /// removes the store, unless the next server is to find something there.
    pub async fn shut_down(&self) {
        let captures = self.registry.close();
        for capture in &captures {
            capture.tell(Command::Cancel);
        }
        let ended = join_all(captures.iter().map(|capture| capture.finished()));
        if tokio::time::timeout(SHUT_DOWN, ended).await.is_err() {
            tracing::warn!("recorders were still at work after {} s", SHUT_DOWN.as_secs());
        }
        self.registry.leave_store();
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

#[cfg(test)]
mod tests;
