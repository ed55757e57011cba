//! The certificate in use. A handshake reads it; `authority` or `supplied` swap it; open connections keep theirs.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// A chain with its key, checked to belong together.
#[derive(Debug, Clone)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    /// Seconds after the Unix epoch.
    pub not_before: i64,
    /// Seconds after the Unix epoch.
    pub not_after: i64,
}

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// No certificate in the PEM text.
    #[error("there is no certificate in it; it must be PEM, the server's certificate first")]
    NoCertificate,
    /// The certificate cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Unreadable(String),
    /// No usable key in the PEM text.
    #[error("there is no usable private key: {0}; it must be PEM: PKCS#8, PKCS#1 or SEC1")]
    Key(String),
    /// The key is another one's.
    #[error("the key does not belong to the certificate: {0}")]
    Mismatch(rustls::Error),
}

impl Certificate {
    /// Takes a chain and its key from PEM.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.map_err(|error| CertificateError::Unreadable(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| CertificateError::Key(error.to_string()))?;
        Self::from_der(chain, &key)
    }

    /// Takes a chain and its key.
    pub fn from_der(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'_>) -> Result<Self, CertificateError> {
        let first = chain.first().ok_or(CertificateError::NoCertificate)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(first)
            .map_err(|error| CertificateError::Unreadable(error.to_string()))?;
        let validity = parsed.validity();
        let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        let key = any_supported_type(key).map_err(|error| CertificateError::Key(error.to_string()))?;
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(CertificateError::Mismatch)?;
        Ok(Self {
            key: Arc::new(key),
            not_before,
            not_after,
        })
    }

    /// The server's own certificate.
    pub fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.key.cert.first()
    }
}

/// The cell between what makes certificates and what needs one.
#[derive(Debug, Default)]
pub struct CurrentCertificate(RwLock<Option<Arc<CertifiedKey>>>);

impl CurrentCertificate {
    /// Takes a new one: from now on, handshakes have it.
    pub fn set(&self, certificate: &Certificate) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&certificate.key));
    }
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
