//! An Event about a sidecar's container, as far as it tells of its image.
//!
//! Who may create Events in a namespace may write any of these. Called by `held`.

use std::borrow::Cow;
use std::time::SystemTime;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};
use kube::Resource;
use serde::Deserialize;

/// What the kubelet said, with its names for images between quotes.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Object")]
pub(super) struct ContainerEvent {
    /// Name, namespace and resource version, which the watch needs.
    metadata: ObjectMeta,
    /// Name of the pod.
    pub(super) pod: String,
    /// When it happened last.
    pub(super) at: Option<SystemTime>,
    /// What it tells.
    pub(super) told: Told,
}

/// What became of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// It could not be pulled.
    Failed(Box<str>),
    /// It is on the node.
    Pulled(Box<str>),
    /// Nothing about an image.
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    involved_object: Involved,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    last_timestamp: Option<Time>,
    event_time: Option<MicroTime>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
}

#[derive(Default, Deserialize)]
struct Involved {
    #[serde(default)]
    name: String,
}

impl From<Object> for ContainerEvent {
    fn from(object: Object) -> Self {
        let Metadata {
            name,
            namespace,
            resource_version,
        } = object.metadata;
        let at = object.last_timestamp.map(|Time(at)| at);
        let at = at.or(object.event_time.map(|MicroTime(at)| at));
        Self {
            metadata: ObjectMeta {
                name,
                namespace,
                resource_version,
                ..ObjectMeta::default()
            },
            pod: object.involved_object.name,
            at: at.map(SystemTime::from),
            told: told(&object.reason, &object.message),
        }
    }
}

/// Reads the kubelet's words. Source: Kubernetes `pkg/kubelet/images/image_manager.go`, the same from 1.20 to 1.34.
fn told(reason: &str, message: &str) -> Told {
    const LONGEST: usize = 512;
    let image = || {
        // "Failed to pull image", "Back-off pulling image", "Container image", "Successfully pulled image".
        let (_, rest) = message.split_once("mage \"")?;
        let (image, _) = rest.split_once('"')?;
        (image.len() <= LONGEST).then(|| Box::from(image))
    };
    match reason {
        "Failed" | "BackOff" | "ErrImageNeverPull" => image().map_or(Told::Other, Told::Failed),
        "Pulled" => image().map_or(Told::Other, Told::Pulled),
        _ => Told::Other,
    }
}

impl Resource for ContainerEvent {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Event::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Event::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Event::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Event::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubelets_words_are_understood() {
        let failed = |image: &str| Told::Failed(image.into());
        let pulled = |image: &str| Told::Pulled(image.into());
        for (reason, message, expected) in [
            ("Failed", "Failed to pull image \"a/b:1\": not found", failed("a/b:1")),
            (
                "Failed",
                "(combined from similar events): Failed to pull image \"a\": x",
                failed("a"),
            ),
            (
                "BackOff",
                "Back-off pulling image \"a@sha256:0\": ErrImagePull: x",
                failed("a@sha256:0"),
            ),
            (
                "ErrImageNeverPull",
                "Container image \"a\" is not present with pull policy of Never",
                failed("a"),
            ),
            ("Pulled", "Successfully pulled image \"a\" in 2s", pulled("a")),
            (
                "Pulled",
                "Container image \"a\" already present on machine",
                pulled("a"),
            ),
            ("Failed", "Error: ErrImagePull", Told::Other),
            ("BackOff", "Back-off restarting failed container sideflame", Told::Other),
            ("Pulling", "Pulling image \"a\"", Told::Other),
            ("Failed", "Failed to pull image \"", Told::Other),
        ] {
            assert_eq!(told(reason, message), expected, "{reason} {message}");
        }
        assert_eq!(told("Pulled", &format!("image \"{}\"", "a".repeat(600))), Told::Other);
    }
}
