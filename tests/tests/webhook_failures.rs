//! The webhook in trouble: killed, flooded, fed garbage, restarted. No pod is lost, and what went wrong can be seen.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use e2e::control_plane::wait;
use e2e::load::under_load;
use e2e::tls_client::{TlsClient, post};
use e2e::webhook::{Installation, annotated_pod, dry_run, is_injected};
use nix::sys::signal::Signal;
use serde_json::json;

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

/// Clients that begin requests and stop, for longer than any API server waits: of a body one byte or all but one.
#[test]
fn slow_clients_cost_no_pod_its_sidecar() {
    let mut installation = Installation::start(&[], 1);
    let plane = installation.plane;
    let namespace = plane.namespace(&json!({}));
    for (count, length, sent) in [(100, 100_000, 1), (20, 3 << 20, (3 << 20) - 1)] {
        let body = vec![b' '; sent];
        let begin = |_| {
            let mut client = TlsClient::connect(&installation.service.address);
            client.send(&post("/inject?timeout=25s", length, &body));
            client
        };
        let clients: Vec<TlsClient> = (0..count).map(begin).collect();
        for _ in 0..20 {
            let began = Instant::now();
            let reply = plane.create(&namespace.path("pods"), &annotated_pod(&json!({}))).ok();
            assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
            assert!(is_injected(&reply.body), "{count}: {:?}", reply.warnings);
        }
        drop(clients);
    }
    assert_eq!(
        installation.metric("sideflame_webhook_decisions_total", "reason=\"busy\""),
        0.0
    );
}

#[test]
fn a_rolling_restart_under_load_loses_no_injection() {
    let mut installation = Installation::start(&[], 2);
    let plane = installation.plane;
    let missed = under_load(plane, |load| {
        for old in 0..2 {
            load.wait_for(100);
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
        load.wait_for(100);
    });
    assert_eq!(missed, 0);
}
