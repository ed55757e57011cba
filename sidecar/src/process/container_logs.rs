//! Names of the pods and containers of a node, from the names of the links the kubelet keeps for log collectors:
//! `/var/log/containers/<pod>_<namespace>_<container>-<container id>.log`.
//!
//! Only the directory is read: its links point into every pod's logs and are never followed. Called by the inspector,
//! on either side.

use std::collections::HashMap;
use std::path::Path;

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::container::{Container, PodName, is_dns_name, is_id, is_label};

/// Where the kubelet puts the links, fixed in its code (`legacyContainerLogsDir`).
pub const DIRECTORY: &str = "/var/log/containers";

/// The same where `kubectl debug node/…` mounts the node's root.
pub const DEBUG_DIRECTORY: &str = "/host/var/log/containers";

/// A node has at most some hundred containers and keeps a few dead ones of each.
pub(crate) const LIMIT: usize = 16_384;

/// Pod and container name by container id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerLogs(HashMap<String, (PodName, String)>);

impl ContainerLogs {
    /// Reads the names in `directory`.
    ///
    /// # Errors
    /// What `open` says, `ENOTDIR` or `ELOOP` for a link.
    pub fn read(directory: &Path) -> std::io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut directory = Dir::open(directory, flags, Mode::empty())?;
        let entries = directory.iter().take(LIMIT).flatten();
        Ok(entries
            .filter_map(|entry| Some(entry.file_name().to_str().ok()?.to_owned()))
            .collect())
    }

    /// True when no container is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts names to containers whose ids are known, and to the pods of all: a pause container has no log of its own.
    pub fn complete<'a>(&self, containers: impl Iterator<Item = &'a mut Container>) {
        let mut pods = HashMap::new();
        let mut nameless = Vec::new();
        for container in containers {
            self.complete_one(container);
            match (&container.pod_uid, &container.pod) {
                (Some(uid), Some(pod)) => _ = pods.insert(uid.clone(), pod.clone()),
                (Some(_), None) => nameless.push(container),
                (None, _) => {}
            }
        }
        for container in nameless {
            container.pod = container.pod_uid.as_ref().and_then(|uid| pods.get(uid)).cloned();
        }
    }

    /// The names are the kubelet's and so win over those of its mounts.
    fn complete_one(&self, container: &mut Container) {
        if let Some((pod, name)) = container.id.as_ref().and_then(|id| self.0.get(id)) {
            container.pod = Some(pod.clone());
            container.name = Some(name.clone());
        }
    }
}

impl FromIterator<String> for ContainerLogs {
    fn from_iter<T: IntoIterator<Item = String>>(names: T) -> Self {
        Self(names.into_iter().filter_map(|name| parse(&name)).collect())
    }
}

/// The kubelet cuts a name at 255 bytes: the id is incomplete then, and the container stays without a name.
fn parse(name: &str) -> Option<(String, (PodName, String))> {
    let (names, id) = name.strip_suffix(".log")?.rsplit_once('-')?;
    // No name of Kubernetes has an underscore.
    let mut names = names.split('_');
    let (pod, namespace, container) = (names.next()?, names.next()?, names.next()?);
    let valid = is_id(id) && is_dns_name(pod) && is_label(namespace) && is_label(container) && names.next().is_none();
    valid.then(|| {
        let pod = PodName {
            namespace: namespace.to_owned(),
            name: pod.to_owned(),
        };
        (id.to_owned(), (pod, container.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f5c6e1d0b9a87766554433221100ffeeddccbbaa99887766554433221100abc";

    fn container() -> Container {
        Container {
            id: Some(ID.to_owned()),
            name: Some("from-a-mount".to_owned()),
            ..Container::default()
        }
    }

    #[test]
    fn the_name_of_a_link_names_pod_namespace_and_container() {
        let directory = tempfile::tempdir().unwrap();
        // Dangling on purpose: whoever followed it would find nothing.
        let link = directory.path().join(format!("shop-6c9f.v2_prod_the-app-{ID}.log"));
        std::os::unix::fs::symlink("/nowhere", link).unwrap();
        let mut container = container();
        ContainerLogs::read(directory.path())
            .unwrap()
            .complete([&mut container].into_iter());
        assert_eq!(container.to_string(), "prod/shop-6c9f.v2 the-app");
    }

    #[test]
    fn what_the_kubelet_would_not_write_names_nothing() {
        let short = &ID[..60];
        for name in [
            format!("shop_prod_app-{short}.log"),
            format!("shop_prod_app-{ID}"),
            format!("shop_prod-{ID}.log"),
            format!("shop_prod_app_more-{ID}.log"),
            format!("sh\u{1b}op_prod_app-{ID}.log"),
            format!("_prod_app-{ID}.log"),
            format!("shop_{}_app-{ID}.log", "n".repeat(64)),
        ] {
            assert!(ContainerLogs::from_iter([name.clone()]).is_empty(), "{name}");
        }
    }

    #[test]
    fn a_container_without_a_link_keeps_its_name() {
        let logs = ContainerLogs::from_iter([format!("shop_prod_app-{}.log", ID.replace('3', "4"))]);
        let mut container = container();
        logs.complete([&mut container].into_iter());
        assert_eq!(container, self::container());
    }

    #[test]
    fn the_containers_of_a_pod_share_its_name() {
        let logs = ContainerLogs::from_iter([format!("shop_prod_app-{ID}.log")]);
        let of_pod = |container: Container| Container {
            pod_uid: Some("1f6a0c3e".to_owned()),
            ..container
        };
        let mut containers = [of_pod(Container::default()), of_pod(container()), Container::default()];
        logs.complete(containers.iter_mut());
        assert_eq!(
            containers.map(|one| one.to_string()),
            ["prod/shop", "prod/shop app", ""]
        );
    }

    #[test]
    fn a_link_in_place_of_the_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("containers");
        std::os::unix::fs::symlink(directory.path(), &link).unwrap();
        assert!(ContainerLogs::read(&link).is_err());
    }
}
