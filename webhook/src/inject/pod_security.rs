//! The Pod Security level for which the sidecar's rights are planned.

use serde_json::Value;

use crate::choices::PodSecurityLevel;
use crate::pod::PodView;
use crate::rights;
use crate::settings::{Facts, InjectSettings};

/// What the namespace enforces, as its admission will see it.
pub(super) fn enforced(facts: &Facts, settings: &InjectSettings) -> PodSecurityLevel {
    // Unknown: a pod that the level does not admit would be refused because of us.
    let Some(labels) = &facts.namespace_labels else {
        return PodSecurityLevel::Restricted;
    };
    match labels.get(PodSecurityLevel::ENFORCE).map(String::as_str) {
        None => settings.default_pod_security_level,
        // The admission takes a value that it does not know for restricted.
        Some(value) => named(value).unwrap_or(PodSecurityLevel::Restricted),
    }
}

/// The same, and of the levels that the namespace warns of or audits those that the pod keeps without us.
pub(super) fn heeded(pod: &PodView<'_>, facts: &Facts, settings: &InjectSettings) -> PodSecurityLevel {
    let enforced = enforced(facts, settings);
    let labels = facts.namespace_labels.iter();
    // Here the admission takes a value that it does not know for none.
    let told = labels.flat_map(|labels| PodSecurityLevel::TOLD.iter().filter_map(|key| named(labels.get(*key)?)));
    let told = told.filter(|level| *level > enforced && rights::keeps(pod, *level));
    told.max().unwrap_or(enforced)
}

fn named(value: &str) -> Option<PodSecurityLevel> {
    match value {
        "privileged" => Some(PodSecurityLevel::Privileged),
        "baseline" => Some(PodSecurityLevel::Baseline),
        "restricted" => Some(PodSecurityLevel::Restricted),
        _ => None,
    }
}

/// An AppArmor profile of the node's that containers without one of their own inherit. It was made for the app and may not
/// even let the sidecar start.
pub(super) fn inherits_app_armor(pod: &PodView<'_>) -> bool {
    const OURS: &str = "container.apparmor.security.beta.kubernetes.io/sideflame";
    let profile = pod
        .spec
        .get("securityContext")
        .and_then(|context| context.get("appArmorProfile"));
    let kind = profile.and_then(|profile| profile.get("type")).and_then(Value::as_str);
    // Field and annotation must not differ.
    kind == Some("Localhost") && pod.annotation(OURS).is_none()
}

/// The container's AppArmor profile is one of the node's.
pub(super) fn has_app_armor(pod: &PodView<'_>, container: &Value) -> bool {
    let of = |object: Option<&Value>| {
        let kind = object?.get("securityContext")?.get("appArmorProfile")?.get("type")?;
        kind.as_str().map(|kind| kind == "Localhost")
    };
    let key = format!(
        "container.apparmor.security.beta.kubernetes.io/{}",
        crate::pod::name(container)
    );
    let annotated = pod.annotation(&key).and_then(Value::as_str);
    of(Some(container))
        .or_else(|| annotated.map(|profile| profile.starts_with("localhost/")))
        .unwrap_or_else(|| inherits_app_armor(pod))
}
