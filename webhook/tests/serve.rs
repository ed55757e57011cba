//! The binary as it runs in a pod with supplied certificates and no way to an API server.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod server;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use server::{Server, start};

const REVIEW: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1","operation":"CREATE","object":{"metadata":{}}}}"#;

impl Server {
    fn readiness(&self) -> String {
        let mut stream = TcpStream::connect(self.health).unwrap();
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn review(&self) -> std::io::Result<String> {
        self.post(REVIEW.as_bytes())
    }

    fn post(&self, body: &[u8]) -> std::io::Result<String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = builder.with_root_certificates(self.roots.clone()).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(connection, TcpStream::connect(self.reviews)?);
        write!(
            stream,
            "POST /inject?timeout=2s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )?;
        stream.write_all(body)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn signal(&self, signal: &str) {
        // The shell's own: a `kill` program need not be there.
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", signal, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    fn wait_until_draining(&self) {
        let began = Instant::now();
        loop {
            let readiness = self.readiness();
            if readiness.starts_with("HTTP/1.1 503") && readiness.contains("shutting down") {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "{readiness}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn ended_within(&mut self, time: Duration) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < time, "still running");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn it_serves_without_an_api_server_and_drains_on_sigterm() {
    let mut server = start("2s");
    assert!(server.readiness().starts_with("HTTP/1.1 200"));
    let answer = server.review().unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains(r#""uid":"u-1","allowed":true"#),
        "{answer}"
    );
    server.signal("TERM");
    server.wait_until_draining();
    assert!(
        server.review().unwrap().contains("u-1"),
        "still answering while endpoints are updated"
    );
    assert!(server.ended_within(Duration::from_secs(5)).success());
}

#[test]
fn long_and_senseless_bodies_get_an_answer_and_the_server_goes_on() {
    let server = start("0s");
    for _ in 0..3 {
        let long = server.post(&vec![b'x'; 10 << 20]).unwrap();
        assert!(long.starts_with("HTTP/1.1 413") && long.contains("3145728"), "{long}");
        let garbage = server.post(b"\xff\0{").unwrap();
        assert!(
            garbage.starts_with("HTTP/1.1 400") && garbage.contains("AdmissionReview"),
            "{garbage}"
        );
        assert!(server.review().unwrap().contains("u-1"));
    }
}

#[test]
fn a_second_signal_cuts_the_drain_short() {
    let mut server = start("1h");
    server.signal("TERM");
    server.wait_until_draining();
    server.signal("INT");
    assert!(server.ended_within(Duration::from_secs(3)).success());
}

#[test]
fn without_certificates_and_api_server_it_says_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_sideflame-webhook"))
        .args(["serve", "--listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0"])
        .env_remove("KUBERNETES_SERVICE_HOST")
        .env("KUBECONFIG", home.path().join("none"))
        .env("HOME", home.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        text.contains("--tls-cert-file") && text.contains("KUBECONFIG"),
        "{text}"
    );
}
