//! Connections: TLS with a certificate that changes under way, HTTP/1.1 and HTTP/2, limits, and a clean end.
//!
//! Must not know what is served, nor where a certificate comes from. Called by `cli::serve`; the certificate comes from
//! `authority` or from [`supplied`].

mod current;
mod peers;
mod serve;
pub mod supplied;

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

pub use current::{Certificate, CertificateError, CurrentCertificate};
pub use serve::{Limits, Listener, Protocol, serve};

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ServerConfigError {
    /// One of them cannot be read.
    #[error("an authority for clients cannot be read: {0}; they must be PEM")]
    Unreadable(String),
    /// The provider of cryptography knows no version of TLS.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// There is no authority.
    #[error("no client could be verified: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The TLS side of the listener: a handshake takes whatever is in `certificate` at that moment. With `clients`, PEM of
/// authorities, only clients with a certificate of one of them are listened to.
pub fn server_config(
    certificate: Arc<CurrentCertificate>,
    clients: Option<&[u8]>,
) -> Result<Arc<ServerConfig>, ServerConfigError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = match clients {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for authority in CertificateDer::pem_slice_iter(pem) {
                let authority = authority.map_err(|error| ServerConfigError::Unreadable(error.to_string()))?;
                let added = roots.add(authority);
                added.map_err(|error| ServerConfigError::Unreadable(error.to_string()))?;
            }
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?
        }
    };
    let builder = ServerConfig::builder_with_provider(provider);
    let mut config = builder
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests;
