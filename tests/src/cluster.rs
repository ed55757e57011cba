//! The single-node Kubernetes that `make cluster-up` starts, with the chart installed. Tests share it and keep to
//! namespaces of their own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Client;
use crate::control_plane::{ControlPlane, Namespace, Said, wait};
use crate::webhook::is_injected;

/// Where the images of this checkout are known to the node.
pub const SIDECAR_IMAGE: &str = concat!("localhost/sideflame:", env!("CARGO_PKG_VERSION"));

/// The cluster, with a client for its API.
#[derive(Debug)]
pub struct Cluster {
    /// Its API.
    pub plane: ControlPlane,
}

impl Cluster {
    /// The running cluster.
    ///
    /// # Panics
    /// It does not answer.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| {
            let kubeconfig = state().join("pki/admin.kubeconfig");
            assert!(kubeconfig.exists(), "there is no cluster; run `make cluster-up`");
            Self {
                plane: ControlPlane::running(kubeconfig, "http://127.0.0.1:18001".to_owned()),
            }
        })
    }

    /// A new namespace; `labels` such as the Pod Security level.
    pub fn namespace(&'static self, labels: &Value) -> Namespace {
        self.plane.namespace(labels)
    }

    /// Creates a pod and waits until it is ready: all its containers, the sidecar among them, are started.
    ///
    /// # Panics
    /// It is refused, or not ready within a minute, or asked for a sidecar and got none.
    pub fn run(&self, namespace: &Namespace, pod: &Value) -> Value {
        let created = self.plane.create(&namespace.path("pods"), pod).ok().body;
        assert_injected_if_asked(&created);
        self.wait_ready(namespace, name(&created))
    }

    /// Waits until a pod is ready and gives it.
    ///
    /// # Panics
    /// It is not within a minute.
    pub fn wait_ready(&self, namespace: &Namespace, pod: &str) -> Value {
        self.wait_ready_within(namespace, pod, Duration::from_secs(60))
    }

    /// The same for a pod with many containers, which the kubelet starts one after the other.
    ///
    /// # Panics
    /// It is not within `limit`.
    pub fn wait_ready_within(&self, namespace: &Namespace, pod: &str, limit: Duration) -> Value {
        let path = namespace.path(&format!("pods/{pod}"));
        self.poll(&path, limit, is_ready)
            .unwrap_or_else(|last| panic!("not ready after {limit:?}: {last}\n{}", self.events(namespace)))
    }

    /// Creates a workload of group `apps/v1` with two fields of its own, and gives the name of its one ready pod.
    ///
    /// # Panics
    /// There is none within a minute, or it asked for a sidecar and got none.
    pub fn deploy(&self, namespace: &Namespace, name: &str, pod: &Value) -> String {
        let deployment = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": name}},
                "template": with_label(pod, name),
            },
        });
        self.plane
            .create(&namespace.path_in("apps/v1", "deployments"), &deployment)
            .ok();
        let list = namespace.path(&format!("pods?labelSelector=app%3D{name}"));
        wait("pod of the deployment", Duration::from_secs(60), || {
            let pods = self.plane.get(&list).ok().body;
            let pod = pods["items"].as_array()?.iter().find(|pod| is_ready(pod))?;
            assert_injected_if_asked(pod);
            Some(self::name(pod).to_owned())
        })
    }

    /// Waits for something in the status of a pod or another object and gives the object.
    ///
    /// # Panics
    /// It is not so within `limit`.
    pub fn wait_until(&self, path: &str, limit: Duration, is: impl Fn(&Value) -> bool) -> Value {
        self.poll(path, limit, is)
            .unwrap_or_else(|last| panic!("after {limit:?} {path}: {last}"))
    }

    /// The object once `is` holds, or its last status.
    fn poll(&self, path: &str, limit: Duration, is: impl Fn(&Value) -> bool) -> Result<Value, Value> {
        let deadline = Instant::now() + limit;
        loop {
            let object = self.plane.get(path).ok().body;
            if is(&object) {
                return Ok(object);
            }
            if Instant::now() >= deadline {
                return Err(object["status"].clone());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// containerd's client on the node.
    ///
    /// # Panics
    /// It fails.
    pub fn ctr(&self, arguments: &[&str]) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/rig/cluster.sh");
        let output = Command::new(script).arg("ctr").args(arguments).output();
        let output = output.expect("cluster.sh starts");
        assert!(
            output.status.success(),
            "ctr {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The first process of a container, as the node numbers it.
    ///
    /// # Panics
    /// The container does not run.
    pub fn node_pid(&self, container_status: &Value) -> u32 {
        let id = container_id(container_status);
        let tasks = self.ctr(&["tasks", "list"]);
        let mut rows = tasks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let row = rows.find(|row| row.first() == Some(&id));
        row.and_then(|row| row.get(1)?.parse().ok())
            .unwrap_or_else(|| panic!("{id} does not run: {tasks}"))
    }

    /// `kubectl -n NAMESPACE ARGUMENTS`.
    pub fn kubectl(&self, namespace: &Namespace, arguments: &[&str]) -> Said {
        let scope = ["--namespace", &namespace.name];
        self.plane
            .kubectl(scope.into_iter().chain(arguments.iter().copied()), "")
    }

    /// Standard output of a command in a container.
    ///
    /// # Panics
    /// It fails.
    pub fn exec(&self, namespace: &Namespace, pod: &str, container: &str, command: &[&str]) -> String {
        let mut arguments = vec!["exec", pod, "--container", container, "--"];
        arguments.extend(command);
        self.kubectl(namespace, &arguments).ok().stdout
    }

    fn events(&self, namespace: &Namespace) -> String {
        self.kubectl(namespace, &["get", "events"]).stdout
    }
}

/// Where the cluster keeps its state, the kubelet's volumes among it.
pub fn state() -> PathBuf {
    std::env::var_os("SIDEFLAME_CLUSTER").map_or_else(|| PathBuf::from("/var/lib/sideflame-cluster"), PathBuf::from)
}

/// Name of an object.
pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The runtime's id of a container, 64 hexadecimal digits.
///
/// # Panics
/// The container was never started.
pub fn container_id(container_status: &Value) -> &str {
    container_status["containerID"]
        .as_str()
        .and_then(|id| id.strip_prefix("containerd://"))
        .unwrap_or_else(|| panic!("{container_status}"))
}

/// The row of `/processes` of a container's first process.
///
/// # Panics
/// The sidecar does not see it.
pub fn process_of(sidecar: &Client, pod: &Value, container: &str) -> Value {
    let id = container_id(container_status(pod, container));
    let processes = sidecar.get("/processes").ok().json();
    let mut all = processes.as_array().into_iter().flatten();
    let process = all.find(|process| process["containerId"] == id);
    process
        .unwrap_or_else(|| panic!("no process of {container} among {processes}"))
        .clone()
}

/// The state of one container in a pod's status, init and ephemeral ones included.
///
/// # Panics
/// The pod has no status of it.
pub fn container_status<'a>(pod: &'a Value, container: &str) -> &'a Value {
    let kinds = [
        "containerStatuses",
        "initContainerStatuses",
        "ephemeralContainerStatuses",
    ];
    let mut all = kinds.iter().filter_map(|kind| pod["status"][kind].as_array()).flatten();
    all.find(|status| status["name"] == container)
        .unwrap_or_else(|| panic!("no status of {container}: {}", pod["status"]))
}

/// Asserts that containers of a running pod were never started anew.
///
/// # Panics
/// One was.
pub fn assert_never_restarted(pod: &Value, containers: &[&str]) {
    for container in containers {
        let status = container_status(pod, container);
        assert_eq!(status["restartCount"], 0, "{status}");
    }
}

/// The API server creates pods as they are when it cannot ask the webhook, and all that follows would fail for reasons that
/// name another culprit.
fn assert_injected_if_asked(pod: &Value) {
    let asked = pod["metadata"]["annotations"]["sideflame.io/inject"] == "true";
    assert!(!asked || is_injected(pod), "the webhook was not asked: {pod}");
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn with_label(pod: &Value, name: &str) -> Value {
    let mut template = json!({"metadata": pod["metadata"], "spec": pod["spec"]});
    if let Some(metadata) = template["metadata"].as_object_mut() {
        metadata.remove("name");
        metadata.insert("labels".to_owned(), json!({"app": name}));
    }
    template
}
