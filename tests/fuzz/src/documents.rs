//! Manifests that `inject` reads and prints: what is written is read back, and a second injection adds nothing.

use serde_json::Value;
use sideflame_webhook::cli::fuzz::{documents, patch, yaml};

use crate::{Seed, golden};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Some(mut documents) = documents(text) else { return };
    let size: usize = documents.iter().map(|(_, value)| value.to_string().len()).sum();
    assert!(size <= (1 << 20) + 1024 * bytes.len(), "{size} bytes of JSON of {}", bytes.len());
    written(&documents);
    let (settings, facts) = (golden::settings(), golden::facts());
    for (text, value) in &mut documents {
        let operations = patch(value, &settings, &facts);
        if operations.0.is_empty() {
            continue;
        }
        json_patch::patch(value, &operations).expect("a patch that applies");
        *text = None;
        assert_eq!(patch(value, &settings, &facts).0, [], "a second injection");
    }
    written(&documents);
}

/// As they would be printed, and all of them anew.
fn written(documents: &[(Option<String>, Value)]) {
    let values = |all: &[(Option<String>, Value)]| all.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>();
    let expected = values(documents);
    for text in [
        yaml(documents.iter().cloned()),
        yaml(expected.iter().map(|value| (None, value.clone()))),
    ] {
        let text = text.expect("YAML");
        let again = self::documents(&text).unwrap_or_else(|| panic!("not read again: {text}"));
        assert_eq!(values(&again), expected, "{text}");
    }
}

pub(crate) fn seeds() -> Vec<Seed> {
    let mut seeds = golden::manifests();
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec:\n  template:\n    metadata:\n      annotations: \
                      {sideflame.io/inject: 'true'}\n    spec:\n      containers:\n      - name: app\n        image: shop:1\n";
    seeds.extend([
        ("deployment", deployment.as_bytes().to_vec()),
        (
            "stream",
            b"---\na: 1\n---\n---\n# nothing\n--- {b: [2, ~, yes]}\n".to_vec(),
        ),
        (
            "scalars",
            b"mode: 0400\nbig: 9223372036854775807\nyes: 'true'\nx: |\n  block\n  text\ny: >-\n  folded\n  text\nz: &a {b: 1}\nw: *a\nf: 1.5e3\n"
                .to_vec(),
        ),
        ("json", b"{\"kind\":\"List\",\"items\":[{\"kind\":\"Pod\"}]}\n{\"a\": [2]}".to_vec()),
    ]);
    seeds
}
