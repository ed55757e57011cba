//! Raw bytes over TLS, by openssl: an HTTP client that may be as wrong and as slow as it likes.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// A connection, cut when dropped. It does not look at who signed the certificate.
#[derive(Debug)]
pub struct TlsClient {
    child: Child,
    stdin: ChildStdin,
}

impl TlsClient {
    /// Connects to `address:port`.
    ///
    /// # Panics
    /// openssl is not installed.
    pub fn connect(address: &str) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_client", "-quiet", "-connect", address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        let stdin = child.stdin.take().expect("piped");
        Self { child, stdin }
    }

    /// Sends bytes; that the other side hung up shows in the answer.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stdin.write_all(bytes).and_then(|()| self.stdin.flush());
    }

    /// Reads until the other side closes.
    ///
    /// # Panics
    /// The pipe breaks.
    pub fn answer(mut self) -> String {
        let mut answer = Vec::new();
        let mut stdout = self.child.stdout.take().expect("piped");
        stdout.read_to_end(&mut answer).expect("readable");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for TlsClient {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The head of a POST that announces `length` bytes, and then these.
pub fn post(path: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: webhook\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    )
    .into_bytes();
    request.extend(body);
    request
}

/// The API's encoding of bytes.
///
/// # Panics
/// openssl is not installed.
pub fn base64(file: &Path) -> String {
    let encoded = Command::new("openssl")
        .args(["base64", "-A", "-in"])
        .arg(file)
        .output()
        .expect("openssl is installed");
    assert!(encoded.status.success(), "{}: not readable", file.display());
    String::from_utf8_lossy(&encoded.stdout).into_owned()
}

/// True if a certificate (PEM in base64) is not valid any more.
///
/// # Panics
/// openssl is not installed, or it is no certificate.
pub fn has_expired(certificate: &str) -> bool {
    let script = "openssl base64 -d -A | openssl x509 -noout -checkend 0";
    let mut openssl = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut stdin = openssl.stdin.take().expect("piped");
    stdin.write_all(certificate.as_bytes()).expect("it reads");
    drop(stdin);
    let output = openssl.wait_with_output().expect("it ends");
    match &*String::from_utf8_lossy(&output.stdout) {
        "Certificate will expire\n" => true,
        "Certificate will not expire\n" => false,
        other => panic!("{other}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// True if the server at `address` presents a certificate for `name` that `bundle` (PEM in base64, as `caBundle` is)
/// vouches for: what an API server checks. `scratch` is a file to use.
///
/// # Panics
/// openssl is not installed.
pub fn is_trusted(address: &str, name: &str, bundle: &str, scratch: &Path) -> bool {
    let mut decoder = Command::new("openssl")
        .args(["base64", "-d", "-A"])
        .stdin(Stdio::piped())
        .stdout(File::create(scratch).expect("a scratch file"))
        .spawn()
        .expect("openssl is installed");
    let mut stdin = decoder.stdin.take().expect("piped");
    stdin.write_all(bundle.as_bytes()).expect("it reads");
    drop(stdin);
    let decoded = decoder.wait().expect("it ends").success();
    let verified = Command::new("openssl")
        .args(["s_client", "-connect", address, "-servername", name])
        .args(["-verify_hostname", name, "-verify_return_error", "-CAfile"])
        .arg(scratch)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed");
    decoded && verified.status.success()
}
