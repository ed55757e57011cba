//! The options by which a JVM keeps what tells inlined methods apart, where `sideflame.io/jvm-debug-info` asks for them.
//!
//! The only place that looks at `env` of the app, and only for one name: what it adds must replace nothing. Called by `inject`.

use serde_json::{Value, json};

use super::patch::PatchBuilder;
use crate::annotations::shown;
use crate::pod::{PodView, items, name};
use crate::rights::Advice;

const VARIABLE: &str = "JAVA_TOOL_OPTIONS";
const OPTIONS: &str = "-XX:+UnlockDiagnosticVMOptions -XX:+DebugNonSafepoints";
/// Stable key in `sideflame.io/status`.
const KEY: &str = "jvm_options_stated";

/// A sentence for each of the containers with these indices that is left as it is.
pub(super) fn advice(pod: &PodView<'_>, chosen: &[usize]) -> Vec<Advice> {
    let stated = chosen.iter().filter_map(|index| {
        let container = &pod.containers[*index];
        stated(container).map(|by| (shown(name(container)), by))
    });
    let sentence = |(container, by)| Advice {
        key: KEY,
        text: format!("container {container}: {by}, so it is left as it is; for {OPTIONS} add them there"),
    };
    stated.map(sentence).collect()
}

/// Adds the variable to those of the containers that do not have it.
pub(super) fn add(pod: &PodView<'_>, chosen: &[usize], patch: &mut PatchBuilder) {
    for index in chosen {
        let container = &pod.containers[*index];
        if stated(container).is_none() {
            let variable = json!({ "name": VARIABLE, "value": OPTIONS });
            let path = ["spec", "containers", &index.to_string(), "env"];
            patch.append(&path, items(container, "env"), vec![variable]);
        }
    }
}

/// What gives the container the variable already, or could.
fn stated(container: &Value) -> Option<&'static str> {
    let has_it = |variable: &Value| name(variable) == VARIABLE;
    match container.get("env") {
        None | Some(Value::Null) => {}
        Some(Value::Array(variables)) if !variables.iter().any(has_it) => {}
        Some(_) => return Some("it sets JAVA_TOOL_OPTIONS itself"),
    }
    // A variable of `env` hides the one of the same name that comes from here.
    let sources = !items(container, "envFrom").is_empty();
    sources.then_some("its envFrom may set JAVA_TOOL_OPTIONS")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(container: Value) -> (Value, usize) {
        let mut pod = json!({ "spec": { "containers": [{ "name": "other" }, container] } });
        let view = PodView::new(&pod).unwrap();
        let mut patch = PatchBuilder::default();
        add(&view, &[1], &mut patch);
        let advice = advice(&view, &[1]).len();
        let patch = patch.finish();
        json_patch::patch(&mut pod, &patch).unwrap();
        assert_eq!(pod["spec"]["containers"][0], json!({ "name": "other" }));
        (pod["spec"]["containers"][1]["env"].clone(), advice)
    }

    #[test]
    fn the_variable_comes_after_those_that_are_there() {
        let ours = json!({ "name": VARIABLE, "value": OPTIONS });
        let one = json!({ "name": "A", "value": "b" });
        for (container, expected) in [
            (json!({ "name": "app" }), json!([ours])),
            (json!({ "name": "app", "env": null }), json!([ours])),
            (json!({ "name": "app", "env": [], "envFrom": [] }), json!([ours])),
            (json!({ "name": "app", "env": [one] }), json!([one, ours])),
        ] {
            assert_eq!(patched(container), (expected, 0));
        }
    }

    #[test]
    fn what_the_container_states_or_may_get_is_left_and_said() {
        let value = json!({ "name": VARIABLE, "value": "-Xmx1g" });
        let reference = json!({ "name": VARIABLE, "valueFrom": { "configMapKeyRef": { "name": "a", "key": "b" } } });
        for env in [json!([value]), json!([{ "name": "A" }, reference])] {
            assert_eq!(patched(json!({ "name": "app", "env": env })), (env, 1));
        }
        let from = json!({ "name": "app", "envFrom": [{ "configMapRef": { "name": "a" } }] });
        assert_eq!(patched(from), (Value::Null, 1));
    }
}
