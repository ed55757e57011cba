//! The binary as it runs in a pod with supplied certificates and no way to an API server.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const REVIEW: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1","operation":"CREATE","object":{"metadata":{}}}}"#;

struct Server {
    child: Child,
    reviews: SocketAddr,
    health: SocketAddr,
    roots: RootCertStore,
    _files: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(drain: &str) -> Server {
    let files = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(files.path().join("tls.crt"), certificate.pem()).unwrap();
    std::fs::write(files.path().join("tls.key"), key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_sideflame-webhook"))
        .args([
            "serve",
            "--listen=127.0.0.1:0",
            "--metrics-listen=127.0.0.1:0",
            "--log-format=json",
            "--drain",
            drain,
        ])
        .arg("--tls-cert-file")
        .arg(files.path().join("tls.crt"))
        .arg("--tls-key-file")
        .arg(files.path().join("tls.key"))
        .env_remove("KUBERNETES_SERVICE_HOST")
        .env("KUBECONFIG", files.path().join("none"))
        .env("HOME", files.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the server ended");
    }
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let address = |name: &str| line[name].as_str().unwrap().parse().unwrap();
    let (reviews, health) = (address("address"), address("health"));
    // A pipe that is not read would stop the server.
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::stderr()));
    Server {
        child,
        reviews,
        health,
        roots,
        _files: files,
    }
}

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
