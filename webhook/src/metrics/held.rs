//! Which injected pods are held by their sidecar, as a node cannot pull its image.
//!
//! Must not know how that is found out. Filled by `sidecars`; on the page beside the pods that exist.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::sidecars::{MOST_PODS, MOST_ROWS, Sidecars, gauges};

/// The kubelet repeats itself at least every five minutes; what it says no more is over, however it ended.
const COUNTS: Duration = Duration::from_secs(15 * 60);

/// Pods by `namespace/name`, with the time of the last failure.
#[derive(Debug)]
pub struct Held {
    failed: Mutex<BTreeMap<Box<str>, SystemTime>>,
    /// Events outlive their pods by an hour.
    existing: Arc<Sidecars>,
}

impl Held {
    pub(super) fn among(existing: Arc<Sidecars>) -> Self {
        Self {
            failed: Mutex::default(),
            existing,
        }
    }

    /// The image of the pod's sidecar could not be pulled.
    pub fn put(&self, pod: Box<str>, at: SystemTime) {
        self.with(|failed| {
            if failed.len() < MOST_PODS || failed.contains_key(&pod) {
                failed.insert(pod, at);
            }
        });
    }

    /// It is there.
    pub fn remove(&self, pod: &str) {
        self.with(|failed| failed.remove(pod));
    }

    fn with<T>(&self, what: impl FnOnce(&mut BTreeMap<Box<str>, SystemTime>) -> T) -> T {
        what(&mut self.failed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Collector for Held {
    fn encode(&self, mut page: DescriptorEncoder<'_>) -> fmt::Result {
        let now = SystemTime::now();
        self.with(|failed| {
            // A node's clock may be ahead of ours.
            failed.retain(|_, at| now.duration_since(*at).unwrap_or_else(|ahead| ahead.duration()) < COUNTS);
            let Some(held) = self.existing.those_of(failed.keys().map(|pod| &**pod)) else {
                return Ok(());
            };
            let help = "Pods that wait for the image of their sidecar, which a node could not pull, as far as its Events of the last 15 \
                        minutes tell.";
            gauges(&mut page, "held_pods", help, [([], held.len())])?;
            let help = "The first 500 of them.";
            let rows = held.iter().take(MOST_ROWS).map(|pod| {
                let (namespace, pod) = pod.split_once('/').unwrap_or(("", pod));
                ([("namespace", namespace), ("pod", pod)], 1)
            });
            gauges(&mut page, "held_pod_info", help, rows)
        })
    }
}
