//! What `serve` counts, and its page for Prometheus.
//!
//! Must not know HTTP. But for the pods of `sidecars`, every label comes from a closed set whose members are all on the page
//! from the start, so that a rate over the first one is right. Counters are looked up once, here: a review costs a few
//! atomic additions. Written by everything that serves; read by `health`.

mod held;
mod missing;
mod process;
mod sidecars;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::endpoint::Endpoint;
use crate::outcome::{Outcome, Refusal};
pub use held::Held;
pub use missing::Missing;
use process::Process;
pub use sidecars::{Sidecars, SidecarsSeen};

/// The page's `Content-Type`.
pub use prometheus_text::CONTENT_TYPE;

/// Upper bounds of the buckets for reviews, in seconds. A pod takes about 50 µs, one with 1,500 variables about 0.35 ms, and
/// the API server waits 2 s.
const BOUNDS: [f64; 15] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0,
];

/// Everything `serve` counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: BTreeMap<&'static str, Counter>,
    decisions: BTreeMap<Outcome, Counter>,
    refusals: BTreeMap<&'static str, Counter>,
    reviews: Histogram,
    ready: Gauge,
    /// Reviews being answered now.
    pub in_flight: Gauge,
    /// Workloads whose annotation sits in the wrong place, or is wrong.
    pub workloads_warned: Counter,
    /// Open connections, TLS handshakes included.
    pub connections: Gauge,
    /// Connections closed at once, as their address had its part.
    pub connections_refused: Counter,
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
    /// Lists and watches of namespaces that failed.
    pub namespace_failures: Counter,
    /// Self-probes that came back injected.
    pub probe_injected: Counter,
    /// Self-probes that came back as they were sent.
    pub probe_missed: Counter,
    /// Self-probes that could not be sent.
    pub probe_failed: Counter,
    /// When a self-probe last came back injected, seconds after the Unix epoch.
    pub probe_last_success: Gauge,
    /// Injected pods, where they are watched.
    pub sidecars: Arc<Sidecars>,
    /// Pods that should be injected, where they are watched.
    pub missing: Arc<Missing>,
    /// Pods that wait for the image of their sidecar, where they are watched.
    pub held: Arc<Held>,
}

/// A family whose members are all there from the start, and the member for each of `keys`.
fn closed<K: Ord, const N: usize>(
    registry: &mut Registry,
    (name, help): (&str, &str),
    keys: impl IntoIterator<Item = (K, [(&'static str, &'static str); N])>,
) -> BTreeMap<K, Counter> {
    let family = Family::<[(&'static str, &'static str); N], Counter>::default();
    registry.register(name, help, family.clone());
    let members = keys.into_iter();
    members
        .map(|(key, labels)| (key, family.get_or_create_owned(&labels)))
        .collect()
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let ours = registry.sub_registry_with_prefix("sideflame_webhook");
        let version = Family::<[(&'static str, &'static str); 1], Gauge>::default();
        version.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
        ours.register("build_info", "The version, as a label", version);
        let endpoints = Endpoint::ALL.map(Endpoint::path);
        let help = "Requests by path. /probe is the self-probe; it is not counted as a decision";
        let requests = closed(ours, ("requests", help), endpoints.map(|path| (path, [("path", path)])));
        let outcomes = Outcome::all().map(|outcome| {
            let (decision, reason) = outcome.key();
            (outcome, [("decision", decision), ("reason", reason)])
        });
        let decisions = closed(ours, ("decisions", "What became of pods, and why"), outcomes);
        let reasons = Refusal::ALL.map(Refusal::key).map(|key| (key, [("reason", key)]));
        let refusals = closed(ours, ("refusals", "Requests that were no review"), reasons);
        let results = ["injected", "not_injected", "failed"].map(|result| (result, [("result", result)]));
        let mut probes = closed(ours, ("probes", "Self-probes through the API server"), results);
        let mut probe = |result| probes.remove(result).unwrap_or_default();
        let sidecars = Arc::<Sidecars>::default();
        let metrics = Self {
            registry: Registry::default(),
            requests,
            decisions,
            refusals,
            reviews: Histogram::new(BOUNDS),
            ready: Gauge::default(),
            in_flight: Gauge::default(),
            workloads_warned: Counter::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            certificate_not_after: Gauge::default(),
            authority_not_after: Gauge::default(),
            authority_changes: Counter::default(),
            bundle_patches: Counter::default(),
            authority_failures: Counter::default(),
            certificate_failures: Counter::default(),
            events_written: Counter::default(),
            events_dropped: Counter::default(),
            namespaces: Gauge::default(),
            namespace_failures: Counter::default(),
            probe_injected: probe("injected"),
            probe_missed: probe("not_injected"),
            probe_failed: probe("failed"),
            probe_last_success: Gauge::default(),
            held: Arc::new(Held::among(Arc::clone(&sidecars))),
            sidecars,
            missing: Arc::default(),
        };
        metrics.register(ours);
        ours.register_collector(Box::new(Arc::clone(&metrics.sidecars)));
        ours.register_collector(Box::new(Arc::clone(&metrics.missing)));
        ours.register_collector(Box::new(Arc::clone(&metrics.held)));
        registry.register_collector(Box::new(Process::starting_now()));
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// Puts what has no labels on the page. The full stop behind each help is the library's.
    fn register(&self, page: &mut Registry) {
        let help = "From the head of a request to its answer";
        page.register("review_seconds", help, self.reviews.clone());
        for (name, help, gauge) in [
            ("in_flight", "Reviews being answered now", &self.in_flight),
            ("connections", "Open connections", &self.connections),
            ("ready", "1 if /readyz says so", &self.ready),
            (
                "certificate_not_after_seconds",
                "End of the serving certificate after the Unix epoch; 0 while there is none",
                &self.certificate_not_after,
            ),
            (
                "authority_not_after_seconds",
                "End of our authority after the Unix epoch; 0 with supplied certificates",
                &self.authority_not_after,
            ),
            ("namespaces", "Namespaces known", &self.namespaces),
            (
                "probe_last_success_seconds",
                "When a self-probe last came back injected; 0 if never",
                &self.probe_last_success,
            ),
        ] {
            page.register(name, help, gauge.clone());
        }
        for (name, help, counter) in [
            (
                "workloads_warned",
                "Workloads with the annotation in the wrong place, or a wrong one",
                &self.workloads_warned,
            ),
            (
                "authority_changes",
                "Changes of the authority Secret by this replica",
                &self.authority_changes,
            ),
            (
                "bundle_patches",
                "Repairs and updates of a caBundle by this replica",
                &self.bundle_patches,
            ),
            (
                "authority_failures",
                "Rounds that failed to look after Secret and caBundle",
                &self.authority_failures,
            ),
            (
                "certificate_failures",
                "Supplied certificate files that could not be used; the pair before stays in use",
                &self.certificate_failures,
            ),
            (
                "connections_refused",
                "Connections closed at once, as their address had its part of all places",
                &self.connections_refused,
            ),
            ("events", "Events written", &self.events_written),
            (
                "events_dropped",
                "Events not written: queue or table full, too many of a namespace, or refused",
                &self.events_dropped,
            ),
            (
                "namespace_watch_failures",
                "Lists and watches of namespaces that failed",
                &self.namespace_failures,
            ),
        ] {
            page.register(name, help, counter.clone());
        }
    }

    /// Counts a request.
    pub fn request(&self, endpoint: Endpoint) {
        count(&self.requests, endpoint.path());
    }

    /// Counts what became of a pod.
    pub fn decision(&self, outcome: Outcome) {
        count(&self.decisions, outcome);
    }

    /// Counts a request that was no review.
    pub fn refusal(&self, refusal: Refusal) {
        count(&self.refusals, refusal.key());
    }

    /// Records how long an answer took.
    pub fn review(&self, took: Duration) {
        self.reviews.observe(took.as_secs_f64());
    }

    /// The page, in the text format; `ready` is the state of `/readyz`.
    pub fn page(&self, ready: bool) -> String {
        self.ready.set(i64::from(ready));
        let mut page = String::new();
        // Writing into a String cannot fail.
        let _ = prometheus_text::encode(&mut page, &self.registry);
        page
    }
}

fn count<K: Ord>(counters: &BTreeMap<K, Counter>, key: K) {
    if let Some(counter) = counters.get(&key) {
        counter.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::SkipReason;
    use crate::outcome::Failure;

    #[test]
    fn every_decision_is_on_the_page_before_the_first_request() {
        let page = Metrics::default().page(false);
        for (decision, reason) in Outcome::all().map(Outcome::key) {
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
        metrics.request(Endpoint::Workload);
        let page = metrics.page(true);
        for line in [
            "decisions_total{decision=\"inject\",reason=\"injected\"} 1\n",
            "decisions_total{decision=\"block\",reason=\"not_annotated\"} 1\n",
            "decisions_total{decision=\"skip\",reason=\"not_annotated\"} 0\n",
            "decisions_total{decision=\"error\",reason=\"busy\"} 1\n",
            "refusals_total{reason=\"too_large\"} 1\n",
            "requests_total{path=\"/warn\"} 1\n",
            "requests_total{path=\"/inject\"} 0\n",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
    }

    /// Alerts and dashboards go by these names.
    #[test]
    fn the_names_types_and_helps_of_the_page_stay() {
        let metrics = Metrics::default();
        metrics.sidecars.begin();
        metrics.sidecars.replace(SidecarsSeen::default());
        metrics.missing.replace(["shop/a".into()].into());
        let page = metrics.page(true);
        for (name, kind) in [
            ("build_info", "gauge"),
            ("requests_total", "counter"),
            ("decisions_total", "counter"),
            ("refusals_total", "counter"),
            ("workloads_warned_total", "counter"),
            ("in_flight", "gauge"),
            ("connections", "gauge"),
            ("connections_refused_total", "counter"),
            ("review_seconds", "histogram"),
            ("ready", "gauge"),
            ("certificate_not_after_seconds", "gauge"),
            ("authority_not_after_seconds", "gauge"),
            ("authority_changes_total", "counter"),
            ("bundle_patches_total", "counter"),
            ("authority_failures_total", "counter"),
            ("certificate_failures_total", "counter"),
            ("namespaces", "gauge"),
            ("events_total", "counter"),
            ("events_dropped_total", "counter"),
            ("probes_total", "counter"),
            ("probe_last_success_seconds", "gauge"),
            ("sidecar_watch_failures_total", "counter"),
            ("sidecars", "gauge"),
            ("outdated_sidecar_info", "gauge"),
            ("outdated_sidecars_cut", "gauge"),
            ("sidecars_full", "gauge"),
            ("missing_sidecars", "gauge"),
            ("missing_sidecar_info", "gauge"),
            ("held_pods", "gauge"),
            ("held_pod_info", "gauge"),
        ] {
            let line = format!("# TYPE sideflame_webhook_{name} {kind}\n");
            assert!(page.contains(&line), "{line} is not in\n{page}");
        }
        for line in [
            "# HELP sideflame_webhook_requests_total Requests by path. /probe is the self-probe; it is not counted as a decision.\n",
            "# HELP sideflame_webhook_sidecars_full 1 if there were more injected pods than 100000: those beyond are not counted.\n",
            "sideflame_webhook_missing_sidecar_info{namespace=\"shop\",pod=\"a\"} 1\n",
            "# TYPE process_resident_memory_bytes gauge\n",
            "# TYPE process_start_time_seconds gauge\n",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn a_bound_belongs_to_its_bucket_and_buckets_are_cumulative() {
        let metrics = Metrics::default();
        for micros in [100, 101, 3_000_000] {
            metrics.review(Duration::from_micros(micros));
        }
        let page = metrics.page(true);
        for line in [
            "_bucket{le=\"5e-05\"} 0\n",
            "_bucket{le=\"0.0001\"} 1\n",
            "_bucket{le=\"0.00025\"} 2\n",
            "_bucket{le=\"2\"} 2\n",
            "_bucket{le=\"+Inf\"} 3\n",
            "_count 3\n",
        ] {
            let line = format!("sideflame_webhook_review_seconds{line}");
            assert!(page.contains(&line), "{line} is not in\n{page}");
        }
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
