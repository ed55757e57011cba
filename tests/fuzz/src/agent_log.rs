//! What async-profiler writes into its log, and what a recorder before us left in its directory: both lie in the `/tmp` of
//! the application.

use sideflame::runtime::jvm::async_profiler::{Metrics, Refusal, messages, perf_failure, refusal, running_for, version};
use sideflame::runtime::jvm::session::Marker;

use crate::{Seed, parts};

/// A log and a marker.
pub(crate) fn run(bytes: &[u8]) {
    let [log, marker] = parts::split(bytes);
    let log = String::from_utf8_lossy(log);
    if let Refusal::Other(text) = refusal(&log) {
        assert!(!text.is_empty());
    }
    for level in ["[ERROR] ", "[WARN] ", "[INFO] "] {
        let said = messages(&log, level).map(str::len).sum::<usize>();
        assert!(said <= log.len());
    }
    let _ = (perf_failure(&log), running_for(&log));
    let _ = Metrics::read(&log).lost();
    if let Some(version) = version(&log) {
        assert!(version.len() <= 32 && version.is_ascii());
    }
    if let Ok(marker) = serde_json::from_slice::<Marker>(marker) {
        let written = serde_json::to_vec(&marker).unwrap();
        assert_eq!(serde_json::from_slice::<Marker>(&written).unwrap(), marker);
        for now in [0, marker.started_at_ms, u64::MAX] {
            marker.announced(marker.timeout_seconds, now);
        }
    }
}

pub(crate) fn seeds() -> Vec<Seed> {
    let marker = br#"{"startedAtMs":1795219200000,"timeoutSeconds":45}"#;
    let seed = |log: &[u8]| parts::join(&[log, marker]);
    vec![
        ("started", seed(b"[ERROR] Profiler already started\n")),
        (
            "denied",
            seed(
                b"[WARN] perf_event_open for TID 9 failed: Permission denied\n[ERROR] Perf events unavailable. Try --fdtransfer \
                  or --all-user option or 'sysctl kernel.perf_event_paranoid=1'\n",
            ),
        ),
        ("running", seed(b"Profiling is running for 12 seconds\n")),
        ("metrics", seed(b"samples_total 5\nsamples_skipped_total 2\n")),
        ("version", seed(b"[WARN] odd\n4.6\n")),
        ("empty", seed(b"[INFO] No samples were collected\n")),
    ]
}
