//! Watches what the kubelet says of sidecars' images, to tell which pods wait for one and to hold no further ones.
//!
//! Events, as they are about our container alone; the pods that wait for it are not read. Started by `cli::serve` where
//! `--watch-sidecars` says so; fills `metrics::Held` and `cluster::UnpulledImages`.

use std::sync::Arc;

use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt};

use super::container_event::{ContainerEvent, Told};
use super::follow;
use crate::cluster::ClusterFacts;
use crate::container::NAME;
use crate::metrics::{Held, Metrics};
use crate::watch::Sentences;

/// Keeps both up to date for ever.
pub async fn watch(client: Client, facts: Arc<ClusterFacts>, metrics: Arc<Metrics>) {
    tokio::join!(
        watch_form("initContainers", client.clone(), &facts, &metrics),
        watch_form("containers", client, &facts, &metrics),
    );
}

/// Those of the native sidecars, or those of the plain ones.
async fn watch_form(list: &str, client: Client, facts: &ClusterFacts, metrics: &Metrics) {
    let config = watcher::Config::default().fields(&format!("involvedObject.fieldPath=spec.{list}{{{NAME}}}"));
    let sentences = Sentences {
        failing: "Events cannot be watched: a sidecar whose image cannot be pulled is not noticed; let the service account list and \
            watch events, or leave out --watch-sidecars (webhook.watchSidecars of the chart)",
        again: "Events are watched again",
    };
    let mut mirror = Mirror {
        facts,
        held: &metrics.held,
        listing: Vec::new(),
    };
    follow(client, config, sentences, metrics, |event| mirror.apply(event)).await;
}

/// Turns watch events into what is known.
struct Mirror<'a> {
    facts: &'a ClusterFacts,
    held: &'a Held,
    /// A list on its way, which is in no order.
    listing: Vec<ContainerEvent>,
}

impl Mirror<'_> {
    fn apply(&mut self, event: Event<ContainerEvent>) {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(event) => {
                /// Events live for an hour; a pod has a handful of these.
                const MOST: usize = 100_000;
                if event.told != Told::Other && self.listing.len() < MOST {
                    self.listing.push(event);
                }
            }
            Event::InitDone => {
                let mut all = std::mem::take(&mut self.listing);
                all.sort_by_key(|event| event.at);
                all.iter().for_each(|event| self.take(event));
            }
            Event::Apply(event) => self.take(&event),
            // It was forgotten with time; what it told stays true.
            Event::Delete(_) => {}
        }
    }

    fn take(&self, event: &ContainerEvent) {
        let Some(at) = event.at else { return };
        let namespace = event.namespace().unwrap_or_default();
        let pod = format!("{namespace}/{}", event.pod);
        match &event.told {
            Told::Failed(image) => {
                self.held.put(pod.into(), at);
                self.facts.unpulled.failed(&namespace, image, at);
            }
            Told::Pulled(image) => {
                self.held.remove(&pod);
                self.facts.unpulled.pulled(&namespace, image, at);
            }
            Told::Other => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::metrics::SidecarsSeen;

    fn event(pod: &str, reason: &str, message: &str, age: u64) -> ContainerEvent {
        let at = Timestamp::try_from(SystemTime::now() - Duration::from_secs(age)).unwrap();
        serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": format!("{pod}.1")},
            "involvedObject": {"kind": "Pod", "name": pod, "fieldPath": "spec.initContainers{sideflame}"},
            "reason": reason, "message": message, "lastTimestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        }))
        .unwrap()
    }

    fn failed(pod: &str, age: u64) -> ContainerEvent {
        event(pod, "Failed", "Failed to pull image \"sideflame:2\": not found", age)
    }

    fn pulled(pod: &str, age: u64) -> ContainerEvent {
        event(pod, "Pulled", "Successfully pulled image \"sideflame:2\" in 1s", age)
    }

    #[test]
    fn a_pod_is_held_from_a_failure_to_the_pull_and_no_further_one_is_then() {
        let (facts, _writer) = ClusterFacts::new();
        let metrics = Metrics::default();
        let mut mirror = Mirror {
            facts: &facts,
            held: &metrics.held,
            listing: Vec::new(),
        };
        let rows = || -> Vec<String> {
            let page = metrics.page(true);
            let rows = page
                .lines()
                .filter_map(|line| line.strip_prefix("sideflame_webhook_held_pod_info"));
            rows.map(str::to_owned).collect()
        };
        let row = |pod: &str| format!("{{namespace=\"shop\",pod=\"{pod}\"}} 1");
        let unpulled = || facts.of("shop").unpulled_image;
        // As the API server lists them: in the order of names.
        mirror.apply(Event::Init);
        mirror.apply(Event::InitApply(pulled("started", 10)));
        mirror.apply(Event::InitApply(failed("started", 60)));
        mirror.apply(Event::InitApply(failed("old", 1000)));
        mirror.apply(Event::InitDone);
        assert_eq!(unpulled(), None);
        mirror.apply(Event::Apply(failed("held", 5)));
        mirror.apply(Event::Apply(failed("gone", 5)));
        assert_eq!(unpulled().as_deref(), Some("sideflame:2"));
        assert_eq!(rows(), [""; 0], "which pods there are is not known yet");
        let mut seen = SidecarsSeen::default();
        for pod in ["old", "started", "held"] {
            seen.put(format!("shop/{pod}").into(), None);
        }
        metrics.sidecars.replace(seen);
        assert_eq!(rows(), [row("held")]);
        assert!(metrics.page(true).contains("sideflame_webhook_held_pods 1\n"));
        // Another pod on another node has it: this one is held, the next one need not be.
        mirror.apply(Event::Apply(pulled("other", 3)));
        assert_eq!((unpulled(), rows()), (None, vec![row("held")]));
        mirror.apply(Event::Apply(pulled("held", 2)));
        assert_eq!(rows(), [""; 0]);
    }
}
