//! The chart installed in the control plane, and `sideflame-webhook serve` processes on this machine in place of its
//! pods: same arguments, same ServiceAccount, reached by the API server through the chart's own Service.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::api_proxy::ApiProxy;
use crate::chart;
use crate::control_plane::{ControlPlane, Namespace, wait};
use crate::service::ServiceAddress;

/// Name of the release, and with it of every object of the chart.
pub const RELEASE: &str = "sideflame";

/// One release. Webhook configurations see the whole cluster, so tests that install one take turns.
#[derive(Debug)]
pub struct Installation {
    /// Replicas by the order of their start; a killed one stays in the list.
    pub replicas: Vec<Replica>,
    /// What the API server connects to.
    pub service: ServiceAddress,
    /// Where it is installed.
    pub namespace: Namespace,
    /// The control plane.
    pub plane: &'static ControlPlane,
    kubeconfig: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

/// A `serve` process.
#[derive(Debug)]
pub struct Replica {
    child: Child,
    /// Port for the API server.
    pub port: u16,
    /// Port of `/metrics`, `/healthz` and `/readyz`.
    pub metrics_port: u16,
    log: PathBuf,
    /// A test has ended it on purpose.
    ended: bool,
}

impl Installation {
    /// Installs the chart with `values` and starts `replicas` together; each is ready when this returns.
    ///
    /// # Panics
    /// One of them is not ready within 20 s.
    pub fn start(values: &[&str], replicas: usize) -> Self {
        let mut installation = Self::install(values);
        for _ in 0..replicas {
            installation.launch(&[]);
        }
        installation.serve_all();
        installation
    }

    /// Installs the chart and starts nothing.
    ///
    /// # Panics
    /// Helm or the API server refuses.
    pub fn install(values: &[&str]) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        // A test that failed in its turn has cleaned up all the same.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let plane = ControlPlane::shared();
        let namespace = plane.namespace(&json!({"pod-security.kubernetes.io/enforce": "restricted"}));
        chart::helm(plane, &["install", RELEASE], &namespace.name, values).ok();
        let service = plane.get(&namespace.path(&format!("services/{RELEASE}"))).ok().body;
        let address = service["spec"]["clusterIP"].as_str().expect("a cluster IP");
        let port = service["spec"]["ports"][0]["port"].as_u64().expect("a port");
        let kubeconfig = service_account(plane, &namespace);
        Self {
            replicas: Vec::new(),
            service: ServiceAddress::listen(address, u16::try_from(port).expect("a port")),
            namespace,
            plane,
            kubeconfig,
            _turn: turn,
        }
    }

    /// Starts one more replica, as the Deployment would but for `flags` (`--name=value`); gives its
    /// index. It listens when this returns, but need not be ready.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn launch(&mut self, flags: &[&str]) -> usize {
        let kubeconfig = self.kubeconfig.clone();
        self.launch_with(&kubeconfig, flags)
    }

    /// The same, but it reaches the API server through `proxy`.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn launch_through(&mut self, proxy: &ApiProxy) -> usize {
        let file = self.kubeconfig.with_extension("proxied.kubeconfig");
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": proxy.url}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "none"}}],
            "users": [{"name": "none", "user": {}}],
        });
        std::fs::write(&file, kubeconfig.to_string()).expect("a kubeconfig");
        self.launch_with(&file, &[])
    }

    fn launch_with(&mut self, kubeconfig: &Path, flags: &[&str]) -> usize {
        let path = self.namespace.path_in("apps/v1", &format!("deployments/{RELEASE}"));
        let deployment = self.plane.get(&path).ok().body;
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let list = |key: &str| container[key].as_array().cloned().unwrap_or_default();
        let overruled = |argument: &str| {
            let name = argument.split_once('=').map(|(name, _)| name);
            let mut names = flags.iter().filter_map(|flag| Some(flag.split_once('=')?.0));
            names.any(|flag| Some(flag) == name)
        };
        let arguments = list("args").into_iter();
        let arguments = arguments.filter(|argument| !overruled(argument.as_str().unwrap_or_default()));
        let arguments = arguments.map(|argument| {
            let argument = argument.as_str().expect("a string");
            match argument.split_once('=') {
                Some((name @ ("--listen" | "--metrics-listen"), _)) => format!("{name}=127.0.0.1:0"),
                _ => argument.replace("$(POD_NAMESPACE)", &self.namespace.name),
            }
        });
        let variables = list("env").into_iter().filter_map(|variable| {
            let value = variable["value"].as_str()?.to_owned();
            Some((variable["name"].as_str()?.to_owned(), value))
        });
        let variables: HashMap<String, String> = variables.collect();
        let index = self.replicas.len();
        let log = self.kubeconfig.with_extension(format!("replica-{index}.log"));
        let file = File::create(&log).expect("a log file");
        let mut child = Command::new(crate::cache::binary("sideflame-webhook"))
            .args(arguments)
            .args(flags)
            .envs(variables)
            .env("KUBECONFIG", kubeconfig)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file)
            .spawn()
            .expect("sideflame-webhook starts");
        let (port, metrics_port) = wait("line with the ports", Duration::from_secs(20), || {
            let said = std::fs::read_to_string(&log).expect("its log");
            let ended = child.try_wait().expect("our child");
            assert!(ended.is_none(), "it ended: {said}");
            Some((port_in(&said, "address=")?, port_in(&said, "health=")?))
        });
        self.replicas.push(Replica {
            child,
            port,
            metrics_port,
            log,
            ended: false,
        });
        index
    }

    /// Waits until every replica that no test has ended is ready, then lets the service send to them and to no other.
    ///
    /// # Panics
    /// One is not within 20 s, or died.
    pub fn serve_all(&mut self) {
        let mut ports = Vec::new();
        for replica in self.replicas.iter_mut().filter_map(Replica::unless_killed) {
            wait("readiness", Duration::from_secs(20), || {
                assert!(replica.is_alive(), "it ended: {}", replica.log());
                replica.is_ready().then_some(())
            });
            ports.push(replica.port);
        }
        self.service.send_to(&ports);
        // The API server learns of a new configuration and of its caBundle a moment later.
        wait_for_injection(self.plane, Duration::from_secs(20));
    }

    /// Sum of the samples of `metric` whose labels contain `labels`, over all living replicas.
    pub fn metric(&mut self, metric: &str, labels: &str) -> f64 {
        let living = self
            .replicas
            .iter_mut()
            .filter_map(|replica| replica.is_alive().then_some(&*replica));
        living.map(|replica| replica.metric(metric, labels)).sum()
    }

    /// Path of the MutatingWebhookConfiguration.
    pub fn mutating(&self) -> String {
        format!("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{RELEASE}")
    }

    /// Path of the ValidatingWebhookConfiguration.
    pub fn validating(&self) -> String {
        format!("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{RELEASE}")
    }

    /// Path of the Secret with the authority.
    pub fn authority(&self) -> String {
        self.namespace.path(&format!("secrets/{RELEASE}-authority"))
    }

    /// `caBundle` of every entry of both configurations.
    pub fn bundles(&self) -> Vec<Value> {
        let entries = |path: String| self.plane.get(&path).ok().body["webhooks"].as_array().cloned();
        let both = [entries(self.mutating()), entries(self.validating())];
        let all = both.into_iter().flatten().flatten();
        all.map(|webhook| webhook["clientConfig"]["caBundle"].clone()).collect()
    }

    /// What every replica logged.
    pub fn logs(&self) -> String {
        let logs: Vec<String> = self.replicas.iter().map(Replica::log).collect();
        logs.join("\n--- next replica\n")
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        self.replicas.clear();
        self.plane
            .helm(["uninstall", RELEASE, "--namespace", &self.namespace.name]);
    }
}

impl Replica {
    /// Pid of the process.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid fits into i32")
    }

    /// Itself, unless a test has waited for its end.
    fn unless_killed(&mut self) -> Option<&mut Self> {
        (!self.ended).then_some(self)
    }

    /// True while it runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// True when `/readyz` answers 200.
    pub fn is_ready(&self) -> bool {
        self.get("/readyz").is_some_and(|(status, _)| status == 200)
    }

    /// `GET path` on the port for metrics; `None` when nobody answers.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(5)))
            .build()
            .into();
        let mut answer = agent
            .get(format!("http://127.0.0.1:{}{path}", self.metrics_port))
            .call()
            .ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.body_mut().read_to_string().ok()?))
    }

    /// The page of metrics.
    ///
    /// # Panics
    /// The replica does not answer.
    pub fn metrics(&self) -> String {
        self.get("/metrics").expect("the replica answers").1
    }

    /// Sum of the samples of `metric` whose labels contain `labels`.
    ///
    /// # Panics
    /// There is no such metric, which a test for 0 must not take for 0.
    pub fn metric(&self, metric: &str, labels: &str) -> f64 {
        let page = self.metrics();
        let samples = page.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let rest = series.strip_prefix(metric)?;
            let hit = (rest.is_empty() || rest.starts_with('{')) && rest.contains(labels);
            hit.then(|| value.parse::<f64>().expect("a number"))
        });
        let samples: Vec<f64> = samples.collect();
        assert!(!samples.is_empty(), "no {metric} with {labels} in\n{page}");
        samples.iter().sum()
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.pid()), signal);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It does not end within 40 s.
    pub fn wait_for_end(&mut self) -> Option<i32> {
        self.ended = true;
        let child = &mut self.child;
        wait("end of the replica", Duration::from_secs(40), || {
            child.try_wait().ok().flatten()
        })
        .code()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The port of what a log says after `key`, once the line is whole.
fn port_in(log: &str, key: &str) -> Option<u16> {
    let line = log.split_inclusive('\n').find(|line| line.contains(key))?;
    let address = line.strip_suffix('\n')?.split_once(key)?.1;
    let address: SocketAddr = address.split_whitespace().next()?.parse().ok()?;
    Some(address.port())
}

/// A kubeconfig of the chart's ServiceAccount: what its RBAC does not allow fails here too.
fn service_account(plane: &ControlPlane, namespace: &Namespace) -> PathBuf {
    let admin = plane.kubectl(["config", "view", "--raw", "--output", "json"], "").ok();
    let admin: Value = serde_json::from_str(&admin.stdout).expect("JSON");
    let request = json!({"spec": {"audiences": [], "expirationSeconds": 3600}});
    let path = namespace.path(&format!("serviceaccounts/{RELEASE}/token"));
    let token = plane.create(&path, &request).ok().body["status"]["token"].clone();
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "webhook",
        "clusters": [{"name": "webhook", "cluster": admin["clusters"][0]["cluster"]}],
        "users": [{"name": "webhook", "user": {"token": token}}],
        "contexts": [{"name": "webhook", "context": {"cluster": "webhook", "user": "webhook"}}],
    });
    // In the folder of the control plane, which removes it.
    let file = plane
        .kubeconfig
        .with_file_name(format!("{}.kubeconfig", namespace.name));
    std::fs::write(&file, kubeconfig.to_string()).expect("a kubeconfig");
    file
}

/// A pod that asks for the sidecar, with further annotations; it passes every Pod Security level.
pub fn annotated_pod(annotations: &Value) -> Value {
    let mut pod = restricted_pod();
    pod["metadata"]["annotations"] = json!({"sideflame.io/inject": "true"});
    for (key, value) in annotations.as_object().into_iter().flatten() {
        pod["metadata"]["annotations"][key] = value.clone();
    }
    pod
}

/// What would become of an annotated pod.
///
/// # Panics
/// The API server refuses it.
pub fn dry_run(plane: &ControlPlane) -> Value {
    let path = "/api/v1/namespaces/default/pods?dryRun=All";
    plane.create(path, &annotated_pod(&json!({}))).ok().body
}

/// Waits until the API server has an annotated pod injected.
///
/// # Panics
/// It does not within `limit`.
pub fn wait_for_injection(plane: &ControlPlane, limit: Duration) {
    wait("an injection", limit, || is_injected(&dry_run(plane)).then_some(()));
}

/// A pod that asks for nothing and passes every Pod Security level.
pub fn restricted_pod() -> Value {
    json!({
        "metadata": {"generateName": "shop-", "labels": {"app": "shop"}},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "runAsGroup": 1000,
                "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "app", "image": "shop:1", "securityContext":
                {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
        },
    })
}

/// The sidecar of a pod, in whichever form.
pub fn sidecar(pod: &Value) -> Option<&Value> {
    let lists = ["initContainers", "containers"].into_iter();
    let mut all = lists.filter_map(|list| pod["spec"][list].as_array()).flatten();
    all.find(|container| container["name"] == "sideflame")
}

/// True if it has the sidecar and everything that goes with it.
///
/// # Panics
/// It has one without the other.
pub fn is_injected(pod: &Value) -> bool {
    let injected = sidecar(pod).is_some();
    let marked = pod["metadata"]["labels"]["sideflame.io/injected"] == "true";
    // A pod that states false has runtimes that connect by themselves.
    let by_port = pod["metadata"]["annotations"]["sideflame.io/dotnet-port"] == "true";
    let stated = by_port && pod["spec"]["shareProcessNamespace"] == false;
    let shared = pod["spec"]["shareProcessNamespace"] == true || (injected && stated);
    assert!(injected == marked && injected == shared, "half injected: {pod}");
    injected
}

/// Names and versions of the pods of a namespace that a page of the webhook's metrics tells as outdated.
///
/// # Panics
/// A row is not as documented.
pub fn outdated(page: &str, namespace: &Namespace) -> BTreeSet<(String, String)> {
    let start = format!(
        "sideflame_webhook_outdated_sidecar_info{{namespace=\"{}\",pod=\"",
        namespace.name
    );
    let rows = page.lines().filter_map(|line| line.strip_prefix(&start));
    rows.map(|row| {
        let labels = row
            .strip_suffix("\"} 1")
            .and_then(|row| row.split_once("\",version=\""));
        let (pod, version) = labels.unwrap_or_else(|| panic!("{row}"));
        (pod.to_owned(), version.to_owned())
    })
    .collect()
}
