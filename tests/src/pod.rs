//! Pods of the sample apps, as JSON. The images are those of `tests/rig/app_images.sh`.

use serde_json::{Value, json};

use crate::cluster::SIDECAR_IMAGE;

/// The image whose user is 1001:1001.
pub const USER_IMAGE: &str = "localhost/sideflame-test-apps:user";
/// The image that runs as root.
pub const ROOT_IMAGE: &str = "localhost/sideflame-test-apps:root";

/// .NET 8 and the split that its start-up hook runs, as 1001:1001; nothing else.
pub const DOTNET_IMAGE: &str = "localhost/sideflame-test-apps:dotnet";

/// Busybox twice, run by 1001:1001: `/bin/busybox` has the file capability NET_BIND_SERVICE, `/bin/sh` has none.
pub const CAPABLE_IMAGE: &str = "localhost/sideflame-test-apps:capable";

/// A container of `java`, `dotnet`, `go` or `c` that runs a scenario of the split, called after the app.
///
/// # Panics
/// There is no such app.
pub fn container(app: &str, image: &str, scenario: &str) -> Value {
    let command = match app {
        "java" => json!([
            "/java/bin/java",
            "-Xmx64m",
            "-XX:+UseSerialGC",
            "-cp",
            "/apps/java",
            "demo.shop.Split",
            scenario
        ]),
        "dotnet" => json!(["/dotnet/dotnet", "/apps/dotnet/Split.dll", scenario]),
        "go" => json!(["/apps/go/split", "-pprof", "127.0.0.1:6060", scenario]),
        "c" => json!(["/apps/c/split", scenario]),
        other => panic!("no app {other}"),
    };
    json!({
        "name": app,
        "image": image,
        "imagePullPolicy": "Never",
        "command": command,
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
    })
}

/// The container under another name, with a `securityContext` and a limit that leaves the machine to others.
pub fn shaped(mut container: Value, name: &str, security_context: &Value) -> Value {
    container["name"] = json!(name);
    container["securityContext"] = security_context.clone();
    container["resources"]["limits"]["cpu"] = json!("300m");
    container
}

/// A hand-written sidecar, for rights that the webhook would not give; it listens on `port`, and its store is in the
/// volume `stores`.
pub fn sidecar(name: &str, port: u16, security_context: &Value) -> Value {
    json!({
        "name": name,
        "image": SIDECAR_IMAGE,
        "imagePullPolicy": "Never",
        "args": ["serve"],
        "env": [
            {"name": "SIDEFLAME_LISTEN", "value": format!("127.0.0.1:{port}")},
            {"name": "SIDEFLAME_STORE_DIR", "value": "/var/lib/sideflame"},
        ],
        "securityContext": security_context,
        "volumeMounts": [{"name": "stores", "subPath": name, "mountPath": "/var/lib/sideflame"}],
    })
}

/// The same container with at most this much of a CPU, such as `200m`: for tests that judge no shares.
pub fn limited(mut container: Value, cpu: &str) -> Value {
    container["resources"]["limits"]["cpu"] = json!(cpu);
    container
}

/// A container that runs a shell script as 1001:1001.
pub fn script(name: &str, script: &str) -> Value {
    json!({
        "name": name,
        "image": USER_IMAGE,
        "imagePullPolicy": "Never",
        "command": ["/bin/sh", "-c", script],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "200m", "memory": "256Mi"}},
    })
}

/// A pod that nobody annotated.
pub fn bare(containers: &[Value]) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "app-"},
        "spec": {"terminationGracePeriodSeconds": 2, "containers": containers},
    })
}

/// A pod annotated for injection.
pub fn annotated(containers: &[Value]) -> Value {
    let mut pod = bare(containers);
    pod["metadata"]["annotations"] = json!({"sideflame.io/inject": "true"});
    pod
}

/// The same pod with another annotation of ours: `sidecar` for `sideflame.io/sidecar`.
pub fn with_annotation(mut pod: Value, name: &str, value: &str) -> Value {
    pod["metadata"]["annotations"][format!("sideflame.io/{name}")] = json!(value);
    pod
}

/// The same pod as Pod Security *restricted* demands it, with read-only root file systems; user and group 1001.
pub fn restricted(mut pod: Value) -> Value {
    pod["spec"]["securityContext"] = json!({
        "runAsNonRoot": true,
        "runAsUser": 1001,
        "runAsGroup": 1001,
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    for container in pod["spec"]["containers"].as_array_mut().into_iter().flatten() {
        container["securityContext"] = json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        });
    }
    pod
}
