//! What goes over the wire, and what the answers of an API server are taken for.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::json;
use tower::service_fn;

use super::*;

/// Method, path with query, content type, body.
type Sent = (String, String, String, Value);

/// An API server that answers the given statuses and bodies, one after the other.
fn cluster(answers: Vec<(u16, Value)>) -> (KubernetesCluster, Arc<Mutex<Vec<Sent>>>) {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let answers = Arc::new(Mutex::new(answers.into_iter()));
    let log = Arc::clone(&sent);
    let service = service_fn(move |request: Request<kube::client::Body>| {
        let (answers, log) = (Arc::clone(&answers), Arc::clone(&log));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let kind = head
                .headers
                .get("content-type")
                .map_or("", |kind| kind.to_str().unwrap());
            let body = serde_json::from_slice(&body).unwrap_or_default();
            let path = head.uri.path_and_query().unwrap().to_string();
            log.lock()
                .unwrap()
                .push((head.method.to_string(), path, kind.to_owned(), body));
            let (status, body) = answers.lock().unwrap().next().expect("no more requests");
            Ok::<_, Infallible>(
                Response::builder()
                    .status(status)
                    .body(Body::from(body.to_string()))
                    .unwrap(),
            )
        }
    });
    let client = Client::new(service, "ops");
    (
        KubernetesCluster::new(client, "ops", "flame-ca".to_owned(), "flame".to_owned()),
        sent,
    )
}

fn status(code: u16, reason: &str) -> (u16, Value) {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": reason, "code": code});
    (code, body)
}

fn secret(version: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "data": {"ca.crt": "b2xk"},
        "metadata": {"name": "flame-ca", "labels": {"team": "x"}, "resourceVersion": version}})
}

fn new_data() -> Data {
    Data::from([("ca.crt".to_owned(), b"new".to_vec())])
}

#[tokio::test]
async fn a_secret_is_made_where_there_is_none() {
    let (cluster, sent) = cluster(vec![status(404, "NotFound"), (201, secret("1"))]);
    assert!(cluster.read_secret().await.unwrap().is_none());
    cluster.write_secret(new_data(), None).await.unwrap();
    let (method, path, _, body) = sent.lock().unwrap()[1].clone();
    assert_eq!(method, "POST");
    assert!(
        path.starts_with("/api/v1/namespaces/ops/secrets?") && path.contains("fieldManager=sideflame-webhook"),
        "{path}"
    );
    assert_eq!(
        (&body["metadata"]["name"], &body["data"]["ca.crt"]),
        (&json!("flame-ca"), &json!("bmV3"))
    );
}

#[tokio::test]
async fn a_secret_is_swapped_with_its_version_and_keeps_its_labels() {
    let (cluster, sent) = cluster(vec![(200, secret("7")), (200, secret("7")), (200, secret("8"))]);
    let stored = cluster.read_secret().await.unwrap().unwrap();
    assert_eq!(stored.data["ca.crt"], b"old");
    cluster.write_secret(new_data(), Some(&stored)).await.unwrap();
    let (method, path, _, body) = sent.lock().unwrap()[2].clone();
    assert_eq!(method, "PUT");
    assert!(path.starts_with("/api/v1/namespaces/ops/secrets/flame-ca"), "{path}");
    assert_eq!(
        (
            &body["metadata"]["resourceVersion"],
            &body["metadata"]["labels"]["team"]
        ),
        (&json!("7"), &json!("x"))
    );
}

#[tokio::test]
async fn a_lost_race_is_a_conflict_and_a_missing_right_is_not() {
    let stored = Stored {
        data: Data::new(),
        resource_version: "7".to_owned(),
    };
    let (exists, _) = cluster(vec![status(409, "AlreadyExists")]);
    assert!(matches!(
        exists.write_secret(new_data(), None).await,
        Err(ClusterError::Conflict)
    ));
    let (newer, _) = cluster(vec![(200, secret("8"))]);
    assert!(matches!(
        newer.write_secret(new_data(), Some(&stored)).await,
        Err(ClusterError::Conflict)
    ));
    let (gone, _) = cluster(vec![status(404, "NotFound")]);
    assert!(matches!(
        gone.write_secret(new_data(), Some(&stored)).await,
        Err(ClusterError::Conflict)
    ));
    let (swapped, _) = cluster(vec![(200, secret("7")), status(409, "Conflict")]);
    assert!(matches!(
        swapped.write_secret(new_data(), Some(&stored)).await,
        Err(ClusterError::Conflict)
    ));
    let (forbidden, _) = cluster(vec![status(403, "Forbidden")]);
    let error = forbidden.read_secret().await.unwrap_err().to_string();
    assert!(error.contains("flame-ca") && error.contains("RBAC"), "{error}");
}

#[tokio::test]
async fn bundles_of_both_configurations_are_read_and_patched_by_position() {
    let hook = |name: &str, bundle: Option<&str>| {
        let mut hook = json!({"name": name, "admissionReviewVersions": ["v1"], "sideEffects": "NoneOnDryRun",
            "clientConfig": {"service": {"name": "flame", "namespace": "ops"}}});
        if let Some(bundle) = bundle {
            hook["clientConfig"]["caBundle"] = bundle.into();
        }
        hook
    };
    let mutating = json!({"metadata": {"name": "flame", "resourceVersion": "3"}, "webhooks": [hook("a", None), hook("b", Some("b2xk"))]});
    let answers = vec![
        (200, mutating.clone()),
        status(404, "NotFound"),
        (200, mutating),
        status(409, "Conflict"),
    ];
    let (cluster, sent) = cluster(answers);
    let bundles = cluster.read_bundles().await.unwrap();
    let read = &bundles.0[0];
    assert_eq!(
        (bundles.0.len(), read.resource_version.as_str()),
        (1, "3"),
        "a missing validating one is left out"
    );
    assert_eq!(
        (read.entries[0].bundle.as_slice(), read.entries[1].bundle.as_slice()),
        (&b""[..], &b"old"[..])
    );
    cluster.patch_bundle(read, &[1], b"new").await.unwrap();
    let (method, path, kind, body) = sent.lock().unwrap()[2].clone();
    assert_eq!(
        (method.as_str(), kind.as_str()),
        ("PATCH", "application/json-patch+json")
    );
    assert!(
        path.contains("/mutatingwebhookconfigurations/flame?") && path.contains("fieldManager=sideflame-webhook"),
        "{path}"
    );
    assert_eq!(
        body[0],
        json!({"op": "replace", "path": "/metadata/resourceVersion", "value": "3"})
    );
    assert_eq!(
        body[1],
        json!({"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": "bmV3"})
    );
    assert!(matches!(
        cluster.patch_bundle(read, &[1], b"new").await,
        Err(ClusterError::Conflict)
    ));
}

#[test]
fn a_bundle_patch_claims_the_version_that_was_read() {
    let mut object = json!({"metadata": {"resourceVersion": "7"}, "webhooks": [
        {"name": "a", "clientConfig": {"service": {"name": "s"}}},
        {"name": "b", "clientConfig": {"caBundle": "b2xk", "service": {"name": "s"}}}]});
    let patch = bundle_patch("7", &[0, 1], b"new");
    let mut other = object.clone();
    other["metadata"]["resourceVersion"] = "8".into();
    json_patch::patch(&mut object, &patch).unwrap();
    assert_eq!(object["webhooks"][0]["clientConfig"]["caBundle"], "bmV3");
    assert_eq!(object["webhooks"][1]["clientConfig"]["caBundle"], "bmV3");
    assert_eq!(object["webhooks"][1]["clientConfig"]["service"]["name"], "s");
    json_patch::patch(&mut other, &patch).unwrap();
    assert_eq!(
        other["metadata"]["resourceVersion"], "7",
        "not what the API server has: it answers 409"
    );
}

#[tokio::test]
async fn only_a_conflict_is_a_change_that_came_first() {
    let stored = Stored {
        data: Data::new(),
        resource_version: "7".to_owned(),
    };
    let read = Configuration {
        kind: Kind::Mutating,
        resource_version: "3".to_owned(),
        entries: Vec::new(),
    };
    for (code, reason) in [(404, "no such namespace"), (422, "no such field"), (500, "no disk")] {
        let (created, _) = cluster(vec![status(code, reason)]);
        let (swapped, _) = cluster(vec![(200, secret("7")), status(code, reason)]);
        let (patched, _) = cluster(vec![status(code, reason)]);
        for outcome in [
            created.write_secret(new_data(), None).await,
            swapped.write_secret(new_data(), Some(&stored)).await,
            patched.patch_bundle(&read, &[0], b"new").await,
        ] {
            let error = outcome.unwrap_err();
            assert!(matches!(error, ClusterError::Failed(_)), "{code}: {error}");
            assert!(error.to_string().contains(reason), "{code}: {error}");
        }
    }
}
