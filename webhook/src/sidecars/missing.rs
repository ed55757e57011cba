//! Watches the metadata of running pods without a sidecar, to tell which of them ask for one.
//!
//! Which these are is in no label, so that all of them are sent; what does not ask is forgotten at once. Started by
//! `cli::serve` where `--watch-sidecars` says so; fills `metrics::Missing`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt};
use tokio::time::sleep;

use super::injected_pod::InjectedPod;
use super::{follow, key};
use crate::annotations::INJECT;
use crate::cluster::ClusterFacts;
use crate::inject::VERSION_LABEL;
use crate::metrics::{Metrics, Missing};
use crate::watch::Sentences;

/// A pod that waits for a node, or has ended, profits nothing from a restart.
const RUNNING: &str = "status.phase=Running";

/// Between two looks at which namespaces are opted in, and with it the shortest time between two lists.
const LOOK: Duration = Duration::from_secs(10);

/// Keeps the numbers of `metrics` up to date for ever.
pub async fn watch(client: Client, excluded: Vec<String>, facts: Arc<ClusterFacts>, metrics: Arc<Metrics>) {
    let opted_in = || {
        let mut all = facts.labelled(INJECT, "enabled");
        all.retain(|name| !excluded.contains(name));
        all
    };
    loop {
        let asking = opted_in();
        // Which pods a label asks for is known by a list only: those that do not ask are not kept.
        let another = async {
            loop {
                sleep(LOOK).await;
                if opted_in() != asking {
                    return;
                }
            }
        };
        tokio::select! {
            () = watch_pods(client.clone(), &asking, &metrics) => {}
            () = another => {}
        }
    }
}

/// `asking` are namespaces whose pods ask unless they say no.
async fn watch_pods(client: Client, asking: &BTreeSet<String>, metrics: &Metrics) {
    let config = watcher::Config::default();
    let config = config.labels(&format!("!{VERSION_LABEL}")).fields(RUNNING);
    let sentences = Sentences {
        failing: "running pods cannot be watched: the metrics of missing sidecars are missing or old; let the service account list and \
            watch pods, or leave out --watch-sidecars (webhook.watchSidecars of the chart)",
        again: "running pods are watched again",
    };
    let mut mirror = Mirror::new(asking, &metrics.missing);
    follow(client, config, sentences, metrics, |event| mirror.apply(event)).await;
}

/// Turns watch events into numbers.
struct Mirror<'a> {
    asking: &'a BTreeSet<String>,
    missing: &'a Missing,
    /// A list on its way; the numbers keep the last complete one until it is.
    listing: BTreeSet<Box<str>>,
}

impl<'a> Mirror<'a> {
    const fn new(asking: &'a BTreeSet<String>, missing: &'a Missing) -> Self {
        Self {
            asking,
            missing,
            listing: BTreeSet::new(),
        }
    }

    fn asks(&self, pod: &InjectedPod) -> bool {
        let by_namespace = || {
            pod.namespace()
                .is_some_and(|namespace| self.asking.contains(&namespace))
        };
        pod.asks.unwrap_or_else(by_namespace)
    }

    fn apply(&mut self, event: Event<InjectedPod>) {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(pod) => {
                if self.asks(&pod) {
                    self.listing.insert(key(&pod));
                }
            }
            Event::InitDone => self.missing.replace(std::mem::take(&mut self.listing)),
            Event::Apply(pod) if self.asks(&pod) => self.missing.put(key(&pod)),
            Event::Apply(pod) | Event::Delete(pod) => self.missing.remove(&key(&pod)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, inject: Option<&str>) -> InjectedPod {
        pod_in("shop", name, inject)
    }

    fn pod_in(namespace: &str, name: &str, inject: Option<&str>) -> InjectedPod {
        let annotations = json!({"sideflame.io/inject": inject, "team": "x"});
        let metadata = json!({"namespace": namespace, "name": name, "annotations": annotations});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    #[test]
    fn a_pod_of_an_opted_in_namespace_is_missing_one_unless_it_says_no() {
        let missing = Missing::default();
        let asking = ["flames".to_owned()].into();
        let mut mirror = Mirror::new(&asking, &missing);
        mirror.apply(Event::Init);
        mirror.apply(Event::InitApply(pod_in("flames", "a", None)));
        mirror.apply(Event::InitApply(pod_in("flames", "b", Some("false"))));
        mirror.apply(Event::InitApply(pod_in("shop", "c", None)));
        mirror.apply(Event::InitDone);
        assert_eq!(missing.count(), Some(1));
        mirror.apply(Event::Apply(pod_in("flames", "d", None)));
        mirror.apply(Event::Apply(pod_in("flames", "a", Some("false"))));
        assert_eq!(missing.count(), Some(1));
    }

    #[test]
    fn only_pods_that_ask_are_missing_something() {
        let missing = Missing::default();
        let asking = BTreeSet::new();
        let mut mirror = Mirror::new(&asking, &missing);
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
