//! Objects by namespace and name, read while a watch changes them.
//!
//! kube's reflector has one map for all of a kind: every review would walk through those of all namespaces.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Objects kept. Of a namespace beyond, nothing is known, as without the right to watch. One takes about a kilobyte.
const MOST: usize = 20_000;
/// Of one namespace that a review looks at.
const MOST_AT_ONCE: usize = 16;

/// Of one namespace.
type Named<T> = BTreeMap<Box<str>, Arc<T>>;

/// The objects of one kind.
#[derive(Debug)]
pub struct ByNamespace<T> {
    kept: RwLock<BTreeMap<Box<str>, Named<T>>>,
}

impl<T> Default for ByNamespace<T> {
    fn default() -> Self {
        let kept = RwLock::default();
        Self { kept }
    }
}

impl<T> ByNamespace<T> {
    /// Those of `namespace`.
    pub fn of(&self, namespace: &str) -> Vec<Arc<T>> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let named = kept.get(namespace).into_iter().flat_map(BTreeMap::values);
        named.take(MOST_AT_ONCE).map(Arc::clone).collect()
    }

    /// Takes a complete list.
    pub fn replace(&self, all: impl IntoIterator<Item = (Box<str>, Box<str>, Arc<T>)>) {
        let mut kept: BTreeMap<Box<str>, Named<T>> = BTreeMap::new();
        for (namespace, name, object) in all.into_iter().take(MOST) {
            kept.entry(namespace).or_default().insert(name, object);
        }
        let mut old = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *old, &mut kept);
    }

    /// Takes one that is new or changed.
    pub fn put(&self, namespace: Box<str>, name: Box<str>, object: Arc<T>) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let known = kept.get(&namespace).is_some_and(|named| named.contains_key(&name));
        if known || kept.values().map(BTreeMap::len).sum::<usize>() < MOST {
            kept.entry(namespace).or_default().insert(name, object);
        }
    }

    /// Forgets one.
    pub fn remove(&self, namespace: &str, name: &str) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(named) = kept.get_mut(namespace) {
            named.remove(name);
            if named.is_empty() {
                kept.remove(namespace);
            }
        }
    }
}
