//! What in a pod speaks against the sidecar. Each check is one reason.

use serde_json::Value;

use super::nodes;
use super::skip::{Skip, SkipReason};
use crate::annotations::shown;
use crate::container;
use crate::pod::{MOST_CONTAINERS, PodView, items, name};

/// The pod was injected before: the container is there, and the label or its store says that it is ours. A copy of the pod may
/// have lost the label: `kubectl debug --copy-to` leaves labels out.
pub(super) fn is_injected(pod: &PodView<'_>) -> bool {
    let labelled = pod.labels().and_then(|labels| labels.get(super::INJECTED_LABEL));
    let labelled = labelled.and_then(Value::as_str) == Some("true");
    let stores = |container: &&Value| {
        let mounts = items(container, "volumeMounts");
        mounts.iter().any(|mount| name(mount) == container::STORE_VOLUME)
    };
    let mut ours = pod
        .all_containers()
        .filter(|container| name(container) == container::NAME);
    ours.any(|container| labelled || stores(&container))
}

fn has_container(pod: &PodView<'_>) -> bool {
    pod.all_containers().any(|container| name(container) == container::NAME)
}

/// The first blocker. Of our ports the second is for scrapers. Containers with the indices `dotnet` are told our socket, and need not
/// be seen.
pub(super) fn blocker(pod: &PodView<'_>, ports: (u16, Option<u16>), dotnet: &[usize]) -> Option<Skip> {
    let (port, metrics_port) = ports;
    too_many_containers(pod)
        .or_else(|| nodes::windows(pod))
        .or_else(|| host_pid(pod))
        .or_else(|| share_process_namespace(pod).filter(|_| dotnet.is_empty()))
        .or_else(|| port_taken(pod, ("port", port)))
        .or_else(|| metrics_port.and_then(|port| port_taken(pod, ("metrics-port", port))))
        .or_else(|| (metrics_port == Some(port)).then(|| twice(port)))
        .or_else(|| name_taken(pod))
}

fn too_many_containers(pod: &PodView<'_>) -> Option<Skip> {
    let count = pod.all_containers().count();
    (count > MOST_CONTAINERS).then(|| {
        Skip::new(
            SkipReason::TooManyContainers,
            format!(
                "the pod has {count} containers, more than a node could run; a sidecar is added up to {MOST_CONTAINERS}"
            ),
        )
    })
}

fn host_pid(pod: &PodView<'_>) -> Option<Skip> {
    // Not even when asked: the API refuses it together with shareProcessNamespace, and an annotation for one pod must not
    // open the processes of a whole node.
    (pod.flag("hostPID") == Some(true)).then(|| {
        Skip::new(
            SkipReason::HostPid,
            "hostPID: the sidecar would see every process of the node; remove hostPID, or run sideflame serve in a debug pod of \
             the node",
        )
    })
}

fn share_process_namespace(pod: &PodView<'_>) -> Option<Skip> {
    (pod.flag("shareProcessNamespace") == Some(false)).then(|| {
        Skip::new(
            SkipReason::ShareProcessNamespaceFalse,
            "shareProcessNamespace: false is stated, but the sidecar must see the app's processes; remove it or set it to true (.NET 5 and \
             later do without: sideflame.io/dotnet-port: \"true\")",
        )
    })
}

fn twice(port: u16) -> Skip {
    Skip::new(
        SkipReason::PortTaken,
        format!("sideflame.io/metrics-port and the port of the sidecar are both {port}; give them one each"),
    )
}

fn port_taken(pod: &PodView<'_>, (annotation, port): (&str, u16)) -> Option<Skip> {
    let wanted = u64::from(port);
    let is_ours = |value: Option<&Value>| value.and_then(Value::as_u64) == Some(wanted);
    let declares = |container: &&Value| {
        let tcp = |entry: &&Value| {
            entry
                .get("protocol")
                .and_then(Value::as_str)
                .is_none_or(|name| name == "TCP")
        };
        items(container, "ports")
            .iter()
            .filter(tcp)
            .any(|entry| is_ours(entry.get("containerPort")))
    };
    // A container that is probed there listens there, declared or not.
    let probed = |container: &&Value| {
        let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| container.get(probe));
        let ways = |probe: &Value| {
            ["httpGet", "tcpSocket", "grpc"]
                .iter()
                .any(|way| is_ours(probe.get(way).and_then(|way| way.get("port"))))
        };
        probes.into_iter().flatten().any(ways)
    };
    let taker = pod
        .all_containers()
        .find(|container| declares(container) || probed(container))?;
    Some(Skip::new(
        SkipReason::PortTaken,
        format!(
            "container {} uses port {port}; give the sidecar another one: sideflame.io/{annotation}: \"{}\"",
            shown(name(taker)),
            if port < u16::MAX { port + 1 } else { port - 1 }
        ),
    ))
}

fn name_taken(pod: &PodView<'_>) -> Option<Skip> {
    let ours = [
        container::STORE_VOLUME,
        container::NO_API_TOKEN_VOLUME,
        container::TOKEN_VOLUME,
        container::DOTNET_VOLUME,
    ];
    let volume = |volume: &&Value| {
        let name = name(volume);
        ours.contains(&name) || name.starts_with(super::TMP_VOLUME_PREFIX)
    };
    let taken = if has_container(pod) {
        format!("a container is called {}", container::NAME)
    } else {
        let volume = pod.volumes.iter().find(volume)?;
        format!("a volume is called {}", shown(name(volume)))
    };
    Some(Skip::new(
        SkipReason::NameTaken,
        format!(
            "{taken}, which is the name of the sidecar's own; rename it, or remove what is left of an earlier injection"
        ),
    ))
}
