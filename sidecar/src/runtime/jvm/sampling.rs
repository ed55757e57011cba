//! Which events are sampled, how often, and what the numbers mean. Pure. Called by [`super::plan`].
//!
//! An event is either what interrupts threads (the *engine*: a clock, a counter, a call), of which async-profiler has one at
//! a time, or a hook that runs beside it (`alloc`, `lock`, …). Source: async-profiler 4.6, `arguments.cpp`,
//! `profiler.cpp`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::doctor;
use super::interval::{self, Measure};
use super::parameters::{self, JvmOptions};
use super::transfer::Scale;
use crate::event::Event;
use crate::format::RecordingKind;
use crate::profile::quality::Clock;
use crate::runtime::{Asked, PlanError};

/// async-profiler's own defaults, made explicit so that the quality stamp can name them.
const CPU_INTERVAL: u64 = 10_000_000;
/// Wall clock samples every thread, also an idle one: this much for each of them keeps it at 2000 samples a second,
/// some per cent of one core.
const WALL_INTERVAL_PER_THREAD: u64 = 500_000;
/// Bytes between two samples.
const ALLOC_INTERVAL: u64 = 524_287;
/// Nanoseconds of waiting between two samples.
const LOCK_INTERVAL: u64 = 10_000;

/// What interrupts threads. Never async-profiler's `cpu`, with which it chooses between perf_events and timers and does
/// not say which: what it accepted is what runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Engine {
    /// CPU time by perf_events, with kernel frames, or by timers where they are refused.
    Perf(u64),
    /// CPU time by a timer per thread.
    Timer(u64),
    /// Another event, by its options.
    Other(String),
    /// None.
    Off,
}

impl Engine {
    /// As options.
    pub fn options(&self) -> String {
        match self {
            Self::Perf(interval) => format!(",event=cpu-clock,interval={interval}"),
            Self::Timer(interval) => format!(",event=ctimer,interval={interval}"),
            Self::Other(options) => format!(",{options}"),
            Self::Off => String::new(),
        }
    }

    /// What the sampler's name ends with.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Perf(_) => " (perf_events)",
            Self::Timer(_) => " (ctimer)",
            Self::Other(_) | Self::Off => "",
        }
    }
}

/// What is sampled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sampling {
    /// What interrupts threads.
    pub engine: Engine,
    /// Hooks beside it, as options.
    pub others: String,
    /// See [`super::plan::JvmPlan`], as for all below.
    pub interval: u64,
    /// Unit.
    pub unit: &'static str,
    /// What a sample measures.
    pub clock: Clock,
    /// Write counters.
    pub total: bool,
    /// What to do with them.
    pub scale: Scale,
    /// Two texts are written.
    pub survivors: bool,
    /// Of several events, what the numbers of each are.
    pub parts: Vec<Part>,
}

/// One of several events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// Which.
    pub event: Event,
    /// As of a [`Sampling`] of that event alone, as for all below.
    pub interval: u64,
    /// Unit.
    pub unit: Cow<'static, str>,
    /// What a sample measures.
    pub clock: Clock,
}

/// What is asked of one JVM.
///
/// # Errors
/// What async-profiler would misread, or an event or a combination that a JVM does not have.
pub fn of(asked: &Asked<'_>) -> Result<Sampling, PlanError> {
    let options = &asked.options.jvm;
    let is_latency = |event: &Event| matches!(event, Event::Named(name) if name == "latency");
    if !options.trace.is_empty() && !asked.event.parts().iter().any(is_latency) {
        return Err(PlanError::unsuitable(
            "trace",
            "it is what event=latency is of: give that",
        ));
    }
    if options.processes.is_some() && asked.kind != RecordingKind::Jfr {
        return Err(PlanError::unsuitable(
            "proc",
            "only a JFR has what it records: format=jfr",
        ));
    }
    match asked.event {
        Event::Several(_) => several(asked, options),
        event => one(event, asked, options),
    }
}

fn one(event: &Event, asked: &Asked<'_>, options: &JvmOptions) -> Result<Sampling, PlanError> {
    let measured = |measure, default| interval::of(options, event, measure, default);
    let hook = |options: String, interval, unit| Sampling {
        engine: Engine::Off,
        others: options,
        interval,
        unit,
        clock: Clock::None,
        total: true,
        scale: Scale::Keep,
        survivors: false,
        parts: Vec::new(),
    };
    let timed = |interval, clock, engine| Sampling {
        engine,
        others: String::new(),
        total: false,
        clock,
        ..hook(String::new(), interval, "nanoseconds")
    };
    Ok(match event {
        Event::Cpu => {
            let interval = measured(Measure::Time, CPU_INTERVAL)?;
            timed(interval, Clock::Cpu, Engine::Perf(interval))
        }
        Event::Wall => {
            let threads = asked.target.process.threads;
            let default = threads.saturating_mul(WALL_INTERVAL_PER_THREAD).max(CPU_INTERVAL);
            let interval = measured(Measure::Time, default)?;
            // Without `nobatch`, a thread that used less than 10 us of CPU since its last sample is taken to be where it
            // was: measured, waits of 60 : 30 : 10 came out as 43 : 43 : 14.
            let options = format!("event=wall,interval={interval},nobatch");
            timed(interval, Clock::Wall, Engine::Other(options))
        }
        Event::Alloc => {
            let interval = measured(Measure::Bytes, ALLOC_INTERVAL)?;
            hook(format!(",alloc={interval}"), interval, "bytes")
        }
        Event::Heap => {
            let interval = measured(Measure::Bytes, ALLOC_INTERVAL)?;
            Sampling {
                total: false,
                survivors: true,
                ..hook(format!(",alloc={interval},live"), interval, "bytes")
            }
        }
        Event::Lock => {
            let interval = measured(Measure::Duration, LOCK_INTERVAL)?;
            hook(format!(",lock={interval}"), interval, "nanoseconds")
        }
        Event::Named(name) => match name.as_str() {
            "ctimer" => {
                let interval = measured(Measure::Time, CPU_INTERVAL)?;
                Sampling {
                    total: true,
                    scale: Scale::Divide(interval),
                    ..timed(interval, Clock::Cpu, Engine::Timer(interval))
                }
            }
            "itimer" | "cpu-clock" => {
                let interval = measured(Measure::Time, CPU_INTERVAL)?;
                let options = format!("event={name},interval={interval}");
                timed(interval, Clock::Cpu, Engine::Other(options))
            }
            "nativemem" => {
                let interval = measured(Measure::Bytes, ALLOC_INTERVAL)?;
                hook(format!(",nativemem={interval}"), interval, "bytes")
            }
            "leaks" => {
                if options.sampling.contains(&parameters::NO_FREE) {
                    return Err(PlanError::unsuitable(
                        "nofree",
                        "what was freed is what tells leaks from the rest",
                    ));
                }
                let interval = measured(Measure::Bytes, ALLOC_INTERVAL)?;
                hook(format!(",nativemem={interval}"), interval, "bytes")
            }
            "latency" => {
                if options.frequency.is_some() || options.interval.is_some() {
                    let parameter = if options.frequency.is_some() {
                        "frequency"
                    } else {
                        "interval"
                    };
                    return Err(PlanError::unsuitable(
                        parameter,
                        "every call that takes long enough is recorded: trace=METHOD:50ms",
                    ));
                }
                if options.trace.is_empty() {
                    let message = "event=latency is of methods that trace= names, e.g. trace=demo.shop.Cart.total:50ms";
                    return Err(PlanError::unsuitable("trace", message));
                }
                let traced = options.trace.iter().map(|method| format!(",trace={method}"));
                hook(traced.collect(), 0, "nanoseconds")
            }
            "nativelock" => {
                let interval = measured(Measure::Duration, LOCK_INTERVAL)?;
                hook(format!(",nativelock={interval}"), interval, "nanoseconds")
            }
            _ => {
                let interval = measured(Measure::Count, 0)?;
                let every = match interval {
                    0 => String::new(),
                    interval => format!(",interval={interval}"),
                };
                Sampling {
                    engine: Engine::Other(format!("event={name}{every}")),
                    ..hook(String::new(), interval, "count")
                }
            }
        },
        event => return Err(PlanError::Impossible(doctor::no_such_event(event))),
    })
}

/// One engine, and hooks beside it. An interval is the engine's.
fn several(asked: &Asked<'_>, options: &JvmOptions) -> Result<Sampling, PlanError> {
    let unsuitable = |message: String| Err(PlanError::unsuitable("event", message));
    let without_interval = JvmOptions {
        frequency: None,
        interval: None,
        ..options.clone()
    };
    let mut whole: Option<Sampling> = None;
    let mut hooks = String::new();
    let mut parts: Vec<Part> = Vec::new();
    let events = asked.event.parts();
    for event in events.iter().cloned() {
        if parts.iter().any(|other| other.event == event) {
            return unsuitable(format!("{event} is there more than once"));
        }
        let mut sampled = one(&event, asked, &without_interval)?;
        // `wall` is the one clock that can run beside another.
        if event == Event::Wall {
            hooks.extend([",wall=", &sampled.interval.to_string(), ",nobatch"]);
        } else {
            match (&sampled.engine, &whole) {
                // The hook of live objects is that of allocations, which a JFR has both.
                (Engine::Off, _) if event == Event::Alloc && events.contains(&Event::Heap) => {}
                // So are leaks among all native memory.
                (Engine::Off, _) if hooks.contains(&sampled.others) => {}
                (Engine::Off, _) => hooks.push_str(&sampled.others),
                (_, None) => {
                    sampled = one(&event, asked, options)?;
                    whole = Some(sampled.clone());
                }
                (_, Some(_)) => {
                    return unsuitable(format!(
                        "{event} cannot be recorded together with another event that interrupts threads; wall, alloc or heap, \
                         lock, nativemem and nativelock can"
                    ));
                }
            }
        }
        parts.push(Part {
            event,
            interval: sampled.interval,
            unit: sampled.unit.into(),
            clock: sampled.clock,
        });
    }
    if whole.is_none() && (options.interval.is_some() || options.frequency.is_some()) {
        let parameter = if options.interval.is_some() {
            "interval"
        } else {
            "frequency"
        };
        let message = "of several events it is that of cpu, a counter or a method, of which there is none";
        return Err(PlanError::unsuitable(parameter, message));
    }
    let (engine, interval) = whole.map_or((Engine::Off, 0), |whole| (whole.engine, whole.interval));
    Ok(Sampling {
        engine,
        others: hooks,
        interval,
        unit: "",
        clock: Clock::None,
        total: false,
        scale: Scale::Keep,
        survivors: false,
        parts,
    })
}
