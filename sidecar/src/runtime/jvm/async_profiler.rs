//! async-profiler's messages as values; its option strings are [`super::plan`]'s.
//!
//! Knows no files, sockets or processes. Called by the recorder. Source: async-profiler 4.6, `arguments.cpp` and
//! `profiler.cpp`.

/// What a failed command said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A session runs.
    AlreadyStarted,
    /// No session runs.
    NotActive,
    /// perf_events are closed to the target.
    PerfDenied,
    /// perf_events ran out of descriptors or memory.
    PerfLimit,
    /// The kernel has no such perf event, or no perf_events.
    PerfMissing,
    /// Anything else, in its words.
    Other(String),
}

/// Reads the log of a command that returned an error.
pub fn refusal(log: &str) -> Refusal {
    let errors: Vec<&str> = messages(log, "[ERROR] ").collect();
    let text = errors.join("; ");
    match text.as_str() {
        text if text.contains("Profiler already started") => Refusal::AlreadyStarted,
        text if text.contains("Profiler is not active") || text.contains("Profiler has not started") => {
            Refusal::NotActive
        }
        text if text.contains("Perf events resource limit") => Refusal::PerfLimit,
        text if text.contains("Perf events unavailable. Try") => Refusal::PerfDenied,
        "Perf events unavailable" => Refusal::PerfMissing,
        "" => Refusal::Other("it gave no reason".to_owned()),
        text => Refusal::Other(text.to_owned()),
    }
}

/// The kernel's word on a perf event it refused.
pub fn perf_failure(log: &str) -> Option<&str> {
    perf_failures(log).next()
}

/// The kernel's word on each perf event it refused.
pub fn perf_failures(log: &str) -> impl Iterator<Item = &str> {
    let of_events = messages(log, "[WARN] ").filter(|text| text.starts_with("perf_event_open for TID "));
    of_events.filter_map(|text| Some(text.split_once("failed: ")?.1))
}

/// Messages of one level; they are short, and control characters are not for us to pass on.
pub fn messages<'a>(log: &'a str, level: &'a str) -> impl Iterator<Item = &'a str> {
    log.lines()
        .filter_map(move |line| line.strip_prefix(level))
        .map(|line| line.trim_end_matches(char::is_control))
}

/// Seconds a session has been running, from the answer to `status`; `None` if none runs.
pub fn running_for(status: &str) -> Option<u64> {
    let rest = status
        .lines()
        .find_map(|line| line.strip_prefix("Profiling is running for "))?;
    rest.split(' ').next()?.parse().ok()
}

/// What it counted in a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Samples, those below included.
    pub samples: Option<u64>,
    /// Samples for which it had no time.
    pub skipped: Option<u64>,
    /// Samples whose stack did not fit into its memory.
    pub overflows: Option<u64>,
}

impl Metrics {
    /// Reads the answer to `metrics`.
    pub fn read(answer: &str) -> Self {
        Self {
            samples: metric(answer, "samples_total"),
            skipped: metric(answer, "samples_skipped_total"),
            overflows: metric(answer, "calltracestorage_overflows_total"),
        }
    }

    /// Samples that are not in the recording.
    pub fn lost(&self) -> Option<u64> {
        Some(self.skipped?.saturating_add(self.overflows.unwrap_or(0)))
    }
}

fn metric(metrics: &str, name: &str) -> Option<u64> {
    metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The answer to `version`, if it is one.
pub fn version(log: &str) -> Option<&str> {
    let text = log.lines().next_back()?.trim();
    let plausible = text.starts_with(|c: char| c.is_ascii_digit())
        && text.len() <= 32
        && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-+".contains(c));
    plausible.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart_by_their_words() {
        assert_eq!(refusal("[ERROR] Profiler already started\n"), Refusal::AlreadyStarted);
        assert_eq!(refusal("[ERROR] Profiler is not active\n"), Refusal::NotActive);
        let denied = "[WARN] perf_event_open for TID 9 failed: Permission denied\n[ERROR] Perf events unavailable. Try \
                      --fdtransfer or --all-user option or 'sysctl kernel.perf_event_paranoid=1'\n";
        assert_eq!(refusal(denied), Refusal::PerfDenied);
        assert_eq!(perf_failure(denied), Some("Permission denied"));
        let missing =
            "[WARN] perf_event_open for TID 9 failed: No such file or directory\n[ERROR] Perf events unavailable\n";
        assert_eq!(refusal(missing), Refusal::PerfMissing);
        assert_eq!(
            refusal("[ERROR] Unsupported event type\n"),
            Refusal::Other("Unsupported event type".to_owned())
        );
        assert_eq!(refusal(""), Refusal::Other("it gave no reason".to_owned()));
    }

    #[test]
    fn answers_are_read_and_nonsense_is_none() {
        assert_eq!(running_for("Profiling is running for 12 seconds\n"), Some(12));
        assert_eq!(running_for("Profiler is not active\n"), None);
        assert_eq!(running_for("Profiling is running for ever"), None);
        let metrics = Metrics::read("samples_total 5\nsamples_skipped_total 2\ncalltracestorage_overflows_total 1\n");
        assert_eq!((metrics.samples, metrics.lost()), (Some(5), Some(3)));
        assert_eq!(Metrics::read("4.5").lost(), None);
        assert_eq!(version("4.6"), Some("4.6"));
        assert_eq!(version("[WARN] odd\n4.6\n"), Some("4.6"));
        assert_eq!(version("<b>"), None);
        assert_eq!(version(""), None);
    }
}
