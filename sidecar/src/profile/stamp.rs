//! The quality stamp in words, for formats that carry text.
//!
//! Called by the writers. Knows [`Quality`] and nothing of where the text goes.

use std::time::{Duration, UNIX_EPOCH};

use super::frame_name::{UNIT_CHARS, plain_text, short_text};
use super::quality::{Clock, Quality, Shown};

/// Names may have 380 characters together, a subtitle 168, and doubts must still be seen,
const LONGEST_PLACE: usize = 81;
/// and beside them what was sampled. Whole they are in the stamp for programs.
const LONGEST_DOUBTS: usize = 91;

/// The stamp in one line. Where it was and reasons to doubt the result come first, because a viewer may cut the end.
pub fn line(quality: &Quality) -> String {
    let mut parts: Vec<String> = place(quality).into_iter().collect();
    if let Some(shown) = &quality.shown {
        parts.push(only(shown));
    }
    if !quality.degraded.is_empty() {
        parts.push(format!(
            "DEGRADED: {}",
            short_text(&quality.degraded.join("; "), LONGEST_DOUBTS)
        ));
    }
    parts.extend(quality.sampler.clone());
    if quality.interval > 0 {
        parts.push(format!("every {}", amount(quality.interval, &quality.interval_unit)));
    }
    match (quality.samples, quality.expected_samples) {
        (Some(got), Some(asked)) => parts.push(format!("{got} of {asked} samples")),
        (Some(got), None) => parts.push(format!("{got} samples")),
        (None, _) => {}
    }
    if let Some(lost) = quality.lost {
        parts.push(format!("{lost} lost"));
    }
    let duration = |ms: u64| amount(ms.saturating_mul(1_000_000), "nanoseconds");
    match (quality.sampled_cpu_ms, quality.cpu_ms) {
        (Some(seen), Some(used)) => parts.push(format!("{} of {} of CPU seen", duration(seen), duration(used))),
        (None, Some(used)) => parts.push(format!("{} of CPU used", duration(used))),
        (_, None) => {}
    }
    if let Some(bytes) = quality.live_bytes {
        parts.push(format!("{} live by the collector's count", amount(bytes, "bytes")));
    }
    if let Some(share) = quality.unresolved {
        parts.push(format!("{} unresolved", percent(share)));
    }
    match quality.clock {
        Some(Clock::Cpu) => parts.push("CPU time".to_owned()),
        Some(Clock::Wall) => parts.push("wall time".to_owned()),
        Some(Clock::None) | None => {}
    }
    parts.extend(known([
        quality.process.clone(),
        quality.pid.map(|pid| format!("pid {pid}")),
        quality.runtime.clone(),
    ]));
    parts.extend(known([
        quality.started_at_ms.map(utc),
        quality.duration_ms.map(|ms| format!("+{}", duration(ms))),
    ]));
    plain_text(&parts.join(" · ")).into_owned()
}

/// How much is shown, and of what: `ONLY 12.3%: 364 of 2961 samples match focus=hash`.
pub fn only(shown: &Shown) -> String {
    format!("ONLY {} match {}", part(shown), shown.view)
}

/// How much is shown: `12.3%: 364 of 2961 samples`.
pub fn part(shown: &Shown) -> String {
    let Shown { value, total, unit, .. } = shown;
    let share = shown
        .share
        .map_or_else(String::new, |share| format!("{}: ", percent(share)));
    let (part, whole) = match unit.as_str() {
        "nanoseconds" | "bytes" if *value == 0 => ("0".to_owned(), amount(*total, unit)),
        "nanoseconds" | "bytes" => (amount(*value, unit), amount(*total, unit)),
        _ => {
            let what = short_text(&shown.sample_type, UNIT_CHARS);
            (value.to_string(), format!("{total} {what}"))
        }
    };
    format!("{share}{part} of {whole}")
}

/// The sentence about stacks that were cut, if there are any.
pub fn truncated(quality: &Quality) -> Option<String> {
    let share = percent(quality.truncated.filter(|&share| share > 0.0)?);
    Some(match quality.max_frames {
        Some(limit) => format!("{share} is in stacks cut at {limit} frames, whose callers are missing"),
        None => format!("{share} is in stacks that the sampler cut, whose callers are missing"),
    })
}

/// The sentence about CPU time that no sample stands for, if it is a good part: of threads that lived for less than an
/// interval, or that no signal reaches.
pub fn unseen_cpu(sampled: Duration, used: Duration) -> Option<String> {
    const ENOUGH: Duration = Duration::from_secs(1);
    (used >= ENOUGH && sampled < used * 4 / 5).then(|| {
        format!(
            "the samples stand for {:.1} s of the {:.1} s of CPU time that the process used",
            sampled.as_secs_f64(),
            used.as_secs_f64()
        )
    })
}

/// Little is not nothing.
fn percent(share: f64) -> String {
    if 0.0 < share && share < 0.0005 {
        return "<0.1%".to_owned();
    }
    format!("{:.1}%", share * 100.0)
}

/// What is known of these; `None` if nothing is.
fn known<const N: usize>(words: [Option<String>; N]) -> Option<String> {
    let known: Vec<_> = words.into_iter().flatten().collect();
    (!known.is_empty()).then(|| known.join(" "))
}

/// `namespace/pod container`.
fn place(quality: &Quality) -> Option<String> {
    let place = known([quality.pod.clone(), quality.container.clone()])?;
    Some(short_text(&place, LONGEST_PLACE))
}

const FOR_PEOPLE: &str = "sideflame: ";
const FOR_PROGRAMS: &str = "sideflame-quality: ";

/// How many comments a stamp is.
pub const LINES: usize = 2;

/// The stamp for pprof's comments: the line for people, and the same as JSON for programs.
pub fn comments(quality: &Quality) -> Vec<String> {
    let mut comments = vec![format!("{FOR_PEOPLE}{}", line(quality))];
    if let Ok(json) = serde_json::to_string(quality) {
        comments.push(format!("{FOR_PROGRAMS}{json}"));
    }
    comments
}

/// Takes out of a file's comments what [`comments`] has put there. Anybody can write such comments: they say no more than
/// the file itself does.
pub fn take(comments: &mut Vec<String>) -> Option<Quality> {
    let at = comments.iter().rposition(|comment| comment.starts_with(FOR_PROGRAMS))?;
    let json = comments.get(at)?.strip_prefix(FOR_PROGRAMS)?;
    let quality = serde_json::from_str(json).ok()?;
    comments.remove(at);
    if let Some(before) = at.checked_sub(1)
        && comments
            .get(before)
            .is_some_and(|comment| comment.starts_with(FOR_PEOPLE))
    {
        comments.remove(before);
    }
    Some(quality)
}

/// `10000000 nanoseconds` is `10 ms`.
fn amount(value: u64, unit: &str) -> String {
    let steps: &[(u64, &str)] = match unit {
        "nanoseconds" => &[(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"), (1, "ns")],
        "bytes" => &[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")],
        _ => return format!("{value} {}", short_text(unit, UNIT_CHARS)),
    };
    let (size, name) = steps
        .iter()
        .find(|(size, _)| value >= *size)
        .copied()
        .unwrap_or((1, unit));
    let tenths = value % size * 10 / size;
    if tenths == 0 {
        format!("{} {name}", value / size)
    } else {
        format!("{}.{tenths} {name}", value / size)
    }
}

/// RFC 3339 to the second; years of five digits, which only a forged recording has, are shown as the last of four.
fn utc(ms: u64) -> String {
    const LAST: u64 = 253_402_300_799;
    let time = UNIX_EPOCH + Duration::from_secs((ms / 1000).min(LAST));
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn quality() -> Quality {
        Quality {
            sampler: Some("async-profiler 4.6 cpu (perf_events)".into()),
            interval: 10_000_000,
            interval_unit: "nanoseconds".into(),
            clock: Some(Clock::Cpu),
            samples: Some(2961),
            expected_samples: Some(3000),
            lost: Some(0),
            cpu_ms: Some(30_100),
            sampled_cpu_ms: Some(29_610),
            unresolved: Some(0.0123),
            pid: Some(17),
            process: Some("shop".into()),
            runtime: Some("jvm 17.0.15".into()),
            event: Some("cpu".into()),
            started_at_ms: Some(1_795_219_200_000),
            duration_ms: Some(30_000),
            ..Quality::default()
        }
    }

    #[test]
    fn the_line_says_everything() {
        assert_eq!(
            line(&quality()),
            "async-profiler 4.6 cpu (perf_events) · every 10 ms · 2961 of 3000 samples · 0 lost · \
             29.6 s of 30.1 s of CPU seen · 1.2% unresolved · CPU time · shop pid 17 jvm 17.0.15 · 2026-11-21T00:00:00Z +30 s"
        );
    }

    #[test]
    fn pod_and_container_come_before_what_a_viewer_may_cut() {
        let mut quality = quality();
        quality.container = Some("app".into());
        assert!(line(&quality).starts_with("app · async"));
        quality.pod = Some("prod/shop-1".into());
        quality.degraded = vec!["no perf_events".into()];
        assert!(line(&quality).starts_with("prod/shop-1 app · DEGRADED: no perf_events · async"));
        quality.pod = Some(format!("prod/{}", "x".repeat(253)));
        assert_eq!(line(&quality).find("DEGRADED"), Some(80 + "… · ".len()));
    }

    #[test]
    fn doubts_come_first() {
        let degraded = Quality {
            degraded: vec!["no perf_events".into()],
            ..quality()
        };
        assert!(line(&degraded).starts_with("DEGRADED: no perf_events · async"));
    }

    #[test]
    fn dates_survive_leap_days_and_the_epoch() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(1_709_210_096_000), "2024-02-29T12:34:56Z");
        assert_eq!(utc(u64::MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        assert_eq!(line(&Quality::default()), "");
        assert_eq!(serde_json::from_str::<Quality>("{}").unwrap(), Quality::default());
        let quality = Quality {
            duration_ms: Some(1500),
            process: Some("shop".into()),
            ..Quality::default()
        };
        assert_eq!(line(&quality), "shop · +1.5 s");
    }

    #[test]
    fn the_stamp_is_taken_back_from_comments() {
        let mut all = vec!["of the app".to_owned()];
        all.extend(comments(&quality()));
        all.push("behind".to_owned());
        assert_eq!(take(&mut all), Some(quality()));
        assert_eq!(all, ["of the app", "behind"]);
        assert_eq!(take(&mut all), None);
        let broken = vec!["sideflame: x".to_owned(), "sideflame-quality: {".to_owned()];
        let mut left = broken.clone();
        assert_eq!((take(&mut left), left), (None, broken));
    }
}
