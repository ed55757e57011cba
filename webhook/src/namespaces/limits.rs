//! Watches LimitRanges and ResourceQuotas, so that a sidecar fits before the API server counts it.
//!
//! Must not know reviews, nor what is made of the numbers. Without the right to watch, or before the first list is complete,
//! nothing is known and pods are injected as if there were none; readiness says so. Started by `cli::serve`; fills `cluster`.

use std::borrow::Cow;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource};
use serde::Deserialize;

use crate::cluster::ClusterFacts;
use crate::limits::{ByNamespace, LimitRange, Quota, Wire};
use crate::readiness::Readiness;
use crate::watch::{self, Sentences};

/// Objects of one answer while a list is read. It is held as it was sent, and each may be 1.5 MB of labels.
const PAGE: u32 = 10;

/// Keeps the LimitRanges of `facts` up to date for ever.
pub async fn watch_ranges(client: Client, facts: Arc<ClusterFacts>, readiness: Arc<Readiness>) {
    let sentences = Sentences {
        failing: "LimitRanges cannot be watched: a pod may be refused because its sidecar does not fit into one; let the service account \
                  list and watch limitranges",
        again: "LimitRanges are watched again",
    };
    follow::<v1::LimitRange, LimitRange>(client, &facts.ranges, sentences, &readiness, "LimitRanges").await;
}

/// Keeps the ResourceQuotas of `facts` up to date for ever.
pub async fn watch_quotas(client: Client, facts: Arc<ClusterFacts>, readiness: Arc<Readiness>) {
    let sentences = Sentences {
        failing: "ResourceQuotas cannot be watched: a pod may be refused because its sidecar does not fit into one; let the service \
                  account list and watch resourcequotas",
        again: "ResourceQuotas are watched again",
    };
    follow::<v1::ResourceQuota, Quota>(client, &facts.quotas, sentences, &readiness, "ResourceQuotas").await;
}

async fn follow<K, T>(
    client: Client,
    kept: &ByNamespace<T>,
    sentences: Sentences,
    readiness: &Readiness,
    source: &'static str,
) where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + 'static,
    T: From<Wire> + Debug + Send + Sync + 'static,
{
    readiness.set_unknown(source, Some("not listed yet".to_owned()));
    let config = watcher::Config::default().page_size(PAGE);
    let events = watcher::watcher(Api::<Watched<K, T>>::all(client), config);
    let mut listing = Vec::new();
    let mut listed = false;
    watch::follow(events, sentences, |event| match event {
        Ok(Event::Init) => listing.clear(),
        Ok(Event::InitApply(object)) => listing.push(object.entry()),
        Ok(Event::InitDone) => {
            kept.replace(std::mem::take(&mut listing));
            listed = true;
            readiness.set_unknown(source, None);
        }
        Ok(Event::Apply(object)) => {
            let (namespace, name, object) = object.entry();
            kept.put(namespace, name, object);
        }
        Ok(Event::Delete(object)) => {
            let (namespace, name, _) = object.entry();
            kept.remove(&namespace, &name);
        }
        Err(error) => {
            if !listed {
                readiness.set_unknown(source, Some(error.to_string()));
            }
        }
    })
    .await;
}

/// An object of kind `K`, of which only what it demands is kept.
#[derive(Debug, Deserialize)]
#[serde(from = "Wire", bound(deserialize = "T: From<Wire>"))]
struct Watched<K, T> {
    metadata: ObjectMeta,
    demands: Arc<T>,
    kind: PhantomData<fn() -> K>,
}

impl<K, T> Clone for Watched<K, T> {
    fn clone(&self) -> Self {
        Self {
            metadata: self.metadata.clone(),
            demands: Arc::clone(&self.demands),
            kind: PhantomData,
        }
    }
}

impl<K, T: From<Wire>> From<Wire> for Watched<K, T> {
    fn from(wire: Wire) -> Self {
        let metadata = ObjectMeta {
            name: Some(wire.metadata.name.to_string()),
            namespace: wire.metadata.namespace.clone(),
            resource_version: wire.metadata.resource_version.clone(),
            ..ObjectMeta::default()
        };
        Self {
            metadata,
            demands: Arc::new(wire.into()),
            kind: PhantomData,
        }
    }
}

impl<K, T> Watched<K, T> {
    /// Namespace, name, and what it demands.
    fn entry(self) -> (Box<str>, Box<str>, Arc<T>) {
        let text = |field: Option<String>| field.unwrap_or_default().into_boxed_str();
        (text(self.metadata.namespace), text(self.metadata.name), self.demands)
    }
}

impl<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>, T> Resource for Watched<K, T> {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
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
    use std::convert::Infallible;
    use std::time::Duration;

    use serde_json::{Value, json};
    use tokio::time::timeout;

    use super::*;

    /// An API server that answers every list with `items`, or refuses it.
    fn client(items: Option<Value>) -> Client {
        let service = tower::service_fn(move |request: axum::http::Request<kube::client::Body>| {
            let watch = request.uri().query().unwrap_or_default().contains("watch=true");
            let (status, body) = match &items {
                Some(items) => (
                    200,
                    json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": items}),
                ),
                None => (
                    403,
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden",
                        "message": "it is forbidden"}),
                ),
            };
            async move {
                if watch {
                    std::future::pending::<()>().await;
                }
                let answer = axum::http::Response::builder().status(status);
                Ok::<_, Infallible>(answer.body(axum::body::Body::from(body.to_string())).unwrap())
            }
        });
        Client::new(service, "ops")
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_listed_is_known_by_its_namespace() {
        let facts = Arc::new(ClusterFacts::new().0);
        let readiness = Arc::new(Readiness::new("not yet"));
        let range = json!([{"metadata": {"namespace": "shop", "name": "l", "labels": {"a": "b"}, "managedFields": [{}]},
            "spec": {"limits": [{"type": "Container", "max": {"memory": "200Mi"}}]}}]);
        let quota = json!([{"metadata": {"namespace": "shop", "name": "q"}, "spec": {"hard": {"limits.cpu": "8"}},
            "status": {"hard": {"limits.cpu": "8"}, "used": {"limits.cpu": "7500m"}}}]);
        let watching = async {
            tokio::join!(
                watch_ranges(client(Some(range)), Arc::clone(&facts), Arc::clone(&readiness)),
                watch_quotas(client(Some(quota)), Arc::clone(&facts), Arc::clone(&readiness)),
            )
        };
        assert!(
            timeout(Duration::from_secs(60), watching).await.is_err(),
            "it never ends"
        );
        let limits = facts.of("shop").limits;
        assert_eq!(limits.ranges[0].containers.max["memory"], (200 << 20) * 1_000_000_000);
        assert_eq!(limits.quotas[0].left("limits.cpu"), Some(500_000_000));
        assert!(facts.of("other").limits.ranges.is_empty());
        assert_eq!(readiness.unknown(), "");
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_right_nothing_is_known_and_readiness_says_why() {
        let facts = Arc::new(ClusterFacts::new().0);
        let readiness = Arc::new(Readiness::new("not yet"));
        let watching = watch_quotas(client(None), Arc::clone(&facts), Arc::clone(&readiness));
        assert!(
            timeout(Duration::from_secs(60), watching).await.is_err(),
            "it never ends"
        );
        assert!(facts.of("shop").limits.quotas.is_empty());
        let unknown = readiness.unknown();
        assert!(
            unknown.contains("ResourceQuotas: ") && unknown.contains("forbidden"),
            "{unknown}"
        );
    }
}
