//! What we show a server that asks who we are: nothing. Remembers that it asked, so that a failure can be explained.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;

/// No certificate.
#[derive(Debug, Default)]
pub(super) struct NoClientCertificate(AtomicBool);

impl NoClientCertificate {
    /// True when the server asked for one.
    pub(super) fn was_asked_for(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl ResolvesClientCert for NoClientCertificate {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Release);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
