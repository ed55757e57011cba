//! The quality stamp in words, for formats that carry text.
//!
//! Called by the writers. Knows [`Quality`] and nothing of where the text goes.

use std::fmt::Write;

use super::quality::{Clock, Quality};

/// The stamp in one line. Where it was and reasons to doubt the result come first, because a viewer may cut the end.
pub fn line(quality: &Quality) -> String {
    let mut parts: Vec<String> = place(quality).into_iter().collect();
    if !quality.degraded.is_empty() {
        parts.push(format!("DEGRADED: {}", quality.degraded.join("; ")));
    }
    parts.push(quality.sampler.clone());
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
    if let Some(share) = quality.unresolved {
        parts.push(format!("{:.1}% unresolved", share * 100.0));
    }
    match quality.clock {
        Clock::Cpu => parts.push("CPU time".to_owned()),
        Clock::Wall => parts.push("wall time".to_owned()),
        Clock::None => {}
    }
    parts.push(format!("{} pid {} {}", quality.process, quality.pid, quality.runtime));
    parts.push(format!(
        "{} +{}",
        utc(quality.started_at_ms),
        amount(quality.duration_ms.saturating_mul(1_000_000), "nanoseconds")
    ));
    parts.join(" · ")
}

/// `namespace/pod container`. Names may have 380 characters together, a subtitle 168, and doubts must still be seen.
fn place(quality: &Quality) -> Option<String> {
    const LONGEST: usize = 80;
    let known = [&quality.pod, &quality.container].into_iter().flatten();
    let mut place = known.map(String::as_str).collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = place.char_indices().nth(LONGEST) {
        place.truncate(end);
        place.push('…');
    }
    (!place.is_empty()).then_some(place)
}

/// The stamp for pprof's comments: the line for people, and the same as JSON for programs.
pub fn comments(quality: &Quality) -> Vec<String> {
    let mut comments = vec![format!("sideflame: {}", line(quality))];
    if let Ok(json) = serde_json::to_string(quality) {
        comments.push(format!("sideflame-quality: {json}"));
    }
    comments
}

/// `10000000 nanoseconds` is `10 ms`.
fn amount(value: u64, unit: &str) -> String {
    let steps: &[(u64, &str)] = match unit {
        "nanoseconds" => &[(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"), (1, "ns")],
        "bytes" => &[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")],
        _ => return format!("{value} {unit}"),
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

/// RFC 3339 to the second. Howard Hinnant's `civil_from_days`; a date crate for one line would be too much.
fn utc(ms: u64) -> String {
    let seconds = ms / 1000;
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let mut text = format!("{year:04}-{month:02}-{day:02}");
    let _infallible = write!(
        text,
        "T{:02}:{:02}:{:02}Z",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    );
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn quality() -> Quality {
        Quality {
            sampler: "async-profiler 4.6 cpu (perf_events)".into(),
            interval: 10_000_000,
            interval_unit: "nanoseconds".into(),
            clock: Clock::Cpu,
            samples: Some(2961),
            expected_samples: Some(3000),
            lost: Some(0),
            unresolved: Some(0.0123),
            pid: 17,
            process: "shop".into(),
            pod: None,
            container: None,
            runtime: "jvm 17.0.15".into(),
            event: "cpu".into(),
            started_at_ms: 1_795_219_200_000,
            duration_ms: 30_000,
            degraded: vec![],
        }
    }

    #[test]
    fn the_line_says_everything() {
        assert_eq!(
            line(&quality()),
            "async-profiler 4.6 cpu (perf_events) · every 10 ms · 2961 of 3000 samples · 0 lost · 1.2% unresolved · \
             CPU time · shop pid 17 jvm 17.0.15 · 2026-11-21T00:00:00Z +30 s"
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
        assert_eq!(utc(u64::MAX).len(), "584556019-04-03T14:25:51Z".len());
    }

    #[test]
    fn the_comment_carries_the_whole_stamp() {
        let json = comments(&quality())[1]
            .strip_prefix("sideflame-quality: ")
            .unwrap()
            .to_owned();
        assert_eq!(serde_json::from_str::<Quality>(&json).unwrap(), quality());
    }
}
