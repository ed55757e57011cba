//! Collects minimal RFC 6902 operations: only `add`, never restating what is there.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation};
use serde_json::{Map, Value};

/// Operations in the making.
#[derive(Debug, Default)]
pub(super) struct PatchBuilder(Vec<PatchOperation>);

impl PatchBuilder {
    /// Adds `value` at the place that `path` names.
    pub(super) fn add(&mut self, path: &[&str], value: Value) {
        let path = PointerBuf::from_tokens(path.iter().copied());
        self.0.push(PatchOperation::Add(AddOperation { path, value }));
    }

    /// Puts `values` into the map at `path`, which is `present` or else is made.
    pub(super) fn add_entries(
        &mut self,
        path: &[&str],
        present: Option<&Map<String, Value>>,
        values: Map<String, Value>,
    ) {
        if present.is_none() {
            return self.add(path, Value::Object(values));
        }
        for (key, value) in values {
            self.add(&[path, &[&key]].concat(), value);
        }
    }

    /// Appends `values` to the list at `path`, which is made if it is missing, null or empty.
    pub(super) fn append(&mut self, path: &[&str], present: &[Value], values: Vec<Value>) {
        if values.is_empty() {
            return;
        }
        if present.is_empty() {
            return self.add(path, Value::Array(values));
        }
        for value in values {
            self.add(&[path, &["-"]].concat(), value);
        }
    }

    /// Puts `value` in front of the list at `path`, which is made if it is missing, null or empty.
    pub(super) fn prepend(&mut self, path: &[&str], present: &[Value], value: Value) {
        if present.is_empty() {
            return self.add(path, Value::Array(vec![value]));
        }
        self.add(&[path, &["0"]].concat(), value);
    }

    pub(super) fn finish(self) -> Patch {
        Patch(self.0)
    }
}
