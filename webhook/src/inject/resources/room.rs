//! What LimitRanges, ResourceQuotas and the pod's own budget leave for the sidecar.
//!
//! What the pod breaks by itself leaves no less room: the API server will refuse it, and say so better than we could.

use serde_json::Value;

use super::amounts::{Field, budget, is_budgeted};
use super::sums::{Sum, sum};
use super::wanted::is_best_effort;
use super::{Question, STORAGE};
use crate::annotations::shown;
use crate::choices::Quantity;
use crate::inject::skip::{Skip, SkipReason};
use crate::limits::{LimitRange, Quota, Traits};

const NANO: u128 = 1_000_000_000;
/// What a quota counts of these, every container must state.
const DEMANDED: [&str; 6] = [
    "cpu",
    "memory",
    "requests.cpu",
    "requests.memory",
    "limits.cpu",
    "limits.memory",
];

/// The room of one resource.
#[derive(Debug, Clone)]
pub(super) struct Room<'a> {
    pub resource: &'static str,
    /// Request and limit are at least this.
    pub least: u128,
    pub limit: Cap<'a>,
    pub request: Cap<'a>,
    pub ratios: Vec<Ratio<'a>>,
}

/// At most so much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cap<'a> {
    pub most: u128,
    pub by: By<'a>,
}

/// What has the last word on an amount.
#[derive(Debug, Clone, Copy)]
pub(super) enum By<'a> {
    Nothing,
    /// Demands of each container.
    Container(&'a LimitRange),
    /// Demands of a pod.
    Pod(&'a LimitRange),
    Quota(&'a Quota),
    /// `spec.resources`
    Budget,
}

/// Limits are at most so many times the requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ratio<'a> {
    /// In billionths.
    most: u128,
    /// Limits and requests that ours are added to.
    beside: (u128, u128),
    pub by: By<'a>,
}

impl Cap<'_> {
    const NONE: Self = Self {
        most: u128::MAX,
        by: By::Nothing,
    };
}

impl<'a> Cap<'a> {
    fn lower(&mut self, most: u128, by: By<'a>) {
        if most < self.most {
            *self = Self { most, by };
        }
    }
}

impl Ratio<'_> {
    /// The least request beside this limit.
    pub(super) fn request_for(&self, limit: u128) -> u128 {
        let limits = (self.beside.0.saturating_add(limit)).saturating_mul(NANO);
        limits.div_ceil(self.most).saturating_sub(self.beside.1)
    }

    /// The most limit beside this request.
    pub(super) fn limit_for(&self, request: u128) -> u128 {
        let requests = self.beside.1.saturating_add(request).saturating_mul(self.most);
        (requests / NANO).saturating_sub(self.beside.0)
    }
}

/// What is left of `resource`.
pub(super) fn room<'a>(question: &Question<'a>, resource: &'static str) -> Room<'a> {
    let Question {
        pod, limits, native, ..
    } = *question;
    let mut room = Room {
        resource,
        least: 0,
        limit: Cap::NONE,
        request: Cap::NONE,
        ratios: Vec::new(),
    };
    let sums = [Field::Limits, Field::Requests].map(|field| sum(pod, limits, field, resource, native));
    let budgets = [Field::Limits, Field::Requests].map(|field| match is_budgeted(pod, resource) {
        true => budget(pod, field, resource),
        false => None,
    });
    if is_budgeted(pod, resource) {
        if let Some(most) = budgets[0] {
            room.limit.lower(most, By::Budget);
        }
        // Without a request of its own, the pod's becomes what its containers request, and without those its limit.
        let requested = (sums[1].before > 0).then_some(sums[1].before);
        if let Some(most) = budgets[1].or(requested).or(budgets[0]) {
            room.request.lower(most.saturating_sub(sums[1].beside), By::Budget);
        }
    }
    for range in limits.ranges.iter().map(AsRef::as_ref) {
        let (each, all) = (&range.containers, &range.pods);
        room.least = room.least.max(each.min.get(resource).copied().unwrap_or_default());
        if let Some(most) = each.max.get(resource) {
            room.limit.lower(*most, By::Container(range));
        }
        if let Some(most) = each.ratio.get(resource).copied().filter(|most| *most > 0) {
            let (beside, by) = ((0, 0), By::Container(range));
            room.ratios.push(Ratio { most, beside, by });
        }
        // A budget stands for the sum.
        for ((cap, Sum { before, beside }), budget) in
            [&mut room.limit, &mut room.request].into_iter().zip(sums).zip(budgets)
        {
            if let Some(most) = all
                .max
                .get(resource)
                .filter(|most| budget.is_none() && before <= **most)
            {
                cap.lower(most.saturating_sub(beside), By::Pod(range));
            }
        }
        if let Some(most) = all.ratio.get(resource).copied().filter(|most| *most > 0) {
            let by = By::Pod(range);
            let ratio = |beside| Ratio { most, beside, by };
            match budgets {
                [None, None] if ratio((sums[0].before, sums[1].before)).request_for(0) == 0 => {
                    room.ratios.push(ratio((sums[0].beside, sums[1].beside)));
                }
                // Whatever we request, the pod requests its budget.
                [None, Some(requests)] => {
                    let limits = ratio((0, 0)).limit_for(requests);
                    if sums[0].before <= limits {
                        room.limit.lower(limits.saturating_sub(sums[0].beside), by);
                    }
                }
                _ => {}
            }
        }
    }
    let overhead = pod.spec.get("overhead").and_then(|overhead| overhead.get(resource));
    let overhead = overhead.and_then(Quantity::of).map_or(0, |quantity| quantity.nano());
    for (quota, is_new) in quotas(question) {
        let keys = [
            (0, format!("limits.{resource}")),
            (1, format!("requests.{resource}")),
            (1, resource.to_owned()),
        ];
        for (index, key) in keys {
            let Some(left) = quota.left(&key).filter(|_| budgets[index].is_none()) else {
                continue;
            };
            let Sum { before, beside } = sums[index];
            if is_new || before + overhead <= left {
                let cap = if index == 0 { &mut room.limit } else { &mut room.request };
                cap.lower(left.saturating_sub(beside + overhead), By::Quota(quota));
            }
        }
    }
    room
}

/// Quotas that count the pod with the sidecar, and whether they did not without.
fn quotas<'a>(question: &Question<'a>) -> impl Iterator<Item = (&'a Quota, bool)> {
    let spec = question.pod.spec;
    let before = Traits {
        terminating: spec
            .get("activeDeadlineSeconds")
            .is_some_and(|seconds| !seconds.is_null()),
        best_effort: is_best_effort(question.pod),
        priority_class: spec
            .get("priorityClassName")
            .and_then(Value::as_str)
            .filter(|name| !name.is_empty()),
    };
    let after = Traits {
        best_effort: false,
        ..before
    };
    let quotas = question.limits.quotas.iter().map(AsRef::as_ref);
    quotas
        .filter(move |quota| quota.matches(after))
        .map(move |quota| (quota, !quota.matches(before)))
}

/// A pod of class BestEffort becomes one of those that a quota counts: is there a place for it, and does it ask nothing of the
/// app's containers that they do not state?
pub(super) fn best_effort(question: &Question<'_>) -> Result<(), Skip> {
    let has_no_place = |quota: &&Quota| {
        let full = |key: &&str| quota.left(key).is_some_and(|left| left < NANO);
        // What the app has of it, this quota did not count before.
        let exceeded = |(key, field): (&str, Field)| {
            let has = || sum(question.pod, question.limits, field, STORAGE, question.native).before;
            quota.left(key).is_some_and(|left| has() > left)
        };
        let storage = [
            ("limits.ephemeral-storage", Field::Limits),
            ("requests.ephemeral-storage", Field::Requests),
            ("ephemeral-storage", Field::Requests),
        ];
        ["pods", "count/pods"].iter().any(full)
            || storage.into_iter().any(exceeded)
            || DEMANDED.iter().any(|key| quota.hard.contains_key(*key))
    };
    let newly = quotas(question).filter_map(|(quota, is_new)| is_new.then_some(quota));
    match newly.into_iter().find(has_no_place) {
        None => Ok(()),
        Some(quota) => Err(Skip::new(
            SkipReason::ResourceQuota,
            format!(
                "ResourceQuota {} has no place for a pod that is not BestEffort, and the sidecar's requests would make it one; give the app \
                 requests and limits, or change the quota",
                shown(&quota.name)
            ),
        )),
    }
}

impl By<'_> {
    /// As it is called in a sentence.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Nothing => "the namespace".to_owned(),
            Self::Container(range) | Self::Pod(range) => format!("LimitRange {}", shown(&range.name)),
            Self::Quota(quota) => format!("ResourceQuota {}", shown(&quota.name)),
            Self::Budget => "spec.resources of the pod".to_owned(),
        }
    }

    /// Why there is no sidecar: `left` of `resource`, and it needs `needs`.
    pub(super) fn refusal(&self, resource: &str, left: u128, needs: u128) -> Skip {
        let [left, needs] = [left, needs].map(Quantity::from_nano);
        let by = self.name();
        let (reason, detail) = match self {
            Self::Quota(_) => (
                SkipReason::ResourceQuota,
                format!(
                    "{by} leaves {left} of {resource} and the sidecar needs {needs}; raise it, or make room, and create the pod again"
                ),
            ),
            Self::Pod(_) => (
                SkipReason::LimitRange,
                format!(
                    "{by} leaves {left} of {resource} beside the containers of the pod and the sidecar needs {needs}; lower those of the app, \
                     or raise max of type Pod"
                ),
            ),
            Self::Budget => (
                SkipReason::LimitRange,
                format!(
                    "{by} leave {left} of {resource} and a LimitRange demands {needs} for the sidecar; raise spec.resources, or lower its min"
                ),
            ),
            Self::Container(_) | Self::Nothing => (
                SkipReason::LimitRange,
                format!(
                    "{by} allows a container {left} of {resource} and the sidecar needs {needs}; raise max of type Container"
                ),
            ),
        };
        Skip::new(reason, detail)
    }
}
