//! Which container and pod a process belongs to, as far as the kernel's tables tell without asking an API.
//!
//! Pure text → values. The names are the pod author's and the paths can be forged by whoever may mount, so what does not
//! look like a name of Kubernetes is dropped. Called by the process table and, for the mounts, by the inspector child.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A container and its pod; every part may be unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: Option<String>,
    /// Its name in the pod's spec.
    pub name: Option<String>,
    /// `metadata.uid` of the pod; of a static pod the hash of its file.
    pub pod_uid: Option<String>,
    /// The pod by name; only a node knows it.
    pub pod: Option<PodName>,
}

/// `metadata.namespace` and `metadata.name` of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodName {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Container {
    /// Reads the text of `/proc/PID/cgroup`, version 1 or 2.
    ///
    /// Runtimes end the path with the id: `…/pod<uid>/<id>` with the cgroupfs driver,
    /// `…-pod<uid with _>.slice/cri-containerd-<id>.scope` (or `crio-`, `docker-`) with the systemd driver. With a private
    /// cgroup namespace the path is `/` or begins with `/../`, and there may be no id or no pod to find.
    pub fn from_cgroup(text: &str) -> Self {
        let segments = || {
            text.lines()
                .filter_map(|line| line.splitn(3, ':').nth(2))
                .flat_map(|path| path.rsplit('/'))
        };
        Self {
            id: segments().find_map(id_of_segment),
            pod_uid: segments().find_map(pod_uid_of_segment),
            ..Self::default()
        }
    }

    /// Completes what is missing from the text of `/proc/PID/mountinfo`.
    ///
    /// The kubelet bind-mounts `…/pods/<pod uid>/containers/<container name>/<hash>` into each container, for its
    /// termination message. The root of a mount, its fourth field, shows that path.
    pub fn complete_from_mounts(&mut self, text: &str) {
        let mut mounts = text
            .lines()
            .filter_map(|line| termination_message(line.split(' ').nth(3)?));
        // A volume of another pod cannot rename a process whose pod the cgroup tells.
        let ours = mounts.find(|(uid, _)| self.pod_uid.as_deref().is_none_or(|known| known == *uid));
        if let Some((uid, name)) = ours {
            self.complete_from_evidence(name, uid);
        }
    }

    /// Completes what is missing by what somebody who may err or lie says of the mounts: labels, no more.
    pub fn complete_from_evidence(&mut self, name: &str, pod_uid: &str) {
        let ours = self.pod_uid.as_deref().is_none_or(|known| known == pod_uid);
        if self.name.is_none() && ours && is_label(name) && is_uid(pod_uid) {
            self.name = Some(name.to_owned());
            self.pod_uid = Some(pod_uid.to_owned());
        }
    }

    /// True when the kernel's tables show no container at all.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// `namespace/pod container`, or as much of it as is known by name; empty if nothing is.
impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pod = self.pod.as_ref().map(ToString::to_string);
        let parts: Vec<String> = pod.into_iter().chain(self.name.clone()).collect();
        f.write_str(&parts.join(" "))
    }
}

fn id_of_segment(segment: &str) -> Option<String> {
    let segment = segment.strip_suffix(".scope").unwrap_or(segment);
    let id = segment.rsplit('-').next().unwrap_or(segment);
    is_id(id).then(|| id.to_owned())
}

/// `pod<uid>` or `kubepods-…-pod<uid>.slice`.
fn pod_uid_of_segment(segment: &str) -> Option<String> {
    let (before, uid) = segment.strip_suffix(".slice").unwrap_or(segment).rsplit_once("pod")?;
    // systemd uses - for levels of slices, so the driver writes _ in the uid.
    let uid = uid.replace('_', "-");
    ((before.is_empty() || before.ends_with('-')) && is_uid(&uid)).then_some(uid)
}

/// Pod uid and container name in a path that ends with `pods/<uid>/containers/<name>/<hash>`.
///
/// Only the first `pods/<uid>` counts: below it a volume may have any directories its pod likes.
fn termination_message(path: &str) -> Option<(&str, &str)> {
    let mut parts = path.split('/');
    while parts.next()? != "pods" {}
    let (uid, folder, name, hash) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hash_ok = !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let whole = folder == "containers" && hash_ok && parts.next().is_none();
    (whole && is_uid(uid) && is_label(name)).then_some((uid, name))
}

/// 64 hexadecimal digits.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A UUID, or the 32 digits that name a static pod.
fn is_uid(text: &str) -> bool {
    (32..=36).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// A DNS label: names of containers and namespaces.
pub(crate) fn is_label(text: &str) -> bool {
    text.len() <= 63 && !text.contains('.') && is_dns_name(text)
}

/// A DNS subdomain: names of pods.
pub(crate) fn is_dns_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    (1..=253).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f5c6e1d0b9a87766554433221100ffeeddccbbaa99887766554433221100abc";
    const UID: &str = "1f6a0c3e-8b6d-4a55-9a77-3c1e5f0a9b21";

    fn read(cgroup: &str) -> (Option<String>, Option<String>) {
        let container = Container::from_cgroup(cgroup);
        (container.id, container.pod_uid)
    }

    fn both() -> (Option<String>, Option<String>) {
        (Some(ID.to_owned()), Some(UID.to_owned()))
    }

    #[test]
    fn both_drivers_of_both_cgroup_versions_tell_container_and_pod() {
        let slice = UID.replace('-', "_");
        for text in [
            format!("12:pids:/kubepods/burstable/pod{UID}/{ID}\n11:cpu:/\n"),
            format!("0::/kubepods/pod{UID}/{ID}\n"),
            format!(
                "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{slice}.slice/cri-containerd-{ID}.scope\n"
            ),
            format!("0::/kubepods.slice/kubepods-pod{slice}.slice/crio-{ID}.scope/container\n"),
        ] {
            assert_eq!(read(&text), both(), "{text}");
        }
    }

    #[test]
    fn a_static_pod_has_a_hash_for_a_uid() {
        let hash = "0123456789abcdef0123456789abcdef";
        let text = format!("0::/kubepods/burstable/pod{hash}/{ID}\n");
        assert_eq!(read(&text).1.as_deref(), Some(hash));
    }

    #[test]
    fn a_private_cgroup_namespace_hides_the_pod_and_perhaps_the_container() {
        assert_eq!(
            read(&format!("0::/../cri-containerd-{ID}.scope\n")),
            (Some(ID.to_owned()), None)
        );
        assert_eq!(read("0::/\n"), (None, None));
    }

    #[test]
    fn docker_has_containers_without_pods() {
        let text = format!("0::/system.slice/docker-{ID}.scope/init\n");
        assert_eq!(read(&text), (Some(ID.to_owned()), None));
    }

    #[test]
    fn a_plain_session_has_none() {
        assert_eq!(read("0::/user.slice/user-1000.slice/session-2.scope\n"), (None, None));
        assert_eq!(read("0::/kubepods.slice\n"), (None, None));
        assert_eq!(read(""), (None, None));
    }

    fn mounts(roots: &[&str]) -> String {
        let line = |root: &&str| format!("612 590 8:1 {root} /dev/termination-log rw,relatime - ext4 /dev/sda1 rw\n");
        roots.iter().map(line).collect()
    }

    fn named(container: Container, roots: &[&str]) -> Container {
        let mut container = container;
        container.complete_from_mounts(&mounts(roots));
        container
    }

    #[test]
    fn the_kubelets_mount_tells_the_name_and_the_pod() {
        // The second is a kubelet whose folder is a file system of its own.
        for root in [
            format!("/var/lib/kubelet/pods/{UID}/containers/shop/0a1b2c3d"),
            format!("/pods/{UID}/containers/shop/0a1b2c3d"),
        ] {
            let found = named(Container::default(), &["/", &format!("/pods/{UID}/etc-hosts"), &root]);
            assert_eq!(
                (found.name.as_deref(), found.pod_uid.as_deref()),
                (Some("shop"), Some(UID)),
                "{root}"
            );
        }
    }

    #[test]
    fn what_is_not_the_kubelets_mount_names_nothing() {
        let other = UID.replace('1', "2");
        for root in [
            format!(
                "/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~empty-dir/x/pods/{UID}/containers/evil/0a1b2c3d"
            ),
            format!("/pods/{UID}/containers/shop"),
            format!("/pods/{UID}/containers/shop/0a1b2c3d/more"),
            format!("/pods/{UID}/containers/Shop\\040x/0a1b2c3d"),
            "/pods/../containers/shop/0a1b2c3d".to_owned(),
        ] {
            assert_eq!(named(Container::default(), &[&root]), Container::default(), "{root}");
        }
        let known = Container {
            pod_uid: Some(UID.to_owned()),
            ..Container::default()
        };
        let foreign = format!("/pods/{other}/containers/evil/0a1b2c3d");
        assert_eq!(named(known.clone(), &[&foreign]), known);
        let mine = format!("/pods/{UID}/containers/shop/0a1b2c3d");
        assert_eq!(named(known, &[&foreign, &mine]).name.as_deref(), Some("shop"));
    }

    #[test]
    fn people_read_what_is_known() {
        let pod = PodName {
            namespace: "prod".to_owned(),
            name: "shop-1".to_owned(),
        };
        let mut container = Container {
            id: Some(ID.to_owned()),
            ..Container::default()
        };
        assert_eq!(container.to_string(), "");
        container.name = Some("app".to_owned());
        assert_eq!(container.to_string(), "app");
        container.pod = Some(pod);
        assert_eq!(container.to_string(), "prod/shop-1 app");
    }
}
