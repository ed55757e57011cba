//! The distance of two samples, from the user's notation. Called by [`super::plan`].
//!
//! async-profiler looks at the first letter of a unit only and reads `10ms` of an allocation as 10 MiB; it gets plain
//! numbers from us.

use super::parameters::JvmOptions;
use crate::event::Event;
use crate::runtime::PlanError;

/// What an interval measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Time between two samples: a rate in Hz says the same.
    Time,
    /// Accumulated waiting time.
    Duration,
    /// Allocated bytes.
    Bytes,
    /// Occurrences of a hardware or kernel event, or calls.
    Count,
}

/// Ten thousand samples a second and thread already cost the application a tenth of its time.
const SHORTEST_TIME: u64 = 100_000;

/// A sample for every KiB is more than any allocation-heavy application survives.
const FEWEST_BYTES: u64 = 1024;

/// The interval that `options` ask for, or `default`.
///
/// # Errors
/// A unit that does not fit the event or a value that would hurt the application.
pub fn of(options: &JvmOptions, event: &Event, measure: Measure, default: u64) -> Result<u64, PlanError> {
    let (parameter, value) = match (options.frequency, options.interval.as_deref()) {
        (Some(_), _) if measure != Measure::Time => {
            let message = format!("{event} is not sampled by time; give an interval instead");
            return Err(PlanError::unsuitable("frequency", message));
        }
        (Some(hertz), _) => ("frequency", 1_000_000_000 / u64::from(hertz.max(1))),
        (None, Some(text)) => ("interval", parse(text, measure).ok_or_else(|| bad(measure, text))?),
        (None, None) => return Ok(default),
    };
    let (least, message) = match measure {
        Measure::Time => (
            SHORTEST_TIME,
            "at most 10000 samples a second: an interval of 100us or longer",
        ),
        Measure::Bytes => (FEWEST_BYTES, "an interval of 1k or more"),
        Measure::Duration | Measure::Count => (1, "an interval above 0"),
    };
    if value < least {
        return Err(PlanError::unsuitable(parameter, message));
    }
    Ok(value)
}

fn bad(measure: Measure, text: &str) -> PlanError {
    let allowed = match measure {
        Measure::Time | Measure::Duration => "a time: digits with ns, us, ms or s",
        Measure::Bytes => "an amount of memory: digits with k, m or g",
        Measure::Count => "a count: digits, with k, m or g if need be",
    };
    let message = format!("interval {text:?} does not fit this event, which takes {allowed}");
    PlanError::unsuitable("interval", message)
}

fn parse(text: &str, measure: Measure) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match (measure, unit) {
        (_, "") => 1,
        (Measure::Time | Measure::Duration, "ns") => 1,
        (Measure::Time | Measure::Duration, "us") => 1_000,
        (Measure::Time | Measure::Duration, "ms") => 1_000_000,
        (Measure::Time | Measure::Duration, "s") => 1_000_000_000,
        (Measure::Bytes, "k") => 1 << 10,
        (Measure::Bytes, "m") => 1 << 20,
        (Measure::Bytes, "g") => 1 << 30,
        (Measure::Count, "k") => 1_000,
        (Measure::Count, "m") => 1_000_000,
        (Measure::Count, "g") => 1_000_000_000,
        _ => return None,
    };
    // async-profiler keeps it in a signed 64-bit number.
    number
        .parse::<u64>()
        .ok()?
        .checked_mul(factor)
        .filter(|value| i64::try_from(*value).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_its_whole_unit() {
        assert_eq!(parse("10ms", Measure::Time), Some(10_000_000));
        assert_eq!(parse("10ms", Measure::Bytes), None);
        assert_eq!(parse("512k", Measure::Bytes), Some(524_288));
        assert_eq!(parse("512k", Measure::Time), None);
        assert_eq!(parse("1000", Measure::Count), Some(1000));
        assert_eq!(parse("1m", Measure::Count), Some(1_000_000));
    }

    #[test]
    fn a_number_async_profiler_cannot_hold_is_refused() {
        assert_eq!(parse("9223372036854775808", Measure::Count), None);
        assert_eq!(parse("99999999999999999999", Measure::Count), None);
        assert_eq!(parse("9223372036855s", Measure::Time), None);
        assert_eq!(parse("", Measure::Time), None);
    }
}
