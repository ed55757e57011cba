//! Whether the API server may send us requests, and if not, why.
//!
//! Must not know HTTP or Kubernetes. Written by `authority`, `namespaces` and `cli::serve`; read by `health` and `metrics`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The gate behind `/readyz`: closed with a reason until it is opened; closed for good by [`Readiness::drain`].
#[derive(Debug)]
pub struct Readiness {
    gate: Mutex<Gate>,
}

#[derive(Debug)]
struct Gate {
    /// Why we are not ready; `None` when we are.
    reason: Option<String>,
    draining: bool,
    /// What decisions have to do without, and why.
    unknown: BTreeMap<&'static str, String>,
}

impl Readiness {
    /// A closed gate.
    pub fn new(reason: &str) -> Self {
        let gate = Gate {
            reason: Some(reason.to_owned()),
            draining: false,
            unknown: BTreeMap::new(),
        };
        Self { gate: Mutex::new(gate) }
    }

    /// Opens or closes the gate; true if that changed anything.
    pub fn set(&self, state: Result<(), String>) -> bool {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = state.err();
        let changed = gate.reason != reason;
        gate.reason = reason;
        changed
    }

    /// Decisions have to do without `what`, or no longer have to. It closes no gate: a webhook that decides with less is better
    /// than none.
    pub fn set_unknown(&self, what: &'static str, why: Option<String>) {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        match why {
            Some(why) => drop(gate.unknown.insert(what, why)),
            None => drop(gate.unknown.remove(what)),
        }
    }

    /// A line for all that decisions have to do without; empty if nothing.
    pub fn unknown(&self) -> String {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = gate.unknown.iter();
        lines.map(|(what, why)| format!("unknown: {what}: {why}\n")).collect()
    }

    /// Closes the gate for good: the endpoint should be taken out of the service.
    pub fn drain(&self) {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).draining = true;
    }

    /// Why we are not ready; `None` when we are.
    pub fn reason(&self) -> Option<String> {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if gate.draining {
            return Some("shutting down".to_owned());
        }
        gate.reason.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draining_server_is_never_ready_again() {
        let readiness = Readiness::new("no certificate yet");
        assert_eq!(readiness.reason().as_deref(), Some("no certificate yet"));
        assert!(readiness.set(Ok(())));
        assert!(!readiness.set(Ok(())), "nothing changed");
        assert_eq!(readiness.reason(), None);
        readiness.drain();
        readiness.set(Ok(()));
        assert_eq!(readiness.reason().as_deref(), Some("shutting down"));
    }
}
