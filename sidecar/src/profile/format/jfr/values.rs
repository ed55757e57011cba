//! What the numbers of a JFR's samples are: the same as in the texts of the same event.
//!
//! Called by [`super::read`].

use super::events::{Recorder, Sum};
use super::sampled::Sampled;
use crate::profile::builder::ModelError;
use crate::profile::model::ValueType;
use crate::profile::survivors;

/// async-profiler's interval where it was told none.
const CPU_INTERVAL: u64 = 10_000_000;

/// The values of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Values {
    sampled: Sampled,
    /// What is measured; `samples` if only they are counted.
    pub(super) value: ValueType,
    /// Distance of two samples in the unit of `value`, 0 if it is not known.
    pub(super) interval: u64,
}

impl Values {
    pub(super) fn of_event(sampled: Sampled, recorder: &Recorder) -> Self {
        let (name, unit, interval) = match sampled {
            Sampled::Cpu => match recorder.event.as_str() {
                "cpu" | "cpu-clock" | "ctimer" | "itimer" => {
                    let told = Some(recorder.interval).filter(|interval| *interval > 0);
                    ("cpu", "nanoseconds", told.unwrap_or(CPU_INTERVAL))
                }
                // Occurrences or calls, of which every so many is a sample.
                "" | "wall" => ("samples", "count", 0),
                event => (event, "count", recorder.interval),
            },
            Sampled::Wall => match (recorder.wall, recorder.event.as_str()) {
                (0, "wall") => ("wall", "nanoseconds", recorder.interval),
                (interval, _) => ("wall", "nanoseconds", interval),
            },
            Sampled::Alloc => ("alloc_space", "bytes", recorder.alloc),
            Sampled::Heap => ("inuse_space", "bytes", recorder.alloc),
            Sampled::Lock => ("delay", "nanoseconds", 0),
            Sampled::Nativemem => ("nativemem", "bytes", 0),
            Sampled::Nativelock => ("nativelock", "nanoseconds", 0),
            Sampled::Leaks => ("leaks", "bytes", 0),
            Sampled::Latency => ("latency", "nanoseconds", 0),
        };
        let (name, unit) = match (sampled, interval) {
            (Sampled::Cpu | Sampled::Wall, 0) => ("samples", "count"),
            _ => (name, unit),
        };
        Self {
            sampled,
            value: ValueType::new(name, unit),
            interval,
        }
    }

    /// True if the samples are counted and their value is a multiple of that.
    fn counts(&self) -> bool {
        matches!(self.sampled, Sampled::Cpu | Sampled::Wall)
    }

    /// The types of a sample's values.
    pub(super) fn types(&self) -> Vec<ValueType> {
        let samples = ValueType::new("samples", "count");
        match (self.counts(), self.interval) {
            (true, 0) => vec![samples],
            (true, _) => vec![samples, self.value.clone()],
            (false, _) => vec![self.value.clone()],
        }
    }

    /// True if a stack ends with the class of an object.
    pub(super) fn has_classes(&self) -> bool {
        matches!(self.sampled, Sampled::Alloc | Sampled::Heap | Sampled::Lock)
    }

    /// The values of a sum, and how many they are.
    pub(super) fn of(&self, sum: Sum, nanos: impl Fn(u64) -> u64) -> Result<([i64; 2], usize), ModelError> {
        let number = |number: u64| i64::try_from(number).map_err(|_| ModelError::Overflow);
        let value = match self.sampled {
            Sampled::Cpu | Sampled::Wall if self.interval == 0 => return Ok(([number(sum.samples)?, 0], 1)),
            Sampled::Cpu | Sampled::Wall => {
                let value = sum.samples.checked_mul(self.interval).ok_or(ModelError::Overflow)?;
                return Ok(([number(sum.samples)?, number(value)?], 2));
            }
            Sampled::Alloc | Sampled::Nativemem | Sampled::Leaks => sum.amount,
            Sampled::Heap => survivors::weight(sum.samples, sum.amount, self.interval),
            Sampled::Lock | Sampled::Nativelock | Sampled::Latency => nanos(sum.amount),
        };
        Ok(([number(value)?, 0], 1))
    }
}
