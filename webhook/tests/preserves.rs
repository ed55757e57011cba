//! Injection adds and never changes: over generated pods with unknown fields at every level, the result minus our additions
//! is the original byte for byte, and a second injection is empty. Whatever JSON comes, nothing panics.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};
use sideflame_webhook::inject::{Decision, SkipReason, inject};
use sideflame_webhook::settings::{Facts, InjectSettings};

/// The settings of flags without any argument.
fn settings() -> InjectSettings {
    #[derive(clap::Parser)]
    struct Flags {
        #[command(flatten)]
        settings: InjectSettings,
    }
    let flags = [
        "sideflame-webhook",
        "--sidecar-image-pull-secrets",
        "sideflame-registry",
    ];
    <Flags as clap::Parser>::parse_from(flags).settings
}

fn facts(version: (u32, u32)) -> Facts {
    Facts {
        namespace: "shop".to_owned(),
        namespace_labels: Some([].into()),
        server_version: Some(version),
        ..Facts::default()
    }
}

/// Any JSON, big integers and odd strings included.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "[a-z/~.\" é\\\\]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            vec(("[a-zA-Z/~]{1,6}", inner), 0..3).prop_map(|entries| entries.into_iter().collect()),
        ]
    })
}

/// A field with a known name, sometimes absent or null.
fn field(name: &'static str, value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Option<(String, Value)>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some((name.to_owned(), Value::Null))),
        6 => value.prop_map(move |value| Some((name.to_owned(), value))),
    ]
    .boxed()
}

fn always(name: &'static str, value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Option<(String, Value)>> {
    value.prop_map(move |value| Some((name.to_owned(), value))).boxed()
}

/// A map of the given fields in any order, and up to two unknown ones.
fn object(fields: Vec<BoxedStrategy<Option<(String, Value)>>>) -> impl Strategy<Value = Value> {
    let unknown = vec(("x[a-zA-Z]{1,6}", json_value()), 0..3);
    (fields.prop_shuffle(), unknown).prop_map(|(fields, unknown)| {
        let mut map = Map::new();
        let mut unknown = unknown.into_iter();
        map.extend(unknown.next());
        map.extend(fields.into_iter().flatten());
        map.extend(unknown);
        Value::Object(map)
    })
}

fn one_of(values: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop::sample::select(values).prop_map(Value::from)
}

fn named(prefix: &'static str) -> impl Strategy<Value = Value> {
    "[a-z]{1,4}".prop_map(move |rest| Value::from(format!("{prefix}{rest}")))
}

fn security_context() -> impl Strategy<Value = Value> {
    object(vec![
        field(
            "runAsUser",
            prop::sample::select(&[0_u32, 1000, 2000][..]).prop_map(Value::from),
        ),
        field(
            "runAsGroup",
            prop::sample::select(&[0_u32, 1000][..]).prop_map(Value::from),
        ),
        field("runAsNonRoot", any::<bool>().prop_map(Value::from)),
        field("readOnlyRootFilesystem", any::<bool>().prop_map(Value::from)),
        field("privileged", prop::bool::weighted(0.1).prop_map(Value::from)),
        field(
            "capabilities",
            object(vec![
                field(
                    "add",
                    vec(one_of(&["NET_ADMIN", "CHOWN", "ALL", "FUTURE"]), 0..2).prop_map(Value::from),
                ),
                field("drop", vec(one_of(&["ALL", "NET_RAW"]), 0..2).prop_map(Value::from)),
            ]),
        ),
    ])
}

fn containers(least: usize) -> impl Strategy<Value = Value> {
    let mount = object(vec![
        always("name", named("data-")),
        always("mountPath", one_of(&["/data", "/tmp", "/tmp/x"])),
    ]);
    let container = object(vec![
        always("name", named("app-")),
        field("image", named("shop:")),
        field("securityContext", security_context()),
        field("volumeMounts", vec(mount, 0..2).prop_map(Value::from)),
        field("env", vec(json_value(), 0..3).prop_map(Value::from)),
        field(
            "ports",
            vec(
                object(vec![always("containerPort", (1_u16..).prop_map(Value::from))]),
                0..2,
            )
            .prop_map(Value::from),
        ),
        field(
            "resources",
            object(vec![
                field(
                    "requests",
                    object(vec![
                        field("cpu", one_of(&["1", "100m"])),
                        field("memory", one_of(&["1Gi"])),
                    ]),
                ),
                field(
                    "limits",
                    object(vec![
                        field("cpu", one_of(&["1"])),
                        field("memory", one_of(&["1Gi", "1024Mi"])),
                    ]),
                ),
            ]),
        ),
    ]);
    vec(container, least..3).prop_map(Value::from)
}

fn annotations() -> impl Strategy<Value = Value> {
    object(vec![
        always("sideflame.io/inject", Just(Value::from("true"))),
        field(
            "sideflame.io/rights",
            one_of(&["auto", "same-user", "switch-user", "unconfined", "perf"]),
        )
        .prop_map(real)
        .boxed(),
        field("sideflame.io/sidecar", one_of(&["auto", "native", "container"]))
            .prop_map(real)
            .boxed(),
        field("sideflame.io/token-secret", one_of(&["token"]))
            .prop_map(real)
            .boxed(),
        field("sideflame.io/jvm-debug-info", one_of(&["true", "false"]))
            .prop_map(real)
            .boxed(),
        field("sideflame.io/dotnet-sampling", one_of(&["5ms", "100ms"]))
            .prop_map(real)
            .boxed(),
        field("sideflame.io/dotnet-port", one_of(&["true", "false"]))
            .prop_map(real)
            .boxed(),
        field("sideflame.io/metrics-port", one_of(&["7118", "7119"]))
            .prop_map(real)
            .boxed(),
        field("kubectl.kubernetes.io/default-container", one_of(&["app"])),
        field(EVICTABLE, one_of(&["", "data-a", "data-a, data-b"])),
    ])
}

/// Annotations of ours with null are refused; most pods should be injected.
fn real(entry: Option<(String, Value)>) -> Option<(String, Value)> {
    entry.filter(|(_, value)| !value.is_null())
}

fn pod() -> impl Strategy<Value = Value> {
    let metadata = object(vec![
        field("name", named("shop-")),
        field("labels", object(vec![field("app", named("shop-"))])),
        always("annotations", annotations()),
    ]);
    let spec = object(vec![
        always("containers", containers(1)),
        field("initContainers", containers(0)),
        field(
            "volumes",
            vec(object(vec![always("name", named("data-"))]), 0..3).prop_map(Value::from),
        ),
        field(
            "imagePullSecrets",
            vec(object(vec![always("name", named("secret-"))]), 0..2).prop_map(Value::from),
        ),
        field("shareProcessNamespace", Just(Value::from(true))),
        field("securityContext", security_context()),
        field("hostUsers", any::<bool>().prop_map(Value::from)),
        field("hostNetwork", any::<bool>().prop_map(Value::from)),
        field("automountServiceAccountToken", any::<bool>().prop_map(Value::from)),
    ]);
    object(vec![
        field("apiVersion", Just(Value::from("v1"))),
        field("kind", Just(Value::from("Pod"))),
        always("metadata", metadata),
        always("spec", spec),
    ])
}

const EVICTABLE: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";

/// Where something may be added that was not there.
fn may_add(path: &str, key: &str) -> bool {
    match path {
        "/metadata" => ["labels", "annotations"].contains(&key),
        "/metadata/labels" => ["sideflame.io/injected", "sideflame.io/version"].contains(&key),
        "/metadata/annotations" => [
            "sideflame.io/status",
            "kubectl.kubernetes.io/default-container",
            EVICTABLE,
        ]
        .contains(&key),
        "/spec" => ["shareProcessNamespace", "volumes", "initContainers", "imagePullSecrets"].contains(&key),
        _ => {
            path.starts_with("/spec/containers/")
                && path.matches('/').count() == 3
                && ["volumeMounts", "env"].contains(&key)
        }
    }
}

fn is_ours(item: &Value) -> bool {
    const ADDED: [&str; 3] = [
        "JAVA_TOOL_OPTIONS",
        "DOTNET_EventPipeThreadSamplingRate",
        "DOTNET_DiagnosticPorts",
    ];
    item.get("name")
        .and_then(Value::as_str)
        .is_some_and(|name| name.starts_with("sideflame") || ADDED.contains(&name))
}

/// `after` without what may be added to `before`. Knows nothing of patches.
fn without_additions(path: &str, after: &Value, before: &Value) -> Value {
    match (after, before) {
        (Value::Object(after), Value::Object(before)) => {
            let kept = after
                .iter()
                .filter(|(key, _)| before.contains_key(*key) || !may_add(path, key));
            kept.map(|(key, value)| {
                let original = before.get(key).unwrap_or(&Value::Null);
                (
                    key.clone(),
                    without_additions(&format!("{path}/{key}"), value, original),
                )
            })
            .collect()
        }
        (Value::Array(after), Value::Array(before)) => {
            let kept = after.iter().filter(|item| !is_ours(item));
            let before = before.iter().chain(std::iter::repeat(&Value::Null));
            kept.zip(before)
                .enumerate()
                .map(|(index, (item, original))| without_additions(&format!("{path}/{index}"), item, original))
                .collect()
        }
        // The one list inside a string.
        (Value::String(_), Value::Null) if path.ends_with(EVICTABLE) => Value::Null,
        (Value::String(list), Value::String(stated)) if path.ends_with(EVICTABLE) => {
            let kept = list.find(",sideflame-").map_or(list.as_str(), |end| &list[..end]);
            // Blanks alone name nothing, and made room.
            let was_blank = kept.starts_with("sideflame-") && stated.trim().is_empty();
            Value::from(if was_blank { stated.as_str() } else { kept })
        }
        // A null that made room for something of ours.
        (_, Value::Null) => match path.rsplit_once('/') {
            Some((parent, key)) if may_add(parent, key) => match after {
                Value::Array(items) if !items.iter().all(is_ours) => after.clone(),
                Value::Object(map) if !map.keys().all(|key| may_add(path, key)) => after.clone(),
                _ => Value::Null,
            },
            _ => after.clone(),
        },
        _ => after.clone(),
    }
}

#[test]
fn injection_adds_and_never_changes() {
    const CASES: u32 = 10_000;
    let settings = settings();
    let injected = std::cell::Cell::new(0_u32);
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    });
    let versions = prop_oneof![Just((1, 28)), Just((1, 33))];
    let checked = runner.run(&(pod(), versions), |(pod, version)| {
        let facts = facts(version);
        let Decision::Inject(injection) = inject(&pod, &settings, &facts) else {
            return Ok(());
        };
        injected.set(injected.get() + 1);
        let mut after = pod.clone();
        json_patch::patch(&mut after, &injection.patch).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_ne!(&after, &pod);
        prop_assert_eq!(without_additions("", &after, &pod).to_string(), pod.to_string());
        match inject(&after, &settings, &facts) {
            Decision::Skip(skip) => prop_assert_eq!(skip.reason, SkipReason::AlreadyInjected),
            other => prop_assert!(false, "{:?}", other),
        }
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
    assert!(
        injected.get() > CASES * 3 / 4,
        "only {} of {CASES} pods were injected",
        injected.get()
    );
}

/// Replaces the value that `steps` lead to.
fn spoil(place: &mut Value, steps: &[prop::sample::Index], with: Value) {
    let Some((step, rest)) = steps.split_first() else {
        *place = with;
        return;
    };
    let size = match place {
        Value::Object(map) => map.len(),
        Value::Array(items) => items.len(),
        _ => 0,
    };
    if size == 0 {
        *place = with;
        return;
    }
    let index = step.index(size);
    let inner = match place {
        Value::Object(map) => map.values_mut().nth(index),
        Value::Array(items) => items.get_mut(index),
        _ => None,
    };
    if let Some(inner) = inner {
        spoil(inner, rest, with);
    }
}

#[test]
fn no_json_makes_it_panic_and_every_patch_applies() {
    let settings = settings();
    let mut runner = TestRunner::new(Config {
        cases: 10_000,
        failure_persistence: None,
        ..Config::default()
    });
    let steps = vec(any::<prop::sample::Index>(), 0..6);
    let checked = runner.run(&(pod(), steps, json_value()), |(mut pod, steps, with)| {
        spoil(&mut pod, &steps, with);
        if let Decision::Inject(injection) = inject(&pod, &settings, &facts((1, 33))) {
            let mut after = pod.clone();
            json_patch::patch(&mut after, &injection.patch).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(without_additions("", &after, &pod).to_string(), pod.to_string());
        }
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
}
