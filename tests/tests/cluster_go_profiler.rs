//! KubeDiag's Go profiler on a cluster: a server over TLS with the token of a real Secret, and the API server itself.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::time::Duration;

use e2e::cluster::name;
use e2e::control_plane::wait;
use e2e::pod::{self, USER_IMAGE};
use e2e::{Answer, Cluster, Namespace, PortForward, certificate};
use serde_json::{Value, json};

const TOKEN: &str = "the-token-of-the-shop";
const ENDPOINT: &str = "diagnoser.runtime.go_profiler.result.endpoint";

fn secret(cluster: &Cluster, namespace: &Namespace, secret: &Value) {
    cluster.plane.create(&namespace.path("secrets"), secret).ok();
}

/// Service accounts: one that may have profiles of the API server, with its token in a Secret, and sideflame's, which may read that
/// Secret and the shop's.
fn accounts(cluster: &Cluster, namespace: &Namespace) -> String {
    let plane = &cluster.plane;
    for name in ["profiler", "sideflame"] {
        plane
            .create(&namespace.path("serviceaccounts"), &json!({"metadata": {"name": name}}))
            .ok();
    }
    let annotations = json!({"kubernetes.io/service-account.name": "profiler"});
    let metadata = json!({"name": "profiler-token", "annotations": annotations});
    secret(
        cluster,
        namespace,
        &json!({"metadata": metadata, "type": "kubernetes.io/service-account-token"}),
    );
    let group = "rbac.authorization.k8s.io";
    let bind = |kind: &str, name: &str, account: &str| {
        json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": kind, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace.name}],
        })
    };
    let role = format!("{}-pprof", namespace.name);
    let rules = json!([{"nonResourceURLs": ["/debug/pprof", "/debug/pprof/*"], "verbs": ["get"]}]);
    let path = format!("/apis/{group}/v1");
    plane
        .create(
            &format!("{path}/clusterroles"),
            &json!({"metadata": {"name": role}, "rules": rules}),
        )
        .ok();
    plane
        .create(
            &format!("{path}/clusterrolebindings"),
            &bind("ClusterRole", &role, "profiler"),
        )
        .ok();
    let names = ["profiler-token", "shop-token"];
    let rules = json!([{"apiGroups": [""], "resources": ["secrets"], "resourceNames": names, "verbs": ["get"]}]);
    let version = format!("{group}/v1");
    let secrets = json!({"metadata": {"name": "tokens"}, "rules": rules});
    plane.create(&namespace.path_in(&version, "roles"), &secrets).ok();
    plane
        .create(
            &namespace.path_in(&version, "rolebindings"),
            &bind("Role", "tokens", "sideflame"),
        )
        .ok();
    wait("token of the profiler", Duration::from_secs(30), || {
        let secret = plane.get(&namespace.path("secrets/profiler-token")).ok().body;
        secret["data"]["token"].is_string().then_some(())
    });
    role
}

/// The shop with pprof over TLS on loopback, and sideflame beside it, which may ask the API server, too.
fn shop(api: &str) -> Value {
    let mut shop = pod::limited(pod::container("go", USER_IMAGE, "cpu"), "200m");
    shop["command"] = json!([
        "/apps/go/split",
        "-pprof",
        "127.0.0.1:6060",
        "-tls",
        "-certificate",
        "/secret/server.pem",
        "-token",
        TOKEN,
        "cpu"
    ]);
    shop["volumeMounts"] = json!([{"name": "shop-token", "mountPath": "/secret"}]);
    let mut sidecar = pod::sidecar("sideflame", 7117, &json!({"runAsUser": 1001, "runAsGroup": 1001}));
    let allowed = json!({"name": "SIDEFLAME_ALLOW_URL", "value": api});
    sidecar["env"].as_array_mut().unwrap().push(allowed);
    let mut pod = pod::bare(&[shop, sidecar]);
    pod["spec"]["serviceAccountName"] = json!("sideflame");
    pod["spec"]["securityContext"] = json!({"fsGroup": 1001});
    pod["spec"]["volumes"] = json!([
        {"name": "stores", "emptyDir": {}},
        {"name": "shop-token", "secret": {"secretName": "shop-token"}},
    ]);
    pod
}

/// The path of the page that an answer leads to.
fn page(answer: &Answer) -> String {
    let answer: Value = answer.clone().ok().json();
    let text = answer[ENDPOINT].as_str().unwrap();
    let address = text.strip_prefix("Visit http://").unwrap();
    let (address, _) = address.split_once(", this server will expire in 10 seconds.").unwrap();
    address[address.find('/').unwrap()..].to_owned()
}

#[test]
fn go_servers_are_profiled_over_tls_with_the_tokens_of_secrets() {
    let cluster = Cluster::shared();
    let namespace = &cluster.namespace(&json!({}));
    let role = accounts(cluster, namespace);
    let (public, server) = certificate::self_signed("127.0.0.1");
    let data = json!({"token": TOKEN, "ca.crt": public, "server.pem": server});
    secret(
        cluster,
        namespace,
        &json!({"metadata": {"name": "shop-token"}, "stringData": data}),
    );
    let service = cluster
        .plane
        .get("/api/v1/namespaces/default/services/kubernetes")
        .ok()
        .body;
    let api = format!("https://{}:443", service["spec"]["clusterIP"].as_str().unwrap());

    let pod = cluster.run(namespace, &shop(&api));
    let sidecar = PortForward::when_up(cluster, namespace, &format!("pod/{}", name(&pod)));
    let process = |source: &str, secret: &str, kind: &str| {
        let reference = json!({"namespace": namespace.name, "name": secret});
        let body =
            json!({"source": source, "type": kind, "expirationSeconds": 10, "tls": {"secretReference": reference}});
        sidecar.send_json("POST", "/processor/goProfiler", &body.to_string())
    };
    let (shop, kube) = (
        ("https://127.0.0.1:6060", "shop-token"),
        (api.as_str(), "profiler-token"),
    );
    let mut last = String::new();
    for ((source, secret), kind, function) in [
        (shop, "Heap", "heap of"),
        (shop, "Goroutine", "main."),
        (kube, "Heap", "k8s.io/"),
        (kube, "Goroutine", "k8s.io/"),
    ] {
        last = page(&process(source, secret, kind));
        let shown = sidecar.get(&last).ok().text();
        assert!(shown.contains(function), "{shown}");
        sidecar.get(&format!("{last}/flame.svg")).ok();
    }
    wait("expiry", Duration::from_secs(60), || {
        (sidecar.get(&last).status == 404).then_some(())
    });
    // The CPU profile, with the long keys.
    let long = |name: &str| format!("param.diagnoser.runtime.go_profiler.{name}");
    let body = json!({
        long("source"): "https://127.0.0.1:6060",
        long("type"): "Profile",
        long("tls.secret_reference.name"): "shop-token",
        long("tls.secret_reference.namespace"): namespace.name,
        long("expiration_seconds"): 10,
    });
    let cpu = page(&sidecar.send_json("POST", "/processor/goProfiler", &body.to_string()));
    assert!(sidecar.get(&cpu).ok().text().contains("main.sixty"));

    // A Secret that sideflame's account may not read, an account that may not see profiles, and a server that is not on the list.
    for (source, secret, status, words) in [
        ("https://127.0.0.1:6060", "another", 500, "secret_unreadable"),
        (api.as_str(), "shop-token", 500, "pprof_unauthorized"),
        ("https://10.255.255.1:443", "profiler-token", 400, "url_not_allowed"),
        ("http://169.254.169.254", "profiler-token", 400, "url_not_allowed"),
    ] {
        let refused = process(source, secret, "Heap");
        assert_eq!(refused.status, status, "{source} {secret}: {}", refused.text());
        assert!(refused.text().contains(words), "{source} {secret}: {}", refused.text());
    }
    let log = cluster
        .kubectl(namespace, &["logs", name(&pod), "--container", "sideflame"])
        .ok()
        .stdout;
    assert!(log.contains("https://127.0.0.1:6060") && !log.contains(TOKEN), "{log}");
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    cluster.plane.delete(&format!("{rbac}/clusterrolebindings/{role}"));
    cluster.plane.delete(&format!("{rbac}/clusterroles/{role}"));
}
