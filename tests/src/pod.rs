//! Pods of the sample apps, as JSON. The images are those of `tests/rig/app_images.sh`.

use serde_json::{Value, json};

/// The image whose user is 1001:1001.
pub const USER_IMAGE: &str = "localhost/sideflame-test-apps:user";
/// The image that runs as root.
pub const ROOT_IMAGE: &str = "localhost/sideflame-test-apps:root";

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
