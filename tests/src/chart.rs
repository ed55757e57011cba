//! The chart as an operator uses it: Helm with values.

use std::path::PathBuf;

use serde_json::json;

use crate::control_plane::{ControlPlane, Namespace, Said};

/// Folder of the chart.
pub fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/sideflame"))
}

/// Runs `helm VERB… CHART --namespace NAMESPACE --set-json VALUE…`.
pub fn helm(plane: &ControlPlane, verb: &[&str], namespace: &str, values: &[&str]) -> Said {
    let chart = folder();
    let mut arguments: Vec<&str> = verb.to_vec();
    arguments.extend([chart.to_str().expect("a path in UTF-8"), "--namespace", namespace]);
    for value in values {
        arguments.extend(["--set-json", value]);
    }
    plane.helm(arguments)
}

/// A release, uninstalled when dropped.
#[derive(Debug)]
pub struct Release {
    /// Its name, and that of its objects.
    pub name: &'static str,
    /// Where it is installed.
    pub namespace: Namespace,
    /// The control plane.
    pub plane: &'static ControlPlane,
}

impl Release {
    /// `helm install` into a namespace that enforces `restricted`.
    ///
    /// # Panics
    /// Helm or the API server refuses.
    pub fn install(name: &'static str, values: &[&str]) -> Self {
        let plane = ControlPlane::shared();
        let namespace = plane.namespace(&json!({"pod-security.kubernetes.io/enforce": "restricted"}));
        helm(plane, &["install", name], &namespace.name, values).ok();
        Self { name, namespace, plane }
    }

    /// Path of the MutatingWebhookConfiguration.
    pub fn mutating(&self) -> String {
        format!(
            "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{}",
            self.name
        )
    }

    /// Path of the ValidatingWebhookConfiguration.
    pub fn validating(&self) -> String {
        format!(
            "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{}",
            self.name
        )
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        let uninstalled = self
            .plane
            .helm(["uninstall", self.name, "--namespace", &self.namespace.name]);
        assert!(
            uninstalled.success || std::thread::panicking(),
            "{}",
            uninstalled.stderr
        );
    }
}
