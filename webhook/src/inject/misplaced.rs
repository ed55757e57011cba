//! The commonest mistakes: the annotation on a workload instead of its pod template, or as a label.

use serde_json::{Map, Value};

use super::templates::{self, Place};
use crate::annotations::{self, INJECT, PREFIX, STATUS};

/// A warning for a workload of `kind` whose annotations do not do what their author meant; `None` if all is well or the
/// kind has no pod template.
pub fn misplaced(kind: &str, object: &Value) -> Option<String> {
    let api_version = object.get("apiVersion").and_then(Value::as_str);
    misplaced_in(templates::workload_of(api_version, kind)?.paths, kind, object)
}

/// The same for an object whose pod templates are at `paths`.
pub(crate) fn misplaced_in<P: AsRef<str>>(paths: &[P], kind: &str, object: &Value) -> Option<String> {
    let templates: Vec<Place<'_>> = paths
        .iter()
        .flat_map(|path| templates::at(object, path.as_ref()))
        .collect();
    let (steps, first) = templates.first()?;
    let annotated = |(_, template): &Place<'_>| {
        metadata(template, "annotations").is_some_and(|annotations| annotations.contains_key(INJECT))
    };
    let mut sentences = Vec::new();
    if !templates.iter().any(annotated) {
        let place = steps.join(".");
        let own = metadata(object, "annotations").and_then(ours);
        let label = metadata(first, "labels").filter(|labels| labels.contains_key(INJECT));
        if let Some(key) = own {
            sentences.push(format!(
                "{key} is an annotation of the {kind}, but pods get theirs from its template: move it to \
                 {place}.metadata.annotations"
            ));
        } else if label.is_some() {
            sentences.push(format!(
                "{INJECT} is a label of the pod template, but must be an annotation: move it to {place}.metadata.annotations"
            ));
        }
    }
    for (_, template) in &templates {
        let reading = annotations::read(metadata(template, "annotations"));
        sentences.extend(reading.errors);
        sentences.extend(reading.warnings);
    }
    (!sentences.is_empty()).then(|| sentences.join("; "))
}

fn metadata<'a>(object: &'a Value, field: &str) -> Option<&'a Map<String, Value>> {
    object.get("metadata")?.get(field)?.as_object()
}

/// The annotation of ours that shows the intent best.
fn ours(annotations: &Map<String, Value>) -> Option<&str> {
    if annotations.contains_key(INJECT) {
        return Some(INJECT);
    }
    let mut keys = annotations.keys().map(String::as_str);
    let key = keys.find(|key| key.starts_with(PREFIX) && *key != STATUS)?;
    // A warning is cut after 256 characters, and dropped with a control character.
    (key.len() <= 80 && !key.contains(char::is_control)).then_some(key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(own: Value, template: Value) -> Value {
        json!({
            "kind": "Deployment", "metadata": { "annotations": own },
            "spec": { "template": { "metadata": template, "spec": {} } },
        })
    }

    #[test]
    fn an_annotation_on_the_workload_alone_is_noticed() {
        let on = json!({ "sideflame.io/inject": "true" });
        let warning = misplaced("Deployment", &deployment(on.clone(), json!({}))).unwrap();
        assert!(warning.contains("spec.template.metadata.annotations"), "{warning}");
        let both = deployment(on.clone(), json!({ "annotations": on }));
        assert_eq!(misplaced("Deployment", &both), None);
        let port = json!({ "sideflame.io/port": "8000" });
        assert!(
            misplaced("Deployment", &deployment(port, json!({})))
                .unwrap()
                .contains("sideflame.io/port")
        );
    }

    #[test]
    fn a_cron_job_names_its_own_path() {
        let cron_job = json!({
            "metadata": { "annotations": { "sideflame.io/inject": "true" } },
            "spec": { "jobTemplate": { "spec": { "template": { "spec": {} } } } },
        });
        let warning = misplaced("CronJob", &cron_job).unwrap();
        assert!(
            warning.contains("spec.jobTemplate.spec.template.metadata.annotations"),
            "{warning}"
        );
    }

    #[test]
    fn a_label_and_bad_values_of_the_template_are_noticed() {
        let label = deployment(json!({}), json!({ "labels": { "sideflame.io/inject": "true" } }));
        assert!(
            misplaced("Deployment", &label)
                .unwrap()
                .contains("must be an annotation")
        );
        let bad = json!({ "annotations": { "sideflame.io/inject": "yes", "sideflame.io/prot": "1" } });
        let warning = misplaced("Deployment", &deployment(json!({}), bad)).unwrap();
        assert!(
            warning.contains("true or false") && warning.contains("sideflame.io/port?"),
            "{warning}"
        );
    }

    #[test]
    fn foreign_annotations_kinds_and_shapes_are_silent() {
        let foreign = deployment(json!({ "a": "b" }), json!({ "annotations": { "c": "d" } }));
        assert_eq!(misplaced("Deployment", &foreign), None);
        assert_eq!(
            misplaced(
                "ConfigMap",
                &deployment(json!({ "sideflame.io/inject": "true" }), json!({}))
            ),
            None
        );
        for odd in [
            json!(null),
            json!([]),
            json!({ "spec": 1 }),
            json!({ "metadata": 1, "spec": { "template": [] } }),
        ] {
            assert_eq!(misplaced("Deployment", &odd), None);
        }
    }
}
