//! Where the pod templates of workloads are.
//!
//! Must not know what is done with them. Called by `misplaced` and by `cli::object`.

use serde_json::Value;

/// A kind with pod templates.
#[derive(Debug)]
pub(crate) struct Workload {
    groups: &'static [&'static str],
    kind: &'static str,
    /// As `--template-path` has them; the first is where most of the pods come from.
    pub(crate) paths: &'static [&'static str],
    /// What is between a manifest with a sidecar and its pods.
    pub(crate) caveat: Option<&'static str>,
}

/// An object that says no group may be of these.
const BUILT_IN: [&str; 3] = ["", "apps", "batch"];

const fn workload(groups: &'static [&'static str], kind: &'static str, paths: &'static [&'static str]) -> Workload {
    Workload {
        groups,
        kind,
        paths,
        caveat: None,
    }
}

const fn knative(kind: &'static str) -> Workload {
    Workload {
        caveat: Some(
            "Knative takes this only with its features kubernetes.podspec-shareprocessnamespace and \
             kubernetes.podspec-init-containers; the webhook, which sees the pods, needs neither",
        ),
        ..workload(&["serving.knative.dev"], kind, &["spec.template"])
    }
}

/// Every kind that is known.
static WORKLOADS: [Workload; 19] = [
    workload(&[""], "PodTemplate", &["template"]),
    workload(&["apps", "extensions"], "Deployment", &["spec.template"]),
    workload(&["apps", "apps.kruise.io"], "StatefulSet", &["spec.template"]),
    workload(
        &["apps", "extensions", "apps.kruise.io"],
        "DaemonSet",
        &["spec.template"],
    ),
    workload(&["apps", "extensions"], "ReplicaSet", &["spec.template"]),
    workload(&[""], "ReplicationController", &["spec.template"]),
    workload(&["batch"], "Job", &["spec.template"]),
    workload(&["batch"], "CronJob", &["spec.jobTemplate.spec.template"]),
    workload(&["apps.kruise.io"], "CloneSet", &["spec.template"]),
    workload(&["argoproj.io"], "Rollout", &["spec.template"]),
    workload(&["apps.openshift.io", ""], "DeploymentConfig", &["spec.template"]),
    knative("Service"),
    knative("Configuration"),
    workload(&["batch.volcano.sh"], "Job", &["spec.tasks[*].template"]),
    workload(
        &["jobset.x-k8s.io"],
        "JobSet",
        &["spec.replicatedJobs[*].template.spec.template"],
    ),
    workload(
        &["leaderworkerset.x-k8s.io"],
        "LeaderWorkerSet",
        &[
            "spec.leaderWorkerTemplate.workerTemplate",
            "spec.leaderWorkerTemplate.leaderTemplate",
        ],
    ),
    workload(
        &["ray.io"],
        "RayCluster",
        &["spec.headGroupSpec.template", "spec.workerGroupSpecs[*].template"],
    ),
    workload(
        &["ray.io"],
        "RayJob",
        &[
            "spec.rayClusterSpec.headGroupSpec.template",
            "spec.rayClusterSpec.workerGroupSpecs[*].template",
            "spec.submitterPodTemplate",
        ],
    ),
    workload(
        &["ray.io"],
        "RayService",
        &[
            "spec.rayClusterConfig.headGroupSpec.template",
            "spec.rayClusterConfig.workerGroupSpecs[*].template",
        ],
    ),
];

/// The workload that objects of this `apiVersion` and kind are.
pub(crate) fn workload_of(api_version: Option<&str>, kind: &str) -> Option<&'static Workload> {
    let group = api_version.map(group);
    WORKLOADS.iter().find(|workload| {
        let fits = |known: &&str| group.map_or(BUILT_IN.contains(known), |group| group == *known);
        workload.kind == kind && workload.groups.iter().any(fits)
    })
}

/// The group of an `apiVersion`.
pub(crate) fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// A pod template in an object: the steps to it, and itself.
pub(crate) type Place<'a> = (Vec<String>, &'a Value);

/// What is at `path`, e.g. `spec.groups[*].template`. `[*]` is every item of a list; null is like nothing.
pub(crate) fn at<'a>(object: &'a Value, path: &str) -> Vec<Place<'a>> {
    let mut places = vec![(Vec::new(), object)];
    for step in path.split('.') {
        let (name, items) = match step.strip_suffix("[*]") {
            Some(name) => (name, true),
            None => (step, false),
        };
        let mut next = Vec::new();
        for (mut steps, value) in places {
            let Some(value) = value.get(name).filter(|value| !value.is_null()) else {
                continue;
            };
            steps.push(name.to_owned());
            if !items {
                next.push((steps, value));
                continue;
            }
            for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                let mut steps = steps.clone();
                steps.push(index.to_string());
                next.push((steps, item));
            }
        }
        places = next;
    }
    places
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(api_version: Option<&str>, kind: &str) -> Option<&'static [&'static str]> {
        workload_of(api_version, kind).map(|workload| workload.paths)
    }

    #[test]
    fn a_kind_of_another_group_is_another_kind() {
        assert_eq!(paths(Some("v1"), "Service"), None);
        assert_eq!(paths(None, "Service"), None);
        assert_eq!(
            paths(Some("serving.knative.dev/v1"), "Service"),
            Some(&["spec.template"][..])
        );
        assert_eq!(paths(Some("batch/v1"), "Job"), Some(&["spec.template"][..]));
        assert_eq!(paths(None, "Job"), Some(&["spec.template"][..]));
        assert_eq!(
            paths(Some("batch.volcano.sh/v1alpha1"), "Job"),
            Some(&["spec.tasks[*].template"][..])
        );
        assert_eq!(paths(Some("example.org/v1"), "Deployment"), None);
    }

    #[test]
    fn a_path_leads_to_every_item_of_its_lists() {
        let object = json!({ "a": [{ "b": 1 }, { "c": 2 }, { "b": null }, { "b": 3 }] });
        let places: Vec<(String, &Value)> = at(&object, "a[*].b")
            .into_iter()
            .map(|(steps, value)| (steps.join("/"), value))
            .collect();
        assert_eq!(
            places,
            [("a/0/b".to_owned(), &json!(1)), ("a/3/b".to_owned(), &json!(3))]
        );
        assert_eq!(at(&object, "a.b"), []);
        assert_eq!(at(&object, "b[*]"), []);
    }
}
