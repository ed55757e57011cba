//! Containers whose program must be process 1, which it is not where the pod shares its process namespace.
//!
//! Must not know rights or patches. Called by `inject`.

use serde_json::Value;

use crate::annotations::shown;
use crate::pod::{PodView, items, name};
use crate::rights::Advice;

/// A program that wants to be process 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Init {
    S6,
    Systemd,
    Tini,
    Other,
}

/// Stable key in `sideflame.io/status`.
const KEY: &str = "needs_process_1";

/// A sentence for each container that will not run as it does without the sidecar.
pub(super) fn advice(pod: &PodView<'_>) -> Vec<Advice> {
    // They share it already, or will not.
    if pod.flag("shareProcessNamespace").is_some() {
        return Vec::new();
    }
    let containers = pod.containers.iter().chain(pod.init_containers);
    let advice = |container| init_of(container).map(|init| sentence(init, name(container)));
    containers
        .filter_map(advice)
        .map(|text| Advice { key: KEY, text })
        .collect()
}

fn init_of(container: &Value) -> Option<Init> {
    let mut words = items(container, "command").iter().filter_map(Value::as_str);
    let Some(program) = words.next() else {
        return by_image(container.get("image").and_then(Value::as_str).unwrap_or_default());
    };
    let named = program.rsplit('/').next().unwrap_or_default();
    match (program, named) {
        // s6-overlay's own path.
        ("/init", _) | (_, "s6-svscan" | "s6-linux-init" | "s6-overlay-suexec") => Some(Init::S6),
        (_, "systemd") => Some(Init::Systemd),
        ("/sbin/init" | "/usr/sbin/init" | "/lib/systemd/systemd", _) => Some(Init::Systemd),
        (_, "runit-init" | "openrc-init") => Some(Init::Other),
        (_, "tini" | "tini-static" | "docker-init") => {
            let stated = items(container, "args").iter().filter_map(Value::as_str);
            // Then it adopts its descendants' orphans all the same.
            let subreaper = words
                .chain(stated)
                .take_while(|word| *word != "--")
                .any(|word| word == "-s");
            (!subreaper).then_some(Init::Tini)
        }
        _ => None,
    }
}

/// Images without a command of the pod's that are known for what they start.
fn by_image(image: &str) -> Option<Init> {
    let untagged = image.split('@').next().unwrap_or_default();
    let parts: Vec<&str> = untagged.split('/').collect();
    let (last, owners) = parts.split_last()?;
    let last = last.split(':').next().unwrap_or_default();
    let owner = owners.last().copied().unwrap_or_default();
    match (owner, last) {
        ("linuxserver" | "hassioaddons" | "home-assistant", _) => Some(Init::S6),
        ("jc21", "nginx-proxy-manager") | ("just-containers", "s6-overlay") => Some(Init::S6),
        (_, "ubi-init" | "ubi7-init" | "ubi8-init" | "ubi9-init" | "ubi10-init") => Some(Init::Systemd),
        ("kindest", "node") | ("centos", "systemd") => Some(Init::Systemd),
        (_, named) if named.starts_with("systemd-") && owner == "jrei" => Some(Init::Systemd),
        _ => None,
    }
}

fn sentence(init: Init, container: &str) -> String {
    let name = shown(container);
    let (what, fails) = match init {
        Init::S6 => ("s6-overlay (/init)", "does not start"),
        Init::Systemd => ("systemd (/sbin/init)", "does not start"),
        Init::Other => ("its init", "does not start"),
        Init::Tini => {
            return format!(
                "container {name}: shareProcessNamespace takes process 1 from tini, which then leaves zombies to the pod's pause process; \
                 tini -s (or TINI_SUBREAPER) reaps them itself"
            );
        }
    };
    format!(
        "container {name}: {what} must be process 1, which shareProcessNamespace takes, so it {fails}; state the app itself as \
         command, or remove the annotation and profile by kubectl debug --target={name}"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(container: Value) -> Option<String> {
        let pod = json!({ "spec": { "containers": [{ "name": "log" }, container] } });
        advice(&PodView::new(&pod).unwrap()).pop().map(|advice| advice.text)
    }

    #[test]
    fn known_entry_points_and_images_are_warned_about_with_the_way_out() {
        for container in [
            json!({ "name": "web", "command": ["/init"] }),
            json!({ "name": "web", "command": ["/sbin/init"] }),
            json!({ "name": "web", "command": ["/lib/systemd/systemd"] }),
            json!({ "name": "web", "command": ["/usr/lib/systemd/systemd", "--system"] }),
            json!({ "name": "web", "command": ["/bin/s6-svscan", "/etc/s6"] }),
            json!({ "name": "web", "image": "lscr.io/linuxserver/sonarr:latest" }),
            json!({ "name": "web", "image": "registry.access.redhat.com/ubi9/ubi-init@sha256:0" }),
        ] {
            let text = said(container.clone()).unwrap_or_else(|| panic!("{container}"));
            assert!(
                text.contains("kubectl debug --target=web") && text.chars().count() <= 250,
                "{text}"
            );
        }
    }

    #[test]
    fn tini_is_told_to_reap_and_is_silent_when_it_does() {
        assert!(
            said(json!({ "name": "web", "command": ["/sbin/tini", "--", "java"] }))
                .unwrap()
                .contains("tini -s")
        );
        assert_eq!(
            said(json!({ "name": "web", "command": ["tini", "-s", "--", "java"] })),
            None
        );
        assert_eq!(
            said(json!({ "name": "web", "command": ["tini"], "args": ["-s", "--", "java"] })),
            None
        );
        assert!(said(json!({ "name": "web", "command": ["tini", "--", "sort", "-s"] })).is_some());
    }

    #[test]
    fn others_are_silent_and_so_is_a_pod_that_shares_anyway() {
        for container in [
            json!({ "name": "web", "image": "shop:1" }),
            json!({ "name": "web", "command": ["java"], "image": "linuxserver/x" }),
            json!({ "name": "web", "command": ["/app/init"] }),
            json!({ "name": "web", "command": ["dumb-init", "--", "java"] }),
        ] {
            assert_eq!(said(container.clone()), None, "{container}");
        }
        let pod =
            json!({ "spec": { "shareProcessNamespace": true, "containers": [{ "name": "a", "command": ["/init"] }] } });
        assert_eq!(advice(&PodView::new(&pod).unwrap()), []);
    }
}
