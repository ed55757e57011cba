//! Which nodes a pod can run on, as far as it says so: the sidecar needs Linux, and an architecture that its image has.
//!
//! A pod that could run on either kind of node gets the sidecar.

use serde_json::Value;

use super::skip::{Skip, SkipReason};
use crate::annotations::shown;
use crate::pod::{PodView, items};

const OS: [&str; 2] = ["kubernetes.io/os", "beta.kubernetes.io/os"];
const ARCHITECTURE: [&str; 2] = ["kubernetes.io/arch", "beta.kubernetes.io/arch"];
/// Only Windows nodes have it.
const WINDOWS_BUILD: &str = "node.kubernetes.io/windows-build";

/// The pod is for Windows.
pub(super) fn windows(pod: &PodView<'_>) -> Option<Skip> {
    let os = pod.spec.get("os").and_then(|os| os.get("name")).and_then(Value::as_str);
    let linux = os == Some("linux") || selected(pod, &OS).any(|value| value == "linux");
    let class = pod
        .spec
        .get("runtimeClassName")
        .and_then(Value::as_str)
        .unwrap_or_default();
    // Names of Windows container runtimes: "windows-2022", "runhcs-wcow-hypervisor".
    let class = class.to_ascii_lowercase();
    let windows = os == Some("windows")
        || !can_run(pod, &OS, &["linux"])
        || !linux && (class.contains("windows") || class.contains("wcow") || has_windows_options(pod));
    windows.then(|| {
        Skip::new(
            SkipReason::Windows,
            "the pod is for Windows nodes and the sidecar for Linux; remove sideflame.io/inject, or set it to \"false\" in an \
             opted-in namespace",
        )
    })
}

/// Linux nodes ignore them, so nobody writes them for one; a HostProcess pod takes no other container.
fn has_windows_options(pod: &PodView<'_>) -> bool {
    let states = |object: Option<&Value>| {
        let options = object.and_then(|context| context.get("windowsOptions")?.as_object());
        options.is_some_and(|options| options.values().any(|value| !value.is_null()))
    };
    states(pod.spec.get("securityContext"))
        || pod
            .all_containers()
            .any(|container| states(container.get("securityContext")))
}

/// The pod is for nodes on which the image cannot run: a native sidecar there would hold the app for ever.
pub(super) fn architecture(pod: &PodView<'_>, ours: &[String]) -> Option<Skip> {
    let names: Vec<&str> = ours.iter().map(String::as_str).collect();
    (!can_run(pod, &ARCHITECTURE, &names)).then(|| {
        Skip::new(
            SkipReason::Architecture,
            format!(
                "the pod is for nodes of another architecture than the sidecar's image has ({}); with an image of your own, set \
                 --sidecar-architectures of the webhook",
                shown(&names.join(", "))
            ),
        )
    })
}

fn selected<'a>(pod: &PodView<'a>, keys: &'static [&str]) -> impl Iterator<Item = &'a str> + use<'a> {
    let selector = pod.spec.get("nodeSelector");
    keys.iter().filter_map(move |key| selector?.get(*key)?.as_str())
}

/// Whether there can be a node that the pod takes and whose label, one of `keys`, has one of the values `ours`.
fn can_run(pod: &PodView<'_>, keys: &'static [&str], ours: &[&str]) -> bool {
    let mut possible = ours.to_vec();
    for value in selected(pod, keys) {
        possible.retain(|ours| *ours == value);
    }
    let selects_build = pod
        .spec
        .get("nodeSelector")
        .and_then(|selector| selector.get(WINDOWS_BUILD));
    if possible.is_empty() || keys == OS && selects_build.is_some() {
        return false;
    }
    let affinity = pod
        .spec
        .get("affinity")
        .and_then(|affinity| affinity.get("nodeAffinity"));
    let required = affinity.and_then(|affinity| affinity.get("requiredDuringSchedulingIgnoredDuringExecution"));
    let terms = required.map_or(&[][..], |required| items(required, "nodeSelectorTerms"));
    // One of the terms is enough; of a term everything must hold.
    terms.is_empty()
        || terms.iter().any(|term| {
            let mut possible = possible.clone();
            for expression in items(term, "matchExpressions") {
                narrow(&mut possible, expression, keys);
            }
            !possible.is_empty()
        })
}

/// Drops the values that `expression` does not admit.
fn narrow(possible: &mut Vec<&str>, expression: &Value, keys: &[&str]) {
    let field = |name: &str| expression.get(name).and_then(Value::as_str).unwrap_or_default();
    let listed = |ours: &&str| {
        items(expression, "values")
            .iter()
            .any(|value| value.as_str() == Some(*ours))
    };
    let (key, operator) = (field("key"), field("operator"));
    if keys == OS && key == WINDOWS_BUILD && !["NotIn", "DoesNotExist"].contains(&operator) {
        possible.clear();
    } else if keys.contains(&key) {
        match operator {
            "In" => possible.retain(listed),
            "NotIn" => possible.retain(|ours| !listed(ours)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn is_for_windows(spec: Value) -> bool {
        let mut spec = spec;
        if spec.get("containers").is_none() {
            spec["containers"] = json!([{"name": "app"}]);
        }
        windows(&PodView::new(&json!({"spec": spec})).unwrap()).is_some()
    }

    fn terms(terms: Value) -> Value {
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
    }

    fn term(key: &str, operator: &str, values: Value) -> Value {
        json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]})
    }

    #[test]
    fn a_pod_that_only_windows_nodes_take_is_for_windows() {
        let os = "kubernetes.io/os";
        let windows = term(os, "In", json!(["windows"]));
        let options = json!({"windowsOptions": {"runAsUserName": "ContainerUser"}});
        for (spec, expected) in [
            (json!({}), false),
            (json!({"os": {"name": "windows"}}), true),
            (json!({"nodeSelector": {os: "windows"}}), true),
            (json!({"nodeSelector": {"beta.kubernetes.io/os": "windows"}}), true),
            (
                json!({"nodeSelector": {"node.kubernetes.io/windows-build": "10.0.20348"}}),
                true,
            ),
            (json!({"nodeSelector": {os: "linux"}}), false),
            (terms(json!([windows])), true),
            (terms(json!([term(os, "NotIn", json!(["linux"]))])), true),
            (
                terms(json!([term("node.kubernetes.io/windows-build", "Exists", json!([]))])),
                true,
            ),
            (
                terms(json!([term(
                    "node.kubernetes.io/windows-build",
                    "DoesNotExist",
                    json!([])
                )])),
                false,
            ),
            (terms(json!([term(os, "In", json!(["windows", "linux"]))])), false),
            (terms(json!([windows, term("zone", "In", json!(["a"]))])), false),
            (terms(json!([windows, windows])), true),
            (terms(json!([term(os, "Exists", json!([]))])), false),
            (json!({"runtimeClassName": "windows-2022"}), true),
            (json!({"runtimeClassName": "runhcs-wcow-hypervisor"}), true),
            (json!({"runtimeClassName": "gvisor"}), false),
            (json!({"securityContext": options}), true),
            (json!({"securityContext": {"windowsOptions": {}}}), false),
            (
                json!({"containers": [{"name": "app", "securityContext": options}]}),
                true,
            ),
            (
                json!({"os": {"name": "linux"}, "containers": [{"name": "app", "securityContext": options}]}),
                false,
            ),
            (
                json!({"nodeSelector": {os: "linux"}, "securityContext": options}),
                false,
            ),
            (json!({"tolerations": [{"key": "os", "value": "windows"}]}), false),
        ] {
            assert_eq!(is_for_windows(spec.clone()), expected, "{spec}");
        }
    }

    #[test]
    fn a_pod_for_other_architectures_than_the_images_is_left_alone() {
        let arch = "kubernetes.io/arch";
        let is_for_others = |mut spec: Value| {
            spec["containers"] = json!([{"name": "app"}]);
            let ours = ["amd64", "arm64"].map(str::to_owned);
            architecture(&PodView::new(&json!({"spec": spec})).unwrap(), &ours).is_some()
        };
        for (spec, expected) in [
            (json!({}), false),
            (json!({"nodeSelector": {arch: "s390x"}}), true),
            (json!({"nodeSelector": {arch: "arm64"}}), false),
            (terms(json!([term(arch, "In", json!(["ppc64le", "s390x"]))])), true),
            (terms(json!([term(arch, "In", json!(["ppc64le", "amd64"]))])), false),
            (terms(json!([term(arch, "NotIn", json!(["amd64"]))])), false),
            (terms(json!([term(arch, "NotIn", json!(["amd64", "arm64"]))])), true),
        ] {
            assert_eq!(is_for_others(spec.clone()), expected, "{spec}");
        }
        let mut both = terms(json!([term(arch, "In", json!(["amd64", "s390x"]))]));
        both["nodeSelector"] = json!({arch: "arm64"});
        assert!(is_for_others(both), "no node has two architectures");
    }
}
