//! The authority behind the webhook's certificates: replaced in time, repaired when somebody breaks it. No pod is missed
//! meanwhile.
//!
//! Minutes in which it mostly waits: `tests/rig/test.sh` runs this file beside the others.

use std::time::{Duration, Instant};

use e2e::control_plane::wait;
use e2e::load::under_load;
use e2e::tls_client::{has_expired, is_trusted};
use e2e::webhook::{Installation, RELEASE, wait_for_injection};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

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
    let missed = under_load(plane, |load| {
        let second = wait("the second authority", Duration::from_secs(60), || {
            Some(authority()).filter(|now| *now != first)
        });
        wait("the third authority", Duration::from_secs(60), || {
            (authority() != second).then_some(())
        });
        load.wait_for(250);
    });
    assert_eq!(missed, 0);
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
    let certificate = dead.as_str().unwrap();
    wait("end of the authority", Duration::from_secs(30), || {
        has_expired(certificate).then_some(())
    });
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
    let missed = under_load(plane, |load| {
        load.wait_for(50);
        plane.delete(&installation.authority()).ok();
        // The same one or another: what counts is that the replicas have one again, and are trusted.
        wait("an authority", Duration::from_secs(30), || {
            (plane.get(&installation.authority()).status == 200).then_some(())
        });
        load.wait_for(500);
    });
    assert_eq!(missed, 0);
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
    wait_for_injection(plane, Duration::from_secs(5));
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
        wait_for_injection(plane, Duration::from_secs(10));
    }
}
