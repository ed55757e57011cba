//! Finds the pods in an object of a manifest: a pod, the template of a workload, the items of a list.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation};
use serde_json::Value;

use crate::annotations::plain;
use crate::inject::misplaced::{misplaced, template_path};
use crate::inject::{Decision, inject};
use crate::settings::{Facts, InjectSettings};

/// A decision about one pod of the input.
#[derive(Debug)]
pub(super) struct Decided {
    /// E.g. `deployment/shop`.
    pub name: String,
    pub decision: Decision,
    /// Of workloads whose annotations are in the wrong place.
    pub misplaced: Option<String>,
}

/// What was decided about all pods of one document.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    /// Operations on the whole document.
    pub patch: Vec<PatchOperation>,
    pub decided: Vec<Decided>,
}

/// Decides about every pod in `object`. Other objects have none.
pub(super) fn decide(object: &Value, settings: &InjectSettings, facts: &Facts) -> Decisions {
    let mut decisions = Decisions::default();
    if object.get("kind").and_then(Value::as_str) == Some("List") {
        let items = object.get("items").and_then(Value::as_array);
        for (index, item) in items.into_iter().flatten().enumerate() {
            let path = vec!["items".to_owned(), index.to_string()];
            one(item, path, settings, facts, &mut decisions);
        }
    } else {
        one(object, Vec::new(), settings, facts, &mut decisions);
    }
    decisions
}

fn one(object: &Value, mut path: Vec<String>, settings: &InjectSettings, facts: &Facts, decisions: &mut Decisions) {
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    let steps = match kind {
        "Pod" => &[][..],
        _ => match template_path(kind) {
            Some(steps) => steps,
            None => return,
        },
    };
    let Some(pod) = steps.iter().try_fold(object, |place, step| place.get(step)) else {
        return;
    };
    path.extend(steps.iter().map(|step| (*step).to_owned()));
    let of = |field: &str| {
        object
            .get("metadata")
            .and_then(|metadata| metadata.get(field)?.as_str())
    };
    let mut facts = facts.clone();
    if facts.namespace.is_empty() {
        facts.namespace = of("namespace").unwrap_or_default().to_owned();
    }
    let decision = inject(pod, settings, &facts);
    if let Decision::Inject(injection) = &decision {
        decisions.patch.extend(moved(&injection.patch, &path));
    }
    decisions.decided.push(Decided {
        name: format!(
            "{}/{}",
            kind.to_lowercase(),
            plain(of("name").or_else(|| of("generateName")).unwrap_or("?"))
        ),
        decision,
        misplaced: misplaced(kind, object),
    });
}

/// The same operations below `path`.
fn moved<'a>(patch: &'a Patch, path: &'a [String]) -> impl Iterator<Item = PatchOperation> + use<'a> {
    patch.0.iter().map(move |operation| {
        let mut place = PointerBuf::from_tokens(path.iter().map(String::as_str));
        place.append(operation.path());
        match operation {
            PatchOperation::Add(add) => PatchOperation::Add(AddOperation {
                path: place,
                value: add.value.clone(),
            }),
            // The injector only adds.
            other => other.clone(),
        }
    })
}
