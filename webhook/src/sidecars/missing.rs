//! Watches the metadata of running pods without a sidecar, to tell which of them ask for one.
//!
//! Which these are is in no label, so that all of them are sent; what does not ask is forgotten at once. Started by
//! `cli::serve` where `--watch-sidecars` says so; fills `metrics::Missing`.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::Client;
use kube::runtime::watcher::{self, Event};

use super::injected_pod::InjectedPod;
use super::{follow, key};
use crate::inject::VERSION_LABEL;
use crate::metrics::{Metrics, Missing};
use crate::watch::Sentences;

/// A pod that waits for a node, or has ended, profits nothing from a restart.
const RUNNING: &str = "status.phase=Running";

/// Keeps the numbers of `metrics` up to date for ever.
pub async fn watch(client: Client, metrics: Arc<Metrics>) {
    let config = watcher::Config::default();
    let config = config.labels(&format!("!{VERSION_LABEL}")).fields(RUNNING);
    let sentences = Sentences {
        failing: "running pods cannot be watched: the metrics of missing sidecars are missing or old; let the service account list and \
            watch pods, or leave out --watch-sidecars (webhook.watchSidecars of the chart)",
        again: "running pods are watched again",
    };
    let mut mirror = Mirror::new(&metrics.missing);
    follow(client, config, sentences, &metrics, |event| mirror.apply(event)).await;
}

/// Turns watch events into numbers.
struct Mirror<'a> {
    missing: &'a Missing,
    /// A list on its way; the numbers keep the last complete one until it is.
    listing: BTreeSet<Box<str>>,
}

impl<'a> Mirror<'a> {
    const fn new(missing: &'a Missing) -> Self {
        let listing = BTreeSet::new();
        Self { missing, listing }
    }

    fn apply(&mut self, event: Event<InjectedPod>) {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(pod) => {
                if pod.asks {
                    self.listing.insert(key(&pod));
                }
            }
            Event::InitDone => self.missing.replace(std::mem::take(&mut self.listing)),
            Event::Apply(pod) if pod.asks => self.missing.put(key(&pod)),
            Event::Apply(pod) | Event::Delete(pod) => self.missing.remove(&key(&pod)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, inject: Option<&str>) -> InjectedPod {
        let annotations = json!({"sideflame.io/inject": inject, "team": "x"});
        serde_json::from_value(json!({"metadata": {"namespace": "shop", "name": name, "annotations": annotations}}))
            .unwrap()
    }

    #[test]
    fn only_pods_that_ask_are_missing_something() {
        let missing = Missing::default();
        let mut mirror = Mirror::new(&missing);
        mirror.apply(Event::Init);
        mirror.apply(Event::InitApply(pod("a", Some("true"))));
        mirror.apply(Event::InitApply(pod("b", None)));
        mirror.apply(Event::InitApply(pod("c", Some("false"))));
        assert_eq!(missing.count(), None, "half a list");
        mirror.apply(Event::InitDone);
        assert_eq!(missing.count(), Some(1));
        mirror.apply(Event::Apply(pod("b", Some("true"))));
        assert_eq!(missing.count(), Some(2));
        // Annotations of a running pod may change, and a pod that ends leaves the selection.
        mirror.apply(Event::Apply(pod("a", Some("false"))));
        mirror.apply(Event::Delete(pod("b", Some("true"))));
        assert_eq!(missing.count(), Some(0));
    }
}
