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

use super::AppState;
use crate::capture::{Captures, unix_millis};

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

/// Figures for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "server",
    responses((status = 200, description = "Prometheus text format 0.0.4", content_type = "text/plain", body = String)))]
pub(super) async fn metrics(State(state): State<AppState>) -> impl IntoResponse {
    let content_type = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (content_type, state.metrics.page())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_the_kernel() {
        assert!(resident_bytes().unwrap() > 100_000);
    }
}
