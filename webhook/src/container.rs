//! The sidecar as Kubernetes objects: its container, its volumes and what they are called.
//!
//! Must not know how decisions are made. The contract with the sidecar's own flags is held by
//! `tests/tests/inject_contract.rs`, which parses what stands here with the sidecar's real argument parser.

use serde_json::{Map, Value, json};

use crate::choices::Quantity;
use crate::rights::{Candidate, Seccomp};

/// Name of the container.
pub const NAME: &str = "sideflame";
/// The sidecar's own default.
pub const DEFAULT_PORT: u16 = 7117;
/// Volume for recordings and artifacts.
pub const STORE_VOLUME: &str = "sideflame-store";
/// An empty volume where the service account's token would be.
pub const NO_API_TOKEN_VOLUME: &str = "sideflame-no-api-token";
/// Volume with the bearer token of `sideflame.io/token-secret`.
pub const TOKEN_VOLUME: &str = "sideflame-token";

/// Volume with the socket to which .NET runtimes connect.
pub const DOTNET_VOLUME: &str = "sideflame-dotnet";
/// Where that is mounted, in the sidecar and in the containers it profiles. A directory of its own at the top: nothing of an
/// image is hidden, and no link of an image (`/var/run`) leads elsewhere.
pub const DOTNET_DIRECTORY: &str = "/sideflame-dotnet";
/// The socket.
pub const DOTNET_PORT: &str = "/sideflame-dotnet/port.sock";

const STORE_PATH: &str = "/var/lib/sideflame";
const TOKEN_PATH: &str = "/etc/sideflame/token";
const API_TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Everything that varies between sidecars.
#[derive(Debug)]
pub(crate) struct Sidecar<'a> {
    pub image: &'a str,
    pub pull_policy: &'static str,
    pub native: bool,
    pub port: u16,
    /// Where its metrics are for other pods.
    pub metrics_port: Option<u16>,
    pub capture_size: &'a Quantity,
    pub resources: Option<Value>,
    pub rights: &'a Candidate,
    pub token_secret: Option<&'a str>,
    /// It listens for .NET runtimes.
    pub dotnet_port: bool,
    /// The pod itself says that no API token is mounted.
    pub no_api_token: bool,
    /// The pod has an AppArmor profile that was made for the app.
    pub app_armor: bool,
}

impl Sidecar<'_> {
    /// The container.
    ///
    /// It has no probe: the kubelet asks from outside the pod's loopback, and nothing of ours may hold the pod back. It
    /// declares no port but that of its metrics: with hostNetwork that would take the port from every other pod of the node.
    pub(crate) fn container(&self) -> Value {
        let mut container = Map::new();
        let mut put = |key: &str, value: Value| container.insert(key.to_owned(), value);
        put("name", json!(NAME));
        put("image", json!(self.image));
        put("imagePullPolicy", json!(self.pull_policy));
        put("args", json!(["serve"]));
        put("env", self.environment());
        if let Some(port) = self.metrics_port {
            // Monitors choose it by its name.
            put(
                "ports",
                json!([{ "name": NAME, "containerPort": port, "protocol": "TCP" }]),
            );
        }
        if self.native {
            put("restartPolicy", json!("Always"));
        }
        if let Some(resources) = &self.resources {
            put("resources", resources.clone());
        }
        put("securityContext", self.security_context());
        put("terminationMessagePolicy", json!("FallbackToLogsOnError"));
        put("volumeMounts", self.volume_mounts());
        Value::Object(container)
    }

    fn environment(&self) -> Value {
        let variable = |name: &str, value: String| json!({ "name": name, "value": value });
        let mut environment = vec![
            variable("SIDEFLAME_STORE_DIR", STORE_PATH.to_owned()),
            variable("SIDEFLAME_STORE_SIZE", self.capture_size.units().to_string()),
            variable("SIDEFLAME_LOG_FORMAT", "json".to_owned()),
            variable("SIDEFLAME_RETRY_START", "true".to_owned()),
        ];
        // Its default is both loopbacks, the one of IPv6 only where the pod has it. Another port is for IPv4 only, which
        // every pod has and kubectl port-forward prefers.
        if self.port != DEFAULT_PORT {
            environment.push(variable("SIDEFLAME_LISTEN", format!("127.0.0.1:{}", self.port)));
        }
        if let Some(port) = self.metrics_port {
            environment.push(variable("SIDEFLAME_METRICS_PORT", port.to_string()));
        }
        if self.token_secret.is_some() {
            environment.push(variable("SIDEFLAME_TOKEN_FILE", format!("{TOKEN_PATH}/token")));
        }
        if self.dotnet_port {
            environment.push(variable("SIDEFLAME_DOTNET_PORT", DOTNET_PORT.to_owned()));
        }
        Value::Array(environment)
    }

    fn security_context(&self) -> Value {
        let rights = self.rights;
        let mut context = Map::new();
        let mut put = |key: &str, value: Value| context.insert(key.to_owned(), value);
        if let Some(uid) = rights.uid {
            put("runAsUser", json!(uid));
        }
        if let Some(gid) = rights.gid {
            put("runAsGroup", json!(gid));
        }
        // Always stated: a value at the pod level would hold for us, too.
        put("runAsNonRoot", json!(rights.uid != Some(0)));
        put("allowPrivilegeEscalation", json!(false));
        put("readOnlyRootFilesystem", json!(true));
        let mut capabilities = Map::new();
        if rights.drop_all {
            capabilities.insert("drop".to_owned(), json!(["ALL"]));
        }
        if rights.added().next().is_some() {
            capabilities.insert("add".to_owned(), rights.added().collect());
        }
        if !capabilities.is_empty() {
            put("capabilities", Value::Object(capabilities));
        }
        let seccomp = match rights.seccomp {
            Seccomp::RuntimeDefault => Some("RuntimeDefault"),
            Seccomp::Unconfined => Some("Unconfined"),
            Seccomp::Unknown => None,
        };
        if let Some(profile) = seccomp {
            put("seccompProfile", json!({ "type": profile }));
        }
        // Stated only where the pod's would hold: a node without AppArmor refuses pods that name a profile.
        if self.app_armor {
            put("appArmorProfile", json!({ "type": "RuntimeDefault" }));
        }
        Value::Object(context)
    }

    fn volume_mounts(&self) -> Value {
        let mut mounts = vec![json!({ "name": STORE_VOLUME, "mountPath": STORE_PATH })];
        // The ServiceAccount admission runs again after us and would mount the token into every container without a mount
        // at this path; the sidecar needs none.
        if !self.no_api_token {
            mounts.push(json!({ "name": NO_API_TOKEN_VOLUME, "mountPath": API_TOKEN_PATH, "readOnly": true }));
        }
        if self.token_secret.is_some() {
            mounts.push(json!({ "name": TOKEN_VOLUME, "mountPath": TOKEN_PATH, "readOnly": true }));
        }
        if self.dotnet_port {
            mounts.push(json!({ "name": DOTNET_VOLUME, "mountPath": DOTNET_DIRECTORY }));
        }
        Value::Array(mounts)
    }

    /// The volumes of the container.
    pub(crate) fn volumes(&self) -> Vec<Value> {
        let store_limit = store_limit(self.capture_size);
        let mut volumes = vec![json!({ "name": STORE_VOLUME, "emptyDir": { "sizeLimit": store_limit } })];
        if !self.no_api_token {
            volumes.push(json!({ "name": NO_API_TOKEN_VOLUME, "emptyDir": { "sizeLimit": "1Mi" } }));
        }
        if self.dotnet_port {
            // On disk, where an empty file takes nothing: in memory it would count towards the pod's. Only the sidecar can
            // write into it, so no app can exceed the limit, for which the pod would be evicted.
            volumes.push(json!({ "name": DOTNET_VOLUME, "emptyDir": { "sizeLimit": "1Mi" } }));
        }
        if let Some(secret) = self.token_secret {
            // Root can keep the file to itself; another user owns no file of a Secret volume.
            let mode = if self.rights.uid == Some(0) { 0o400 } else { 0o444 };
            volumes.push(json!({
                "name": TOKEN_VOLUME,
                "secret": {
                    "secretName": secret,
                    "items": [{ "key": "token", "path": "token" }],
                    "defaultMode": mode,
                },
            }));
        }
        volumes
    }
}

const MEBIBYTE: u128 = 1 << 20;
/// Beside a quarter of the store.
const SPARE: u128 = 16 * MEBIBYTE;

/// Above what the sidecar allows itself: exceeding a sizeLimit gets the whole pod evicted, the app included.
pub(crate) fn store_limit(capture_size: &Quantity) -> String {
    let bytes = capture_size.units();
    format!("{}Mi", (bytes + bytes / 4 + SPARE).div_ceil(MEBIBYTE))
}

/// The largest store, in bytes, whose [`store_limit`] is at most `limit` bytes.
pub(crate) fn store_within(limit: u128) -> u128 {
    let spared = (limit - limit % MEBIBYTE).saturating_sub(SPARE);
    let bytes = spared / 5 * 4;
    bytes - bytes % MEBIBYTE
}
