//! What the pod spec tells about the credentials of a container's processes, and what it leaves open.
//!
//! An image's USER is unknown to an admission webhook, and so is the group it brings: what is open becomes several
//! possible worlds, and a verdict holds only if it holds in all of them.

use serde_json::{Map, Value};

use super::access::Credentials;
use super::candidate::Seccomp;
use super::capabilities::CapabilitySet;
use crate::pod::{PodView, items, name};

/// A container as the planner sees it.
#[derive(Debug, Clone)]
pub(crate) struct Target<'a> {
    /// Its name.
    pub name: &'a str,
    /// Effective `runAsUser`; `None` means that the image decides.
    pub uid: Option<u32>,
    /// Effective `runAsGroup`; `None` means the image, or 0.
    pub gid: Option<u32>,
    /// `runAsNonRoot`: the kubelet refuses uid 0.
    non_root: bool,
    /// Capabilities it has if it runs as root.
    as_root: CapabilitySet,
    /// Capabilities that files of its image could give it although it is not root.
    pub by_files: CapabilitySet,
    /// Sees the node's devices and holds everything.
    pub privileged: bool,
    /// The filter of its system calls.
    pub seccomp: Seccomp,
    /// Neither the root file system nor a volume gives it a writable `/tmp`.
    pub tmp: Tmp,
    /// Its .NET runtimes are told to connect to the sidecar.
    pub dotnet_port: bool,
    /// The pod does not share its process namespace.
    pub hidden: bool,
}

/// Whether the container can write to `/tmp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tmp {
    /// By its root file system or a volume.
    Writable,
    /// Its root file system is read-only and nothing is mounted there.
    ReadOnly,
    /// A volume is mounted there that cannot be written to.
    ReadOnlyMount,
}

/// Neither root nor a number in use: stands for a user or group that we do not know.
const UNKNOWN_ID: u32 = u32::MAX - 7;

impl<'a> Target<'a> {
    /// Reads a container; what it says beats what the pod says.
    pub(crate) fn new(pod: &PodView<'a>, container: &'a Value) -> Self {
        let own = context(container.get("securityContext"));
        let pods = context(pod.spec.get("securityContext"));
        let effective = |key: &str| {
            own.and_then(|own| present(own, key))
                .or_else(|| pods.and_then(|pods| present(pods, key)))
        };
        let id = |key: &str| effective(key)?.as_u64().and_then(|id| u32::try_from(id).ok());
        let own_flag = |key: &str| own.and_then(|own| own.get(key)?.as_bool());
        let privileged = own_flag("privileged") == Some(true);
        let (added, as_root) = capabilities(own);
        let as_root = if privileged { CapabilitySet::ALL } else { as_root };
        // no_new_privs: then the kernel ignores capabilities of files.
        let no_new_privileges = own_flag("allowPrivilegeEscalation") == Some(false);
        Self {
            name: name(container),
            uid: id("runAsUser"),
            gid: id("runAsGroup"),
            non_root: effective("runAsNonRoot").and_then(Value::as_bool) == Some(true),
            as_root,
            by_files: if no_new_privileges { CapabilitySet::NONE } else { added },
            privileged,
            seccomp: match effective("seccompProfile").and_then(|profile| profile.get("type")?.as_str()) {
                _ if privileged => Seccomp::Unconfined,
                Some("RuntimeDefault") => Seccomp::RuntimeDefault,
                Some("Unconfined") => Seccomp::Unconfined,
                _ => Seccomp::Unknown,
            },
            tmp: tmp(pod, container, own_flag("readOnlyRootFilesystem") == Some(true)),
            dotnet_port: false,
            hidden: false,
        }
    }

    /// Takes the user that the platform assigns, if it states none. No image knows that number, so the group is 0.
    pub(super) fn assign(&mut self, user: u32) {
        if self.uid.is_none() {
            self.uid = Some(user);
            self.gid = self.gid.or(Some(0));
        }
    }

    /// What it holds beyond the runtime's defaults and what `capabilities.drop` left of them.
    pub(crate) fn most_capabilities(&self) -> CapabilitySet {
        match self.uid {
            Some(0) => self.as_root,
            Some(_) => self.by_files,
            None if self.non_root => self.by_files,
            None => self.as_root.union(self.by_files),
        }
    }

    /// All credentials its processes may have.
    pub(crate) fn worlds(&self) -> Vec<Credentials> {
        let uids = match self.uid {
            Some(uid) => vec![uid],
            None if self.non_root => vec![UNKNOWN_ID],
            None => vec![0, UNKNOWN_ID],
        };
        let mut worlds = Vec::with_capacity(4);
        for uid in uids {
            // Root's group is root in every image; another user's is what the image's /etc/passwd says, else 0.
            let gids = match (self.gid, uid) {
                (Some(gid), _) => vec![gid],
                (None, 0) => vec![0],
                (None, _) => vec![0, UNKNOWN_ID],
            };
            for gid in gids {
                let mut add = |capabilities| worlds.push(Credentials { uid, gid, capabilities });
                if uid == 0 {
                    add(self.as_root);
                } else {
                    add(CapabilitySet::NONE);
                    if !self.by_files.is_empty() {
                        add(self.by_files);
                    }
                }
            }
        }
        worlds
    }
}

fn context(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value?.as_object()
}

fn present<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    map.get(key).filter(|value| !value.is_null())
}

/// What is added explicitly, and what root holds in all.
fn capabilities(own: Option<&Map<String, Value>>) -> (CapabilitySet, CapabilitySet) {
    let Some(stated) = own.and_then(|own| own.get("capabilities")) else {
        return (CapabilitySet::NONE, CapabilitySet::RUNTIME_DEFAULT);
    };
    let set = |key: &str| {
        let names = items(stated, key).iter().filter_map(Value::as_str);
        names
            .filter_map(CapabilitySet::named)
            .fold(CapabilitySet::NONE, CapabilitySet::union)
    };
    let (added, dropped) = (set("add"), set("drop"));
    // As runtimes do: with ALL on one side, only the other side's exceptions count.
    let as_root = if added == CapabilitySet::ALL {
        CapabilitySet::ALL.minus(if dropped == CapabilitySet::ALL {
            CapabilitySet::NONE
        } else {
            dropped
        })
    } else {
        CapabilitySet::RUNTIME_DEFAULT.minus(dropped).union(added)
    };
    (added, as_root)
}

fn tmp(pod: &PodView<'_>, container: &Value, read_only_root: bool) -> Tmp {
    let is_tmp = |mount: &&Value| {
        let path = mount.get("mountPath").and_then(Value::as_str).unwrap_or_default();
        path.trim_end_matches('/') == "/tmp"
    };
    match items(container, "volumeMounts").iter().find(is_tmp) {
        Some(mount) if mount.get("readOnly").and_then(Value::as_bool) == Some(true) => Tmp::ReadOnlyMount,
        Some(mount) if is_read_only(pod, name(mount)) => Tmp::ReadOnlyMount,
        Some(_) => Tmp::Writable,
        None if read_only_root => Tmp::ReadOnly,
        None => Tmp::Writable,
    }
}

/// Whether the volume of this name can be mounted in no other way.
fn is_read_only(pod: &PodView<'_>, volume: &str) -> bool {
    const KINDS: [&str; 5] = ["configMap", "secret", "downwardAPI", "projected", "image"];
    let volume = pod.volumes.iter().find(|candidate| name(candidate) == volume);
    let stated = |kind: &str| {
        volume
            .and_then(|volume| volume.get(kind))
            .is_some_and(|source| !source.is_null())
    };
    let claim = volume.and_then(|volume| volume.get("persistentVolumeClaim")?.get("readOnly")?.as_bool());
    KINDS.into_iter().any(stated) || claim == Some(true)
}
