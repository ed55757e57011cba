//! What the sidecar asks for where nothing is in its way.

use super::amounts::{Field, budget, is_budgeted, is_native_sidecar, stated};
use super::{CPU, MEMORY, Question, STORAGE};
use crate::choices::Quantity;
use crate::container::{store_limit, store_within};
use crate::pod::PodView;

const NANO: u128 = 1_000_000_000;
const MEBIBYTE: u128 = (1 << 20) * NANO;
/// With less, a flame graph of a few seconds takes minutes.
const LEAST_CPU_LIMIT: u128 = NANO / 20;
const LEAST_CPU_REQUEST: u128 = NANO / 1000;
/// Enough to record and serve files of any size.
const LEAST_MEMORY_LIMIT: u128 = 32 * MEBIBYTE;
const LEAST_MEMORY_REQUEST: u128 = 16 * MEBIBYTE;
/// For the smallest store that can be asked for, 16Mi.
const LEAST_STORE_LIMIT: u128 = 36 * MEBIBYTE;

/// One resource.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub resource: &'static str,
    pub request: Option<u128>,
    pub limit: Option<u128>,
    /// As the user wrote it.
    pub request_text: Option<Quantity>,
    /// As the user wrote it.
    pub limit_text: Option<Quantity>,
    /// With less there had better be no sidecar.
    pub least_request: u128,
    /// With less there had better be no sidecar.
    pub least_limit: u128,
    /// The request must be the limit.
    pub equal: bool,
    /// Amounts that are changed become multiples of this where they can,
    pub step: u128,
    /// and of this where not.
    pub unit: u128,
}

impl Wanted {
    /// A round amount of at most `amount`, and of at least `least` if there is one.
    pub(super) fn down(&self, amount: u128, least: u128) -> u128 {
        let rounded = amount - amount % self.step;
        if rounded >= least {
            rounded
        } else {
            amount - amount % self.unit
        }
    }

    /// A round amount of at least `amount`, if that is at most `most`.
    pub(super) fn up(&self, amount: u128, most: u128) -> u128 {
        let rounded = amount.next_multiple_of(self.step);
        if rounded <= most {
            rounded
        } else {
            amount.next_multiple_of(self.unit)
        }
    }

    /// An amount as it was written, if it is that.
    pub(super) fn text(written: &Option<Quantity>, amount: u128) -> String {
        match written {
            Some(written) if written.nano() == amount => written.to_string(),
            _ => Quantity::from_nano(amount).to_string(),
        }
    }
}

/// All that the sidecar asks for.
pub(super) fn wanted(question: &Question<'_>, capture_size: &Quantity) -> Vec<Wanted> {
    let Question {
        annotations, settings, ..
    } = *question;
    let equal = is_guaranteed(question.pod);
    let cpu = pair(
        (&annotations.cpu_request, &settings.sidecar_cpu_request),
        (&annotations.cpu_limit, &settings.sidecar_cpu_limit),
    );
    let memory = pair(
        (&annotations.memory_request, &settings.sidecar_memory_request),
        (&annotations.memory_limit, &settings.sidecar_memory_limit),
    );
    let asks = |request: &Option<Quantity>, limit: &Option<Quantity>| request.is_some() || limit.is_some();
    let mut all = Vec::with_capacity(3);
    for (resource, (request, limit), asked, least, (step, unit)) in [
        (
            CPU,
            cpu,
            asks(&annotations.cpu_request, &annotations.cpu_limit),
            (LEAST_CPU_REQUEST, LEAST_CPU_LIMIT),
            (NANO / 1000, NANO / 1000),
        ),
        (
            MEMORY,
            memory,
            asks(&annotations.memory_request, &annotations.memory_limit),
            (LEAST_MEMORY_REQUEST, LEAST_MEMORY_LIMIT),
            (MEBIBYTE, NANO),
        ),
    ] {
        let budgeted = is_budgeted(question.pod, resource);
        let bounded = budget(question.pod, Field::Limits, resource);
        // It lives from the pod's budget, unless it must state something. A budget of requests alone is no bound: the API server
        // makes one of what the containers request, once the pod has a limit of anything.
        if bounded.is_some() && !asked && !question.must_state(resource) {
            continue;
        }
        let request = if equal { limit } else { request };
        let all_of_it = bounded.unwrap_or(u128::MAX);
        all.push(Wanted {
            resource,
            request: Some(request.nano()),
            limit: Some(limit.nano()),
            request_text: Some(request.clone()),
            limit_text: Some(limit.clone()),
            // Within a budget, what it may not have of its own it can have of what is left.
            least_request: if budgeted { 0 } else { least.0.min(request.nano()) },
            least_limit: least.1.min(limit.nano()).min(all_of_it),
            equal,
            step,
            unit,
        });
    }
    all.extend(storage(question, capture_size));
    all
}

/// The kubelet adds up the limits of all containers and evicts the pod beyond the sum. Where the app has such a limit, our
/// captures must not use it up; where it has none, ours alone would become the app's.
fn storage(question: &Question<'_>, capture_size: &Quantity) -> Option<Wanted> {
    let must = question.must_state(STORAGE);
    let containers = question.pod.containers;
    let states = |field| {
        must || containers
            .iter()
            .any(|container| stated(container, field, STORAGE).is_some())
    };
    let (request, limit) = (states(Field::Requests), states(Field::Limits));
    let store = Quantity::parse(&store_limit(capture_size)).filter(|_| request || limit)?;
    Some(Wanted {
        resource: STORAGE,
        request: request.then_some(store.nano()),
        limit: limit.then_some(store.nano()),
        request_text: None,
        limit_text: None,
        least_request: 0,
        least_limit: LEAST_STORE_LIMIT,
        equal: false,
        step: MEBIBYTE,
        unit: NANO,
    })
}

/// The store for which a limit of ephemeral storage is enough.
pub(super) fn capture_size(limit: u128) -> Quantity {
    Quantity::from_nano(store_within(limit / NANO) * NANO)
}

impl Question<'_> {
    /// A LimitRange gives something of `resource` to a container that asks for nothing, or refuses it.
    fn must_state(&self, resource: &str) -> bool {
        self.limits.ranges.iter().any(|range| range.containers.names(resource))
    }
}

/// Request and limit; what the user states moves the default of the other, as a request above its limit is refused.
fn pair<'a>(
    (asked_request, request): (&'a Option<Quantity>, &'a Quantity),
    (asked_limit, limit): (&'a Option<Quantity>, &'a Quantity),
) -> (&'a Quantity, &'a Quantity) {
    match (asked_request, asked_limit) {
        (Some(request), Some(limit)) => (request, limit),
        (Some(request), None) => (request, larger(request, limit)),
        (None, asked) => {
            let limit = asked.as_ref().unwrap_or(limit);
            (smaller(request, limit), limit)
        }
    }
}

fn larger<'a>(left: &'a Quantity, right: &'a Quantity) -> &'a Quantity {
    if left.nano() > right.nano() { left } else { right }
}

fn smaller<'a>(left: &'a Quantity, right: &'a Quantity) -> &'a Quantity {
    if left.nano() < right.nano() { left } else { right }
}

/// Quality of service class Guaranteed by its containers: every one has limits for CPU and memory, and requests that equal
/// them. With a budget of one of these, the budget alone decides.
fn is_guaranteed(pod: &PodView<'_>) -> bool {
    if is_budgeted(pod, CPU) || is_budgeted(pod, MEMORY) {
        return false;
    }
    let equal = |container: &serde_json::Value, resource: &str| {
        let Some(limit) = stated(container, Field::Limits, resource) else {
            return false;
        };
        stated(container, Field::Requests, resource).is_none_or(|request| request == limit)
    };
    let mut containers = pod.containers.iter().chain(pod.init_containers);
    containers.all(|container| equal(container, CPU) && equal(container, MEMORY))
}

/// Quality of service class BestEffort: no container asks for CPU or memory.
pub(super) fn is_best_effort(pod: &PodView<'_>) -> bool {
    let asks = |container: &serde_json::Value| {
        [CPU, MEMORY].iter().any(|resource| {
            let fields = [Field::Requests, Field::Limits];
            fields.iter().any(|field| stated(container, *field, resource).is_some())
        })
    };
    let mut containers = pod.containers.iter().chain(pod.init_containers);
    !is_budgeted(pod, CPU) && !is_budgeted(pod, MEMORY) && !containers.any(asks)
}

/// For the lists of exclusive CPUs: containers that run for as long as the pod.
pub(super) fn lasting<'a>(pod: &PodView<'a>) -> impl Iterator<Item = &'a serde_json::Value> + use<'a> {
    let sidecars = pod
        .init_containers
        .iter()
        .filter(|container| is_native_sidecar(container));
    pod.containers.iter().chain(sidecars)
}
