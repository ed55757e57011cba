//! The rights planner: from a pod spec and a Pod Security level to the least rights with which the sidecar can profile.
//!
//! Pure. Must not know annotations, patches or the sidecar's other fields. `access` has the kernel's rule, `target`
//! what the spec tells, `candidate` the sets of rights to choose from, `verdict` what each of them is good for, `advice`
//! the sentences. Called by `inject`.

mod access;
mod advice;
mod candidate;
mod capabilities;
mod standards;
mod target;
mod verdict;

use serde_json::Value;

pub(crate) use candidate::{Candidate, Seccomp};
pub(crate) use standards::keeps;
pub(crate) use target::Tmp;
use verdict::Key;
pub(crate) use verdict::{Availability, Verdict};

use crate::choices::{Event, PodSecurityLevel, Rights};
use crate::pod::{PodView, name};
use target::Target;

/// What was planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    SameUser,
    SwitchUser,
    Unconfined,
    Perf,
}

impl Mode {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SameUser => "same-user",
            Self::SwitchUser => "switch-user",
            Self::Unconfined => "unconfined",
            Self::Perf => "perf",
        }
    }
}

/// The question.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub pod: &'a PodView<'a>,
    /// Indices of the containers to profile, the main one first; never empty.
    pub chosen: &'a [usize],
    /// Those of them that are told the sidecar's port for .NET runtimes.
    pub dotnet: &'a [usize],
    pub rights: Rights,
    /// What the user knows about the credentials and the spec does not say.
    pub run_as: (Option<u32>, Option<u32>),
    /// User of containers that state none, where the platform assigns one.
    pub assigned_user: Option<u32>,
    /// Events that must work.
    pub events: &'a [Event],
    /// A writable `/tmp` will be added to chosen containers that have none.
    pub adds_tmp: bool,
    pub level: PodSecurityLevel,
    /// The sidecar states the runtime's seccomp profile, if its rights do not say otherwise; else the node decides.
    pub states_seccomp: bool,
}

/// The answer.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub rights: Candidate,
    /// A verdict for each container and event.
    pub verdicts: Vec<ContainerVerdicts<'a>>,
    /// Indices of the chosen containers that get a `/tmp`.
    pub tmp: Vec<usize>,
    pub advice: Vec<Advice>,
}

/// Verdicts for one container.
#[derive(Debug)]
pub(crate) struct ContainerVerdicts<'a> {
    pub name: &'a str,
    pub events: Vec<(Event, Verdict)>,
    /// Of native programs, and of Go programs without a pprof port, whatever samples them; whether there are any is not known.
    pub native: Verdict,
}

/// Something that will not work, and what to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Advice {
    /// Stable key.
    pub key: &'static str,
    /// One sentence, fit for an admission warning.
    pub text: String,
}

/// The rights asked for need a laxer level than the namespace has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAdmitted {
    pub rights: Mode,
    pub needs: PodSecurityLevel,
}

/// Plans the sidecar's rights.
pub(crate) fn plan<'a>(request: &Request<'a>) -> Result<Plan<'a>, NotAdmitted> {
    let pod = request.pod;
    let mut targets: Vec<Target<'a>> = pod
        .containers
        .iter()
        .map(|container| Target::new(pod, container))
        .collect();
    if let Some(user) = request.assigned_user {
        targets.iter_mut().for_each(|target| target.assign(user));
    }
    for index in request.chosen {
        let target = &mut targets[*index];
        target.uid = request.run_as.0.or(target.uid);
        target.gid = request.run_as.1.or(target.gid);
    }
    // Stated; else it is set to true.
    let hidden = pod.flag("shareProcessNamespace") == Some(false);
    targets.iter_mut().for_each(|target| target.hidden = hidden);
    request
        .dotnet
        .iter()
        .for_each(|index| targets[*index].dotnet_port = true);
    let mut tmp = request.chosen.to_vec();
    tmp.retain(|index| !targets[*index].dotnet_port);
    tmp.retain(|index| request.adds_tmp && targets[*index].tmp == Tmp::ReadOnly);
    tmp.iter().for_each(|index| targets[*index].tmp = Tmp::Writable);

    let chosen: Vec<&Target<'a>> = request.chosen.iter().map(|index| &targets[*index]).collect();
    // Capabilities of a user namespace open no kernel samples.
    let user_namespace = pod.flag("hostUsers") == Some(false);
    let mut rights = choose(request, &chosen, user_namespace)?;
    if rights.seccomp == Seccomp::RuntimeDefault && !request.states_seccomp {
        rights.seccomp = Seccomp::Unknown;
    }
    let judge = |target: &Target<'a>| ContainerVerdicts {
        name: target.name,
        events: verdicts(&rights, target, request.events, user_namespace),
        native: verdict::native(&rights, target, user_namespace),
    };
    let verdicts: Vec<_> = targets.iter().map(judge).collect();
    let advice = advice::advice(request, &rights, &targets, &verdicts);
    Ok(Plan {
        rights,
        verdicts,
        tmp,
        advice,
    })
}

/// Whether the container `sidecar` of a pod could look into processes of the container `target`, both as they stand. The
/// answer is that of `sideflame.io/status`, e.g. `impossible: other_user`; `None` if there is no such container.
///
/// No plan is made: with this, what the planner believes can be held against real containers.
pub fn reach(pod: &Value, sidecar: &str, target: &str) -> Option<String> {
    let judge = |sidecar: &Candidate, target: &Target<'_>| verdict::reach(sidecar, target);
    as_they_stand(pod, sidecar, target, judge)
}

/// The same about samples of native processes in the container `target`, in the words of `native` in `sideflame.io/status`.
pub fn native(pod: &Value, sidecar: &str, target: &str) -> Option<String> {
    let user_namespace = pod.pointer("/spec/hostUsers") == Some(&Value::Bool(false));
    let judge = |sidecar: &Candidate, target: &Target<'_>| verdict::native(sidecar, target, user_namespace);
    as_they_stand(pod, sidecar, target, judge)
}

fn as_they_stand(
    pod: &Value,
    sidecar: &str,
    target: &str,
    judge: impl Fn(&Candidate, &Target<'_>) -> Verdict,
) -> Option<String> {
    let pod = PodView::new(pod).ok()?;
    let find = |wanted: &str| {
        let found = pod.all_containers().find(|container| name(container) == wanted);
        found.map(|container| Target::new(&pod, container))
    };
    Some(judge(&Candidate::of(&find(sidecar)?), &find(target)?).text())
}

fn verdicts(rights: &Candidate, target: &Target<'_>, events: &[Event], user_namespace: bool) -> Vec<(Event, Verdict)> {
    let judge = |event: &Event| (*event, verdict::verdict(rights, target, *event, user_namespace));
    events.iter().map(judge).collect()
}

/// The first candidate, from the least rights on, that serves the chosen containers best.
fn choose(request: &Request<'_>, chosen: &[&Target<'_>], user_namespace: bool) -> Result<Candidate, NotAdmitted> {
    let candidates = if chosen.iter().all(|target| target.hidden) {
        candidate::without_looking(chosen)
    } else {
        candidate::candidates(chosen)
    };
    let wanted = |candidate: &&Candidate| match request.rights {
        // To do without the filter of system calls weakens what protects the node, for user stacks alone: who wants that says so.
        Rights::Auto => candidate.mode != Mode::Unconfined,
        Rights::SameUser => candidate.mode == Mode::SameUser,
        Rights::SwitchUser => candidate.mode == Mode::SwitchUser,
        Rights::Unconfined => candidate.mode == Mode::Unconfined,
        Rights::Perf => candidate.mode == Mode::Perf,
    };
    // How many verdicts are impossible, unknown, degraded.
    let refusals = |candidate: &Candidate| {
        let mut counts = [0; 3];
        for target in chosen {
            for (_, verdict) in verdicts(candidate, target, request.events, user_namespace) {
                match verdict.availability {
                    // Who has runtimes told the port says which runtime it is.
                    _ if verdict.key == Some(Key::DotnetOnly) => {}
                    Availability::Impossible => counts[0] += 1,
                    Availability::Unknown => counts[1] += 1,
                    Availability::Degraded => counts[2] += 1,
                    Availability::Works => {}
                }
            }
        }
        counts
    };
    let admitted = |candidate: &&Candidate| candidate.needs() >= request.level;
    let best = candidates
        .iter()
        .filter(wanted)
        .filter(admitted)
        .min_by_key(|candidate| refusals(candidate));
    match (best, candidates.iter().find(wanted)) {
        (Some(best), _) => Ok(best.clone()),
        // A root app where root is not admitted: the API server will refuse the pod, and say so better than we could.
        (None, _) if request.rights == Rights::Auto => Ok(Candidate::bystander()),
        (None, Some(refused)) => Err(NotAdmitted {
            rights: refused.mode,
            needs: refused.needs(),
        }),
        (None, None) => Ok(Candidate::bystander()),
    }
}

#[cfg(test)]
mod tests;
