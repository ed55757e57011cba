//! Texts that tell container and pod: cgroup paths, mounts, and file names of the node's logs. Whoever may mount can forge them.

use sideflame::process::{Container, ContainerLogs};

use crate::{Seed, parts};

/// `cgroup`, `mountinfo`, and names of logs, a line each.
pub(crate) fn run(bytes: &[u8]) {
    let texts: [_; 3] = parts::split(bytes).map(String::from_utf8_lossy);
    let [cgroup, mounts, logs] = texts;
    let mut container = Container::from_cgroup(&cgroup);
    let told = container.clone();
    container.complete_from_mounts(&mounts);
    check(&container);
    // A volume of another pod renames nothing.
    assert_eq!(container.id, told.id);
    assert!(told.pod_uid.is_none() || container.pod_uid == told.pod_uid);
    let logs: ContainerLogs = logs.lines().map(str::to_owned).collect();
    logs.complete([&mut container].into_iter());
    check(&container);
    assert!(!container.to_string().contains(char::is_control));
}

fn check(container: &Container) {
    let hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    assert!(container.id.as_deref().is_none_or(|id| id.len() == 64 && hexadecimal(id)));
    assert!(container.pod_uid.as_deref().is_none_or(|uid| uid.len() <= 36 && hexadecimal(uid)));
    let pod = container.pod.iter().flat_map(|pod| [&pod.namespace, &pod.name]);
    for name in pod.chain(&container.name) {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        assert!((1..=253).contains(&name.len()) && name.bytes().all(plain), "{name:?}");
    }
}

const ID: &str = "3f5c6e1d0b9a87766554433221100ffeeddccbbaa99887766554433221100abc";
const UID: &str = "1f6a0c3e-8b6d-4a55-9a77-3c1e5f0a9b21";

pub(crate) fn seeds() -> Vec<Seed> {
    let mounts = format!(
        "22 1 0:20 / / rw - overlay overlay rw\n30 22 8:1 /var/lib/kubelet/pods/{UID}/containers/app/1a2b3c4d /dev/termination-log \
         rw - ext4 /dev/sda1 rw\n"
    );
    let logs = format!("shop-7c_prod_app-{ID}.log\nbroken.log\n");
    let seed = |cgroup: &str| parts::join(&[cgroup.as_bytes(), mounts.as_bytes(), logs.as_bytes()]);
    vec![
        ("version1", seed(&format!("12:pids:/kubepods/burstable/pod{UID}/{ID}\n11:cpu:/\n"))),
        (
            "systemd",
            seed(&format!(
                "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice/cri-containerd-{ID}.scope\n",
                UID.replace('-', "_")
            )),
        ),
        ("private", seed(&format!("0::/../cri-containerd-{ID}.scope\n"))),
        ("none", seed("0::/\n")),
    ]
}
