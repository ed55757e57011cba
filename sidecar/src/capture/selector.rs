//! Which target a request means.

use serde::{Deserialize, Serialize};

use super::CaptureError;
use super::request::Selector;
use crate::inspection::Inspection;
use crate::target::{Runtime, Target};

/// A process named in an error, so that the caller can choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Candidate {
    /// Pid.
    pub pid: i32,
    /// Name.
    pub name: String,
    /// Runtime.
    pub runtime: Runtime,
}

impl From<&Target> for Candidate {
    fn from(target: &Target) -> Self {
        Self {
            pid: target.id().pid,
            name: target.name.clone(),
            runtime: target.runtime(),
        }
    }
}

/// The index of the target that `selector` means.
///
/// # Errors
/// [`CaptureError::NoSuchProcess`] or [`CaptureError::Ambiguous`], both with the candidates.
pub fn resolve(selector: &Selector, inspections: &[Inspection]) -> Result<usize, CaptureError> {
    let found: Vec<usize> = match selector {
        Selector::Default => return default_target(inspections),
        Selector::Pid(pid) => positions(inspections, |target| target.id().pid == *pid),
        Selector::Name(name) => {
            let exact = positions(inspections, |target| target.name == *name);
            if exact.is_empty() {
                positions(inspections, |target| target.name.starts_with(name.as_str()))
            } else {
                exact
            }
        }
    };
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(CaptureError::NoSuchProcess {
            candidates: managed(inspections),
        }),
        several => Err(CaptureError::Ambiguous {
            candidates: several
                .iter()
                .map(|index| Candidate::from(&inspections[*index].target))
                .collect(),
        }),
    }
}

/// The only JVM, .NET or Go process there is, else the only native one; the pod's pause container never counts.
///
/// # Errors
/// None at all, or several.
pub fn default_target(inspections: &[Inspection]) -> Result<usize, CaptureError> {
    let mut found = positions(inspections, |target| target.runtime() != Runtime::Native);
    if found.is_empty() {
        found = positions(inspections, |target| !is_pause(target));
    }
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(CaptureError::NoSuchProcess { candidates: Vec::new() }),
        several => Err(CaptureError::Ambiguous {
            candidates: several
                .iter()
                .map(|index| Candidate::from(&inspections[*index].target))
                .collect(),
        }),
    }
}

fn positions(inspections: &[Inspection], wanted: impl Fn(&Target) -> bool) -> Vec<usize> {
    inspections
        .iter()
        .enumerate()
        .filter(|(_, inspection)| wanted(&inspection.target))
        .map(|(at, _)| at)
        .collect()
}

fn managed(inspections: &[Inspection]) -> Vec<Candidate> {
    let targets = inspections.iter().map(|inspection| &inspection.target);
    targets
        .filter(|target| target.runtime() != Runtime::Native)
        .map(Candidate::from)
        .collect()
}

/// The pod's infrastructure container: pid 1 of the shared namespace, called `pause`.
fn is_pause(target: &Target) -> bool {
    target.name == "pause" || target.process.command == "pause"
}
