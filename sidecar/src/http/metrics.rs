//! `GET /metrics` in Prometheus' text format 0.0.4, written by hand: a dozen lines need no library.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::AppState;
use crate::capture::Captures;

/// What only the HTTP side counts. Labels are routes of the router and five status classes: a closed set.
#[derive(Debug)]
pub(super) struct Metrics {
    started: SystemTime,
    requests: Mutex<BTreeMap<(String, u16), u64>>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        Self {
            started: SystemTime::now(),
            requests: Mutex::default(),
        }
    }

    /// Counts an answer with `status` of `route`.
    pub(super) fn count(&self, route: &str, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((route.to_owned(), status / 100)).or_default() += 1;
    }

    fn page(&self, captures: &Captures) -> String {
        let mut page = Page::default();
        let (started, finished, failed) = captures.counters().read();
        page.family("sideflame_build_info", "gauge", "The version, as a label.");
        page.sample(&format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1);
        page.family("sideflame_captures_started_total", "counter", "Captures started.");
        page.sample("", started);
        page.family(
            "sideflame_captures_finished_total",
            "counter",
            "Captures with a whole recording.",
        );
        page.sample("", finished);
        page.family(
            "sideflame_captures_failed_total",
            "counter",
            "Captures without one, cancelled ones included.",
        );
        page.sample("", failed);
        page.family("sideflame_captures_running", "gauge", "Captures being recorded now.");
        page.sample("", captures.counters().running());
        page.family(
            "sideflame_store_bytes",
            "gauge",
            "Bytes of recordings and artifacts, with those promised to running captures.",
        );
        page.sample("", captures.store_bytes());
        page.family(
            "sideflame_http_requests_total",
            "counter",
            "Answers by route and status class.",
        );
        for ((route, class), count) in &*self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            page.sample(&format!("{{route=\"{route}\",status=\"{class}xx\"}}"), *count);
        }
        if let Some(bytes) = resident_bytes() {
            page.family("process_resident_memory_bytes", "gauge", "Resident memory.");
            page.sample("", bytes);
        }
        page.family(
            "process_start_time_seconds",
            "gauge",
            "Start of the server after the Unix epoch.",
        );
        page.sample("", crate::capture::unix_millis(self.started) / 1000);
        page.text
    }
}

/// A page being written.
#[derive(Default)]
struct Page {
    text: String,
    family: &'static str,
}

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        // Writing into a String cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, labels: &str, value: u64) {
        let _ = writeln!(self.text, "{}{labels} {value}", self.family);
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
    (content_type, state.metrics.page(&state.captures))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_the_kernel() {
        assert!(resident_bytes().unwrap() > 100_000);
    }
}
