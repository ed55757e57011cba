//! Budgets whose CPUs all belong to containers of their own.
//!
//! Where the kubelet gives whole CPUs of a pod's budget to containers for themselves (static CPU manager, pod-level resource
//! managers), every other container of the pod shares what is left. With nothing left it refuses the pod.

use serde_json::Value;

use super::amounts::{Field, budget, stated};
use super::wanted::lasting;
use super::{CPU, MEMORY};
use crate::choices::Quantity;
use crate::inject::skip::{Skip, SkipReason};
use crate::pod::PodView;

const WHOLE: u128 = 1_000_000_000;

/// An error if a sidecar would have no CPU to run on.
pub(super) fn check(pod: &PodView<'_>) -> Result<(), Skip> {
    let equal = |resource: &str| {
        let limit = budget(pod, Field::Limits, resource)?;
        let request = budget(pod, Field::Requests, resource).unwrap_or(limit);
        (request == limit).then_some(limit)
    };
    let (Some(cpu), Some(_)) = (equal(CPU), equal(MEMORY)) else {
        return Ok(());
    };
    let exclusive = |container: &Value| {
        let equal = |resource: &str| {
            let limit = stated(container, Field::Limits, resource)?;
            let request = stated(container, Field::Requests, resource).unwrap_or(limit);
            (request == limit).then_some(limit)
        };
        equal(MEMORY)?;
        equal(CPU).filter(|cpu| cpu.is_multiple_of(WHOLE))
    };
    let taken = lasting(pod).map(exclusive).sum::<Option<u128>>();
    match taken {
        Some(taken) if taken >= cpu && cpu > 0 => Err(Skip::new(
            SkipReason::ExclusiveCpus,
            format!(
                "the containers have all {} CPUs of spec.resources for themselves, which leaves the sidecar none; raise cpu in \
                 spec.resources by one",
                Quantity::from_nano(cpu)
            ),
        )),
        _ => Ok(()),
    }
}
