//! Which running pods ask for a sidecar and have none: older than the annotation or the webhook, or left alone with a reason.
//!
//! Must not know how that is found out. Filled by `sidecars`; not on the page before a first complete list.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::sidecars::{MOST_PODS, MOST_ROWS, gauges};

/// Pods by `namespace/name`; `None` before the first complete list.
#[derive(Debug, Default)]
pub struct Missing(Mutex<Option<BTreeSet<Box<str>>>>);

impl Missing {
    /// Takes a complete list.
    pub fn replace(&self, mut all: BTreeSet<Box<str>>) {
        while all.len() > MOST_PODS {
            all.pop_last();
        }
        // The old one is freed after the lock.
        let _old = self.with(|seen| seen.replace(all));
    }

    /// Takes a pod.
    pub fn put(&self, pod: Box<str>) {
        self.with(|seen| {
            if let Some(seen) = seen.as_mut().filter(|seen| seen.len() < MOST_PODS) {
                seen.insert(pod);
            }
        });
    }

    /// Forgets a pod.
    pub fn remove(&self, pod: &str) {
        self.with(|seen| seen.as_mut().map(|seen| seen.remove(pod)));
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn count(&self) -> Option<usize> {
        self.with(|seen| seen.as_ref().map(BTreeSet::len))
    }

    fn with<T>(&self, what: impl FnOnce(&mut Option<BTreeSet<Box<str>>>) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Collector for Missing {
    fn encode(&self, mut page: DescriptorEncoder<'_>) -> fmt::Result {
        self.with(|seen| {
            let Some(seen) = seen else { return Ok(()) };
            let help =
                "Running pods that their annotation or namespace asks a sidecar for and that have none, up to 100000.";
            gauges(&mut page, "missing_sidecars", help, [([], seen.len())])?;
            let help =
                "The first 500 of them; an Event on the owner says why, or they are older than annotation or webhook.";
            let rows = seen.iter().take(MOST_ROWS).map(|pod| {
                let (namespace, pod) = pod.split_once('/').unwrap_or(("", pod));
                ([("namespace", namespace), ("pod", pod)], 1)
            });
            gauges(&mut page, "missing_sidecar_info", help, rows)
        })
    }
}
