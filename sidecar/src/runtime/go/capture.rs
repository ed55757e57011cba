//! One profile from a pprof port: asks, watches the clock and the server's orders, and streams the answer.
//!
//! Whatever ends a capture, our half of the connection is closed first and the answer awaited for a moment: Go's
//! server then cancels the request, its handler stops the profiler, and the end of the answer proves it.

use std::io::Write;
use std::time::{Duration, SystemTime};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, LOCATION, TRANSFER_ENCODING};
use hyper::{Response, StatusCode};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::absence;
use super::plan::{GoPlan, Place};
use super::pprof_client::{ClientError, Connection, HangUp, read_body};
use super::profile_scan::ProfileFacts;
use super::recording_check::RecordingCheck;
use super::refusal::{concealed, refusal, refusal_of_server};
use super::request::Span;
use super::server::{Door, Entered};
use crate::format::RecordingKind;
use crate::runtime::{Control, Interruption, Phase, RecordError, Reporter};

/// How often we look at orders and clocks while waiting.
const TICK: Duration = Duration::from_millis(50);

/// Without a byte for so long after sampling, nothing comes any more. `heap?gc=1` collects first, which takes some
/// seconds for a heap of 100 GB.
const QUIET: Duration = Duration::from_secs(30);

/// Bound for the transfer however it trickles: a 1 GB trace takes some seconds.
const TRANSFER: Duration = Duration::from_secs(180);

/// How long a capture that failed waits for the target to end its profiler. StopCPUProfile needs up to 200 ms.
const WIND_DOWN: Duration = Duration::from_secs(2);

/// As much of an error's body as can be of use.
const ERROR_BODY: usize = 4096;

/// A whole recording.
#[derive(Debug)]
pub(super) struct Recorded {
    /// What it says about itself.
    pub(super) facts: ProfileFacts,
    /// When sampling began.
    pub(super) started: SystemTime,
    /// From the request to the end of sampling; zero for a snapshot.
    pub(super) sampled: Duration,
    /// Ended by an order before its time.
    pub(super) stopped: bool,
}

/// A capture under way.
pub(super) struct Capture<'a> {
    plan: &'a GoPlan,
    door: Option<Door>,
    /// Must not be repeated, whoever says it.
    token: Option<String>,
    output: &'a mut dyn Write,
    control: &'a Control,
    reporter: &'a mut Reporter,
    ticks: Interval,
    hang_up: Option<HangUp>,
    started: Instant,
    sampling_ends: Instant,
    last_byte: Instant,
    transferring: bool,
    stopped: bool,
    /// Why there will be no recording, and until when we wait for the target to notice.
    failed: Option<(RecordError, Instant)>,
}

impl<'a> Capture<'a> {
    /// A capture that has not begun. Needs a tokio runtime with time.
    pub(super) fn new(
        (plan, door): (&'a GoPlan, Door),
        output: &'a mut dyn Write,
        control: &'a Control,
        reporter: &'a mut Reporter,
    ) -> Self {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now = Instant::now();
        Self {
            plan,
            door: Some(door),
            token: None,
            output,
            control,
            reporter,
            ticks,
            hang_up: None,
            started: now,
            sampling_ends: now,
            last_byte: now,
            transferring: false,
            stopped: false,
            failed: None,
        }
    }

    /// Runs the capture to its end.
    ///
    /// # Errors
    /// See [`crate::runtime::record`].
    pub(super) async fn run(mut self) -> Result<Recorded, RecordError> {
        self.reporter.phase(Phase::Attaching);
        let door = self.door.take().ok_or(RecordError::TargetExited)?;
        let Entered { connection, token } = match self.attend(door.enter()).await?? {
            Ok(entered) => entered,
            Err(error) => return Err(self.broken(&error)),
        };
        self.token = token;
        if let Some((error, _)) = self.failed.take() {
            return Err(error);
        }
        self.hang_up = Some(connection.hang_up());
        self.reporter.phase(Phase::Sampling);
        let started = SystemTime::now();
        self.started = Instant::now();
        self.last_byte = self.started;
        self.sampling_ends = self.started + self.plan.request.time;
        let facts = self.ask(connection).await?;
        let sampled = self
            .sampling_ends
            .min(self.last_byte)
            .saturating_duration_since(self.started);
        Ok(Recorded {
            facts,
            started,
            sampled,
            stopped: self.stopped,
        })
    }

    async fn ask(&mut self, connection: Connection) -> Result<ProfileFacts, RecordError> {
        let path = self.plan.request.path_and_query(&self.plan.index);
        let response = match self.attend(async move { connection.get(&path).await }).await? {
            Ok(response) => response,
            Err(error) => return Err(self.broken(&error)),
        };
        // A trace arrives while it is sampled; everything else is sent when it is whole.
        if self.plan.request.kind != RecordingKind::Trace {
            self.sampling_ends = self.sampling_ends.min(Instant::now());
        }
        self.progress();
        if response.status() != StatusCode::OK {
            return Err(self.refused(response).await);
        }
        if !is_framed(&response) {
            return Err(self.protocol("the answer has no length and no chunks; a cut one could not be told"));
        }
        self.stream(response.into_body()).await
    }

    async fn stream(&mut self, mut body: Incoming) -> Result<ProfileFacts, RecordError> {
        if Instant::now() >= self.sampling_ends {
            self.begin_transfer();
        }
        let mut check = RecordingCheck::new(self.plan.request.kind);
        while let Some(frame) = self.attend(body.frame()).await? {
            let data = match frame {
                Ok(frame) => frame.into_data().unwrap_or_default(),
                Err(error) => return Err(self.broken(&ClientError::Http(error))),
            };
            self.progress();
            if self.failed.is_some() {
                continue;
            }
            if let Err(error) = check.take(&data) {
                let error = self.protocol(&error.to_string());
                self.fail(error);
            } else if let Err(error) = self.output.write_all(&data) {
                self.fail(RecordError::io("write the recording", &error));
            }
        }
        if self.plan.request.kind == RecordingKind::Trace {
            self.sampling_ends = self.sampling_ends.min(Instant::now());
        }
        match self.failed.take() {
            Some((error, _)) => Err(error),
            None => check.finish().map_err(|error| self.protocol(&error.to_string())),
        }
    }

    /// Waits for `step` and minds orders and clocks meanwhile.
    async fn attend<T>(&mut self, step: impl Future<Output = T>) -> Result<T, RecordError> {
        let mut step = std::pin::pin!(step);
        loop {
            tokio::select! {
                biased;
                output = &mut step => return Ok(output),
                _ = self.ticks.tick() => self.look()?,
            }
        }
    }

    /// The error ends the capture at once; [`Self::fail`] ends it when the target has noticed.
    fn look(&mut self) -> Result<(), RecordError> {
        let now = Instant::now();
        if !self.control.target_is_alive() {
            return Err(RecordError::TargetExited);
        }
        if let Some((error, until)) = &self.failed {
            return if now >= *until { Err(error.clone()) } else { Ok(()) };
        }
        match self.control.poll() {
            Some(Interruption::Cancel) => self.fail(RecordError::Cancelled),
            Some(Interruption::TargetExited) => return Err(RecordError::TargetExited),
            Some(Interruption::Stop) => self.stop(now),
            None => {}
        }
        if now >= self.sampling_ends + TRANSFER {
            self.fail(timeout("reading the profile", TRANSFER));
        } else if now >= self.sampling_ends.max(self.last_byte) + QUIET {
            self.fail(timeout("waiting for the profile", QUIET));
        }
        if self.hang_up.is_some() && now >= self.sampling_ends {
            self.begin_transfer();
        }
        Ok(())
    }

    /// Sampling is over.
    fn begin_transfer(&mut self) {
        if !std::mem::replace(&mut self.transferring, true) {
            self.reporter.phase(Phase::Transferring);
        }
    }

    /// An order to keep what there is.
    fn stop(&mut self, now: Instant) {
        let Some(hang_up) = &self.hang_up else {
            return self.fail(RecordError::NothingToKeep {
                detail: "sampling had not begun".to_owned(),
            });
        };
        // What is sampled already comes whole in a moment.
        if self.transferring || now >= self.sampling_ends {
            return;
        }
        if self.plan.request.span == Span::Difference {
            let detail = format!(
                "Go computes {} as a difference at the end of the time asked for; a part cannot be kept",
                self.plan.request.profile
            );
            return self.fail(RecordError::NothingToKeep { detail });
        }
        self.reporter.phase(Phase::Stopping);
        hang_up.now();
        self.stopped = true;
        self.sampling_ends = now;
    }

    /// Gives up, but waits a moment for the profiler in the target to end.
    fn fail(&mut self, error: RecordError) {
        if let Some(hang_up) = &self.hang_up {
            hang_up.now();
        }
        self.failed.get_or_insert((error, Instant::now() + WIND_DOWN));
    }

    fn progress(&mut self) {
        self.last_byte = Instant::now();
    }

    fn protocol(&self, detail: &str) -> RecordError {
        RecordError::Protocol {
            step: format!("read {}", self.plan.request.profile),
            detail: detail.to_owned(),
        }
    }

    /// The error for a connection that ended badly: perhaps the process did.
    fn broken(&mut self, error: &ClientError) -> RecordError {
        // The kernel closes the sockets of a dying process a moment before /proc shows it dead.
        const LAST_BREATH: Duration = Duration::from_millis(250);
        if let Some((error, _)) = self.failed.take() {
            return error;
        }
        match self.control.wait(LAST_BREATH) {
            Some(Interruption::TargetExited) => return RecordError::TargetExited,
            Some(Interruption::Cancel) => return RecordError::Cancelled,
            Some(Interruption::Stop) | None => {}
        }
        if self.stopped {
            let detail = format!(
                "the app ended the connection without the {}: {error}",
                self.plan.request.profile
            );
            return RecordError::NothingToKeep { detail };
        }
        match error {
            ClientError::WantsCertificate => {
                RecordError::Impossible(absence::wants_certificate(&self.plan.place.to_string()))
            }
            ClientError::Tls(error) if self.plan.is_of_a_server() => {
                RecordError::Impossible(absence::unverified(&self.plan.place.to_string(), error))
            }
            ClientError::Http(_) if self.hang_up.is_some() => self.protocol(&format!(
                "{error}; it broke off after {:.1} s: the WriteTimeout of the app's http.Server may be shorter than \
                 the capture",
                self.started.elapsed().as_secs_f64()
            )),
            error => self.protocol(&error.to_string()),
        }
    }

    async fn refused(&mut self, response: Response<Incoming>) -> RecordError {
        let status = response.status();
        let location = response.headers().get(LOCATION).map(|value| value.as_bytes().to_vec());
        let body = match self.attend(read_body(response.into_body(), ERROR_BODY)).await {
            Ok(body) => body.unwrap_or_default(),
            Err(error) => return error,
        };
        match self.failed.take() {
            Some((error, _)) => error,
            None => {
                let body = concealed(self.token.as_deref(), body);
                let of_server = match &self.plan.place {
                    Place::Server(server) => {
                        let location = concealed(self.token.as_deref(), location.unwrap_or_default());
                        refusal_of_server(&server.url.to_string(), status, &location)
                    }
                    Place::Port(_) => None,
                };
                of_server.unwrap_or_else(|| refusal(&self.plan.request, status, &body))
            }
        }
    }
}

/// True when the end of the body is told from a broken connection.
fn is_framed(response: &Response<Incoming>) -> bool {
    response.headers().contains_key(CONTENT_LENGTH) || response.headers().contains_key(TRANSFER_ENCODING)
}

fn timeout(step: &str, bound: Duration) -> RecordError {
    RecordError::Timeout {
        step: step.to_owned(),
        seconds: bound.as_secs(),
    }
}
