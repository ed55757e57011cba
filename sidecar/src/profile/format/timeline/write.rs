//! How much there was in each interval of a capture, as JSON: what a strip of its time is drawn from. Called by the renderer.

use std::io::{self, Write};

use serde::Serialize;

use crate::profile::Quality;
use crate::profile::model::{LabelValue, Profile, ValueType};
use crate::profile::slicing::{Cuts, MOST_PARTS, PART};

/// Values that are enough for a strip as wide as a screen.
const MOST_VALUES: u64 = 600;
/// Shortest interval: half of what an eye takes for a moment.
const SHORTEST_MS: u64 = 20;
/// Longest interval: a spike of a second is seen.
const LONGEST_MS: u64 = 1000;

/// Where a recording is cut for a strip of its time; by the second where it does not say how long it is.
pub fn cuts(quality: &Quality) -> Cuts {
    let milliseconds = quality.duration_ms.map_or(LONGEST_MS, |duration| {
        let needed = duration.div_ceil(MOST_VALUES).div_ceil(SHORTEST_MS) * SHORTEST_MS;
        needed.clamp(SHORTEST_MS, LONGEST_MS)
    });
    Cuts::Every(milliseconds * 1_000_000)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Timeline<'a> {
    /// The event, if the recording says which.
    event: Option<&'a str>,
    /// What is added up.
    sample_type: &'a str,
    unit: &'a str,
    /// When the first interval begins, after the Unix epoch.
    started_at_ms: Option<u64>,
    duration_ms: Option<u64>,
    interval_ms: u64,
    /// One for each interval.
    values: Vec<u64>,
    total: u64,
}

/// Writes the timeline of one value of a profile, whose samples say by a label in which interval they were.
///
/// # Errors
/// What the output says.
pub fn write(
    profile: &Profile,
    value_index: usize,
    (cuts, quality): (Cuts, &Quality),
    out: &mut impl Write,
) -> io::Result<()> {
    let Cuts::Every(nanos) = cuts else {
        return Ok(());
    };
    let interval_ms = (nanos / 1_000_000).max(1);
    let intervals = quality
        .duration_ms
        .unwrap_or(0)
        .div_ceil(interval_ms)
        .min(MOST_PARTS.into());
    let mut values = vec![0_u64; usize::try_from(intervals).unwrap_or(0)];
    let part = profile.strings().find(PART);
    for sample in profile.samples() {
        let label = sample.labels.iter().find(|label| Some(label.key) == part);
        let Some(LabelValue::Number(number, _)) = label.map(|label| label.value) else {
            continue;
        };
        let value = sample.values.get(value_index).copied().unwrap_or_default();
        let (Ok(at), Ok(value)) = (usize::try_from(number), u64::try_from(value)) else {
            continue;
        };
        if at >= values.len() {
            values.resize(at + 1, 0);
        }
        if let Some(sum) = values.get_mut(at) {
            *sum = sum.saturating_add(value);
        }
    }
    let kind = profile.sample_types.get(value_index);
    let text = |of: fn(&ValueType) -> &str| kind.map(of).unwrap_or_default();
    let timeline = Timeline {
        event: quality.event.as_deref(),
        sample_type: text(|kind| &kind.name),
        unit: text(|kind| &kind.unit),
        started_at_ms: quality.started_at_ms,
        duration_ms: quality.duration_ms,
        interval_ms,
        total: values.iter().fold(0, |sum, value| sum.saturating_add(*value)),
        values,
    };
    serde_json::to_writer(&mut *out, &timeline)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::slicing::Slicing;
    use crate::profile::{FrameKind, ProfileBuilder};

    #[test]
    fn each_interval_has_what_was_in_it_and_a_quiet_one_nothing() {
        let quality = Quality {
            duration_ms: Some(100),
            ..Quality::default()
        };
        let slicing = Slicing {
            cuts: cuts(&quality),
            ..Slicing::default()
        };
        let mut builder = ProfileBuilder::new(vec![ValueType::new("cpu", "nanoseconds")]).unwrap();
        let frame = builder.frame("work", FrameKind::Jit).unwrap();
        for (milliseconds, value) in [(0, 1), (19, 2), (20, 4), (99, 8), (130, 16)] {
            let part = slicing.part(|| milliseconds * 1_000_000);
            let label = slicing.label(&mut builder, part).unwrap().unwrap();
            builder.sample(&[frame], &[value], &[label]).unwrap();
        }
        let mut json = Vec::new();
        write(&builder.finish(), 0, (slicing.cuts, &quality), &mut json).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        // The last sample came when the capture was over.
        assert_eq!(json["values"], serde_json::json!([3, 4, 0, 0, 8, 0, 16]));
        assert_eq!(
            (&json["intervalMs"], &json["total"], &json["unit"]),
            (&20.into(), &31.into(), &"nanoseconds".into())
        );
    }

    #[test]
    fn an_interval_has_20_ms_to_a_second() {
        let of = |duration_ms| {
            let quality = Quality {
                duration_ms,
                ..Quality::default()
            };
            cuts(&quality)
        };
        for (duration, milliseconds) in [
            (Some(1), 20),
            (Some(12_000), 20),
            (Some(60_000), 100),
            (Some(10_000_000), 1000),
            (None, 1000),
        ] {
            assert_eq!(of(duration), Cuts::Every(milliseconds * 1_000_000), "{duration:?}");
        }
    }
}
