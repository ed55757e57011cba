//! A ResourceQuota.

use super::Amounts;
use super::wire::{Scope, Wire};

/// The API has five, and each of them once.
const MOST_SCOPES: usize = 8;
/// Priority classes that are looked at.
const MOST_VALUES: usize = 16;

/// What all pods of a namespace, or those of some scopes, may have together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quota {
    /// Its name.
    pub name: Box<str>,
    /// At most.
    pub hard: Amounts,
    /// By the API server's own count, which it decides by.
    pub used: Amounts,
    scopes: Vec<Scope>,
}

/// What scopes ask of a pod.
#[derive(Debug, Clone, Copy)]
pub struct Traits<'a> {
    /// It has a deadline.
    pub terminating: bool,
    /// No container asks for CPU or memory.
    pub best_effort: bool,
    /// `priorityClassName`
    pub priority_class: Option<&'a str>,
}

impl From<Wire> for Quota {
    fn from(wire: Wire) -> Self {
        let named = wire.spec.scopes.into_iter().map(|scope_name| Scope {
            scope_name,
            operator: "Exists".into(),
            values: Vec::new(),
        });
        let mut selected = wire.spec.scope_selector.unwrap_or_default().match_expressions;
        selected.iter_mut().for_each(|scope| scope.values.truncate(MOST_VALUES));
        Self {
            name: wire.metadata.name,
            hard: wire.spec.hard,
            used: wire.status.used,
            scopes: named.chain(selected).take(MOST_SCOPES).collect(),
        }
    }
}

impl Quota {
    /// Whether it holds for a pod with these traits. A scope that we do not know is taken to hold, so that no pod is refused
    /// because of us.
    pub fn matches(&self, traits: Traits<'_>) -> bool {
        self.scopes.iter().all(|scope| match &*scope.scope_name {
            "Terminating" => traits.terminating,
            "NotTerminating" => !traits.terminating,
            "BestEffort" => traits.best_effort,
            "NotBestEffort" => !traits.best_effort,
            "PriorityClass" => {
                let listed = || {
                    let class = traits.priority_class.unwrap_or_default();
                    scope.values.iter().any(|value| **value == *class)
                };
                match &*scope.operator {
                    "In" => listed(),
                    "NotIn" => !listed(),
                    "DoesNotExist" => traits.priority_class.is_none(),
                    _ => traits.priority_class.is_some(),
                }
            }
            _ => true,
        })
    }

    /// What is left of a resource; `None` if it is not counted, or not known yet.
    pub fn left(&self, resource: &str) -> Option<u128> {
        let (hard, used) = (self.hard.get(resource)?, self.used.get(resource)?);
        Some(hard.saturating_sub(*used))
    }
}
