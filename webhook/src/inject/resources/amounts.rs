//! Reads requests and limits out of a pod.

use serde_json::Value;

use super::{CPU, MEMORY};
use crate::choices::Quantity;
use crate::limits::Limits;
use crate::pod::PodView;

/// `requests` or `limits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Requests,
    Limits,
}

impl Field {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Limits => "limits",
        }
    }
}

/// What a container says.
pub(super) fn said(container: &Value, field: Field, resource: &str) -> Option<u128> {
    amount(container.get("resources"), field, resource)
}

fn amount(resources: Option<&Value>, field: Field, resource: &str) -> Option<u128> {
    let quantity = resources?.get(field.name())?.get(resource)?;
    Some(Quantity::of(quantity)?.nano())
}

/// The same; zero is like nothing.
pub(super) fn stated(container: &Value, field: Field, resource: &str) -> Option<u128> {
    said(container, field, resource).filter(|nano| *nano > 0)
}

/// What a container has once the API server has filled in what it does not say.
pub(super) fn effective(container: &Value, field: Field, resource: &str, limits: &Limits) -> u128 {
    let ranges = limits.ranges.iter().map(|range| &range.containers);
    let limit = said(container, Field::Limits, resource);
    let amount = match field {
        Field::Limits => limit.or_else(|| ranges.filter_map(|range| range.default.get(resource).copied()).next()),
        Field::Requests => said(container, Field::Requests, resource).or(limit).or_else(|| {
            ranges
                .filter_map(|range| range.default_request.get(resource).copied())
                .next()
        }),
    };
    amount.unwrap_or_default()
}

/// What the pod says for all its containers together.
pub(super) fn budget(pod: &PodView<'_>, field: Field, resource: &str) -> Option<u128> {
    amount(pod.spec.get("resources"), field, resource)
}

/// The pod has a budget of this resource. Other resources than these have none in the API.
pub(super) fn is_budgeted(pod: &PodView<'_>, resource: &str) -> bool {
    let stated = |field| budget(pod, field, resource).is_some();
    [CPU, MEMORY].contains(&resource) && (stated(Field::Requests) || stated(Field::Limits))
}

/// It restarts for as long as the pod runs, although it is an init container.
pub(super) fn is_native_sidecar(container: &Value) -> bool {
    container.get("restartPolicy").and_then(Value::as_str) == Some("Always")
}
