//! Watches the metadata of injected pods, to tell which of them have another sidecar than they would get now.
//!
//! Must not know reviews: nothing a review waits for is held or asked here, and whatever fails costs a metric. Started by
//! `cli::serve` where `--watch-sidecars` says so; fills `metrics::Sidecars`. `missing` and `held` do the same for pods without a
//! sidecar, and for pods that wait for one.

mod container_event;
pub mod held;
mod injected_pod;
pub mod missing;

use std::fmt::Debug;
use std::sync::Arc;

use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::inject::{VERSION_LABEL, image_of};
use crate::metrics::{Metrics, Sidecars, SidecarsSeen};
use crate::settings::InjectSettings;
use crate::watch::{self, Sentences};
use injected_pod::InjectedPod;

/// Metadata has no phase, but the API server selects by it, and says "deleted" when a pod leaves the selection.
const NOT_ENDED: &str = "status.phase!=Succeeded,status.phase!=Failed";
/// Pods of one answer while a list is read. It is held as it was sent: at worst 1.5 MB of metadata each, which took 27 MB.
const PAGE: u32 = 10;

/// Keeps the numbers of `metrics` up to date for ever. `settings` say what a pod would get now.
pub async fn watch(client: Client, settings: InjectSettings, metrics: Arc<Metrics>) {
    metrics.sidecars.begin();
    let config = watcher::Config::default().labels(VERSION_LABEL).fields(NOT_ENDED);
    let sentences = Sentences {
        failing: "injected pods cannot be watched: the metrics of old sidecars are missing or old; let the service account list and \
            watch pods, or leave out --watch-sidecars (webhook.watchSidecars of the chart)",
        again: "injected pods are watched again",
    };
    let mut mirror = Mirror::new(settings, &metrics.sidecars);
    follow(client, config, sentences, &metrics, |event| mirror.apply(event)).await;
}

/// Watches what `config` selects, and counts failures.
async fn follow<K>(
    client: Client,
    config: watcher::Config,
    sentences: Sentences,
    metrics: &Metrics,
    mut apply: impl FnMut(Event<K>),
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let events = watcher::watcher(Api::<K>::all(client), config.page_size(PAGE));
    watch::follow(events, sentences, |event| match event {
        Ok(event) => apply(event),
        Err(_) => {
            metrics.sidecars.failures.inc();
        }
    })
    .await;
}

/// Turns watch events into numbers.
struct Mirror<'a> {
    settings: InjectSettings,
    sidecars: &'a Sidecars,
    /// A list on its way; the numbers keep the last complete one until it is.
    listing: SidecarsSeen,
}

impl<'a> Mirror<'a> {
    fn new(settings: InjectSettings, sidecars: &'a Sidecars) -> Self {
        Self {
            settings,
            sidecars,
            listing: SidecarsSeen::default(),
        }
    }

    fn apply(&mut self, event: Event<InjectedPod>) {
        match event {
            Event::Init => self.listing = SidecarsSeen::default(),
            Event::InitApply(pod) => {
                let outdated = self.outdated(&pod);
                self.listing.put(key(&pod), outdated);
            }
            Event::InitDone => {
                let (pods, outdated) = self.sidecars.replace(std::mem::take(&mut self.listing));
                tracing::info!(pods, outdated, "injected pods listed");
            }
            Event::Apply(pod) => {
                let outdated = self.outdated(&pod);
                self.sidecars.update(|seen| seen.put(key(&pod), outdated));
            }
            Event::Delete(pod) => self.sidecars.update(|seen| seen.remove(&key(&pod))),
        }
    }

    /// The version of a sidecar that is not what the pod would get now: from another webhook, or with another image.
    fn outdated(&self, pod: &InjectedPod) -> Option<Box<str>> {
        let version = pod.version.as_deref().unwrap_or_default();
        let asked = pod.image.as_ref().filter(|_| self.settings.allow_image_annotation);
        let wanted = asked.unwrap_or(&self.settings.sidecar_image);
        let image = pod.status.as_deref().and_then(image_of);
        let same = version == env!("CARGO_PKG_VERSION") && image.as_ref() == Some(wanted);
        (!same).then(|| version.into())
    }
}

/// As kubectl writes it. Neither name has a slash.
fn key(pod: &InjectedPod) -> Box<str> {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotations::STATUS;
    use serde_json::{Value, json};

    const OURS: &str = env!("CARGO_PKG_VERSION");

    fn pod(name: &str, version: &str, annotations: Value) -> InjectedPod {
        serde_json::from_value(json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"namespace": "shop", "name": name, "labels": {"app": "shop", VERSION_LABEL: version},
                "annotations": annotations, "managedFields": [{"manager": "kubectl"}]},
        }))
        .unwrap()
    }

    fn injected(name: &str, version: &str, image: &str) -> InjectedPod {
        let status = json!({"version": version, "image": image, "rights": "same-user"}).to_string();
        pod(name, version, json!({STATUS: status}))
    }

    fn settings(image: &str) -> InjectSettings {
        InjectSettings {
            sidecar_image: image.to_owned(),
            ..InjectSettings::unchanged()
        }
    }

    fn is_outdated(settings: InjectSettings, pod: &InjectedPod) -> bool {
        Mirror::new(settings, &Sidecars::default()).outdated(pod).is_some()
    }

    #[test]
    fn another_version_or_another_image_is_outdated() {
        for (version, image, expected) in [
            (OURS, "sideflame:2", false),
            ("0.0.9", "sideflame:2", true),
            (OURS, "sideflame:1", true),
            (OURS, "mirror.example/sideflame:2", true),
            ("", "sideflame:2", true),
        ] {
            let pod = injected("a", version, image);
            assert_eq!(
                is_outdated(settings("sideflame:2"), &pod),
                expected,
                "{version} {image}"
            );
        }
    }

    #[test]
    fn a_status_that_cannot_be_read_is_not_taken_for_current() {
        let deep = "[".repeat(100_000);
        for status in ["", "{}", "null", r#"{"image":7}"#, r#"{"image":"#, &deep] {
            let pod = pod("a", OURS, json!({STATUS: status}));
            assert!(is_outdated(settings("sideflame:2"), &pod), "{status:.20}");
        }
        assert!(is_outdated(settings("sideflame:2"), &pod("a", OURS, json!({}))));
    }

    #[test]
    fn an_image_that_the_pod_asked_for_is_current_while_the_operator_allows_it() {
        let status = json!({"image": "own:1"}).to_string();
        let pod = pod("a", OURS, json!({STATUS: status, "sideflame.io/image": "own:1"}));
        let allowing = InjectSettings {
            allow_image_annotation: true,
            ..settings("sideflame:2")
        };
        assert!(!is_outdated(allowing, &pod));
        assert!(is_outdated(settings("sideflame:2"), &pod));
    }

    #[test]
    fn a_new_list_replaces_the_old_one_only_when_it_is_complete() {
        let sidecars = Sidecars::default();
        let mut mirror = Mirror::new(settings("sideflame:2"), &sidecars);
        mirror.apply(Event::Init);
        mirror.apply(Event::InitApply(injected("gone", "0.0.9", "sideflame:1")));
        assert_eq!(sidecars.counts(), None, "half a list");
        mirror.apply(Event::InitDone);
        assert_eq!(sidecars.counts(), Some((0, 1)));

        mirror.apply(Event::Init);
        mirror.apply(Event::InitApply(injected("a", OURS, "sideflame:2")));
        assert_eq!(sidecars.counts(), Some((0, 1)));
        // This list failed on its way and is begun again.
        mirror.apply(Event::Init);
        mirror.apply(Event::InitApply(injected("b", OURS, "sideflame:2")));
        mirror.apply(Event::InitDone);
        assert_eq!(sidecars.counts(), Some((1, 0)));
        mirror.apply(Event::Apply(injected("b", "0.0.9", "sideflame:2")));
        assert_eq!(sidecars.counts(), Some((0, 1)));
        mirror.apply(Event::Delete(injected("b", "0.0.9", "sideflame:2")));
        assert_eq!(sidecars.counts(), Some((0, 0)));
    }
}
