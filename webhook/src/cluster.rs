//! What is known about the cluster, kept beside the critical path: a decision reads it and never waits for it.
//!
//! Must not know HTTP. Filled by `namespaces`, `sidecars` and the version task of `cli::serve`; read by `admission`.

mod unpulled;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use k8s_openapi::api::core::v1;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::store::{Store, Writer};
use kube::runtime::reflector::{self, ObjectRef};

use crate::limits::{ByNamespace, LimitRange, Limits, Quota};
use crate::settings::Facts;
pub use unpulled::UnpulledImages;

/// What is asked for of a namespace: metadata.
pub type Namespace = PartialObjectMeta<v1::Namespace>;

/// Annotation of OpenShift: the users of the namespace, `first/count` or `first-last`.
pub(crate) const UID_RANGE: &str = "openshift.io/sa.scc.uid-range";

/// The user that a namespace with these annotations has assigned to containers which state none.
pub fn assigned_user(annotations: &BTreeMap<String, String>) -> Option<u32> {
    let range = annotations.get(UID_RANGE)?;
    let first = range.split(['/', '-']).next()?.trim();
    first.parse().ok().filter(|first| *first > 0)
}

/// The latest state of the watch, and the version of the API server.
#[derive(Debug)]
pub struct ClusterFacts {
    namespaces: Store<Namespace>,
    version: RwLock<Option<(u32, u32)>>,
    /// LimitRanges of all namespaces.
    pub ranges: ByNamespace<LimitRange>,
    /// ResourceQuotas of all namespaces.
    pub quotas: ByNamespace<Quota>,
    /// Images of sidecars that a node could not pull, where that is watched.
    pub unpulled: UnpulledImages,
}

impl ClusterFacts {
    /// Nothing is known; what is written by the second half will be.
    pub fn new() -> (Self, Writer<Namespace>) {
        let (namespaces, writer) = reflector::store();
        let facts = Self {
            namespaces,
            version: RwLock::default(),
            ranges: ByNamespace::default(),
            quotas: ByNamespace::default(),
            unpulled: UnpulledImages::default(),
        };
        (facts, writer)
    }

    /// What is known at this moment for a request of `namespace`.
    pub fn of(&self, namespace: &str) -> Facts {
        let known = self.namespaces.get(&ObjectRef::new(namespace));
        Facts {
            namespace: namespace.to_owned(),
            assigned_user: known
                .as_ref()
                .and_then(|namespace| assigned_user(namespace.annotations())),
            namespace_labels: known.map(|namespace| namespace.labels().clone()),
            server_version: *self.version.read().unwrap_or_else(PoisonError::into_inner),
            limits: Limits {
                ranges: self.ranges.of(namespace),
                quotas: self.quotas.of(namespace),
            },
            unpulled_image: self.unpulled.of(namespace, SystemTime::now()),
        }
    }

    /// Names of the namespaces with this label.
    pub fn labelled(&self, label: &str, value: &str) -> BTreeSet<String> {
        let has = |namespace: &&Arc<Namespace>| namespace.labels().get(label).is_some_and(|found| found == value);
        let state = self.namespaces.state();
        state.iter().filter(has).map(|namespace| namespace.name_any()).collect()
    }

    /// How many namespaces are known.
    pub fn known(&self) -> usize {
        self.namespaces.len()
    }

    /// Takes the version of the API server; true if it is another one.
    pub fn set_version(&self, version: (u32, u32)) -> bool {
        let mut known = self.version.write().unwrap_or_else(PoisonError::into_inner);
        known.replace(version) != Some(version)
    }
}

/// `1` and `34+`, as `/version` writes them.
pub fn parse_version(major: &str, minor: &str) -> Option<(u32, u32)> {
    let number = |text: &str| {
        let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
        text.get(..end)?.parse().ok()
    };
    Some((number(major)?, number(minor)?))
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;

    use super::*;

    fn namespace(labels: &[(&str, &str)]) -> Namespace {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        serde_json::from_value(serde_json::json!({"metadata": {"name": "shop", "labels": labels}})).unwrap()
    }

    #[test]
    fn an_unknown_namespace_is_none_and_one_without_labels_is_empty() {
        let (facts, mut writer) = ClusterFacts::new();
        assert_eq!(facts.of("shop").namespace_labels, None);
        writer.apply_watcher_event(&Event::Apply(namespace(&[])));
        assert_eq!(facts.of("shop").namespace_labels, Some(BTreeMap::new()));
        writer.apply_watcher_event(&Event::Apply(namespace(&[("a", "b")])));
        assert_eq!(facts.of("shop").namespace_labels.unwrap()["a"], "b");
        writer.apply_watcher_event(&Event::Delete(namespace(&[])));
        assert_eq!(facts.of("shop").namespace_labels, None);
        assert_eq!(facts.of("shop").namespace, "shop");
    }

    #[test]
    fn the_first_user_of_a_range_is_assigned() {
        for (range, expected) in [
            ("1000650000/10000", Some(1_000_650_000)),
            ("1000650000-1000659999", Some(1_000_650_000)),
            ("0/1", None),
            ("many", None),
        ] {
            let annotations = BTreeMap::from([(UID_RANGE.to_owned(), range.to_owned())]);
            assert_eq!(assigned_user(&annotations), expected, "{range}");
        }
    }

    #[test]
    fn versions_of_vendors_are_read() {
        assert_eq!(parse_version("1", "34"), Some((1, 34)));
        assert_eq!(parse_version("1", "31+"), Some((1, 31)));
        assert_eq!(parse_version("1", ""), None);
        let facts = ClusterFacts::new().0;
        assert!(facts.set_version((1, 33)) && facts.set_version((1, 34)) && !facts.set_version((1, 34)));
        assert_eq!(facts.of("x").server_version, Some((1, 34)));
    }
}
