//! The chart against a real API server, for everything that needs no running webhook.
//!
//! One program of more than 500 lines, as each has a control plane of its own to start.

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::ControlPlane;
use e2e::cache;
use e2e::chart::{Release, folder, helm};
use e2e::control_plane::wait;
use e2e::tls_client::base64;
use serde_json::{Value, json};

/// Kinds of other projects, as far as an API server must know them to take an object.
fn custom_resources(plane: &ControlPlane) {
    for (group, version, kind, plural) in [
        ("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
        ("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors"),
        ("cert-manager.io", "v1", "Certificate", "certificates"),
        ("cert-manager.io", "v1", "Issuer", "issuers"),
    ] {
        let name = format!("{plural}.{group}");
        let definition = json!({
            "metadata": {"name": name},
            "spec": {
                "group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
                "versions": [{"name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema":
                    {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
            },
        });
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        plane.create(path, &definition).ok();
        wait("custom resource", Duration::from_secs(30), || {
            let all = plane.get(&format!("/apis/{group}/{version}/{plural}"));
            (all.status == 200).then_some(())
        });
    }
}

#[test]
fn lint_is_clean() {
    let plane = ControlPlane::shared();
    let said = plane.helm(["lint", "--strict", folder().to_str().unwrap()]).ok();
    assert!(said.stdout.contains("0 chart(s) failed"), "{}", said.stdout);
    for bad in ["[WARNING]", "[ERROR]"] {
        assert!(!said.stdout.contains(bad), "{}", said.stdout);
    }
}

/// The variables in a text.
fn variables(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_uppercase() && c != '_');
    words.filter(|word| word.starts_with("SIDEFLAME_WEBHOOK_")).collect()
}

/// A variable that is not read would be a value without effect.
#[test]
fn every_variable_of_the_chart_is_one_of_the_servers() {
    let values = [
        "webhook.clientCA=\"-----BEGIN CERTIFICATE-----\"",
        "sidecar.allowImageAnnotation=true",
        "sidecar.image.pullSecrets=[\"registry\"]",
        "webhook.excludedNamespaces=[\"kube-public\"]",
    ];
    let manifests = helm(ControlPlane::shared(), &["template", "sideflame"], "sideflame", &values).ok();
    let help = std::process::Command::new(cache::binary("sideflame-webhook"))
        .args(["serve", "--help"])
        .output()
        .unwrap();
    let known = String::from_utf8(help.stdout).unwrap();
    let (set, known) = (variables(&manifests.stdout), variables(&known));
    assert!(set.len() > 10 && set.is_subset(&known), "{:?}", set.difference(&known));
}

#[test]
fn the_schema_refuses_a_wrong_value_and_names_it() {
    let plane = ControlPlane::shared();
    for (value, place) in [
        ("replicas=0", "replicas"),
        ("replicas=\"two\"", "replicas"),
        ("replica=2", "replica"),
        ("webhook.port=443", "port"),
        ("webhook.port=70000", "port"),
        ("webhook.failurePolicy=\"ignore\"", "failurePolicy"),
        ("webhook.timeoutSeconds=31", "timeoutSeconds"),
        ("webhook.host=\"localhost\"", "host"),
        ("webhook.watchSidecars=\"no\"", "watchSidecars"),
        ("webhook.hostNetwork=\"yes\"", "hostNetwork"),
        ("webhook.configurations.labels={\"a\":true}", "labels"),
        (
            "webhook.configurations.namespaceSelector=[{\"key\":\"a\",\"operator\":\"Not\"}]",
            "operator",
        ),
        ("sidecar.seccompProfile=\"none\"", "seccompProfile"),
        ("seccompProfile=\"Unconfined\"", "seccompProfile"),
        ("webhook.excludedNamespaces=\"kube-public\"", "excludedNamespaces"),
        ("webhook.env={\"lower\":\"case\"}", "lower"),
        ("image.digest=\"sha256:abc\"", "digest"),
        ("image.pullPolicy=\"Sometimes\"", "pullPolicy"),
        ("sidecar.image.repo=\"x\"", "repo"),
        ("sidecar.rights=\"root\"", "rights"),
        ("sidecar.checkImage=\"yes\"", "checkImage"),
        ("sidecar.resources.limits.memory=null", "memory"),
        ("certificates.source=\"self\"", "source"),
        ("certificates.caBundle=\"bm90IFBFTQ==\"", "caBundle"),
        ("resources.limits={\"memory\":\"128MB\"}", "memory"),
        ("networkPolicy.apiServerPorts=[0]", "apiServerPorts"),
        ("networkPolicy.apiServerAddresses=[\"10.0.0.2\"]", "apiServerAddresses"),
        ("webhook.clientCA=\"bm90IFBFTQ==\"", "clientCA"),
        ("admissionPolicy.enabled=\"yes\"", "enabled"),
        ("metrics.serviceMonitor.enabled=\"yes\"", "enabled"),
        ("podDisruptionBudget.minAvailable=1", "minAvailable"),
    ] {
        let said = helm(plane, &["template", "sideflame"], "sideflame", &[value]);
        assert!(!said.success, "{value} is accepted");
        assert!(
            said.stderr.contains("values don't meet the specifications") && said.stderr.contains(place),
            "{value}: {}",
            said.stderr
        );
    }
}

#[test]
fn supplied_certificates_must_be_named() {
    let plane = ControlPlane::shared();
    for values in [
        &["certificates.source=\"secret\""][..],
        &["certificates.source=\"secret\"", "certificates.existingSecret=\"tls\""],
    ] {
        let said = helm(plane, &["template", "sideflame"], "sideflame", values);
        assert!(
            !said.success && said.stderr.contains("certificates."),
            "{}",
            said.stderr
        );
    }
}

#[test]
fn every_form_is_taken_by_the_api_server_without_a_warning() {
    let plane = ControlPlane::shared();
    custom_resources(plane);
    let authority = std::fs::read_to_string(plane.kubeconfig.with_file_name("ca.crt")).unwrap();
    let bundle = format!("certificates.caBundle={}", json!(authority));
    let client_authority = format!("webhook.clientCA={}", json!(authority));
    let forms: [&[&str]; 6] = [
        &[],
        &[
            "webhook.configurations.namespaceSelector=[]",
            "webhook.configurations.labels={\"team\":\"x\"}",
            "webhook.configurations.annotations={}",
            "webhook.host=\"0.0.0.0\"",
            "sidecar.seccompProfile=\"unset\"",
            "sidecar.checkImage=false",
        ],
        &[
            "networkPolicy.apiServerAddresses=[\"10.0.0.2/32\",\"fd00::/64\"]",
            "networkPolicy.apiServerPorts=[6443]",
            "admissionPolicy.enabled=false",
            "webhook.watchSidecars=true",
            &client_authority,
            "networkPolicy.metricsFrom=[{\"namespaceSelector\":{}}]",
            "metrics.serviceMonitor.enabled=true",
            "metrics.serviceMonitor.labels={\"release\":\"prometheus\"}",
            "metrics.podMonitor.enabled=true",
            "metrics.podMonitor.interval=\"15s\"",
            "metrics.dashboard.enabled=true",
            "webhook.port=10250",
            "webhook.excludedNamespaces=[\"kube-public\",\"kube-system\"]",
            "webhook.env={\"SIDEFLAME_WEBHOOK_LOG_LEVEL\":\"debug\"}",
            "imagePullSecrets=[{\"name\":\"registry\"}]",
            "image.digest=\"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
            "tolerations=[{\"operator\":\"Exists\"}]",
            "podAnnotations={\"a\":\"b\"}",
            "podLabels={\"team\":\"x\"}",
            "nodeSelector={\"pool\":\"system\"}",
            "serviceAccount.annotations={\"a\":\"b\"}",
        ],
        &["certificates.source=\"cert-manager\""],
        &[
            "certificates.source=\"cert-manager\"",
            "certificates.certManager.issuerRef={\"name\":\"ours\",\"kind\":\"ClusterIssuer\"}",
            "webhook.probeIntervalSeconds=0",
        ],
        &[
            "certificates.source=\"secret\"",
            "certificates.existingSecret=\"tls\"",
            &bundle,
            "podDisruptionBudget.enabled=false",
            "replicas=1",
            "service.port=8443",
            "serviceAccount={\"create\":false,\"name\":\"default\"}",
            "fullnameOverride=\"flames\"",
        ],
    ];
    for values in forms {
        let namespace = plane.namespace(&json!({"pod-security.kubernetes.io/enforce": "restricted"}));
        let manifests = helm(plane, &["template", "sideflame-form"], &namespace.name, values)
            .ok()
            .stdout;
        for dry_run in ["--dry-run=server", "--dry-run=none"] {
            let said = plane
                .kubectl(["apply", "--server-side", dry_run, "-f", "-"], &manifests)
                .ok();
            assert!(!said.stderr.contains("Warning"), "{values:?}: {}", said.stderr);
        }
        plane.kubectl(["delete", "--wait=false", "-f", "-"], &manifests).ok();
    }
}

#[test]
fn its_pods_are_admitted_at_pod_security_restricted() {
    let release = Release::install("sideflame-restricted", &[]);
    let pods = wait("two pods", Duration::from_secs(30), || {
        let pods = release.plane.get(&release.namespace.path("pods")).ok().body;
        let pods = pods["items"].as_array()?.clone();
        (pods.len() == 2).then_some(pods)
    });
    for pod in pods {
        assert_eq!(pod["metadata"]["labels"]["app.kubernetes.io/component"], "webhook");
        assert_eq!(pod["status"]["phase"], "Pending");
    }
}

/// What its service account may do, of every verb on everything that could matter, in its own namespace and in another.
fn rights(release: &Release) -> BTreeSet<String> {
    let own = &release.namespace.name;
    let user = format!("system:serviceaccount:{own}:sideflame-rights");
    let mut allowed = BTreeSet::new();
    for (group, resource, name) in [
        ("", "secrets", "sideflame-rights-authority"),
        ("", "secrets", "other"),
        ("", "secrets", ""),
        ("", "configmaps", ""),
        ("", "pods", ""),
        ("", "pods/exec", ""),
        ("", "pods/ephemeralcontainers", ""),
        ("", "serviceaccounts/token", ""),
        ("", "namespaces", ""),
        ("", "limitranges", ""),
        ("", "resourcequotas", ""),
        ("", "nodes", ""),
        ("", "events", ""),
        ("events.k8s.io", "events", ""),
        ("apps", "deployments", ""),
        ("rbac.authorization.k8s.io", "clusterroles", ""),
        (
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations",
            "sideflame-rights",
        ),
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "other"),
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", ""),
        (
            "admissionregistration.k8s.io",
            "validatingwebhookconfigurations",
            "sideflame-rights",
        ),
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations", ""),
    ] {
        for namespace in [own, "kube-system"] {
            for verb in [
                "get",
                "list",
                "watch",
                "create",
                "update",
                "patch",
                "delete",
                "deletecollection",
            ] {
                let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
                let attributes = json!({"group": group, "resource": resource, "subresource": subresource,
                    "name": name, "namespace": namespace, "verb": verb});
                let review = json!({"spec": {"user": user, "groups": ["system:authenticated"],
                    "resourceAttributes": attributes}});
                let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
                if release.plane.create(path, &review).ok().body["status"]["allowed"] == true {
                    let place = if namespace == own { "own" } else { "other" };
                    allowed.insert(format!("{place}: {verb} {resource} {name}").trim_end().to_owned());
                }
            }
        }
    }
    allowed
}

/// What is allowed is a complete list.
#[test]
fn its_service_account_may_do_what_it_needs_and_nothing_else() {
    let release = Release::install("sideflame-rights", &["webhook.watchSidecars=true"]);
    let mut expected: BTreeSet<String> = [
        "own: create secrets",
        "own: create secrets other", // a creation is allowed for any name or for none
        "own: create secrets sideflame-rights-authority",
        "own: get secrets sideflame-rights-authority",
        "own: update secrets sideflame-rights-authority",
        "own: create pods",
    ]
    .map(str::to_owned)
    .into();
    // Cluster-wide, hence the same from both namespaces.
    for place in ["own", "other"] {
        for right in [
            "get namespaces",
            "list namespaces",
            "watch namespaces",
            "list limitranges",
            "watch limitranges",
            "list resourcequotas",
            "watch resourcequotas",
            "create events",
            "get mutatingwebhookconfigurations sideflame-rights",
            "patch mutatingwebhookconfigurations sideflame-rights",
            "get validatingwebhookconfigurations sideflame-rights",
            "patch validatingwebhookconfigurations sideflame-rights",
        ] {
            expected.insert(format!("{place}: {right}"));
        }
    }
    let without_watch = expected.clone();
    for place in ["own", "other"] {
        for resource in ["pods", "events"] {
            expected.extend(["list", "watch"].map(|verb| format!("{place}: {verb} {resource}")));
        }
    }
    assert_eq!(rights(&release), expected);
    helm(
        release.plane,
        &["upgrade", release.name],
        &release.namespace.name,
        &["webhook.watchSidecars=false"],
    )
    .ok();
    // The authorizer learns of it a moment later.
    wait("fewer rights", Duration::from_secs(10), || {
        (rights(&release) != expected).then_some(())
    });
    assert_eq!(rights(&release), without_watch);
}

#[test]
fn rights_that_a_form_does_not_need_are_not_given() {
    let plane = ControlPlane::shared();
    let values = ["certificates.source=\"cert-manager\"", "webhook.probeIntervalSeconds=0"];
    let manifests = helm(plane, &["template", "sideflame"], "sideflame", &values)
        .ok()
        .stdout;
    let roles: Vec<&str> = manifests
        .split("\n---\n")
        .filter(|object| object.contains("\nkind: Role\n") || object.contains("\nkind: ClusterRole\n"))
        .collect();
    assert_eq!(roles.len(), 2);
    for right in ["secrets", "pods", "webhookconfigurations"] {
        assert!(roles.iter().all(|role| !role.contains(right)), "{roles:#?}");
    }
}

/// Kubernetes 1.30 has policies; before it, an object of an unknown kind would fail the installation.
#[test]
fn the_policy_is_there_where_the_api_server_knows_policies() {
    let plane = ControlPlane::shared();
    for (version, expected) in [
        ("1.28.0", false),
        ("1.29.9", false),
        ("1.30.0", true),
        ("1.34.1-eks-1", true),
    ] {
        let verb = ["template", "sideflame", "--kube-version", version];
        let manifests = helm(plane, &verb, "sideflame", &[]).ok().stdout;
        assert_eq!(
            manifests.contains("kind: ValidatingAdmissionPolicy\n"),
            expected,
            "{version}"
        );
    }
}

/// A wrong port would cut the webhook off, so it is asked for, not guessed.
#[test]
fn the_network_policy_has_the_ports_of_this_clusters_api_server() {
    let plane = ControlPlane::shared();
    // An API server on loopback does not say where it is.
    let slice = json!({"metadata": {"name": "kubernetes"}, "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.2"]}],
        "ports": [{"name": "https", "port": 8443, "protocol": "TCP"}]});
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    plane.create(slices, &slice).ok();
    let release = Release::install("sideflame-network", &[]);
    plane.delete(&format!("{slices}/kubernetes")).ok();
    let path = release
        .namespace
        .path_in("networking.k8s.io/v1", "networkpolicies/sideflame-network");
    let policy = plane.get(&path).ok().body;
    let egress = &policy["spec"]["egress"];
    let ports: Vec<&Value> = egress[0]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| &port["port"])
        .collect();
    assert_eq!(ports, [8443, 443], "{egress}");
    assert_eq!(egress[1]["ports"][0]["port"], 53, "{egress}");
    let unasked = helm(release.plane, &["template", "sideflame"], "sideflame", &[])
        .ok()
        .stdout;
    assert!(unasked.contains("  egress:\n  # Nobody said"), "{unasked}");
}

/// Pods in the network of their node: another namespace, as none but `privileged` admits them.
#[test]
fn the_network_of_the_node_is_a_value() {
    let plane = ControlPlane::shared();
    let namespace = plane.namespace(&json!({"pod-security.kubernetes.io/enforce": "privileged"}));
    let values = ["webhook.hostNetwork=true", "seccompProfile=\"unset\""];
    let manifests = helm(plane, &["template", "sideflame-host"], &namespace.name, &values)
        .ok()
        .stdout;
    let said = plane.kubectl(["apply", "--server-side", "-f", "-"], &manifests).ok();
    assert!(!said.stderr.contains("Warning"), "{}", said.stderr);
    let path = namespace.path_in("apps/v1", "deployments/sideflame-host");
    let spec = plane.get(&path).ok().body["spec"].clone();
    let pod = &spec["template"]["spec"];
    assert_eq!(
        (&pod["hostNetwork"], &pod["dnsPolicy"]),
        (&json!(true), &json!("ClusterFirstWithHostNet"))
    );
    assert_eq!(pod["securityContext"]["seccompProfile"], Value::Null);
    assert_eq!(spec["strategy"]["rollingUpdate"]["maxUnavailable"], 1);
    plane.kubectl(["delete", "--wait=false", "-f", "-"], &manifests).ok();
}

fn entries(release: &Release, path: &str) -> Vec<Value> {
    let configuration = release.plane.get(path).ok().body;
    configuration["webhooks"].as_array().cloned().unwrap_or_default()
}

/// The terms of every selector, in the order of the entries.
fn terms(release: &Release) -> Vec<Value> {
    let both = [release.mutating(), release.validating()];
    let all = both.iter().flat_map(|path| entries(release, path));
    all.map(|entry| entry["namespaceSelector"]["matchExpressions"].clone())
        .collect()
}

/// What a cloud does to every webhook configuration, whatever stands there: two more terms in each selector.
fn rewrite_selectors(release: &Release) {
    for path in [release.mutating(), release.validating()] {
        let all = entries(release, &path).into_iter().enumerate();
        let patch = all.map(|(index, entry)| {
            let terms = &entry["namespaceSelector"]["matchExpressions"];
            let mut terms = terms.as_array().cloned().unwrap_or_default();
            terms.push(json!({"key": "control-plane", "operator": "NotIn", "values": ["true"]}));
            terms.push(json!({"key": "kubernetes.azure.com/managedby", "operator": "NotIn", "values": ["aks"]}));
            json!({"op": "add", "path": format!("/webhooks/{index}/namespaceSelector/matchExpressions"), "value": terms})
        });
        let patch = Value::Array(patch.collect()).to_string();
        let query = format!("{path}?fieldManager=admissionsenforcer");
        let kind = "application/json-patch+json";
        release.plane.send("PATCH", &query, kind, patch.as_bytes()).ok();
    }
}

/// By server-side apply, Helm's default, it would be a conflict to set what another manager has set otherwise.
#[test]
fn a_cloud_that_rewrites_selectors_does_not_stop_upgrades() {
    let release = Release::install("sideflame-cloud", &[]);
    let (plane, namespace) = (release.plane, &release.namespace.name);
    for path in [release.mutating(), release.validating()] {
        let metadata = plane.get(&path).ok().body["metadata"].clone();
        for field in ["labels", "annotations"] {
            assert_eq!(metadata[field]["admissions.enforcer/disabled"], "true", "{path}");
        }
    }
    rewrite_selectors(&release);
    let theirs = terms(&release);
    let lengths: Vec<usize> = theirs
        .iter()
        .map(|terms| terms.as_array().map_or(0, Vec::len))
        .collect();
    assert_eq!(lengths, [4, 4, 2, 4], "{theirs:?}");
    let upgrades: [&[&str]; 3] = [
        &["upgrade", "sideflame-cloud"],
        &["upgrade", "sideflame-cloud", "--server-side=true"],
        &["upgrade", "sideflame-cloud", "--server-side=false"],
    ];
    for (seconds, upgrade) in (3..).zip(upgrades) {
        let timeout = format!("webhook.timeoutSeconds={seconds}");
        let excluded = format!("webhook.excludedNamespaces=[\"team-{seconds}\"]");
        helm(plane, upgrade, namespace, &[&timeout, &excluded]).ok();
        let entry = plane.get(&release.mutating()).ok().body["webhooks"][0].clone();
        assert_eq!(entry["timeoutSeconds"], seconds, "{upgrade:?}");
        let conditions = entry["matchConditions"].to_string();
        assert!(conditions.contains(&format!("team-{seconds}")), "{conditions}");
        assert_eq!(terms(&release), theirs, "{upgrade:?}");
    }
    plane
        .helm(["rollback", "sideflame-cloud", "2", "--namespace", namespace])
        .ok();
    assert_eq!(
        plane.get(&release.mutating()).ok().body["webhooks"][0]["timeoutSeconds"],
        3
    );
    assert_eq!(terms(&release), theirs, "rollback");
    // A term that the operator asks for and the other manager does not have: seen, not dropped.
    let wanted = "webhook.configurations.namespaceSelector=[{\"key\":\"team\",\"operator\":\"Exists\"}]";
    let upgrade = ["upgrade", "sideflame-cloud", "--server-side=true"];
    let refused = helm(plane, &upgrade, namespace, &[wanted]);
    assert!(
        !refused.success && refused.stderr.contains("admissionsenforcer"),
        "{}",
        refused.stderr
    );
    let forced = ["upgrade", "sideflame-cloud", "--force-conflicts", "--server-side=true"];
    helm(plane, &forced, namespace, &[wanted]).ok();
    let pods = terms(&release).remove(0);
    assert!(
        pods.to_string().contains("\"team\"") && pods.to_string().contains("managedby"),
        "{pods}"
    );
}

/// What the webhook publishes at run time survives every way by which an operator changes the release.
#[test]
fn upgrade_and_rollback_keep_the_published_authority() {
    let release = Release::install("sideflame-upgrade", &[]);
    let plane = release.plane;
    let bundle = base64(&plane.kubeconfig.with_file_name("ca.crt"));
    let bundles = |path: &str| -> Vec<Value> {
        let body = plane.get(path).ok().body;
        let webhooks = body["webhooks"].as_array().unwrap().clone();
        webhooks
            .into_iter()
            .map(|webhook| webhook["clientConfig"]["caBundle"].clone())
            .collect()
    };
    for (path, entries) in [(release.mutating(), 3), (release.validating(), 1)] {
        assert_eq!(bundles(&path), vec![Value::Null; entries], "the chart sets it");
        let add: Vec<Value> = (0..entries)
            .map(|index| json!({"op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": bundle}))
            .collect();
        let query = format!("{path}?fieldManager=sideflame-webhook");
        plane
            .send(
                "PATCH",
                &query,
                "application/json-patch+json",
                json!(add).to_string().as_bytes(),
            )
            .ok();
    }
    let namespace = &release.namespace.name;
    let upgrades: [&[&str]; 3] = [
        &["upgrade", "sideflame-upgrade"],
        &["upgrade", "sideflame-upgrade", "--server-side=false"],
        &[
            "upgrade",
            "sideflame-upgrade",
            "--force-conflicts",
            "--server-side=true",
        ],
    ];
    for (seconds, upgrade) in (3..).zip(upgrades) {
        let timeout = format!("webhook.timeoutSeconds={seconds}");
        helm(plane, upgrade, namespace, &[&timeout]).ok();
        let live = plane.get(&release.mutating()).ok().body;
        assert_eq!(live["webhooks"][0]["timeoutSeconds"], seconds, "{upgrade:?}");
        assert_eq!(bundles(&release.mutating()), vec![json!(bundle); 3], "{upgrade:?}");
        assert_eq!(bundles(&release.validating()), [json!(bundle)], "{upgrade:?}");
    }
    plane
        .helm(["rollback", "sideflame-upgrade", "1", "--namespace", namespace])
        .ok();
    assert_eq!(
        plane.get(&release.mutating()).ok().body["webhooks"][0]["timeoutSeconds"],
        2
    );
    assert_eq!(bundles(&release.mutating()), vec![json!(bundle); 3], "rollback");
}
