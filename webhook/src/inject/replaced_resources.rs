//! Pods whose scheduler has replaced cpu and memory by resources of its own.
//!
//! Must not know what the sidecar gets. Called by `inject`.

use serde_json::{Map, Value};

use crate::annotations::shown;
use crate::pod::{PodView, name};
use crate::rights::Advice;

/// In front of the batch and mid resources of Koordinator, which its webhook puts in place of cpu and memory.
const PREFIXES: [&str; 2] = ["kubernetes.io/batch-", "kubernetes.io/mid-"];

/// A sentence for the first container that has such resources.
pub(super) fn advice(pod: &PodView<'_>) -> Option<Advice> {
    let mut found = pod
        .containers
        .iter()
        .filter_map(|container| Some((name(container), replacement(container)?)));
    let (container, resource) = found.next()?;
    Some(Advice {
        key: "replaced_resources",
        text: format!(
            "container {} has {} in place of cpu or memory, but the sidecar asks for both as such; have the webhook that replaces \
             them called after this one, or again (reinvocationPolicy: IfNeeded)",
            shown(container),
            shown(resource)
        ),
    })
}

fn replacement(container: &Value) -> Option<&str> {
    let section = |field: &str| container.get("resources")?.get(field)?.as_object();
    let keys = ["requests", "limits"]
        .into_iter()
        .filter_map(section)
        .flat_map(Map::keys);
    let mut keys = keys.map(String::as_str);
    keys.find(|key| PREFIXES.iter().any(|prefix| key.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_resource_that_stands_for_another_is_named() {
        let pod = |resource: &str| json!({ "spec": { "containers": [{ "name": "log" }, { "name": "app", "resources": { "limits": { (resource): "1" } } }] } });
        let told = |resource: &str| advice(&PodView::new(&pod(resource)).unwrap()).map(|advice| advice.text);
        let text = told("kubernetes.io/batch-cpu").unwrap();
        assert!(
            text.starts_with("container app has kubernetes.io/batch-cpu in place of cpu"),
            "{text}"
        );
        assert!(text.chars().count() <= 250, "{}", text.len());
        assert_eq!(told("cpu"), None);
        assert_eq!(told("nvidia.com/gpu"), None);
    }
}
