//! Which target a request means.

use super::CaptureError;
use super::request::Selector;
use crate::child::Inspection;
use crate::runtime::{Runtime, Target, Who};

/// Candidates an error names: a screenful; a node has hundreds.
pub const SHOWN: usize = 20;

/// The index of the target that `selector` means.
///
/// # Errors
/// [`CaptureError::NoSuchProcess`] or [`CaptureError::Ambiguous`], both with the candidates.
pub fn resolve(selector: &Selector, inspections: &[Inspection]) -> Result<usize, CaptureError> {
    let Selector {
        pid,
        name,
        pod,
        container,
    } = selector;
    let mut found = Found::all(inspections);
    if let Some(pod) = pod {
        let in_namespace = pod.contains('/');
        found.narrow(pod, |target| {
            let known = target.process.container.pod.as_ref()?;
            Some(if in_namespace {
                known.to_string()
            } else {
                known.name.clone()
            })
        });
    }
    if let Some(container) = container {
        found.narrow(container, Target::container);
    }
    if let Some(pid) = pid {
        found.retain(|target| target.id().pid == *pid);
    }
    if let Some(name) = name {
        found.narrow(name, |target| Some(target.name.clone()));
    }
    if pid.is_none() && name.is_none() {
        found.keep_default();
    }
    found.only()
}

/// The only JVM, .NET or Go process there is, else the only native one; pause containers and sideflame itself never count.
///
/// # Errors
/// None at all, or several.
pub fn default_target(inspections: &[Inspection]) -> Result<usize, CaptureError> {
    resolve(&Selector::default(), inspections)
}

/// What fits so far.
struct Found<'a> {
    inspections: &'a [Inspection],
    indexes: Vec<usize>,
}

impl<'a> Found<'a> {
    fn all(inspections: &'a [Inspection]) -> Self {
        Self {
            inspections,
            indexes: (0..inspections.len()).collect(),
        }
    }

    fn retain(&mut self, wanted: impl Fn(&Target) -> bool) {
        self.indexes.retain(|index| wanted(&self.inspections[*index].target));
    }

    /// Keeps those whose text is `wanted`, or if there are none, begins with it.
    fn narrow(&mut self, wanted: &str, text: impl Fn(&Target) -> Option<String>) {
        let is = |target: &Target| text(target).is_some_and(|text| text == wanted);
        if self.indexes.iter().any(|index| is(&self.inspections[*index].target)) {
            self.retain(is);
        } else {
            self.retain(|target| text(target).is_some_and(|text| text.starts_with(wanted)));
        }
    }

    fn keep_default(&mut self) {
        let managed = |target: &Target| target.runtime() != Runtime::Native;
        if self
            .indexes
            .iter()
            .any(|index| managed(&self.inspections[*index].target))
        {
            self.retain(managed);
        } else {
            self.retain(|target| !is_infrastructure(target));
        }
    }

    fn only(self) -> Result<usize, CaptureError> {
        let target = |index: &usize| &self.inspections[*index].target;
        match self.indexes.as_slice() {
            [one] => Ok(*one),
            [] => {
                let all = self.inspections.iter().map(|inspection| &inspection.target);
                let managed = all.filter(|target| target.runtime() != Runtime::Native);
                Err(CaptureError::NoSuchProcess {
                    candidates: candidates(managed),
                })
            }
            several => Err(CaptureError::Ambiguous {
                matches: several.len(),
                candidates: candidates(several.iter().map(target)),
            }),
        }
    }
}

/// The first of `targets`, those in pods before the daemons of the node, of which a node has many.
fn candidates<'a>(targets: impl Iterator<Item = &'a Target>) -> Vec<Who> {
    let mut candidates: Vec<Who> = targets.map(Who::from).collect();
    candidates.sort_by_key(|candidate| candidate.pod.is_none());
    candidates.truncate(SHOWN);
    candidates
}

/// A pod's infrastructure container `pause`, or a sideflame of another pod of the node.
fn is_infrastructure(target: &Target) -> bool {
    let names = ["pause", "sideflame"];
    names.contains(&target.name.as_str()) || names.contains(&target.process.command.as_str())
}

#[cfg(test)]
mod tests;
