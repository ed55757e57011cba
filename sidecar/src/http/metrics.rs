//! `GET /metrics` in Prometheus' text format 0.0.4.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, prometheus_text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::problem::ProblemBody;
use super::query::Pairs;
use super::{AppState, Problem};
use crate::capture::request::{RequestError, shorten};
use crate::capture::{Captures, unix_millis};
use crate::child::{Metered, Scrape};
use crate::profile::counter::{CounterKind, CounterValue};
use crate::profile::format::counters::exposition::Exposition;

/// What is counted, and where the rest is read when somebody asks.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
}

/// Routes of the router and five classes: a closed set.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: String,
    status: String,
}

impl Metrics {
    pub(super) fn new(captures: Arc<Captures>) -> Self {
        let mut registry = Registry::default();
        let version = ("version".into(), env!("CARGO_PKG_VERSION").into());
        registry.sub_registry_with_label(version).register(
            "sideflame_build_info",
            "The version, as a label",
            ConstGauge::new(1),
        );
        let requests = Family::default();
        registry.register(
            "sideflame_http_requests",
            "Answers by route and status class",
            Family::clone(&requests),
        );
        registry.register(
            "process_start_time_seconds",
            "Start of the server after the Unix epoch",
            ConstGauge::new(unix_millis(SystemTime::now()) / 1000),
        );
        registry.register_collector(Box::new(Readings(captures)));
        Self { registry, requests }
    }

    /// Counts an answer with `status` of `route`.
    pub(super) fn count(&self, route: &str, status: u16) {
        let labels = Answered {
            route: route.to_owned(),
            status: format!("{}xx", status / 100),
        };
        self.requests.get_or_create(&labels).inc();
    }

    fn page(&self) -> String {
        let mut page = String::new();
        // Writing into a String cannot fail.
        let _ = prometheus_text::encode(&mut page, &self.registry);
        page
    }
}

/// Numbers that others keep.
#[derive(Debug)]
struct Readings(Arc<Captures>);

impl Collector for Readings {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counters = self.0.counters();
        let (started, finished, failed) = counters.read();
        for (name, help, value) in [
            ("sideflame_captures_started", "Captures started.", started),
            (
                "sideflame_captures_finished",
                "Captures with a whole recording.",
                finished,
            ),
            (
                "sideflame_captures_failed",
                "Captures without one, cancelled ones included.",
                failed,
            ),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        for (name, help, value) in [
            (
                "sideflame_captures_running",
                "Captures being recorded now.",
                Some(counters.running()),
            ),
            (
                "sideflame_store_bytes",
                "Bytes of recordings and artifacts, with those reserved for running captures.",
                Some(self.0.store_bytes()),
            ),
            ("process_resident_memory_bytes", "Resident memory.", resident_bytes()),
        ] {
            if let Some(value) = value {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
            }
        }
        Ok(())
    }
}

/// `VmRSS` of `/proc/self/status` (`man 5 proc`), which is in KiB.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Figures for Prometheus: the server's own, and with `targets=true` those of every process that it sees.
///
/// Of processes: what the kernel counts of each and of its cgroup, and what JVMs share (GC, heap, threads, classes). Read from files;
/// no process is attached to, asked or interrupted. At most 64 processes, those of a runtime first, with 128 series each.
#[utoipa::path(get, path = "/metrics", tag = "server",
    params(
        ("targets" = Option<bool>, Query, description = "true adds the processes, with the labels pid, name, runtime and container"),
    ),
    responses(
        (status = 200, description = "Prometheus text format 0.0.4", content_type = "text/plain", body = String),
        (status = "4XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn metrics(State(state): State<AppState>, pairs: Pairs) -> Result<impl IntoResponse, Problem> {
    let targets = match pairs.value("targets") {
        None | Some("false") => false,
        Some("true" | "") => true,
        Some(value) => {
            return Err(Problem::from(RequestError::Invalid {
                name: "targets",
                value: shorten(value),
                expected: "true or false".to_owned(),
                allowed: vec!["true".to_owned(), "false".to_owned()],
            }));
        }
    };
    let mut page = state.metrics.page();
    if targets {
        page = exposition(&*state.captures.meter().await?).merged_into(&page);
    }
    let content_type = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((content_type, page))
}

fn exposition(scrape: &Scrape) -> Exposition {
    let mut exposition = Exposition::default();
    for (name, help, value) in [
        (
            "sideflame_targets",
            "Processes of which this page tells.",
            scrape.metered.len(),
        ),
        (
            "sideflame_targets_left_out",
            "Processes that are seen and not told.",
            scrape.left_out,
        ),
    ] {
        let value = CounterValue {
            display_name: help.to_owned(),
            ..CounterValue::shared("/proc", name, CounterKind::Gauge, value as f64)
        };
        exposition.add("", &[], &value, false);
    }
    for Metered { target, values } in &scrape.metered {
        let mut labels = vec![
            ("pid", target.id().pid.to_string()),
            ("name", target.name.clone()),
            ("runtime", target.runtime().to_string()),
        ];
        labels.extend(target.container().map(|container| ("container", container)));
        for value in values {
            exposition.add("", &labels, value, false);
        }
    }
    exposition
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_the_kernel() {
        assert!(resident_bytes().unwrap() > 100_000);
    }
}
