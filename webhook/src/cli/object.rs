//! Finds the pods in an object of a manifest: a pod, the templates of a workload, the items of a list, of any depth.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation};
use serde_json::Value;

use crate::annotations::{INJECT, plain};
use crate::inject::misplaced::misplaced_in;
use crate::inject::templates::{self, Place};
use crate::inject::{Decision, inject};
use crate::settings::{Facts, InjectSettings};

/// A decision about one pod of the input.
#[derive(Debug)]
pub(super) struct Decided {
    /// E.g. `deployment/shop`.
    pub name: String,
    pub decision: Decision,
    /// Sentences on the object that the pod is in.
    pub notes: Vec<String>,
}

/// What was decided about all pods of one document.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    /// Operations on the whole document.
    pub patch: Vec<PatchOperation>,
    pub decided: Vec<Decided>,
    /// A sentence on each object that asks for the sidecar where it is not known which pods are meant.
    pub unknown: Vec<String>,
}

/// What is decided by.
#[derive(Debug)]
pub(super) struct Rules {
    pub settings: InjectSettings,
    pub facts: Facts,
    /// Where the pod templates of kinds are that are not known, e.g. `spec.groups[*].template`.
    pub template_paths: Vec<String>,
}

/// What an item need not say, as its list says it.
#[derive(Debug, Clone, Copy)]
struct OfList<'a> {
    kind: Option<&'a str>,
    api_version: Option<&'a str>,
}

impl Rules {
    /// Decides about every pod in `object`. Other objects have none.
    pub(super) fn decide(&self, object: &Value) -> Decisions {
        let mut decisions = Decisions::default();
        let no_list = OfList {
            kind: None,
            api_version: None,
        };
        self.object(object, no_list, &[], &mut decisions);
        decisions
    }

    fn object(&self, object: &Value, list: OfList<'_>, path: &[String], decisions: &mut Decisions) {
        let text = |field: &str| object.get(field).and_then(Value::as_str);
        let kind = text("kind").or(list.kind).unwrap_or_default();
        let api_version = text("apiVersion").or(list.api_version);
        if let (Some(of), Some(Value::Array(items))) = (kind.strip_suffix("List"), object.get("items")) {
            let list = OfList {
                kind: Some(of).filter(|of| !of.is_empty()),
                api_version: api_version.filter(|_| !of.is_empty()),
            };
            for (index, item) in items.iter().enumerate() {
                let path = [path, &["items".to_owned(), index.to_string()]].concat();
                self.object(item, list, &path, decisions);
            }
            return;
        }
        let object = Object {
            object,
            kind,
            api_version,
        };
        if kind == "Pod" {
            return self.pods(&object, vec![(Vec::new(), object.object)], path, decisions);
        }
        let workload = templates::workload_of(api_version, kind);
        let known: Vec<&str> = match workload {
            Some(workload) => workload.paths.to_vec(),
            None => self.template_paths.iter().map(String::as_str).collect(),
        };
        let places: Vec<Place<'_>> = known
            .iter()
            .flat_map(|path| templates::at(object.object, path))
            .collect();
        if places.is_empty() {
            decisions.unknown.extend(object.unknown());
            return;
        }
        let from = decisions.decided.len();
        self.pods(&object, places, path, decisions);
        let decided = decisions.decided.get_mut(from..).unwrap_or_default();
        let injected = |decided: &&mut Decided| matches!(decided.decision, Decision::Inject(_));
        if let (Some(caveat), Some(decided)) = (
            workload.and_then(|workload| workload.caveat),
            decided.iter_mut().find(injected),
        ) {
            decided.notes.push(caveat.to_owned());
        }
        if let (Some(misplaced), Some(decided)) = (misplaced_in(&known, kind, object.object), decided.first_mut()) {
            decided.notes.push(misplaced);
        }
    }

    fn pods(&self, object: &Object<'_>, places: Vec<Place<'_>>, path: &[String], decisions: &mut Decisions) {
        let mut facts = self.facts.clone();
        if facts.namespace.is_empty() {
            object
                .metadata("namespace")
                .unwrap_or_default()
                .clone_into(&mut facts.namespace);
        }
        let several = places.len() > 1;
        for (steps, pod) in places {
            let decision = inject(pod, &self.settings, &facts);
            let path = [path, &steps].concat();
            if let Decision::Inject(injection) = &decision {
                decisions.patch.extend(moved(&injection.patch, &path));
            }
            let mut name = object.name();
            if several {
                name = format!("{name} {}", steps.join("."));
            }
            decisions.decided.push(Decided {
                name,
                decision,
                notes: Vec::new(),
            });
        }
    }
}

/// One object of the input, and what it is.
struct Object<'a> {
    object: &'a Value,
    kind: &'a str,
    api_version: Option<&'a str>,
}

impl Object<'_> {
    fn metadata(&self, field: &str) -> Option<&str> {
        self.object.get("metadata")?.get(field)?.as_str()
    }

    fn name(&self) -> String {
        let name = self.metadata("name").or_else(|| self.metadata("generateName"));
        format!("{}/{}", plain(&self.kind.to_lowercase()), plain(name.unwrap_or("?")))
    }

    /// A sentence on an object that asks for the sidecar, without a pod template that is known.
    fn unknown(&self) -> Option<String> {
        let places = annotated(self.object, Vec::new());
        let place = places.iter().find(|place| !place.is_empty()).or(places.first())?;
        let name = self.name();
        if self.api_version.map(templates::group) == Some("tekton.dev") {
            return Some(format!(
                "{name}: not injected here: Tekton makes its pods from steps and gives them the annotations of a Task or TaskRun; the \
                 webhook injects those pods"
            ));
        }
        let known = "the pod templates of this kind are not known";
        Some(if place.is_empty() {
            format!(
                "{name}: not injected: {INJECT} is an annotation of it, but {known}; annotate the template, and name it by --template-path"
            )
        } else {
            let path = place.join(".").replace(".[*]", "[*]");
            format!("{name}: not injected: {path} is annotated, but {known}; add --template-path {path}")
        })
    }
}

/// The steps to everything with metadata that has our annotation.
fn annotated(value: &Value, steps: Vec<String>) -> Vec<Vec<String>> {
    let mut places = Vec::new();
    let annotation = value
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations")?.get(INJECT));
    if annotation.is_some() {
        places.push(steps.clone());
    }
    let below = |step: &str| [&steps[..], &[step.to_owned()]].concat();
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                places.extend(annotated(value, below(key)));
            }
        }
        Value::Array(items) => {
            for item in items {
                places.extend(annotated(item, below("[*]")));
            }
        }
        _ => {}
    }
    places
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
