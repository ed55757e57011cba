//! The one message every child begins with: what it is to do.

use serde::{Deserialize, Serialize};

use super::compare::CompareOrder;
use super::inspect::InspectOrder;
use super::inspect::meter::MeterOrder;
use super::render::RenderOrder;
use crate::runtime::{RecordOrder, Target};

/// A variant per role. Crosses on the channel because an argument list is readable by every process of the pod, and
/// orders hold secrets (headers for pprof ports).
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ChildOrder {
    /// Say what some processes are and what can be had from them.
    Inspect(InspectOrder),
    /// Read the counters of some processes from files.
    Meter(MeterOrder),
    /// Have the runtime at the other end of the attached line say who it is.
    Introduce,
    /// Record one capture into the attached file; a second one is a line to the runtime.
    Record(Box<RecordOrder>),
    /// Turn the first attached file, a recording, into the second, an artifact.
    Render(Box<RenderOrder>),
    /// Write the difference of the first two attached files into the third.
    Compare(Box<CompareOrder>),
    /// Remove what a killed recorder left in a target.
    Sweep(Box<Target>),
}

impl ChildOrder {
    /// Who does it, in messages and in process lists.
    pub(super) fn role(&self) -> &'static str {
        match self {
            Self::Inspect(_) => "inspector",
            Self::Meter(_) => "meter",
            Self::Introduce => "introducer",
            Self::Record(_) => "recorder",
            Self::Render(_) | Self::Compare(_) => "renderer",
            Self::Sweep(_) => "sweeper",
        }
    }
}
