//! Which processes a request means. Declares the parameters that choose; they mean the same wherever they are taken.

use super::CaptureError;
use super::request::{self, RequestError};
use crate::child::Inspection;
use crate::parameter::{Parameter, Refusal, Row, Takes};
use crate::process::container::{is_dns_name, is_label};
use crate::runtime::{Reason, Runtime, RuntimeFacts, Target, Who};

/// Which process is meant: the one that fits everything given. Without pid and name it is the only JVM, .NET or Go
/// process that fits the rest, else the only native one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// Pid, as our pid namespace sees it. Together with a name it comes first, and the name counts if there is no such
    /// pid: see [`Self::with_name_or_pid`].
    pub pid: Option<i32>,
    /// A unique beginning of its name, or of its executable's where no name fits; an exact name wins over longer ones. So do the
    /// following two.
    pub name: Option<String>,
    /// Name of its pod, or `namespace/name`.
    pub pod: Option<String>,
    /// Name of its container.
    pub container: Option<String>,
}

/// The parameters.
pub(super) static SELECTORS: [Row<Selector>; 4] = [
    Row::new(
        Parameter {
            short: Some('p'),
            excludes: &["name"],
            ..Parameter::new(
                "pid",
                "PID",
                Takes::Number {
                    what: "a process id",
                    least: 1,
                    most: 4_194_304,
                },
                "The process with this number in sideflame's pid namespace",
            )
        },
        |selector, takes, value| {
            selector.pid = i32::try_from(takes.number(value)?).ok();
            Ok(())
        },
    ),
    Row::new(
        Parameter {
            positional: true,
            excludes: &["pid"],
            ..Parameter::new(
                "name",
                "NAME",
                Takes::Text("a process name, or the beginning of only one, 1 to 256 characters"),
                "The process with this name",
            )
        },
        |selector, _, value| {
            let is_name = !value.is_empty() && value.len() <= 256 && !value.chars().any(char::is_control);
            take(&mut selector.name, value, is_name)
        },
    ),
    Row::new(
        Parameter::new(
            "pod",
            "POD",
            Takes::Text("a pod's name, its beginning, or namespace/name"),
            "Only processes of this pod",
        ),
        |selector, _, value| {
            let (namespace, pod) = value.split_once('/').unwrap_or(("default", value));
            take(&mut selector.pod, value, is_label(namespace) && is_dns_name(pod))
        },
    ),
    Row::new(
        Parameter::new(
            "container",
            "CONTAINER",
            Takes::Text("a container's name in its pod, or the beginning of one"),
            "Only processes of this container",
        ),
        |selector, _, value| take(&mut selector.container, value, is_label(value)),
    ),
];

fn take(place: &mut Option<String>, value: &str, good: bool) -> Result<(), Refusal> {
    if !good {
        return Err(Refusal::default());
    }
    *place = Some(value.to_owned());
    Ok(())
}

impl Selector {
    /// The parameters that choose.
    pub fn parameters() -> impl Iterator<Item = &'static Parameter> {
        SELECTORS.iter().map(|row| &row.parameter)
    }

    /// Validates `pairs`, which choose and do nothing else.
    ///
    /// # Errors
    /// The first thing wrong, with what is allowed instead.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self, RequestError> {
        let mut selector = Self::default();
        let known: Vec<_> = Self::parameters().collect();
        request::read(pairs, &known, |parameter, value| {
            let row = crate::parameter::row(&SELECTORS, parameter.name).ok_or_else(Refusal::default)?;
            row.set(&mut selector, value)
        })?;
        Ok(selector)
    }

    /// On a command line a name that is a number is a pid, unless only a process of that name exists.
    pub fn with_name_or_pid(self) -> Self {
        let number = self.name.as_deref().and_then(|name| name.parse().ok());
        Self {
            pid: self.pid.or(number.filter(|pid: &i32| *pid > 0)),
            ..self
        }
    }
}

/// Candidates an error names: a screenful; a node has hundreds.
pub const SHOWN: usize = 20;

/// The index of the target that `selector` means.
///
/// # Errors
/// [`CaptureError::NoSuchProcess`] or [`CaptureError::Ambiguous`], both with the candidates.
pub fn resolve(selector: &Selector, inspections: &[Inspection]) -> Result<usize, CaptureError> {
    let mut found = Found::by(selector, inspections);
    if selector.pid.is_none() && selector.name.is_none() {
        found.keep_default();
    }
    found.only()
}

/// The indexes of all targets that fit `selector`; one that says nothing fits all.
pub fn filter(selector: &Selector, inspections: &[Inspection]) -> Vec<usize> {
    Found::by(selector, inspections).indexes
}

/// The only JVM, .NET or Go process there is, else the only native one; pause containers and sideflame itself never count.
///
/// # Errors
/// None at all, or several.
pub fn default_target(inspections: &[Inspection]) -> Result<usize, CaptureError> {
    resolve(&Selector::default(), inspections)
}

/// What stands for the node in a capture of all its processes: its first one, whose rights are those of the node. It need not be
/// one that we may look into.
///
/// # Errors
/// We are in a pid namespace of our own and do not see the node.
pub fn node(inspections: &[Inspection]) -> Result<Target, CaptureError> {
    let mut all = inspections.iter().map(|inspection| &inspection.target);
    let init = all.find(|target| target.process.is_init_of_node()).ok_or_else(|| {
        CaptureError::Impossible(Reason::new(
            "not_on_node",
            "sideflame sees the processes of its own pod or container only, and scope=node is of all processes of the node",
            "run it in the node's pid namespace as root: a pod or DaemonSet with hostPID: true and privileged: true, or kubectl \
             debug node/NAME --profile=sysadmin; README.md has both",
        ))
    })?;
    Ok(Target {
        name: "node".to_owned(),
        facts: RuntimeFacts::Native,
        ..init.clone()
    })
}

/// What fits so far.
struct Found<'a> {
    inspections: &'a [Inspection],
    indexes: Vec<usize>,
}

impl<'a> Found<'a> {
    fn by(selector: &Selector, inspections: &'a [Inspection]) -> Self {
        let Selector {
            pid,
            name,
            pod,
            container,
        } = selector;
        let mut found = Self {
            inspections,
            indexes: (0..inspections.len()).collect(),
        };
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
        let is_pid = |pid: i32| inspections.iter().any(|one| one.target.id().pid == pid);
        match (pid, name) {
            (Some(pid), Some(_)) if is_pid(*pid) => found.retain(|target| target.id().pid == *pid),
            (Some(pid), None) => found.retain(|target| target.id().pid == *pid),
            (_, Some(name)) => {
                let is_called = |text: String| text.starts_with(name.as_str());
                let by_name = found.targets().any(|target| is_called(target.name.clone()));
                // A Go program is called by its package: `k8s.io/kubernetes/cmd/kube-apiserver`.
                found.narrow(name, |target| {
                    Some(if by_name {
                        target.name.clone()
                    } else {
                        target.process.executable_name()
                    })
                });
            }
            (None, None) => {}
        }
        found
    }

    fn targets(&self) -> impl Iterator<Item = &Target> {
        self.indexes.iter().map(|index| &self.inspections[*index].target)
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
                let (managed, native): (Vec<_>, Vec<_>) = all
                    .filter(|target| !is_infrastructure(target))
                    .partition(|target| target.runtime() != Runtime::Native);
                let meant = if managed.is_empty() { native } else { managed };
                Err(CaptureError::NoSuchProcess {
                    candidates: candidates(meant.into_iter()),
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
