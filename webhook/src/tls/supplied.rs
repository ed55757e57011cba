//! Certificates that something else makes, e.g. cert-manager: two files that change under way.
//!
//! They are read every few seconds and compared by content. Watching the files would miss the way a kubelet changes a
//! Secret volume: it swaps a symlink above them, and no file is ever written. The pair in use stays until a new one is
//! whole and belongs together, so a swap seen half-way is harmless.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::current::{Certificate, CertificateError, CurrentCertificate};
use crate::metrics::Metrics;

/// Between two looks at the files.
pub const INTERVAL: Duration = Duration::from_secs(3);
/// A Secret has 1 MiB at most.
const MOST_BYTES: u64 = 1 << 20;

/// The two files.
#[derive(Debug, Clone)]
pub struct Files {
    /// The chain, the server's certificate first.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A file cannot be read.
    #[error("failed to read {path}: {source}")]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The content is unusable.
    #[error("the certificate {path} with its key cannot be used: {source}")]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        source: CertificateError,
    },
}

/// Keeps a [`CurrentCertificate`] like the files.
#[derive(Debug)]
pub struct Supplied {
    files: Files,
    current: Arc<CurrentCertificate>,
    metrics: Arc<Metrics>,
    /// The content in use.
    seen: Option<(Vec<u8>, Vec<u8>)>,
    failing: Option<String>,
}

impl Supplied {
    /// Reads the files for the first time: without a certificate there is nothing to begin with.
    pub fn load(files: Files, current: Arc<CurrentCertificate>, metrics: Arc<Metrics>) -> Result<Self, FilesError> {
        let mut supplied = Self {
            files,
            current,
            metrics,
            seen: None,
            failing: None,
        };
        supplied.look()?;
        Ok(supplied)
    }

    /// Looks at the files for ever.
    pub async fn keep(mut self, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            self.look_again();
        }
    }

    fn look_again(&mut self) {
        match self.look() {
            Ok(true) => tracing::info!(path = %self.files.certificate.display(), "the certificate was renewed"),
            Ok(false) => {}
            Err(error) => {
                self.metrics.certificate_failures.inc();
                let error = error.to_string();
                // Once per kind of failure: this comes back every few seconds.
                if self.failing.as_ref() != Some(&error) {
                    tracing::error!(error, "the certificate before stays in use");
                    self.failing = Some(error);
                }
            }
        }
    }

    /// True if there was something new, and it is in use now.
    fn look(&mut self) -> Result<bool, FilesError> {
        let content = (read(&self.files.certificate)?, read(&self.files.key)?);
        if self.seen.as_ref() == Some(&content) {
            self.failing = None;
            return Ok(false);
        }
        let certificate = Certificate::from_pem(&content.0, &content.1).map_err(|source| FilesError::Unusable {
            path: self.files.certificate.clone(),
            source,
        })?;
        self.seen = Some(content);
        self.failing = None;
        self.current.set(&certificate);
        self.metrics.certificate_not_after.set(certificate.not_after);
        Ok(true)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, FilesError> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|source| FilesError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
