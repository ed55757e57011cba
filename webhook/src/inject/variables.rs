//! Variables of the environment by which a runtime is told, at its start, what a capture cannot tell it later, where
//! annotations ask for them.
//!
//! The only place that looks at `env` of the app, and only for these names: what it adds must replace nothing. Called by `inject`.

use serde_json::{Value, json};

use super::patch::PatchBuilder;
use crate::annotations::{Annotations, shown};
use crate::container::{DOTNET_DIRECTORY, DOTNET_PORT};
use crate::pod::{PodView, items, name};
use crate::rights::Advice;

/// The names, of which `admission::lean` keeps whether they are there.
pub(crate) const NAMES: [&str; 4] = [JVM_OPTIONS, DOTNET_SAMPLING, DOTNET_PORTS, OLD_DOTNET_PORTS];

const JVM_OPTIONS: &str = "JAVA_TOOL_OPTIONS";
/// Milliseconds, as all of CoreCLR's numbers in hexadecimal; known to .NET 10 and 11 (dotnet/runtime#127292, #128843).
const DOTNET_SAMPLING: &str = "DOTNET_EventPipeThreadSamplingRate";
/// Sockets to which .NET 5 and later connect.
const DOTNET_PORTS: &str = "DOTNET_DiagnosticPorts";
/// The same, which the one above would hide.
const OLD_DOTNET_PORTS: &str = "COMPlus_DiagnosticPorts";

/// One that is to be added.
#[derive(Debug)]
pub(super) struct Variable {
    name: &'static str,
    /// Another name that means the same.
    or: Option<&'static str>,
    /// It says something of what is mounted here.
    directory: Option<&'static str>,
    value: String,
    /// Stable key in `sideflame.io/status`, where it is stated already.
    stated: &'static str,
}

/// Those that `annotations` ask for.
pub(super) fn wanted(annotations: &Annotations<'_>) -> Vec<Variable> {
    let debug_info = annotations.jvm_debug_info.then(|| Variable {
        name: JVM_OPTIONS,
        or: None,
        directory: None,
        value: "-XX:+UnlockDiagnosticVMOptions -XX:+DebugNonSafepoints".to_owned(),
        stated: "jvm_options_stated",
    });
    let sampling = annotations.dotnet_sampling.map(|milliseconds| Variable {
        name: DOTNET_SAMPLING,
        or: None,
        directory: None,
        value: format!("{milliseconds:X}"),
        stated: "dotnet_sampling_stated",
    });
    let port = annotations.dotnet_port.then(dotnet_port);
    debug_info.into_iter().chain(sampling).chain(port).collect()
}

/// `nosuspend`: without it the runtime would wait at its start until somebody resumes it.
fn dotnet_port() -> Variable {
    Variable {
        name: DOTNET_PORTS,
        or: Some(OLD_DOTNET_PORTS),
        directory: Some(DOTNET_DIRECTORY),
        value: format!("{DOTNET_PORT},connect,nosuspend"),
        stated: "dotnet_port_stated",
    }
}

/// Those of the containers with these indices that are told the port of the sidecar.
pub(super) fn with_dotnet_port(pod: &PodView<'_>, chosen: &[usize], annotations: &Annotations<'_>) -> Vec<usize> {
    let port = dotnet_port();
    let chosen = chosen.iter().copied().filter(|_| annotations.dotnet_port);
    chosen
        .filter(|index| stated(&pod.containers[*index], &port).is_none())
        .collect()
}

/// A sentence for each of the containers with these indices that is left as it is.
pub(super) fn advice<'a>(
    pod: &PodView<'a>,
    chosen: &'a [usize],
    variables: &'a [Variable],
) -> impl Iterator<Item = Advice> {
    variables.iter().flat_map(move |variable| {
        chosen.iter().filter_map(move |index| {
            let container = &pod.containers[*index];
            let by = stated(container, variable)?;
            let Variable {
                name: variable_name,
                value,
                ..
            } = variable;
            let container = shown(name(container));
            Some(Advice {
                key: variable.stated,
                text: format!(
                    "container {container}: {by} {variable_name}, so it is left as it is; for {value} add it there"
                ),
            })
        })
    })
}

/// Adds each variable to those of the containers that do not have it.
pub(super) fn add(pod: &PodView<'_>, chosen: &[usize], variables: &[Variable], patch: &mut PatchBuilder) {
    for index in chosen {
        let container = &pod.containers[*index];
        let missing = variables
            .iter()
            .filter(|variable| stated(container, variable).is_none());
        let added: Vec<Value> = missing
            .map(|variable| json!({ "name": variable.name, "value": variable.value }))
            .collect();
        if !added.is_empty() {
            let path = ["spec", "containers", &index.to_string(), "env"];
            patch.append(&path, items(container, "env"), added);
        }
    }
}

/// What gives the container the variable already, or could.
fn stated(container: &Value, wanted: &Variable) -> Option<&'static str> {
    let has_it = |variable: &Value| name(variable) == wanted.name || Some(name(variable)) == wanted.or;
    let is_there = |mount: &Value| {
        let path = mount.get("mountPath").and_then(Value::as_str).unwrap_or_default();
        Some(path.trim_end_matches('/')) == wanted.directory
    };
    if items(container, "volumeMounts").iter().any(is_there) {
        return Some("a volume of its own is mounted at the place of");
    }
    match container.get("env") {
        None | Some(Value::Null) => {}
        Some(Value::Array(variables)) if !variables.iter().any(has_it) => {}
        Some(_) => return Some("it sets"),
    }
    // A variable of `env` hides the one of the same name that comes from here.
    let sources = !items(container, "envFrom").is_empty();
    sources.then_some("its envFrom may set")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(container: Value) -> (Value, usize) {
        let mut pod = json!({ "spec": { "containers": [{ "name": "other" }, container] } });
        let view = PodView::new(&pod).unwrap();
        let mut patch = PatchBuilder::default();
        let wanted = wanted(&Annotations {
            jvm_debug_info: true,
            dotnet_sampling: Some(10),
            dotnet_port: true,
            ..Annotations::default()
        });
        add(&view, &[1], &wanted, &mut patch);
        let advice = advice(&view, &[1], &wanted).count();
        let patch = patch.finish();
        json_patch::patch(&mut pod, &patch).unwrap();
        assert_eq!(pod["spec"]["containers"][0], json!({ "name": "other" }));
        (pod["spec"]["containers"][1]["env"].clone(), advice)
    }

    fn jvm() -> Value {
        json!({ "name": JVM_OPTIONS, "value": "-XX:+UnlockDiagnosticVMOptions -XX:+DebugNonSafepoints" })
    }

    fn dotnet() -> Value {
        json!({ "name": DOTNET_SAMPLING, "value": "A" })
    }

    fn port() -> Value {
        json!({ "name": DOTNET_PORTS, "value": "/sideflame-dotnet/port.sock,connect,nosuspend" })
    }

    #[test]
    fn the_variables_come_after_those_that_are_there() {
        let one = json!({ "name": "A", "value": "b" });
        for (container, expected) in [
            (json!({ "name": "app" }), json!([jvm(), dotnet(), port()])),
            (json!({ "name": "app", "env": null }), json!([jvm(), dotnet(), port()])),
            (
                json!({ "name": "app", "env": [], "envFrom": [] }),
                json!([jvm(), dotnet(), port()]),
            ),
            (
                json!({ "name": "app", "env": [one] }),
                json!([one, jvm(), dotnet(), port()]),
            ),
        ] {
            assert_eq!(patched(container), (expected, 0));
        }
    }

    #[test]
    fn what_the_container_states_or_may_get_is_left_and_said() {
        let value = json!({ "name": JVM_OPTIONS, "value": "-Xmx1g" });
        assert_eq!(
            patched(json!({ "name": "app", "env": [value] })),
            (json!([value, dotnet(), port()]), 1)
        );
        let reference =
            json!({ "name": DOTNET_SAMPLING, "valueFrom": { "configMapKeyRef": { "name": "a", "key": "b" } } });
        let old = json!({ "name": OLD_DOTNET_PORTS, "value": "/diag/monitor.sock" });
        let all = json!([value, { "name": "A" }, reference, old]);
        assert_eq!(patched(json!({ "name": "app", "env": all })), (all, 3));
        let from = json!({ "name": "app", "envFrom": [{ "configMapRef": { "name": "a" } }] });
        assert_eq!(patched(from), (Value::Null, 3));
    }

    #[test]
    fn no_runtime_is_told_a_port_where_something_else_is_mounted() {
        let mounts = json!([{ "name": "own", "mountPath": "/sideflame-dotnet/" }]);
        let container = json!({ "name": "app", "volumeMounts": mounts });
        assert_eq!(patched(container), (json!([jvm(), dotnet()]), 1));
    }

    #[test]
    fn nothing_is_added_unasked() {
        assert!(wanted(&Annotations::default()).is_empty());
    }
}
