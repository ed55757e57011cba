//! The objects in the heap of a JVM by class, by its own command.
//!
//! Called by [`crate::runtime`].

use std::io::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::own_text::{self, Question};
use super::parameters::JvmOptions;
use crate::profile::Quality;
use crate::profile::quality::Clock;
use crate::runtime::{Asked, Control, PlanError, RecordError, RecordOrder, Reporter};

/// The JVM's own command, as `jmap -histo` gives it.
const COMMAND: &str = "inspectheap";

/// A full collection and a walk through the heap: some seconds for each 10 GB.
const LIMIT: Duration = Duration::from_secs(120);

/// Asks for the classes of one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassHistogramPlan {
    /// Objects that nothing refers to as well, so that none are collected before.
    pub all: bool,
}

/// Plans a histogram.
///
/// # Errors
/// A parameter of async-profiler, which has no part in it.
pub fn plan(asked: &Asked<'_>) -> Result<ClassHistogramPlan, PlanError> {
    let all = asked.options.jvm.all;
    let own = JvmOptions {
        all,
        ..JvmOptions::default()
    };
    if asked.options.jvm != own {
        let message = "a histogram is no sampling: it takes none of async-profiler's parameters";
        return Err(PlanError::unsuitable("event", message));
    }
    Ok(ClassHistogramPlan { all })
}

/// See [`crate::runtime::record`].
///
/// # Errors
/// See [`crate::runtime::record`].
pub fn record(
    order: &RecordOrder,
    plan: &ClassHistogramPlan,
    output: &mut dyn Write,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Quality, RecordError> {
    let (argument, sampler) = match plan.all {
        false => (
            "-live",
            "the JVM's own class histogram (live objects, after a full collection)",
        ),
        true => ("-all", "the JVM's own class histogram (all objects, also garbage)"),
    };
    let question = Question {
        step: "count all objects",
        limit: LIMIT,
        command: COMMAND,
        arguments: &[argument],
        sampler,
    };
    let quality = own_text::record(order, question, output, control, reporter)?;
    Ok(Quality {
        interval_unit: "bytes".to_owned(),
        clock: Some(Clock::None),
        ..quality
    })
}
