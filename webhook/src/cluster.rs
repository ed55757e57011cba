//! What is known about the cluster, kept beside the critical path: a decision reads it and never waits for it.
//!
//! Must not know HTTP. Filled by `namespaces` and by the version task of `cli::serve`; read by `admission`.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::settings::Facts;

/// Labels of one namespace, only those that decide something. A map would take half a kilobyte for each namespace.
pub type NamespaceLabels = Box<[(Box<str>, Box<str>)]>;

/// The latest state of the watch, and the version of the API server.
#[derive(Debug, Default)]
pub struct ClusterFacts {
    namespaces: RwLock<HashMap<Box<str>, NamespaceLabels>>,
    version: RwLock<Option<(u32, u32)>>,
}

impl ClusterFacts {
    /// What is known at this moment for a request of `namespace`.
    pub fn of(&self, namespace: &str) -> Facts {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        let labels = namespaces.get(namespace).map(|labels| {
            let labels = labels.iter();
            labels
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect()
        });
        Facts {
            namespace: namespace.to_owned(),
            namespace_labels: labels,
            server_version: *self.version.read().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Takes a complete list. Returns how many there are.
    pub fn replace(&self, all: HashMap<Box<str>, NamespaceLabels>) -> usize {
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        *namespaces = all;
        namespaces.len()
    }

    /// Takes one namespace, or forgets it. Returns how many there are.
    pub fn update(&self, name: &str, labels: Option<NamespaceLabels>) -> usize {
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        match labels {
            Some(labels) => namespaces.insert(name.into(), labels),
            None => namespaces.remove(name),
        };
        namespaces.len()
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
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn an_unknown_namespace_is_none_and_one_without_labels_is_empty() {
        let facts = ClusterFacts::default();
        assert_eq!(facts.of("shop").namespace_labels, None);
        facts.update("shop", Some(Box::default()));
        assert_eq!(facts.of("shop").namespace_labels, Some(BTreeMap::new()));
        facts.update("shop", Some([("a".into(), "b".into())].into()));
        assert_eq!(facts.of("shop").namespace_labels.unwrap()["a"], "b");
        facts.update("shop", None);
        assert_eq!(facts.of("shop").namespace_labels, None);
        assert_eq!(facts.of("shop").namespace, "shop");
    }

    #[test]
    fn versions_of_vendors_are_read() {
        assert_eq!(parse_version("1", "34"), Some((1, 34)));
        assert_eq!(parse_version("1", "31+"), Some((1, 31)));
        assert_eq!(parse_version("1", ""), None);
        let facts = ClusterFacts::default();
        assert!(facts.set_version((1, 33)) && facts.set_version((1, 34)) && !facts.set_version((1, 34)));
        assert_eq!(facts.of("x").server_version, Some((1, 34)));
    }
}
