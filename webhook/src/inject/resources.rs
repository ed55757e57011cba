//! Requests and limits of the sidecar, so that the pod keeps its class, its own sum, and its place in the namespace.
//!
//! Quotas refuse containers without them; a pod of class Guaranteed would lose its class (and its exclusive CPUs) by one
//! container whose request is not its limit; requests beyond those of the whole pod, or of a LimitRange, would get it refused.
//! `wanted` has what the sidecar asks for, `sums` what the pod has, `room` what is left, `fit` brings them together.

mod amounts;
mod exclusive;
mod fit;
mod room;
mod sums;
mod wanted;

use serde_json::{Map, Value};

use super::skip::Skip;
use crate::annotations::Annotations;
use crate::choices::Quantity;
use crate::limits::Limits;
use crate::pod::PodView;
use crate::rights::Advice;
use crate::settings::InjectSettings;
use fit::Share;
use wanted::Wanted;

/// Resources by which the API server and the kubelet measure a sidecar.
const CPU: &str = "cpu";
const MEMORY: &str = "memory";
const STORAGE: &str = "ephemeral-storage";

/// What the question is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub pod: &'a PodView<'a>,
    pub annotations: &'a Annotations<'a>,
    pub settings: &'a InjectSettings,
    /// Of the namespace.
    pub limits: &'a Limits,
    /// An init container in front of all others.
    pub native: bool,
}

/// The answer.
#[derive(Debug)]
pub(super) struct Resources {
    /// `resources` of the container; `None` where the pod has a budget for all its containers and nothing else is asked for.
    pub stated: Option<Value>,
    /// What the store may have.
    pub capture_size: Quantity,
    /// Where it is less than was asked for.
    pub advice: Vec<Advice>,
}

/// Finds resources with which the API server takes the pod, if it takes it without the sidecar.
pub(super) fn resources(question: &Question<'_>) -> Result<Resources, Skip> {
    exclusive::check(question.pod)?;
    let asked = question.annotations.capture_size.as_ref();
    let mut capture_size = asked.unwrap_or(&question.settings.sidecar_capture_size).clone();
    let mut requests = Map::new();
    let mut limits = Map::new();
    let mut advice = Vec::new();
    let wanted = wanted::wanted(question, &capture_size);
    room::best_effort(question)?;
    for wanted in &wanted {
        let room = room::room(question, wanted.resource);
        let Share { request, limit } = fit::fit(wanted, &room)?;
        if let Some(text) = fit::shortage(wanted, limit, &room) {
            let key = "resources_fitted";
            advice.push(Advice { key, text });
        }
        if wanted.resource == STORAGE
            && let (Some(had), Some(limit)) = (wanted.limit, limit)
            && limit < had
        {
            capture_size = wanted::capture_size(limit);
        }
        for (amount, asked, section) in [
            (request, &wanted.request_text, &mut requests),
            (limit, &wanted.limit_text, &mut limits),
        ] {
            if let Some(amount) = amount {
                section.insert(wanted.resource.to_owned(), Value::String(Wanted::text(asked, amount)));
            }
        }
    }
    let mut stated = Map::new();
    if !requests.is_empty() {
        stated.insert("requests".to_owned(), Value::Object(requests));
    }
    if !limits.is_empty() {
        stated.insert("limits".to_owned(), Value::Object(limits));
    }
    Ok(Resources {
        stated: (!stated.is_empty()).then_some(Value::Object(stated)),
        capture_size,
        advice,
    })
}
