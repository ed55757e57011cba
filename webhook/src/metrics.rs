//! What `serve` counts, and its page for Prometheus.
//!
//! Must not know HTTP. But for the pods of `sidecars`, every label comes from a closed set whose members are all on the page
//! from the start, so that a rate over the first one is right. Written by everything that serves; read by `health`.

mod histogram;
mod page;
mod sidecars;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::admission::{Outcome, PATHS, Refusal};
use histogram::{BOUNDS, Histogram};
use page::Page;
pub use sidecars::{Sidecars, SidecarsSeen};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that comes and goes, e.g. seconds after the Unix epoch; 0 when there is none.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Takes a new value.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds `change`, which may be negative.
    pub fn add(&self, change: i64) {
        self.0.fetch_add(change, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything `serve` counts.
#[derive(Debug)]
pub struct Metrics {
    started: SystemTime,
    requests: [Counter; PATHS.len()],
    decisions: BTreeMap<(&'static str, &'static str), Counter>,
    refusals: [Counter; Refusal::ALL.len()],
    reviews: Histogram,
    /// Reviews being answered now.
    pub in_flight: Gauge,
    /// Workloads whose annotation sits in the wrong place, or is wrong.
    pub workloads_warned: Counter,
    /// Open connections, TLS handshakes included.
    pub connections: Gauge,
    /// End of the serving certificate, seconds after the Unix epoch.
    pub certificate_not_after: Gauge,
    /// End of the authority that issued it, where it is our own.
    pub authority_not_after: Gauge,
    /// Changes of the authority Secret made by this replica.
    pub authority_changes: Counter,
    /// Repairs and updates of a caBundle made by this replica.
    pub bundle_patches: Counter,
    /// Rounds that failed to look after Secret and caBundle.
    pub authority_failures: Counter,
    /// Supplied certificate files that could not be used.
    pub certificate_failures: Counter,
    /// Events written.
    pub events_written: Counter,
    /// Events that were not written: queue full, too frequent for the table, or refused by the API server.
    pub events_dropped: Counter,
    /// Namespaces known.
    pub namespaces: Gauge,
    /// Self-probes that came back injected.
    pub probe_injected: Counter,
    /// Self-probes that came back as they were sent.
    pub probe_missed: Counter,
    /// Self-probes that could not be sent.
    pub probe_failed: Counter,
    /// When a self-probe last came back injected, seconds after the Unix epoch.
    pub probe_last_success: Gauge,
    /// Injected pods, where they are watched.
    pub sidecars: OnceLock<Sidecars>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            started: SystemTime::now(),
            requests: Default::default(),
            decisions: Outcome::all().map(|key| (key, Counter::default())).collect(),
            refusals: Default::default(),
            reviews: Histogram::default(),
            in_flight: Gauge::default(),
            workloads_warned: Counter::default(),
            connections: Gauge::default(),
            certificate_not_after: Gauge::default(),
            authority_not_after: Gauge::default(),
            authority_changes: Counter::default(),
            bundle_patches: Counter::default(),
            authority_failures: Counter::default(),
            certificate_failures: Counter::default(),
            events_written: Counter::default(),
            events_dropped: Counter::default(),
            namespaces: Gauge::default(),
            probe_injected: Counter::default(),
            probe_missed: Counter::default(),
            probe_failed: Counter::default(),
            probe_last_success: Gauge::default(),
            sidecars: OnceLock::new(),
        }
    }
}

impl Metrics {
    /// Counts a request to one of [`PATHS`].
    pub fn request(&self, path: &str) {
        let known = PATHS.iter().zip(&self.requests).find(|(known, _)| **known == path);
        if let Some((_, counter)) = known {
            counter.count();
        }
    }

    /// Counts what became of a pod.
    pub fn decision(&self, outcome: Outcome) {
        if let Some(counter) = self.decisions.get(&outcome.key()) {
            counter.count();
        }
    }

    /// Counts a request that was no review.
    pub fn refusal(&self, refusal: Refusal) {
        let known = Refusal::ALL
            .iter()
            .zip(&self.refusals)
            .find(|(known, _)| **known == refusal);
        if let Some((_, counter)) = known {
            counter.count();
        }
    }

    /// Records how long an answer took.
    pub fn review(&self, took: Duration) {
        self.reviews.observe(took);
    }

    /// The page; `ready` is the state of `/readyz`.
    pub fn page(&self, ready: bool) -> String {
        let mut page = Page::default();
        page.family("sideflame_webhook_build_info", "gauge", "The version, as a label.");
        page.sample(&format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1);
        self.write_reviews(&mut page);
        self.write_certificates(&mut page, ready);
        self.write_cluster(&mut page);
        if let Some(sidecars) = self.sidecars.get() {
            sidecars.write(&mut page);
        }
        if let Some(bytes) = resident_bytes() {
            page.single("process_resident_memory_bytes", "gauge", "Resident memory.", bytes);
        }
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let help = "Start of the server after the Unix epoch.";
        page.single("process_start_time_seconds", "gauge", help, started);
        page.text
    }

    fn write_reviews(&self, page: &mut Page) {
        let help = "Requests by path. /probe is the self-probe; it is not counted as a decision.";
        page.family("sideflame_webhook_requests_total", "counter", help);
        for (path, counter) in PATHS.iter().zip(&self.requests) {
            page.sample(&format!("{{path=\"{path}\"}}"), counter.get());
        }
        page.family(
            "sideflame_webhook_decisions_total",
            "counter",
            "What became of pods, and why.",
        );
        for ((decision, reason), counter) in &self.decisions {
            page.sample(
                &format!("{{decision=\"{decision}\",reason=\"{reason}\"}}"),
                counter.get(),
            );
        }
        page.family(
            "sideflame_webhook_refusals_total",
            "counter",
            "Requests that were no review.",
        );
        for (refusal, counter) in Refusal::ALL.iter().zip(&self.refusals) {
            page.sample(&format!("{{reason=\"{}\"}}", refusal.key()), counter.get());
        }
        let help = "Workloads with the annotation in the wrong place, or a wrong one.";
        page.single(
            "sideflame_webhook_workloads_warned_total",
            "counter",
            help,
            self.workloads_warned.get(),
        );
        let help = "Reviews being answered now.";
        page.single("sideflame_webhook_in_flight", "gauge", help, self.in_flight.get());
        page.single(
            "sideflame_webhook_connections",
            "gauge",
            "Open connections.",
            self.connections.get(),
        );
        let help = "From the head of a request to its answer.";
        page.family("sideflame_webhook_review_seconds", "histogram", help);
        let counts = self.reviews.cumulative();
        let bounds = BOUNDS.iter().map(|(bound, _)| *bound).chain(["+Inf"]);
        for (bound, count) in bounds.zip(&counts) {
            page.sample(&format!("_bucket{{le=\"{bound}\"}}"), count);
        }
        page.sample("_sum", self.reviews.sum().as_secs_f64());
        page.sample("_count", counts.last().copied().unwrap_or_default());
    }

    fn write_certificates(&self, page: &mut Page, ready: bool) {
        page.single(
            "sideflame_webhook_ready",
            "gauge",
            "1 if /readyz says so.",
            u8::from(ready),
        );
        let help = "End of the serving certificate after the Unix epoch; 0 while there is none.";
        let name = "sideflame_webhook_certificate_not_after_seconds";
        page.single(name, "gauge", help, self.certificate_not_after.get());
        let help = "End of our authority after the Unix epoch; 0 with supplied certificates.";
        let name = "sideflame_webhook_authority_not_after_seconds";
        page.single(name, "gauge", help, self.authority_not_after.get());
        let help = "Changes of the authority Secret by this replica.";
        page.single(
            "sideflame_webhook_authority_changes_total",
            "counter",
            help,
            self.authority_changes.get(),
        );
        let help = "Repairs and updates of a caBundle by this replica.";
        page.single(
            "sideflame_webhook_bundle_patches_total",
            "counter",
            help,
            self.bundle_patches.get(),
        );
        let help = "Rounds that failed to look after Secret and caBundle.";
        page.single(
            "sideflame_webhook_authority_failures_total",
            "counter",
            help,
            self.authority_failures.get(),
        );
        let help = "Supplied certificate files that could not be used; the pair before stays in use.";
        let name = "sideflame_webhook_certificate_failures_total";
        page.single(name, "counter", help, self.certificate_failures.get());
    }

    fn write_cluster(&self, page: &mut Page) {
        page.single(
            "sideflame_webhook_namespaces",
            "gauge",
            "Namespaces known.",
            self.namespaces.get(),
        );
        page.single(
            "sideflame_webhook_events_total",
            "counter",
            "Events written.",
            self.events_written.get(),
        );
        let help = "Events not written: queue or table full, or refused.";
        page.single(
            "sideflame_webhook_events_dropped_total",
            "counter",
            help,
            self.events_dropped.get(),
        );
        let help = "Self-probes through the API server.";
        page.family("sideflame_webhook_probes_total", "counter", help);
        for (result, counter) in [
            ("injected", &self.probe_injected),
            ("not_injected", &self.probe_missed),
            ("failed", &self.probe_failed),
        ] {
            page.sample(&format!("{{result=\"{result}\"}}"), counter.get());
        }
        let help = "When a self-probe last came back injected; 0 if never.";
        let name = "sideflame_webhook_probe_last_success_seconds";
        page.single(name, "gauge", help, self.probe_last_success.get());
    }
}

/// `VmRSS` of `/proc/self/status` (`man 5 proc`), which is in KiB.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Failure;
    use crate::inject::SkipReason;

    #[test]
    fn every_decision_is_on_the_page_before_the_first_request() {
        let page = Metrics::default().page(false);
        for (decision, reason) in Outcome::all() {
            let line = format!("sideflame_webhook_decisions_total{{decision=\"{decision}\",reason=\"{reason}\"}} 0\n");
            assert!(page.contains(&line), "{line}");
        }
        assert!(page.contains("sideflame_webhook_requests_total{path=\"/inject\"} 0\n"));
        assert!(page.contains("sideflame_webhook_ready 0\n"));
    }

    #[test]
    fn each_outcome_is_counted_under_its_own_labels() {
        let metrics = Metrics::default();
        metrics.decision(Outcome::Injected);
        metrics.decision(Outcome::Blocked(SkipReason::NotAnnotated));
        metrics.decision(Outcome::Failed(Failure::Busy));
        metrics.refusal(Refusal::TooLarge);
        metrics.request("/warn");
        metrics.request("/somewhere");
        let page = metrics.page(true);
        for line in [
            "decisions_total{decision=\"inject\",reason=\"injected\"} 1\n",
            "decisions_total{decision=\"block\",reason=\"not_annotated\"} 1\n",
            "decisions_total{decision=\"skip\",reason=\"not_annotated\"} 0\n",
            "decisions_total{decision=\"error\",reason=\"busy\"} 1\n",
            "refusals_total{reason=\"too_large\"} 1\n",
            "requests_total{path=\"/warn\"} 1\n",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
        assert!(!page.contains("somewhere"));
    }

    #[test]
    fn the_page_is_in_the_text_format() {
        let page = Metrics::default().page(true);
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(
                name.starts_with("sideflame_webhook_") || name.starts_with("process_"),
                "{line}"
            );
        }
    }
}
