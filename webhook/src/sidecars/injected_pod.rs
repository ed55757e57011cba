//! The metadata of a pod, injected or to be injected, without what decides nothing.
//!
//! Labels and `managedFields` may fill all that etcd takes of an object, and every user who may create pods may write them.
//! `ObjectMeta` would take many times that in memory; here they are skipped. Called by `sidecars`.

use std::borrow::Cow;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;

/// What decides whether a sidecar is old, or missing.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Object")]
pub(super) struct InjectedPod {
    /// Name, namespace and resource version, which the watch needs.
    metadata: ObjectMeta,
    /// The label `sideflame.io/version`.
    pub(super) version: Option<String>,
    /// The annotation `sideflame.io/status`.
    pub(super) status: Option<String>,
    /// The annotation `sideflame.io/image`.
    pub(super) image: Option<String>,
    /// The annotation `sideflame.io/inject` is `"true"`, or says something else.
    pub(super) asks: Option<bool>,
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
    #[serde(default)]
    labels: Labels,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Default, Deserialize)]
struct Labels {
    #[serde(rename = "sideflame.io/version")]
    version: Option<String>,
}

#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(rename = "sideflame.io/status")]
    status: Option<String>,
    #[serde(rename = "sideflame.io/image")]
    image: Option<String>,
    #[serde(rename = "sideflame.io/inject")]
    inject: Option<String>,
}

impl From<Object> for InjectedPod {
    fn from(object: Object) -> Self {
        let Metadata {
            name,
            namespace,
            resource_version,
            labels,
            annotations,
        } = object.metadata;
        let metadata = ObjectMeta {
            name,
            namespace,
            resource_version,
            ..ObjectMeta::default()
        };
        Self {
            metadata,
            version: labels.version,
            status: annotations.status,
            image: annotations.image,
            asks: annotations.inject.map(|inject| inject == "true"),
        }
    }
}

impl Resource for InjectedPod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    /// Only metadata is asked for and sent: environments may hold secrets.
    fn metadata_api() -> bool {
        true
    }

    fn kind((): &()) -> Cow<'_, str> {
        Pod::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Pod::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Pod::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Pod::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
