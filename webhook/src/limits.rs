//! What the LimitRanges and ResourceQuotas of a namespace say, as numbers.
//!
//! Must not know pods, nor where the objects come from: `namespaces` watches them, `cluster` keeps them, the `inject` command
//! reads them from a file. `inject` fits the sidecar into them.

mod by_namespace;
mod quota;
mod range;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

pub use by_namespace::ByNamespace;
pub use quota::{Quota, Traits};
pub use range::{Bounds, LimitRange};
pub use wire::Wire;

/// Quantities by the name of their resource, in billionths.
pub type Amounts = BTreeMap<Box<str>, u128>;

/// All that is known to hold in one namespace.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Every one of them holds.
    pub ranges: Vec<Arc<LimitRange>>,
    /// Every one that matches a pod holds for it.
    pub quotas: Vec<Arc<Quota>>,
}

impl Limits {
    /// Takes the LimitRanges and ResourceQuotas of a manifest: `object`, or its items.
    pub fn add_all(&mut self, object: &Value) {
        let items = object.get("items").and_then(Value::as_array);
        for object in items.into_iter().flatten().chain([object]) {
            let Ok(wire) = Wire::deserialize(object) else { continue };
            match object.get("kind").and_then(Value::as_str) {
                Some("LimitRange") => self.ranges.push(Arc::new(wire.into())),
                Some("ResourceQuota") => self.quotas.push(Arc::new(wire.into())),
                _ => {}
            }
        }
    }
}
