//! Both kinds of object as they are sent, without what decides nothing.
//!
//! Labels and `managedFields` may fill all that etcd takes of an object; here they are skipped.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Amounts;
use crate::choices::Quantity;

/// Resources of one list. A cluster has a dozen.
const MOST_RESOURCES: usize = 64;
/// A qualified name.
const LONGEST_NAME: usize = 317;

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

/// What cannot be read is left out: the API server has the last word.
fn amounts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Amounts, D::Error> {
    let stated: Option<BTreeMap<Box<str>, Value>> = Deserialize::deserialize(deserializer)?;
    let stated = stated.unwrap_or_default().into_iter().take(MOST_RESOURCES);
    let stated = stated.filter(|(name, _)| name.len() <= LONGEST_NAME);
    Ok(stated
        .filter_map(|(name, value)| Some((name, Quantity::of(&value)?.nano())))
        .collect())
}
