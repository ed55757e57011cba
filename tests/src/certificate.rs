//! A certificate for a server of a test, which signed itself.

use std::process::Command;

/// The certificate of `address`, and the same with its key behind it, both in PEM.
///
/// # Panics
/// openssl is not installed.
pub fn self_signed(address: &str) -> (String, String) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args([
            "-subj",
            "/CN=shop",
            "-addext",
            "basicConstraints=critical,CA:false",
            "-addext",
        ])
        .arg(format!("subjectAltName=IP:{address}"))
        .args(["-keyout", "-", "-out", "-"])
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let both = String::from_utf8(made.stdout).expect("PEM");
    let at = both.find("-----BEGIN CERTIFICATE").expect("a certificate");
    (both[at..].to_owned(), both)
}
