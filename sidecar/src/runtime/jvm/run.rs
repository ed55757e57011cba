//! One capture from the loaded library to the moved recording, and the end of the profiler on every way out.
//!
//! Knows the order of the steps; each step is a module. Called by [`super::record`].

use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use super::agent::{Agent, Answer};
use super::agent_library;
use super::async_profiler::{self, Refusal, refusal};
use super::attach::Attach;
use super::delivery;
use super::descriptors;
use super::doctor;
use super::hardware;
use super::outcome::Sampled;
use super::plan::JvmPlan;
use super::sampling::Engine;
use super::session::{Marker, Session, now_ms};
use super::transfer;
use super::waits::Waits;
use crate::event::Event;
use crate::format::RecordingKind;
use crate::process::{CpuTime, Process, ProcessTable, TargetRoot};
use crate::profile::Quality;
use crate::runtime::{NoRoom, Phase, RecordError, RecordOrder, Reporter};

/// Name of the recording in the session.
const RECORDING: &str = "out";

/// Name of the text beside it that has sizes.
const SIZES: &str = "sizes";

/// A JVM's first JFR takes two seconds; a busy one longer.
const START: Duration = Duration::from_secs(30);

/// Writing the recording out resolves every frame: milliseconds for a small program, seconds for a huge one.
const STOP: Duration = Duration::from_secs(60);

/// How often a growing recording is looked at. With a sample for each KiB allocated it grows by 4 MB in this time.
const LOOK: Duration = Duration::from_secs(1);

/// What is known of the profiler in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sampling {
    /// Ours does not run.
    Off,
    /// We asked for it and got no answer.
    Unknown,
    /// Ours runs.
    On,
}

/// One capture, from the loaded library on. Ends the profiler when dropped.
#[derive(Debug)]
pub struct Run<'a> {
    agent: Agent<'a>,
    waits: &'a Waits<'a>,
    session: &'a Session,
    root: &'a TargetRoot,
    marker: Marker,
    version: String,
    sampling: Cell<Sampling>,
}

impl<'a> Run<'a> {
    /// Loads the library, or finds it loaded.
    ///
    /// # Errors
    /// The library cannot be delivered or loaded; [`RecordError::AlreadyProfiled`] if another copy of it is at work.
    pub fn load(
        plan: &JvmPlan,
        library: Option<&File>,
        (root, process, session): (&'a TargetRoot, &'a Process, &'a Session),
        waits: &'a Waits<'a>,
        marker: Marker,
    ) -> Result<Self, RecordError> {
        let table = waits.table();
        let deliver = || delivery::deliver(&plan.library, library, (table, root, process), session);
        let mut loaded = agent_library::loaded(table, root, process).into_iter();
        let known = loaded.next();
        let path = known.clone().map_or_else(&deliver, Ok)?;
        let agent = Agent::new(Attach::new(root, process), session, path);
        let sampling = Cell::new(Sampling::Off);
        let mut run = Self {
            agent,
            waits,
            session,
            root,
            marker,
            version: String::new(),
            sampling,
        };
        run.version = match run.agent.version(waits) {
            // A C library that does not find a loaded library by the name of a removed file.
            Err(RecordError::Tool { .. }) if known.is_some() => {
                run.agent.switch_to(deliver()?);
                run.agent.version(waits)?
            }
            version => version?,
        };
        // Other copies are other people's.
        for other in loaded {
            let ours = run.agent.switch_to(other);
            let running = run.agent.running_for(waits);
            run.agent.switch_to(ours);
            if running?.is_some() {
                return Err(RecordError::AlreadyProfiled {
                    what: "async-profiler".to_owned(),
                });
            }
        }
        Ok(run)
    }

    /// Samples as ordered and moves the recording to `output`.
    ///
    /// # Errors
    /// As [`crate::runtime::record`].
    pub fn record(
        &mut self,
        order: &RecordOrder,
        plan: JvmPlan,
        output: &mut dyn Write,
        reporter: &mut Reporter,
        process: &Process,
    ) -> Result<Quality, RecordError> {
        self.waits.check()?;
        let recording = self.session.path_of(RECORDING);
        let table = self.waits.table();
        let by_perf = matches!(plan.engine, Engine::Perf(_));
        let scarce = by_perf
            .then(|| descriptors::too_few(table, process).map(doctor::timers_instead))
            .flatten();
        let refused = by_perf && doctor::perf_events_refused(table, process);
        let plan = if refused || scarce.is_some() {
            plan.with_ctimer()
        } else {
            plan
        };
        let (plan, start) = self.start(order, plan, &recording, process)?;
        reporter.phase(Phase::Sampling);
        let started_at_ms = now_ms();
        let began = Instant::now();
        let before = CpuTime::of_threads(table, process.id);
        self.sample(order)?;
        let after = CpuTime::of_threads(table, process.id);
        let meanwhile = self.agent.said();
        reporter.phase(Phase::Stopping);
        let duration = began.elapsed();
        let stop = self.stop(&plan, &recording)?;
        reporter.phase(Phase::Transferring);
        let moved = self.transfer(&plan, output)?;
        let sampled = Sampled {
            plan,
            scarce,
            start,
            stop,
            moved,
            metrics: self.agent.metrics(self.waits),
            cpu: before.zip(after).map(|(before, after)| after.since(&before)),
            meanwhile,
            started_at_ms,
            duration,
        };
        sampled.quality(order, (table, self.root), &self.version)
    }

    /// Starts sampling; `cpu` falls back to timers when perf_events are refused or run out.
    fn start(
        &mut self,
        order: &RecordOrder,
        plan: JvmPlan,
        recording: &str,
        process: &Process,
    ) -> Result<(JvmPlan, Answer), RecordError> {
        let first = self.try_start(&plan, recording)?;
        let perf_refused = matches!(
            refusal(&first.log),
            Refusal::PerfDenied | Refusal::PerfLimit | Refusal::PerfMissing
        );
        let (plan, answer) = if first.code != 0 && perf_refused && matches!(plan.engine, Engine::Perf(_)) {
            let timed = plan.with_ctimer();
            let answer = self.try_start(&timed, recording)?;
            (timed, answer)
        } else {
            (plan, first)
        };
        if answer.code != 0 {
            return Err(refused(order, process, self.waits.table(), &answer));
        }
        Ok((plan, answer))
    }

    fn try_start(&mut self, plan: &JvmPlan, recording: &str) -> Result<Answer, RecordError> {
        self.sampling.set(Sampling::Unknown);
        let answer = self
            .agent
            .run(self.waits, ("start async-profiler", START), &plan.start(recording))?;
        self.sampling
            .set(if answer.code == 0 { Sampling::On } else { Sampling::Off });
        Ok(answer)
    }

    /// Waits for the end of the sampling. Meanwhile a JFR grows in the app's own `/tmp`, which must not be filled with what
    /// could never be kept.
    fn sample(&self, order: &RecordOrder) -> Result<(), RecordError> {
        let end = Instant::now() + Duration::from_secs(order.seconds);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if !self.waits.sample(left.min(LOOK))? || left <= LOOK {
                return Ok(());
            }
            let recording = self.session.open(RECORDING).and_then(|file| file.metadata());
            if recording.is_ok_and(|recording| recording.len() > order.room.max_bytes) {
                return Err(RecordError::StoreFull { limit: NoRoom::Store });
            }
        }
    }

    fn stop(&mut self, plan: &JvmPlan, recording: &str) -> Result<Answer, RecordError> {
        // Deaf: a cancel must not interrupt the command that ends the sampling.
        let waits = Waits::uninterruptible(self.waits.table(), self.waits.target());
        let answer = self
            .agent
            .run(&waits, ("stop async-profiler", STOP), &plan.stop(recording))?;
        written(&answer)?;
        self.sampling.set(Sampling::Off);
        if let Some(options) = plan.sizes(&self.session.path_of(SIZES)) {
            let sizes = self
                .agent
                .run(&waits, ("write the sizes of live objects", STOP), &options)?;
            written(&sizes)?;
        }
        self.waits.check()?;
        Ok(answer)
    }

    fn transfer(&self, plan: &JvmPlan, output: &mut dyn Write) -> Result<transfer::Moved, RecordError> {
        let open = |name: &str| {
            self.session.open(name).map_err(|error| RecordError::Protocol {
                step: "read the recording".to_owned(),
                detail: error.to_string(),
            })
        };
        let mut file = open(RECORDING)?;
        let moved = match plan.kind {
            RecordingKind::Jfr => transfer::jfr(&mut file, plan.keep_secrets, output),
            _ if plan.sizes(SIZES).is_some() => transfer::survivors(&file, &open(SIZES)?, plan.interval, output),
            _ => transfer::collapsed(&mut file, plan.scale, output),
        }?;
        output
            .flush()
            .map_err(|error| RecordError::io("store the recording", &error))?;
        Ok(moved)
    }

    /// Leaves the target as it was, as far as it answers.
    fn finish(&mut self) {
        let waits = Waits::uninterruptible(self.waits.table(), self.waits.target());
        if waits.expect_target().is_err() {
            self.sampling.set(Sampling::Off);
            return;
        }
        let ended = match self.sampling.replace(Sampling::Off) {
            Sampling::Off => true,
            Sampling::On => self.agent.discard(&waits),
            Sampling::Unknown => self.agent.stop_announced(&waits, self.marker),
        };
        if ended {
            self.agent.silence(&waits);
        } else if waits.expect_target().is_ok() {
            // async-profiler's own timeout ends it; until then the directory says whose it is.
            self.session.keep();
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Fails unless async-profiler wrote all it was told to.
fn written(answer: &Answer) -> Result<(), RecordError> {
    let incomplete = async_profiler::messages(&answer.log, "[WARN] ").any(|text| text.contains("incomplete"));
    if answer.code == 0 && !incomplete {
        return Ok(());
    }
    let message = match refusal(&answer.log) {
        Refusal::Other(text) if answer.code != 0 => text,
        Refusal::NotActive => "somebody else stopped it during the capture".to_owned(),
        _ => "it could not write the recording; is /tmp of the container full?".to_owned(),
    };
    Err(RecordError::Tool {
        tool: "async-profiler".to_owned(),
        message,
    })
}

/// True if the kernel knows no counter for the event.
fn lacks_counter(log: &str) -> bool {
    const CAUSES: [&str; 3] = ["No such file or directory", "Operation not supported", "No such device"];
    async_profiler::perf_failure(log).is_some_and(|cause| CAUSES.contains(&cause))
}

/// The answer for a start that async-profiler refused.
fn refused(order: &RecordOrder, process: &Process, table: &ProcessTable, answer: &Answer) -> RecordError {
    let what = || RecordError::Tool {
        tool: "async-profiler".to_owned(),
        message: answer.log.trim().to_owned(),
    };
    match (refusal(&answer.log), &order.event) {
        (Refusal::AlreadyStarted, _) => RecordError::AlreadyProfiled {
            what: "async-profiler".to_owned(),
        },
        (Refusal::PerfMissing, event) if hardware::is_hardware(event) && lacks_counter(&answer.log) => {
            RecordError::Impossible(hardware::no_counter(format!(
                "neither the processor nor the machine around it counts {event}"
            )))
        }
        (Refusal::PerfLimit, event) if hardware::is_hardware(event) => {
            descriptors::too_few(table, process).map_or_else(what, RecordError::Impossible)
        }
        (Refusal::PerfDenied, Event::Named(_)) => match doctor::perf_events_unavailable(table, process) {
            Some(reason) => RecordError::Impossible(reason),
            None => what(),
        },
        (Refusal::PerfMissing, Event::Named(name)) => not_here(name, "Perf events unavailable", answer),
        (Refusal::Other(message), Event::Named(name)) => not_here(name, &message, answer),
        (Refusal::Other(message), _) => RecordError::Tool {
            tool: "async-profiler".to_owned(),
            message,
        },
        _ => what(),
    }
}

fn not_here(name: &str, message: &str, answer: &Answer) -> RecordError {
    let cause = async_profiler::perf_failure(&answer.log).map_or(String::new(), |cause| format!(" ({cause})"));
    RecordError::BadArgument {
        parameter: "event".to_owned(),
        message: format!("async-profiler cannot sample {name} here: {message}{cause}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a capture of `event` is answered whose start async-profiler refused with these words.
    fn answered(event: &str, log: &str) -> RecordError {
        let mut order = RecordOrder::example(RecordingKind::Collapsed);
        order.event = event.parse().unwrap();
        let answer = Answer {
            code: 200,
            log: log.to_owned(),
        };
        refused(
            &order,
            &Process::example(17),
            &ProcessTable::at("/nonexistent"),
            &answer,
        )
    }

    #[test]
    fn a_counter_that_the_kernel_does_not_know_is_the_machines_lack_and_no_bad_request() {
        let log =
            "[WARN] perf_event_open for TID 9 failed: No such file or directory\n[ERROR] Perf events unavailable\n";
        let lack = answered("LLC-load-misses", log);
        assert!(
            matches!(&lack, RecordError::Impossible(reason) if reason.key == "no_hardware_counter"),
            "{lack}"
        );
        let odd = answered("sched:sched_switch", log);
        assert!(
            matches!(&odd, RecordError::BadArgument { message, .. } if message.contains("No such file")),
            "{odd}"
        );
        let unknown = answered("nothing", "[ERROR] Unsupported event type\n");
        assert!(matches!(&unknown, RecordError::BadArgument { .. }), "{unknown}");
        let busy = answered("cpu", "[ERROR] Profiler already started\n");
        assert!(matches!(&busy, RecordError::AlreadyProfiled { .. }), "{busy}");
    }
}
