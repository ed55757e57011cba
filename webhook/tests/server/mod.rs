//! The binary as it runs in a pod with supplied certificates and no way to an API server.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use rustls::RootCertStore;

/// A `sideflame-webhook serve`, killed when dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) reviews: SocketAddr,
    pub(crate) health: SocketAddr,
    pub(crate) roots: RootCertStore,
    _files: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// It listens when this returns.
pub(crate) fn start(drain: &str) -> Server {
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
