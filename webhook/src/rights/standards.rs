//! Whether a pod as it stands keeps a Pod Security Standard.
//!
//! Where a namespace warns of a level, a pod that keeps it must not lose that by its sidecar; one that does not loses nothing.
//! So a pod that is taken for unclean although it is not gets what it would get without the label.

use serde_json::Value;

use super::capabilities::CapabilitySet;
use crate::choices::PodSecurityLevel;
use crate::pod::{PodView, items};

/// Kinds of volume that *restricted* admits.
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];
/// What *baseline* lets a pod set.
const SYSCTLS: [&str; 10] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
];
const SELINUX_TYPES: [&str; 5] = [
    "",
    "container_t",
    "container_init_t",
    "container_kvm_t",
    "container_engine_t",
];
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Whether `pod` keeps `level`.
pub(crate) fn keeps(pod: &PodView<'_>, level: PodSecurityLevel) -> bool {
    level < PodSecurityLevel::Baseline
        || is_baseline(pod) && (level < PodSecurityLevel::Restricted || is_restricted(pod))
}

fn is_baseline(pod: &PodView<'_>) -> bool {
    let spec = pod.spec;
    let host = ["hostNetwork", "hostPID", "hostIPC"];
    let profiles = pod
        .annotations()
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with(APP_ARMOR));
    let sysctls = context(spec.get("securityContext"), "sysctls").and_then(Value::as_array);
    host.iter().all(|flag| pod.flag(flag) != Some(true))
        && pod
            .volumes
            .iter()
            .all(|volume| volume.get("hostPath").is_none_or(Value::is_null))
        && profiles
            .into_iter()
            .all(|(_, profile)| profile.as_str() != Some("unconfined"))
        && sysctls
            .into_iter()
            .flatten()
            .all(|sysctl| SYSCTLS.contains(&crate::pod::name(sysctl)))
        && is_baseline_context(spec.get("securityContext"))
        && pod.all_containers().all(|container| {
            let own = container.get("securityContext");
            let port = |port: &Value| port.get("hostPort").and_then(Value::as_u64).unwrap_or_default();
            is_baseline_context(own)
                && context(own, "privileged") != Some(&Value::Bool(true))
                && is_one_of(context(own, "procMount"), &["Default"])
                && CapabilitySet::BASELINE.contains(added(own))
                && items(container, "ports").iter().all(|entry| port(entry) == 0)
        })
}

/// What pods and containers both may say.
fn is_baseline_context(own: Option<&Value>) -> bool {
    let linux = context(own, "seLinuxOptions");
    let empty = |key: &str| is_one_of(linux.and_then(|options| options.get(key)), &[""]);
    let windows = context(own, "windowsOptions").and_then(|options| options.get("hostProcess"));
    profile(own, "seccompProfile") != Some("Unconfined")
        && profile(own, "appArmorProfile") != Some("Unconfined")
        && is_one_of(linux.and_then(|options| options.get("type")), &SELINUX_TYPES)
        && empty("user")
        && empty("role")
        && windows != Some(&Value::Bool(true))
}

fn is_restricted(pod: &PodView<'_>) -> bool {
    let pods = pod.spec.get("securityContext");
    let known = |volume: &Value| {
        let kinds = volume.as_object().into_iter().flat_map(|volume| volume.keys());
        kinds
            .into_iter()
            .all(|kind| kind == "name" || VOLUMES.contains(&kind.as_str()))
    };
    let root = |own: Option<&Value>| context(own, "runAsUser").and_then(Value::as_u64) == Some(0);
    let confined = |own: Option<&Value>| profile(own, "seccompProfile").map(|kind| kind != "Unconfined");
    pod.volumes.iter().all(known)
        && !root(pods)
        && pod.all_containers().all(|container| {
            let own = container.get("securityContext");
            let non_root = context(own, "runAsNonRoot").or_else(|| context(pods, "runAsNonRoot"));
            let capabilities = context(own, "capabilities");
            let drops_all = capabilities.is_some_and(|sets| items(sets, "drop").iter().any(|name| name == "ALL"));
            !root(own)
                && non_root == Some(&Value::Bool(true))
                && context(own, "allowPrivilegeEscalation") == Some(&Value::Bool(false))
                && confined(own).or_else(|| confined(pods)) == Some(true)
                && drops_all
                && CapabilitySet::NET_BIND_SERVICE.contains(added(own))
        })
}

fn context<'a>(own: Option<&'a Value>, key: &str) -> Option<&'a Value> {
    own?.get(key).filter(|value| !value.is_null())
}

fn profile<'a>(own: Option<&'a Value>, key: &str) -> Option<&'a str> {
    context(own, key)?.get("type")?.as_str()
}

fn is_one_of(value: Option<&Value>, allowed: &[&str]) -> bool {
    let text = value.filter(|value| !value.is_null()).map(Value::as_str);
    text.is_none_or(|text| text.is_some_and(|text| allowed.contains(&text)))
}

/// A name that we do not know is none that a standard admits.
fn added(own: Option<&Value>) -> CapabilitySet {
    let names = context(own, "capabilities").map_or(&[][..], |sets| items(sets, "add"));
    let set = |name: &Value| {
        name.as_str()
            .and_then(CapabilitySet::named)
            .unwrap_or(CapabilitySet::ALL)
    };
    names.iter().map(set).fold(CapabilitySet::NONE, CapabilitySet::union)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A pod that keeps *restricted*, with `value` at `pointer`.
    fn level(pointer: &str, value: Value) -> PodSecurityLevel {
        let mut pod = json!({
            "metadata": {"annotations": {}},
            "spec": {
                "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                "volumes": [{"name": "a", "emptyDir": {}}],
                "containers": [{"name": "app", "ports": [{"containerPort": 80}],
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
            },
        });
        if let Some((parent, key)) = pointer.rsplit_once('/') {
            let parent = pod.pointer_mut(parent).unwrap();
            match parent.as_array_mut() {
                Some(list) => list.push(value),
                None => parent[key] = value,
            }
        }
        let view = PodView::new(&pod).unwrap();
        let levels = [PodSecurityLevel::Restricted, PodSecurityLevel::Baseline];
        let kept = levels.into_iter().find(|level| keeps(&view, *level));
        kept.unwrap_or(PodSecurityLevel::Privileged)
    }

    #[test]
    fn each_rule_of_the_standards_counts() {
        use PodSecurityLevel::{Baseline, Privileged, Restricted};
        let container = "/spec/containers/0/securityContext";
        let pod = "/spec/securityContext";
        let bare = json!({"name": "b"});
        for (pointer, value, expected) in [
            ("", Value::Null, Restricted),
            ("/spec/hostNetwork", json!(true), Privileged),
            (
                "/spec/volumes/-",
                json!({"name": "h", "hostPath": {"path": "/"}}),
                Privileged,
            ),
            ("/spec/volumes/-", json!({"name": "n", "nfs": {}}), Baseline),
            ("/spec/initContainers", json!([bare]), Baseline),
            ("/spec/ephemeralContainers", json!([bare]), Baseline),
            ("/spec/containers/0/ports/-", json!({"hostPort": 80}), Privileged),
            (&format!("{container}/privileged"), json!(true), Privileged),
            (&format!("{container}/procMount"), json!("Unmasked"), Privileged),
            (&format!("{container}/runAsUser"), json!(0), Baseline),
            (&format!("{container}/runAsNonRoot"), json!(false), Baseline),
            (&format!("{container}/allowPrivilegeEscalation"), Value::Null, Baseline),
            (
                &format!("{container}/capabilities/add"),
                json!(["NET_BIND_SERVICE"]),
                Restricted,
            ),
            (&format!("{container}/capabilities/add"), json!(["CHOWN"]), Baseline),
            (
                &format!("{container}/capabilities/add"),
                json!(["NET_ADMIN"]),
                Privileged,
            ),
            (&format!("{container}/capabilities/add"), json!(["FUTURE"]), Privileged),
            (&format!("{container}/capabilities/drop"), json!(["NET_RAW"]), Baseline),
            (
                &format!("{container}/seccompProfile"),
                json!({"type": "Unconfined"}),
                Privileged,
            ),
            (
                &format!("{container}/seLinuxOptions"),
                json!({"type": "spc_t"}),
                Privileged,
            ),
            (
                &format!("{container}/seLinuxOptions"),
                json!({"level": "s0"}),
                Restricted,
            ),
            (&format!("{pod}/seccompProfile"), Value::Null, Baseline),
            (
                &format!("{pod}/appArmorProfile"),
                json!({"type": "Unconfined"}),
                Privileged,
            ),
            (
                &format!("{pod}/appArmorProfile"),
                json!({"type": "Localhost"}),
                Restricted,
            ),
            (
                &format!("{pod}/windowsOptions"),
                json!({"hostProcess": true}),
                Privileged,
            ),
            (
                &format!("{pod}/sysctls"),
                json!([{"name": "kernel.msgmax", "value": "1"}]),
                Privileged,
            ),
            (&format!("{pod}/runAsUser"), json!(0), Baseline),
        ] {
            assert_eq!(level(pointer, value.clone()), expected, "{pointer}: {value}");
        }
    }
}
