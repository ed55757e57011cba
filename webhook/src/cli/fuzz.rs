//! Doors for `tests/fuzz` to what the `inject` command does to its input. Only with the feature `fuzzing`.

use json_patch::Patch;
use serde_json::Value;

use super::documents;
use super::object::decide;
use crate::settings::{Facts, InjectSettings};

/// The documents of a stream, each with its text if that was YAML; `None` if it is no such stream.
pub fn documents(input: &str) -> Option<Vec<(Option<String>, Value)>> {
    let documents = documents::parse(input).ok()?;
    Some(
        documents
            .into_iter()
            .map(|document| (document.text, document.value))
            .collect(),
    )
}

/// A YAML stream; `None` if a value cannot be written.
pub fn yaml(documents: impl Iterator<Item = (Option<String>, Value)>) -> Option<String> {
    documents::yaml(documents).ok()
}

/// The operations on one object.
pub fn patch(object: &Value, settings: &InjectSettings, facts: &Facts) -> Patch {
    Patch(decide(object, settings, facts).patch)
}
