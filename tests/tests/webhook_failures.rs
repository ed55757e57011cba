//! The webhook in trouble: killed, flooded, fed garbage, restarted, robbed of its authority. No pod is lost, and
//! what went wrong can be seen.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use e2e::ControlPlane;
use e2e::control_plane::wait;
use e2e::tls_client::{TlsClient, is_trusted, post};
use e2e::webhook::{Installation, RELEASE, annotated_pod, is_injected};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const REFUSALS: &str = "sideflame_webhook_refusals_total";

/// The answer to one request.
fn over_tls(address: &str, request: &[u8]) -> String {
    let mut client = TlsClient::connect(address);
    client.send(request);
    client.answer()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

fn dry_run(plane: &ControlPlane) -> Value {
    let path = "/api/v1/namespaces/default/pods?dryRun=All";
    plane.create(path, &annotated_pod(&json!({}))).ok().body
}

#[test]
fn a_killed_webhook_loses_no_pod_and_the_audit_log_says_so() {
    let mut installation = Installation::start(&[], 1);
    let plane = installation.plane;
    installation.replicas[0].signal(Signal::SIGKILL);
    installation.replicas[0].wait_for_end();
    let namespace = plane.namespace(&json!({}));
    let pod = plane
        .create(&namespace.path("pods"), &annotated_pod(&json!({})))
        .ok()
        .body;
    assert!(!is_injected(&pod));
    let log = plane
        .kubeconfig
        .parent()
        .unwrap()
        .with_file_name("logs")
        .join("audit.log");
    let entry = wait("the audit entry", Duration::from_secs(10), || {
        let log = std::fs::read_to_string(&log).unwrap();
        // A generated name is not in it.
        log.lines()
            .find(|line| line.contains(&namespace.name) && line.contains("\"admin\""))
            .map(str::to_owned)
    });
    assert!(
        entry.contains("failed-open.mutation.webhook.admission.k8s.io"),
        "{entry}"
    );
    assert!(entry.contains("pod.sideflame.io"), "{entry}");

    // And back: the next process finds its authority.
    installation.launch(&[]);
    installation.serve_all();
}

#[test]
fn garbage_is_refused_counted_and_forgotten() {
    let mut installation = Installation::start(&[], 1);
    let address = installation.service.address.clone();
    let review =
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "1"}}).to_string();
    let cut = &review.as_bytes()[..review.len() / 2];
    let long = vec![b' '; 10 << 20];
    for (what, request, expected, counted) in [
        ("no JSON", post("/inject", 7, b"garbage"), "400", "malformed"),
        ("truncated JSON", post("/inject", cut.len(), cut), "400", "malformed"),
        ("an empty body", post("/inject", 0, b""), "400", "malformed"),
        ("no review", post("/inject", 2, b"{}"), "400", "malformed"),
        ("10 MB", post("/inject", long.len(), &long), "413", "too_large"),
    ] {
        let label = format!("reason=\"{counted}\"");
        let before = installation.metric(REFUSALS, &label);
        let answer = over_tls(&address, &request);
        assert_eq!(status(&answer), expected, "{what}: {answer}");
        assert_eq!(installation.metric(REFUSALS, &label), before + 1.0, "{what}");
        assert!(is_injected(&dry_run(installation.plane)), "after {what}");
    }
    // No TLS at all.
    let mut plain = std::net::TcpStream::connect(&address).unwrap();
    plain.write_all(&[0xff; 4096]).unwrap();
    let _ = plain.read_to_end(&mut Vec::new());
    assert!(is_injected(&dry_run(installation.plane)));
    assert!(installation.replicas[0].is_alive());
}

/// `count` clients that begin a request, of which they say that it may take `timeout`, and stop.
fn stalled(installation: &Installation, count: usize, timeout: &str) -> Vec<TlsClient> {
    let begin = |_| {
        let mut client = TlsClient::connect(&installation.service.address);
        client.send(&post(&format!("/inject?timeout={timeout}"), 100_000, b"{"));
        client
    };
    (0..count).map(begin).collect()
}

fn wait_for_injections(plane: &ControlPlane) {
    wait("injections again", Duration::from_secs(10), || {
        is_injected(&dry_run(plane)).then_some(())
    });
}

/// Clients that begin a request and stop: more of them than there are places.
#[test]
fn slow_clients_keep_no_pod_waiting() {
    let installation = Installation::start(&[], 1);
    let plane = installation.plane;
    let clients = stalled(&installation, 100, "2s");
    let namespace = plane.namespace(&json!({}));
    let (mut injected, mut told) = (0, 0);
    for _ in 0..20 {
        let began = Instant::now();
        let reply = plane.create(&namespace.path("pods"), &annotated_pod(&json!({}))).ok();
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        if is_injected(&reply.body) {
            injected += 1;
        } else if reply.warnings.iter().any(|warning| warning.contains("sideflame")) {
            told += 1;
        }
    }
    drop(clients);
    assert_eq!(
        injected + told,
        20,
        "each pod has the sidecar or a warning that says why not"
    );
    wait_for_injections(plane);
}

/// Every place is taken for longer than the API server waits: the pod is made at once, and told why it has no sidecar.
#[test]
fn a_full_queue_lets_pods_through_and_says_so() {
    let mut installation = Installation::start(&["webhook.env.SIDEFLAME_WEBHOOK_MAX_IN_FLIGHT=2"], 1);
    let plane = installation.plane;
    let clients = stalled(&installation, 4, "25s");
    let namespace = plane.namespace(&json!({}));
    let refused = wait("a full queue", Duration::from_secs(10), || {
        let began = Instant::now();
        let reply = plane.create(&namespace.path("pods"), &annotated_pod(&json!({}))).ok();
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        (!is_injected(&reply.body)).then_some(reply)
    });
    assert!(
        refused.warnings.iter().any(|warning| warning.contains("busy")),
        "{:?}",
        refused.warnings
    );
    assert!(installation.metric("sideflame_webhook_decisions_total", "reason=\"busy\"") >= 1.0);
    drop(clients);
    wait_for_injections(plane);
}

/// Says stop when dropped.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Creates 50 annotated pods a second while `act` runs; gives how many and how many of them were missed.
fn under_load(plane: &'static ControlPlane, act: impl FnOnce()) -> (u32, u32) {
    const THREADS: u32 = 5;
    const PER_SECOND: u32 = 50;
    let (made, missed) = (AtomicU32::new(0), AtomicU32::new(0));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also when `act` panics; the scope would wait for ever.
        let _stopping = Stopping(&stop);
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut next = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    made.fetch_add(1, Ordering::Relaxed);
                    if !is_injected(&dry_run(plane)) {
                        missed.fetch_add(1, Ordering::Relaxed);
                    }
                    next += Duration::from_secs(1) * THREADS / PER_SECOND;
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            });
        }
        act();
    });
    (made.into_inner(), missed.into_inner())
}

#[test]
fn a_rolling_restart_under_load_loses_no_injection() {
    let mut installation = Installation::start(&[], 2);
    let plane = installation.plane;
    let (made, missed) = under_load(plane, || {
        for old in 0..2 {
            std::thread::sleep(Duration::from_secs(2));
            installation.launch(&[]);
            installation.serve_all();
            let ports: Vec<u16> = installation.replicas[old + 1..]
                .iter()
                .map(|replica| replica.port)
                .collect();
            installation.service.send_to(&ports);
            installation.replicas[old].signal(Signal::SIGTERM);
            assert_eq!(installation.replicas[old].wait_for_end(), Some(0));
        }
        std::thread::sleep(Duration::from_secs(2));
    });
    assert!(made > 200, "{made}");
    assert_eq!(missed, 0, "of {made}");
}

/// Lives so short that two authorities follow each other while pods are made.
#[test]
fn a_rotation_of_the_authority_under_load_loses_no_injection() {
    let installation = Installation::start(
        &[
            "webhook.env.SIDEFLAME_WEBHOOK_AUTHORITY_LIFETIME=\"45s\"",
            "webhook.env.SIDEFLAME_WEBHOOK_CERTIFICATE_LIFETIME=\"15s\"",
            "webhook.env.SIDEFLAME_WEBHOOK_AUTHORITY_INTERVAL=\"1s\"",
        ],
        2,
    );
    let plane = installation.plane;
    let authority = || plane.get(&installation.authority()).ok().body["data"]["ca.crt"].clone();
    let first = authority();
    let (made, missed) = under_load(plane, || {
        let second = wait("the second authority", Duration::from_secs(60), || {
            Some(authority()).filter(|now| *now != first)
        });
        wait("the third authority", Duration::from_secs(60), || {
            (authority() != second).then_some(())
        });
        std::thread::sleep(Duration::from_secs(5));
    });
    assert!(made > 1000, "{made}");
    assert_eq!(missed, 0, "of {made}");
}

#[test]
fn an_expired_authority_is_replaced() {
    let short = [
        "webhook.env.SIDEFLAME_WEBHOOK_AUTHORITY_LIFETIME=\"20s\"",
        "webhook.env.SIDEFLAME_WEBHOOK_CERTIFICATE_LIFETIME=\"10s\"",
        "webhook.env.SIDEFLAME_WEBHOOK_AUTHORITY_INTERVAL=\"1s\"",
    ];
    let mut installation = Installation::start(&short, 1);
    let authority = |installation: &Installation| {
        installation.plane.get(&installation.authority()).ok().body["data"]["ca.crt"].clone()
    };
    installation.replicas[0].signal(Signal::SIGKILL);
    installation.replicas[0].wait_for_end();
    let dead = authority(&installation);
    std::thread::sleep(Duration::from_secs(21));
    assert_eq!(authority(&installation), dead);
    for _ in 0..2 {
        installation.launch(&[]);
    }
    installation.serve_all();
    assert_ne!(authority(&installation), dead);
    for replica in 1..3 {
        assert!(replica_is_trusted(&installation, replica), "replica {replica}");
    }
}

#[test]
fn a_lost_authority_under_load_loses_no_injection() {
    let installation = Installation::start(&[], 2);
    let plane = installation.plane;
    let (made, missed) = under_load(plane, || {
        std::thread::sleep(Duration::from_secs(1));
        plane.delete(&installation.authority()).ok();
        // The same one or another: what counts is that the replicas have one again, and are trusted.
        wait("an authority", Duration::from_secs(30), || {
            (plane.get(&installation.authority()).status == 200).then_some(())
        });
        std::thread::sleep(Duration::from_secs(10));
    });
    assert!(made > 200, "{made}");
    assert_eq!(missed, 0, "of {made}");
    for replica in 0..2 {
        assert!(replica_is_trusted(&installation, replica), "replica {replica}");
    }
}

/// The API server's view of a replica, by the first bundle.
fn replica_is_trusted(installation: &Installation, replica: usize) -> bool {
    let namespace = &installation.namespace.name;
    let bundles = installation.bundles();
    let address = format!("127.0.0.1:{}", installation.replicas[replica].port);
    let scratch = installation
        .plane
        .kubeconfig
        .with_file_name(format!("bundle-{namespace}"));
    let name = format!("{RELEASE}.{namespace}.svc");
    is_trusted(&address, &name, bundles[0].as_str().unwrap_or_default(), &scratch)
}

#[test]
fn replicas_that_start_together_agree_on_one_authority() {
    for _ in 0..3 {
        let installation = Installation::start(&[], 3);
        let bundles = installation.bundles();
        assert_eq!(bundles.len(), 4);
        assert!(bundles[0].is_string());
        assert!(bundles.iter().all(|bundle| *bundle == bundles[0]), "{bundles:?}");
        for replica in 0..3 {
            assert!(replica_is_trusted(&installation, replica), "replica {replica}");
        }
    }
}

#[test]
fn a_tampered_bundle_is_repaired() {
    let installation = Installation::start(&[], 2);
    let plane = installation.plane;
    let before = installation.bundles();
    // Of another authority, so that the API server takes it.
    let configuration = plane
        .kubectl(["config", "view", "--raw", "--output", "json"], "")
        .ok()
        .stdout;
    let configuration: Value = serde_json::from_str(&configuration).unwrap();
    let other = &configuration["clusters"][0]["cluster"]["certificate-authority-data"];
    for path in [installation.mutating(), installation.validating()] {
        for patch in [
            json!([{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": other}]),
            json!([{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]),
        ] {
            let body = patch.to_string();
            plane
                .send("PATCH", &path, "application/json-patch+json", body.as_bytes())
                .ok();
            assert_ne!(installation.bundles(), before);
            let began = Instant::now();
            wait("repair", Duration::from_secs(15), || {
                (installation.bundles() == before).then_some(())
            });
            eprintln!("repaired after {:?}", began.elapsed());
        }
    }
    wait("an injection", Duration::from_secs(5), || {
        is_injected(&dry_run(plane)).then_some(())
    });
}

#[test]
fn a_corrupted_authority_is_replaced() {
    let installation = Installation::start(&[], 2);
    let plane = installation.plane;
    let secret = plane.get(&installation.authority()).ok().body;
    let keys: Vec<String> = secret["data"].as_object().unwrap().keys().cloned().collect();
    assert!(!keys.is_empty());
    for key in keys {
        let good = plane.get(&installation.authority()).ok().body["data"].clone();
        let garbage = json!({"data": {key.as_str(): "Z2FyYmFnZQ=="}});
        plane.patch(&installation.authority(), &garbage).ok();
        wait(&format!("repair of {key}"), Duration::from_secs(30), || {
            let now = plane.get(&installation.authority());
            let repaired = now.status == 200 && now.body["data"][&key] != garbage["data"][&key];
            repaired.then_some(())
        });
        assert!(good.is_object());
        for replica in 0..2 {
            wait("trust", Duration::from_secs(30), || {
                replica_is_trusted(&installation, replica).then_some(())
            });
        }
        wait("an injection", Duration::from_secs(10), || {
            is_injected(&dry_run(plane)).then_some(())
        });
    }
}
