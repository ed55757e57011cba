//! Connections: TLS with a certificate that changes under way, HTTP/1.1 and HTTP/2, limits, and a clean end.
//!
//! Must not know what is served, nor where a certificate comes from. Called by `cli::serve`; the certificate comes from
//! `authority` or from [`supplied`].

mod current;
mod serve;
pub mod supplied;

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;

pub use current::{Certificate, CertificateError, CurrentCertificate};
pub use serve::{Limits, Listener, Protocol, serve};

/// The TLS side of the listener: a handshake takes whatever is in `certificate` at that moment.
pub fn server_config(certificate: Arc<CurrentCertificate>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config = builder
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests;
