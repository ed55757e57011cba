//! A process as a pod of a node has it, without a kubelet: cgroup, mounts, pid, network and mount namespace, user, and the
//! link in the node's directory of container logs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::app::{App, CACHE_SEEN_AT, append_moved};
use crate::cache;

/// A node's `/var/log/containers` and the kubelet's folder of pods; removed when dropped.
#[derive(Debug)]
pub struct Node {
    root: PathBuf,
}

/// A running pod with one container; ended when dropped.
#[derive(Debug)]
pub struct Pod {
    app: App,
    // Removed after the end of the app, which is in it.
    _cgroup: Cgroup,
    /// Pid of the app on the node; in the pod it is 1.
    pub pid: i32,
    /// `metadata.uid`.
    pub uid: String,
    /// Container id.
    pub container_id: String,
}

impl Default for Node {
    fn default() -> Self {
        let node = Self {
            root: std::env::temp_dir().join(format!("sideflame-node-{}-{}", std::process::id(), number())),
        };
        fs::create_dir_all(node.container_logs()).expect("the temporary directory can be written");
        node
    }
}

impl Node {
    /// The directory for `--container-logs`.
    pub fn container_logs(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// Starts `command` as container `container` of pod `name`, with user and group id `user`, and waits for its `ready`
    /// line.
    ///
    /// # Panics
    /// It does not get ready, or we are not root.
    pub fn run(&self, namespace: &str, name: &str, container: &str, user: u32, command: &Command) -> Pod {
        let number = u128::from(number()) << 32 | u128::from(std::process::id());
        let uid = format!("00000000-0000-4000-8000-{number:012x}");
        let container_id = format!("{number:064x}");
        let message = self.root.join(format!("pods/{uid}/containers/{container}"));
        fs::create_dir_all(&message).expect("the node's folder can be written");
        let message = message.join("0a1b2c3d");
        fs::write(&message, "").expect("the node's folder can be written");
        let link = format!("{name}_{namespace}_{container}-{container_id}.log");
        // As on a node it leads nowhere that we could see; nobody may follow it.
        std::os::unix::fs::symlink("/var/log/pods/nowhere", self.container_logs().join(link)).expect("a new name");
        let cgroup = Cgroup::of_container(&uid, &container_id);

        let mut app = App::launch(in_pod(&cgroup.path, &message, user, command));
        app.wait_for("ready");
        Pod {
            pid: only_child(app.pid),
            app,
            _cgroup: cgroup,
            uid,
            container_id,
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // Its namespace's first process takes all others along.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid), nix::sys::signal::Signal::SIGKILL);
        while self.app.is_alive() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// The control group of a container, as a container runtime with the cgroupfs driver names it; removed when dropped.
#[derive(Debug)]
pub struct Cgroup {
    /// Writing a pid into `cgroup.procs` there moves a process.
    pub path: PathBuf,
}

impl Cgroup {
    /// Makes the group of a container in a pod.
    ///
    /// # Panics
    /// We are not root.
    pub fn of_container(pod_uid: &str, container_id: &str) -> Self {
        // Not below `kubepods`: a kubelet on this machine would clear away what it does not know.
        let own = format!("sideflame-test-{}-{}", std::process::id(), number());
        let path = cgroups().join(own).join(format!("pod{pod_uid}/{container_id}"));
        fs::create_dir_all(&path).expect("control groups can be made (as root)");
        Self { path }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for group in self.path.ancestors().take(3) {
            let _ = fs::remove_dir(group);
        }
    }
}

/// The hierarchy without controllers where there is one, as runc would find it.
fn cgroups() -> PathBuf {
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];
    let found = roots
        .into_iter()
        .map(Path::new)
        .find(|root| root.join("cgroup.procs").exists());
    found.expect("control groups are mounted").to_owned()
}

fn in_pod(cgroup: &Path, message: &Path, user: u32, command: &Command) -> Command {
    // The message's own mount point is /dev/termination-log, which the host has not: only the source counts.
    let inside = format!(
        "mount --bind \"$1\" /etc/hostname && mount --bind \"$2\" {CACHE_SEEN_AT} && mount -t tmpfs -o mode=1777 tmpfs /tmp && \
         ip link set lo up && shift 2 && \
         exec setpriv --reuid {user} --regid {user} --clear-groups --bounding-set -all --inh-caps -all \"$@\""
    );
    let outside = "echo $$ > \"$0/cgroup.procs\" && exec unshare --net --pid --mount --propagation private \
                   --mount-proc --fork --kill-child \"$@\"";
    let mut pod = Command::new("sh");
    pod.args(["-c", outside]).arg(cgroup);
    pod.args(["sh", "-c", &inside, "sh"]).arg(message).arg(cache::root());
    append_moved(&mut pod, command);
    pod
}

fn only_child(pid: i32) -> i32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("unshare lives");
    children.trim().parse().expect("unshare has one child")
}

/// Differs for each pod and node of a test program.
fn number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
