//! A LimitRange.

use super::Amounts;
use super::wire::Wire;

/// What one LimitRange demands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LimitRange {
    /// Its name.
    pub name: Box<str>,
    /// Of each container.
    pub containers: Bounds,
    /// Of all containers of a pod together.
    pub pods: Bounds,
}

/// Demands by resource.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Request and limit are at least this.
    pub min: Amounts,
    /// There is a limit, and it is at most this.
    pub max: Amounts,
    /// Limit divided by request, at most.
    pub ratio: Amounts,
    /// The limit of a container that states none.
    pub default: Amounts,
    /// The request of a container that states none.
    pub default_request: Amounts,
}

impl From<Wire> for LimitRange {
    fn from(wire: Wire) -> Self {
        let mut range = Self {
            name: wire.metadata.name,
            ..Self::default()
        };
        // The API server takes one of each type.
        for item in wire.spec.limits {
            let bounds = Bounds {
                min: item.min,
                max: item.max,
                ratio: item.max_limit_request_ratio,
                default: item.default,
                default_request: item.default_request,
            };
            match &*item.r#type {
                "Container" => range.containers = bounds.with_defaults(),
                "Pod" => range.pods = bounds,
                _ => {}
            }
        }
        range
    }
}

impl Bounds {
    /// What the API server fills in when it stores one; a manifest may not have been there.
    fn with_defaults(mut self) -> Self {
        let mut fill = |into: fn(&mut Self) -> &mut Amounts, from: fn(&Self) -> &Amounts| {
            for (resource, amount) in from(&self).clone() {
                into(&mut self).entry(resource).or_insert(amount);
            }
        };
        fill(|bounds| &mut bounds.default, |bounds| &bounds.max);
        fill(|bounds| &mut bounds.default_request, |bounds| &bounds.default);
        fill(|bounds| &mut bounds.default_request, |bounds| &bounds.min);
        self
    }

    /// A container that states nothing of this resource is given something, or refused.
    pub fn names(&self, resource: &str) -> bool {
        // Of min and max come defaults.
        let amounts = [&self.default, &self.default_request, &self.ratio];
        amounts.iter().any(|amounts| amounts.contains_key(resource))
    }
}
