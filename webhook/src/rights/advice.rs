//! Sentences about what will not work, each with the YAML that changes it. The API server cuts a warning after 256
//! characters, and people read three.

use super::candidate::Candidate;
use super::target::Target;
use super::verdict::{Availability, Key};
use super::{Advice, ContainerVerdicts, Mode, Request};
use crate::choices::{PodSecurityLevel, Rights};

/// Advice for the chosen containers, and one sentence for the others that stay out of reach.
pub(super) fn advice(
    request: &Request<'_>,
    rights: &Candidate,
    targets: &[Target<'_>],
    verdicts: &[ContainerVerdicts<'_>],
) -> Vec<Advice> {
    let chosen = request.chosen;
    let mut advice = Vec::new();
    for index in chosen {
        let mut said = Vec::new();
        for (_, verdict) in &verdicts[*index].events {
            if let Some(key) = verdict.key.filter(|key| !said.contains(key)) {
                said.push(key);
                // It was asked for.
                if key == Key::DotnetOnly {
                    continue;
                }
                // A request for the same user that names none leaves it to the platform, as on OpenShift.
                if key == Key::UserUnknown && request.rights == Rights::SameUser {
                    continue;
                }
                advice.push(Advice {
                    key: key.name(),
                    text: sentence(key, request.level, rights, &targets[*index]),
                });
            }
        }
    }
    let unreachable = |index: &usize| {
        let events = &verdicts[*index].events;
        let keys = [Key::OtherUser, Key::OtherGroup, Key::MoreCapabilities];
        events.iter().any(|(_, verdict)| {
            verdict.availability == Availability::Impossible && verdict.key.is_some_and(|key| keys.contains(&key))
        })
    };
    let others = (0..targets.len())
        .filter(|index| !chosen.contains(index))
        .filter(unreachable);
    let others: Vec<&str> = others.map(|index| targets[index].name).collect();
    if let Some((first, more)) = others.split_first() {
        let more = if more.is_empty() {
            String::new()
        } else {
            format!(" and {} more", more.len())
        };
        advice.push(Advice {
            key: "others_unreachable",
            text: format!(
                "JVM and .NET processes of container {first}{more} run as another user and stay out of reach; to profile them, \
                 list the container in sideflame.io/container"
            ),
        });
    }
    advice
}

fn sentence(key: Key, level: PodSecurityLevel, rights: &Candidate, target: &Target<'_>) -> String {
    let name = target.name;
    let uid = target.uid.map_or_else(|| "<uid>".to_owned(), |uid| uid.to_string());
    // Advice that the namespace does not admit is none.
    let is_user = matches!(rights.mode, Mode::SameUser | Mode::Unconfined);
    let may_switch = level <= PodSecurityLevel::Baseline && is_user;
    let or_switch = if may_switch {
        ", or sideflame.io/rights: switch-user"
    } else {
        ""
    };
    match key {
        Key::UserUnknown => format!(
            "container {name}: only its image knows its user, so profiling JVM and .NET may fail; set securityContext: \
             {{runAsUser: <uid>, runAsGroup: <gid>}}{or_switch}"
        ),
        Key::GroupUnknown => format!(
            "container {name}: runAsUser without runAsGroup leaves the group to the image, so profiling JVM and .NET may \
             fail; set runAsGroup: <gid> beside runAsUser: {uid}{or_switch}"
        ),
        Key::FileCapabilities if !is_user => format!(
            "container {name}: a program with file capabilities is out of reach if a shell or another program starts it; let it be \
             the container's command, or set securityContext: {{allowPrivilegeEscalation: false}}"
        ),
        Key::FileCapabilities => format!(
            "container {name}: if its program has file capabilities, it is out of reach; set securityContext: \
             {{allowPrivilegeEscalation: false}} if it needs none{or_switch}"
        ),
        Key::OtherUser if target.uid == Some(0) => format!(
            "container {name} runs as root and the sidecar does not, so JVM and .NET are out of reach; set securityContext: \
             {{runAsUser: <uid>, runAsGroup: <gid>}}{or_switch}"
        ),
        Key::OtherUser | Key::OtherGroup => format!(
            "container {name} runs as another user or group than the sidecar, so JVM and .NET are out of reach; set the same \
             runAsUser and runAsGroup for all containers{or_switch}"
        ),
        Key::MoreCapabilities if is_user && !target.privileged => format!(
            "container {name} runs as root with capabilities, so JVM and .NET are out of reach; set capabilities: {{drop: \
             [ALL]}}{or_switch}"
        ),
        Key::MoreCapabilities => format!(
            "container {name} has more capabilities than the sidecar, so JVM and .NET are out of reach; set capabilities: \
             {{drop: [ALL]}}, or sideflame.io/rights: perf where Pod Security is privileged"
        ),
        Key::TmpReadOnly => format!(
            "container {name}: /tmp is read-only, but JVM and .NET need their socket there; add volumes: [{{name: tmp, emptyDir: \
             {{}}}}] and volumeMounts: [{{name: tmp, mountPath: /tmp}}]"
        ),
        Key::PerfNotGranted => format!(
            "container {name}: kernel events need sideflame.io/rights: perf in a namespace of Pod Security level privileged"
        ),
        Key::PerfSeccomp | Key::PerfCredentials => format!(
            "container {name}: the sidecar may not sample its native programs; set sideflame.io/rights: perf in a namespace of Pod \
             Security level privileged"
        ),
        Key::NoKernelFrames => format!(
            "container {name}: stacks end at the system call, and there are none where kernel.perf_event_paranoid of the node is above \
             2; sideflame.io/rights: perf has neither limit"
        ),
        Key::NoKernelNames => format!(
            "container {name}: the kernel's frames have no names without SYSLOG; sideflame.io/rights: perf has it"
        ),
        Key::UserNamespace => {
            "hostUsers: false: the kernel gives no kernel samples to a user namespace; remove hostUsers, or use event cpu or \
             wall"
                .to_owned()
        }
        Key::DotnetOnly => format!("container {name}: only .NET 5 and later are within reach, by sideflame.io/dotnet-port"),
        Key::NamespaceNotShared => format!(
            "container {name}: shareProcessNamespace: false hides its processes, so only the events of .NET work that need none of \
             them; set shareProcessNamespace: true for the others"
        ),
        Key::NativeOnly => format!(
            "container {name}: kernel events work for native processes; a JVM needs capabilities: {{add: [PERFMON]}} of its own"
        ),
    }
}
