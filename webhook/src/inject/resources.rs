//! Requests and limits of the sidecar, so that the pod keeps its class and its own sum.
//!
//! Quotas refuse containers without them; a pod of class Guaranteed would lose its class (and its exclusive CPUs) by one
//! container whose request is not its limit; requests beyond those of the whole pod would get it refused.

use serde_json::{Map, Value, json};

use crate::annotations::Annotations;
use crate::choices::Quantity;
use crate::container::store_limit;
use crate::pod::PodView;
use crate::settings::InjectSettings;

/// `resources` of the sidecar; `None` where the pod states resources for all its containers together and the user says nothing else.
pub(super) fn resources(
    pod: &PodView<'_>,
    annotations: &Annotations<'_>,
    settings: &InjectSettings,
    capture_size: &Quantity,
) -> Option<Value> {
    let says_nothing = annotations.cpu_request.is_none()
        && annotations.cpu_limit.is_none()
        && annotations.memory_request.is_none()
        && annotations.memory_limit.is_none();
    let of_the_pod = pod.spec.get("resources").and_then(Value::as_object);
    if says_nothing && of_the_pod.is_some_and(|stated| !stated.is_empty()) {
        return None;
    }
    let guaranteed = is_guaranteed(pod);
    let cpu = pair(
        (&annotations.cpu_request, &settings.sidecar_cpu_request),
        (&annotations.cpu_limit, &settings.sidecar_cpu_limit),
        guaranteed,
    );
    let memory = pair(
        (&annotations.memory_request, &settings.sidecar_memory_request),
        (&annotations.memory_limit, &settings.sidecar_memory_limit),
        guaranteed,
    );
    let mut requests = json!({ "cpu": cpu.0.to_string(), "memory": memory.0.to_string() });
    let mut limits = json!({ "cpu": cpu.1.to_string(), "memory": memory.1.to_string() });
    // The kubelet adds up the limits of all containers and evicts the pod beyond the sum. Where the app has such a limit,
    // our captures must not use it up; where it has none, ours alone would become the app's.
    for (field, section) in [("requests", &mut requests), ("limits", &mut limits)] {
        if pod
            .containers
            .iter()
            .any(|container| stated(container, field, "ephemeral-storage").is_some())
        {
            section["ephemeral-storage"] = json!(store_limit(capture_size));
        }
    }
    Some(json!({ "requests": requests, "limits": limits }))
}

/// Request and limit; what the user states moves the default of the other, as a request above its limit is refused.
fn pair<'a>(
    (asked_request, request): (&'a Option<Quantity>, &'a Quantity),
    (asked_limit, limit): (&'a Option<Quantity>, &'a Quantity),
    guaranteed: bool,
) -> (&'a Quantity, &'a Quantity) {
    let (request, limit) = match (asked_request, asked_limit) {
        (Some(request), Some(limit)) => (request, limit),
        (Some(request), None) => (request, larger(request, limit)),
        (None, asked) => {
            let limit = asked.as_ref().unwrap_or(limit);
            (smaller(request, limit), limit)
        }
    };
    (if guaranteed { limit } else { request }, limit)
}

fn larger<'a>(left: &'a Quantity, right: &'a Quantity) -> &'a Quantity {
    if left.nano() > right.nano() { left } else { right }
}

fn smaller<'a>(left: &'a Quantity, right: &'a Quantity) -> &'a Quantity {
    if left.nano() < right.nano() { left } else { right }
}

/// Quality of service class Guaranteed: every container has limits for CPU and memory, and requests that equal them.
fn is_guaranteed(pod: &PodView<'_>) -> bool {
    let equal = |container: &Value, resource: &str| {
        let Some(limit) = stated(container, "limits", resource) else {
            return false;
        };
        stated(container, "requests", resource).is_none_or(|request| request == limit)
    };
    let mut containers = pod.containers.iter().chain(pod.init_containers);
    containers.all(|container| equal(container, "cpu") && equal(container, "memory"))
}

/// A stated quantity in billionths. Zero is like nothing.
fn stated(container: &Value, field: &str, resource: &str) -> Option<u128> {
    let quantities: &Map<String, Value> = container.get("resources")?.get(field)?.as_object()?;
    let nano = match quantities.get(resource)? {
        Value::String(text) => Quantity::parse(text)?.nano(),
        number => Quantity::parse(&number.to_string())?.nano(),
    };
    (nano > 0).then_some(nano)
}
