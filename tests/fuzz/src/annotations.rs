//! The annotations of a pod: what cannot be understood is said in a sentence that can be shown, and what can has a patch that
//! applies and is not repeated.

use serde_json::{Map, Value, json};
use sideflame_webhook::annotations::{PREFIX, TABLE, read};
use sideflame_webhook::inject::{Decision, inject};

use crate::{Seed, golden, review};

/// An annotation per line, `key: value`; without a colon the value is no text.
pub(crate) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let annotations: Map<String, Value> = text
        .split('\n')
        .map(|line| match line.split_once(": ") {
            Some((key, value)) => (key.to_owned(), Value::from(value)),
            None => (line.to_owned(), Value::Null),
        })
        .collect();
    let reading = read(Some(&annotations));
    let said = reading.errors.len() + reading.warnings.len();
    assert!(said <= annotations.len() + 2);
    let mut pod = json!({
        "metadata": { "name": "shop", "annotations": annotations },
        "spec": { "containers": [{ "name": "app", "image": "shop" }, { "name": "proxy", "securityContext": { "runAsUser": 7 } }] },
    });
    let (settings, facts) = (golden::settings(), golden::facts());
    let warnings = match inject(&pod, &settings, &facts) {
        Decision::Inject(injection) => {
            json_patch::patch(&mut pod, &injection.patch).expect("a patch that applies");
            let again = inject(&pod, &settings, &facts);
            assert!(matches!(again, Decision::Skip(_)), "{again:?}");
            injection.warnings
        }
        Decision::Skip(skip) | Decision::Block(skip) => skip.warnings,
    };
    warnings.iter().for_each(|warning| review::check_warning(warning));
}

pub(crate) fn seeds() -> Vec<Seed> {
    let line = |name: &str, value: &str| format!("{PREFIX}{name}: {value}\n");
    let asked = line("inject", "true");
    let good = [
        ("container", "app,proxy"),
        ("rights", "switch-user"),
        ("run-as-user", "1000"),
        ("run-as-group", "1000"),
        ("port", "7200"),
        ("events", "cpu,wall,alloc"),
        ("cpu-request", "100m"),
        ("cpu-limit", "1"),
        ("memory-request", "64Mi"),
        ("memory-limit", "128Mi"),
        ("capture-size", "1Gi"),
        ("tmp", "off"),
        ("token-secret", "token"),
        ("sidecar", "native"),
        ("on-error", "block"),
    ];
    let good: String = good.iter().map(|(name, value)| line(name, value)).collect();
    let bad: String = TABLE.iter().map(|row| line(row.name, "\u{1b}[31m no")).collect();
    vec![
        ("asked", asked.clone().into_bytes()),
        ("good", (asked.clone() + &good).into_bytes()),
        ("bad", (asked.clone() + &bad).into_bytes()),
        ("misspelt", (asked + &line("right", "auto") + &line("containers", "app")).into_bytes()),
    ]
}
