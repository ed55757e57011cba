//! Adds up a pod as the API server does.

use serde_json::Value;

use super::amounts::{Field, effective, is_native_sidecar};
use crate::limits::Limits;
use crate::pod::PodView;

/// A resource of all containers of a pod without ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sum {
    /// What the pod has.
    pub before: u128,
    /// What ours is added to.
    pub beside: u128,
}

/// Adds up `field` of `resource`.
///
/// Init containers run before the others, one after the other, and each beside the native sidecars before it. A native
/// sidecar of ours is the first of them, so it counts at every moment; a plain one counts when all of those are done.
pub(super) fn sum(pod: &PodView<'_>, limits: &Limits, field: Field, resource: &str, native: bool) -> Sum {
    let amount = |container: &Value| effective(container, field, resource, limits);
    let mut sidecars: u128 = 0;
    let mut starting: u128 = 0;
    for container in pod.init_containers {
        let own = amount(container);
        starting = starting.max(sidecars + own);
        if is_native_sidecar(container) {
            sidecars += own;
        }
    }
    let running = sidecars + pod.containers.iter().map(amount).sum::<u128>();
    let before = running.max(starting);
    let beside = if native { before } else { running };
    Sum { before, beside }
}
