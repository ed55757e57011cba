//! Which authorities are believed: the system's, those of the operator's files, that of the cluster where it is mounted, and
//! the one in the Secret with the token.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::runtime::{Reason, RecordError};

/// Largest file of certificates; the system's has 250 KB.
const LARGEST: u64 = 4 << 20;

/// Certificates of authorities.
#[derive(Debug, Clone, Default)]
pub(super) struct Authorities(Vec<CertificateDer<'static>>);

impl Authorities {
    /// The system's, those of `files`, and the cluster's from the folder of our service account.
    ///
    /// # Errors
    /// One of `files` cannot be read or has no certificate.
    pub(super) fn read(files: &[PathBuf], account: Option<&Path>) -> Result<Self, RecordError> {
        let mut all = Self(rustls_native_certs::load_native_certs().certs);
        all.add_cluster(account);
        for file in files {
            let text = read(file).map_err(|error| unusable(file, &error.to_string()))?;
            if !all.add(&text) {
                return Err(unusable(file, "it has no certificate in PEM"));
            }
        }
        Ok(all)
    }

    /// The cluster's alone.
    pub(super) fn of_cluster(account: Option<&Path>) -> Self {
        let mut cluster = Self::default();
        cluster.add_cluster(account);
        cluster
    }

    fn add_cluster(&mut self, account: Option<&Path>) {
        let text = account.and_then(|folder| read(&folder.join("ca.crt")).ok());
        self.add(&text.unwrap_or_default());
    }

    /// Adds those of a text in PEM; false if there are none.
    pub(super) fn add(&mut self, pem: &[u8]) -> bool {
        let before = self.0.len();
        self.0.extend(CertificateDer::pem_slice_iter(pem).map_while(Result::ok));
        self.0.len() > before
    }

    /// What a handshake verifies by. What cannot be read there is left out, as old systems have some.
    pub(super) fn store(&self) -> Arc<RootCertStore> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(self.0.iter().cloned());
        Arc::new(store)
    }
}

fn unusable(file: &Path, detail: &str) -> RecordError {
    RecordError::Impossible(Reason::new(
        "authority_unreadable",
        format!(
            "the certificates of --url-ca {} cannot be used: {detail}",
            file.display()
        ),
        "give --url-ca a file with certificates of authorities in PEM",
    ))
}

/// A file of ours, of which more than fits is an error.
pub(super) fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LARGEST {
        true => Err(std::io::ErrorKind::FileTooLarge.into()),
        false => Ok(bytes),
    }
}
