//! The keeper's cluster, as a Kubernetes API server.
//!
//! Needs, by name only: `get` and `update` of the Secret and `create` of secrets; `get` and `patch` of the two
//! configurations. Polled, not watched: a watch by name would need `list` and `watch`, and saves nothing at this size.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch as JsonPatch, PatchOperation, ReplaceOperation};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::Value;

use super::bundle::{Bundles, Configuration, Entry, Kind};
use super::content::Data;
use super::keeper::{Cluster, ClusterError, Stored};

/// Named in `managedFields`, so that GitOps tools can leave the caBundle to us.
const FIELD_MANAGER: &str = "sideflame-webhook";

/// The Secret and the configurations, by name.
#[derive(Clone)]
pub struct KubernetesCluster {
    secrets: Api<Secret>,
    mutating: Api<MutatingWebhookConfiguration>,
    validating: Api<ValidatingWebhookConfiguration>,
    secret_name: String,
    webhook_name: String,
}

impl std::fmt::Debug for KubernetesCluster {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.secret_name)
    }
}

impl KubernetesCluster {
    /// For the Secret `secret_name` in `namespace` and both configurations called `webhook_name`.
    pub fn new(client: Client, namespace: &str, secret_name: String, webhook_name: String) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            mutating: Api::all(client.clone()),
            validating: Api::all(client),
            secret_name,
            webhook_name,
        }
    }

    fn failed(&self, what: &str, name: &str, error: &kube::Error) -> ClusterError {
        match error {
            // Nothing else: a 404 may be a namespace that does not exist, and a 422 a name that is not allowed, for ever.
            kube::Error::Api(status) if status.code == 409 => ClusterError::Conflict,
            error => ClusterError::Failed(format!(
                "failed to {what} {name}: {error}; check the names and the RBAC of the webhook"
            )),
        }
    }
}

impl Cluster for KubernetesCluster {
    async fn read_secret(&self) -> Result<Option<Stored>, ClusterError> {
        let secret = self.secrets.get_opt(&self.secret_name).await;
        let secret = secret.map_err(|error| self.failed("read the Secret", &self.secret_name, &error))?;
        Ok(secret.map(|secret| Stored {
            data: secret
                .data
                .unwrap_or_default()
                .into_iter()
                .map(|(key, ByteString(value))| (key, value))
                .collect(),
            resource_version: secret.metadata.resource_version.unwrap_or_default(),
        }))
    }

    async fn write_secret(&self, data: Data, over: Option<&Stored>) -> Result<(), ClusterError> {
        let failed = |error: &kube::Error| self.failed("write the Secret", &self.secret_name, error);
        let data: BTreeMap<_, _> = data.into_iter().map(|(key, value)| (key, ByteString(value))).collect();
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let Some(over) = over else {
            let secret = Secret {
                metadata: ObjectMeta {
                    name: Some(self.secret_name.clone()),
                    labels: Some(BTreeMap::from([(
                        "app.kubernetes.io/managed-by".to_owned(),
                        FIELD_MANAGER.to_owned(),
                    )])),
                    ..ObjectMeta::default()
                },
                data: Some(data),
                type_: Some("Opaque".to_owned()),
                ..Secret::default()
            };
            return self
                .secrets
                .create(&params, &secret)
                .await
                .map(drop)
                .map_err(|error| failed(&error));
        };
        // Read once more for what is not ours: labels, annotations, owners. The version read first guards the write.
        let mut secret = match self.secrets.get_opt(&self.secret_name).await {
            Ok(secret) => secret.ok_or(ClusterError::Conflict)?,
            Err(error) => return Err(failed(&error)),
        };
        if secret.metadata.resource_version.as_deref() != Some(&over.resource_version) {
            return Err(ClusterError::Conflict);
        }
        secret.data = Some(data);
        let written = self.secrets.replace(&self.secret_name, &params, &secret).await;
        written.map(drop).map_err(|error| failed(&error))
    }

    async fn read_bundles(&self) -> Result<Bundles, ClusterError> {
        let name = &self.webhook_name;
        let (mutating, validating) =
            futures_util::future::join(self.mutating.get_opt(name), self.validating.get_opt(name)).await;
        let mutating = mutating.map_err(|error| self.failed("read the MutatingWebhookConfiguration", name, &error))?;
        let validating =
            validating.map_err(|error| self.failed("read the ValidatingWebhookConfiguration", name, &error))?;
        let mutating = mutating.map(|one| {
            let hooks = one.webhooks.into_iter().flatten();
            let hooks = hooks.map(|hook| entry(hook.name, hook.client_config));
            configuration(Kind::Mutating, one.metadata, hooks.collect())
        });
        let validating = validating.map(|one| {
            let hooks = one.webhooks.into_iter().flatten();
            let hooks = hooks.map(|hook| entry(hook.name, hook.client_config));
            configuration(Kind::Validating, one.metadata, hooks.collect())
        });
        Ok(Bundles(mutating.into_iter().chain(validating).collect()))
    }

    async fn patch_bundle(
        &self,
        configuration: &Configuration,
        positions: &[usize],
        bundle: &[u8],
    ) -> Result<(), ClusterError> {
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Json::<()>(bundle_patch(&configuration.resource_version, positions, bundle));
        let name = &self.webhook_name;
        let patched = match configuration.kind {
            Kind::Mutating => self.mutating.patch(name, &params, &patch).await.map(drop),
            Kind::Validating => self.validating.patch(name, &params, &patch).await.map(drop),
        };
        patched.map_err(|error| self.failed("patch the caBundle of", name, &error))
    }
}

fn configuration(kind: Kind, metadata: ObjectMeta, entries: Vec<Entry>) -> Configuration {
    Configuration {
        kind,
        resource_version: metadata.resource_version.unwrap_or_default(),
        entries,
    }
}

fn entry(name: String, config: WebhookClientConfig) -> Entry {
    Entry {
        name,
        bundle: config.ca_bundle.map(|ByteString(bytes)| bytes).unwrap_or_default(),
    }
}

/// Holds only for the version that was read: positions of entries mean nothing in another one. The API server answers 409 if
/// the version in what the patch makes is not the one it has; a `test` operation that does not hold is a 422, like any fault
/// of a patch.
fn bundle_patch(resource_version: &str, positions: &[usize], bundle: &[u8]) -> JsonPatch {
    let version = PatchOperation::Replace(ReplaceOperation {
        path: PointerBuf::from_tokens(["metadata", "resourceVersion"]),
        value: Value::from(resource_version),
    });
    let bundle = Value::from(STANDARD.encode(bundle));
    let adds = positions.iter().map(|position| {
        PatchOperation::Add(AddOperation {
            path: PointerBuf::from_tokens(["webhooks", &position.to_string(), "clientConfig", "caBundle"]),
            value: bundle.clone(),
        })
    });
    JsonPatch([version].into_iter().chain(adds).collect())
}

#[cfg(test)]
mod tests;
