//! Watches the metadata of namespaces, and keeps of it a name and the few labels that decide something.
//!
//! Must not know reviews. A watch that fails is begun again, and the last state stays in use meanwhile. Started by
//! `cli::serve`; fills `cluster`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};

use crate::annotations::PREFIX;
use crate::choices::PodSecurityLevel;
use crate::cluster::{ClusterFacts, NamespaceLabels};
use crate::metrics::Metrics;

/// A namespace may have 256 KiB of labels; what we keep of one is bounded by this.
const MOST_LABELS: usize = 16;
const LONGEST_LABEL: usize = 256;

/// Keeps `facts` up to date for ever.
pub async fn watch(client: Client, facts: Arc<ClusterFacts>, metrics: Arc<Metrics>) {
    let config = watcher::Config::default().page_size(200);
    // Of this type, only metadata is asked for and sent.
    let namespaces = Api::<PartialObjectMeta<Namespace>>::all(client);
    let stream = watcher::watcher(namespaces, config).default_backoff();
    let mut stream = std::pin::pin!(stream);
    let mut mirror = Mirror::new(facts);
    let mut failing = false;
    loop {
        match stream.next().await {
            Some(Ok(event)) => {
                failing = false;
                if let Some(known) = mirror.apply(event) {
                    metrics.namespaces.set(i64::try_from(known).unwrap_or(i64::MAX));
                }
            }
            // The watcher tries again, with a growing pause. Once is enough in the log.
            Some(Err(error)) if !std::mem::replace(&mut failing, true) => {
                tracing::warn!(%error, "namespaces cannot be watched: their labels may be old or unknown");
            }
            Some(Err(_)) => {}
            None => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

/// Turns watch events into facts.
struct Mirror {
    facts: Arc<ClusterFacts>,
    /// A list on its way; the facts keep the last complete one until it is.
    listing: HashMap<Box<str>, NamespaceLabels>,
}

impl Mirror {
    fn new(facts: Arc<ClusterFacts>) -> Self {
        Self {
            facts,
            listing: HashMap::new(),
        }
    }

    /// Returns how many namespaces are known if that may have changed.
    fn apply(&mut self, event: Event<PartialObjectMeta<Namespace>>) -> Option<usize> {
        match event {
            Event::Init => {
                self.listing.clear();
                None
            }
            Event::InitApply(namespace) => {
                let labels = relevant(&namespace);
                self.listing.insert(namespace.name_any().into(), labels);
                None
            }
            Event::InitDone => {
                let mut listing = std::mem::take(&mut self.listing);
                listing.shrink_to_fit();
                Some(self.facts.replace(listing))
            }
            Event::Apply(namespace) => Some(self.facts.update(&namespace.name_any(), Some(relevant(&namespace)))),
            Event::Delete(namespace) => Some(self.facts.update(&namespace.name_any(), None)),
        }
    }
}

fn relevant(namespace: &PartialObjectMeta<Namespace>) -> NamespaceLabels {
    let labels = namespace.labels().iter();
    labels
        .filter(|(key, _)| key.starts_with(PREFIX) || *key == PodSecurityLevel::LABEL)
        .filter(|(key, value)| key.len() + value.len() <= LONGEST_LABEL)
        .take(MOST_LABELS)
        .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str, labels: &[(&str, &str)]) -> PartialObjectMeta<Namespace> {
        let labels: serde_json::Map<_, _> = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).into()))
            .collect();
        serde_json::from_value(serde_json::json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": name, "labels": labels},
        }))
        .unwrap()
    }

    #[test]
    fn only_labels_that_decide_something_are_kept() {
        let facts = Arc::new(ClusterFacts::default());
        let mut mirror = Mirror::new(Arc::clone(&facts));
        let labels = [
            ("team", "x"),
            ("sideflame.io/inject", "enabled"),
            ("pod-security.kubernetes.io/enforce", "baseline"),
        ];
        mirror.apply(Event::Apply(namespace("shop", &labels)));
        let kept = facts.of("shop").namespace_labels.unwrap();
        assert_eq!(kept.len(), 2);
        assert_eq!(kept["sideflame.io/inject"], "enabled");
    }

    #[test]
    fn a_new_list_replaces_the_old_one_only_when_it_is_complete() {
        let facts = Arc::new(ClusterFacts::default());
        let mut mirror = Mirror::new(Arc::clone(&facts));
        assert_eq!(mirror.apply(Event::Apply(namespace("old", &[]))), Some(1));
        mirror.apply(Event::Init);
        mirror.apply(Event::InitApply(namespace("new", &[])));
        assert!(facts.of("old").namespace_labels.is_some() && facts.of("new").namespace_labels.is_none());
        assert_eq!(mirror.apply(Event::InitDone), Some(1));
        assert!(facts.of("old").namespace_labels.is_none() && facts.of("new").namespace_labels.is_some());
        assert_eq!(mirror.apply(Event::Delete(namespace("new", &[]))), Some(0));
    }
}
