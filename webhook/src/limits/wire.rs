//! Both kinds of object as they are sent, without what decides nothing.
//!
//! Labels and `managedFields` may fill all that etcd takes of an object; here they are skipped.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Amounts;
use crate::choices::Quantity;

/// The resources that decide something, alone or behind `limits.` or `requests.`.
const READ: [&str; 5] = ["cpu", "memory", "ephemeral-storage", "pods", "count/pods"];

/// A LimitRange or a ResourceQuota.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wire {
    /// Which one it is.
    pub metadata: Metadata,
    pub(super) spec: Spec,
    pub(super) status: Status,
}

/// What a watch needs.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    /// Its name.
    pub name: Box<str>,
    /// Where it holds.
    pub namespace: Option<String>,
    /// Its state.
    pub resource_version: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) limits: Vec<Item>,
    #[serde(deserialize_with = "amounts")]
    pub(super) hard: Amounts,
    pub(super) scopes: Vec<Box<str>>,
    pub(super) scope_selector: Option<ScopeSelector>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    #[serde(deserialize_with = "amounts")]
    pub(super) used: Amounts,
}

/// One of `spec.limits`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Item {
    pub(super) r#type: Box<str>,
    #[serde(deserialize_with = "amounts")]
    pub(super) min: Amounts,
    #[serde(deserialize_with = "amounts")]
    pub(super) max: Amounts,
    #[serde(deserialize_with = "amounts")]
    pub(super) default: Amounts,
    #[serde(deserialize_with = "amounts")]
    pub(super) default_request: Amounts,
    #[serde(deserialize_with = "amounts")]
    pub(super) max_limit_request_ratio: Amounts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ScopeSelector {
    pub(super) match_expressions: Vec<Scope>,
}

/// A condition under which a quota holds for a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Scope {
    pub(super) scope_name: Box<str>,
    pub(super) operator: Box<str>,
    pub(super) values: Vec<Box<str>>,
}

/// Only what decides something is kept. What cannot be read is left out: the API server has the last word.
fn amounts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Amounts, D::Error> {
    let stated: Option<BTreeMap<Box<str>, Value>> = Deserialize::deserialize(deserializer)?;
    let is_read = |name: &str| {
        let behind = ["limits.", "requests."]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix));
        READ.contains(&behind.unwrap_or(name))
    };
    Ok(stated
        .unwrap_or_default()
        .into_iter()
        .filter(|(name, _)| is_read(name))
        .filter_map(|(name, value)| Some((name, Quantity::of(&value)?.nano())))
        .collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::limits::Limits;

    /// Who may make such objects may fill each with a megabyte and a half.
    #[test]
    fn what_decides_nothing_is_not_kept() {
        let many = |value: &'static str| (0..1000).map(|number| (format!("example.com/{number}"), value.into()));
        let mut amounts: serde_json::Map<_, _> = many("1").collect();
        amounts.insert("cpu".to_owned(), json!("2"));
        amounts.insert("limits.memory".to_owned(), json!("1Gi"));
        let values: Vec<String> = (0..1000).map(|number| format!("class-{number}")).collect();
        let scope = json!({"scopeName": "PriorityClass", "operator": "In", "values": values});
        let mut limits = Limits::default();
        limits.add_all(&json!({"kind": "ResourceQuota", "spec": {"hard": amounts,
            "scopeSelector": {"matchExpressions": vec![scope; 100]}}, "status": {"used": amounts}}));
        limits.add_all(&json!({"kind": "LimitRange", "spec": {"limits": [{"type": "Container", "max": amounts}]}}));
        let (quota, range) = (&limits.quotas[0], &limits.ranges[0]);
        assert_eq!(
            (quota.hard.len(), quota.used.len(), range.containers.default.len()),
            (2, 2, 2)
        );
        assert!(format!("{quota:?}").len() < 4096);
    }
}
