//! Doors for `tests/fuzz` to what the `inject` command does to its input. Only with the feature `fuzzing`.

use json_patch::Patch;
use serde_json::Value;

use super::documents::{self, Document};
use super::object::Rules;
use crate::settings::{Facts, InjectSettings};

/// The documents of a stream, each with its text if that was YAML; `None` if one cannot be read.
pub fn documents(input: &str) -> Option<Vec<(Option<String>, Value)>> {
    documents::parse(input)
        .into_iter()
        .map(|document| Some((document.text, document.content.ok()?)))
        .collect()
}

/// A YAML stream; a document without a text is written anew. `None` if a value cannot be written.
pub fn yaml(documents: impl Iterator<Item = (Option<String>, Value)>) -> Option<String> {
    let documents: Vec<Document> = documents
        .map(|(text, value)| Document {
            line: 1,
            changed: text.is_none(),
            text,
            content: Ok(value),
            warnings: Vec::new(),
        })
        .collect();
    documents::yaml(&documents).ok()
}

/// The operations on one object.
pub fn patch(object: &Value, settings: &InjectSettings, facts: &Facts) -> Patch {
    let rules = Rules {
        settings: settings.clone(),
        facts: facts.clone(),
        template_paths: Vec::new(),
    };
    Patch(rules.decide(object).patch)
}
