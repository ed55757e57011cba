//! What the Secret holds: the authority in use, maybe the one after it, maybe the one before it.

use std::collections::BTreeMap;

use pem::{EncodeConfig, LineEnding, Pem};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::ca::{AuthorityError, Ca, examine};

const CURRENT: [&str; 2] = ["ca.crt", "ca.key"];
const NEXT: [&str; 2] = ["next-ca.crt", "next-ca.key"];
const PREVIOUS: &str = "previous-ca.crt";
/// Seconds after the Unix epoch, in digits.
const PREVIOUS_UNTIL: &str = "previous-ca.until";

/// Data of a Secret.
pub type Data = BTreeMap<String, Vec<u8>>;

/// The content of the Secret, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Issues.
    pub current: Ca,
    /// Will issue once every caBundle has it.
    pub next: Option<Ca>,
    /// Issued what may still be in use.
    pub previous: Option<Previous>,
}

/// An authority that issues no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previous {
    /// Its certificate; the key is gone.
    pub certificate: CertificateDer<'static>,
    /// When the last leaf of it has ended.
    pub until: i64,
}

impl Content {
    /// One authority alone.
    pub fn of(current: Ca) -> Self {
        Self {
            current,
            next: None,
            previous: None,
        }
    }

    /// Reads a Secret's data.
    pub fn read(data: &Data) -> Result<Self, AuthorityError> {
        let ca = |names: [&'static str; 2]| {
            let [certificate, key] = names;
            match (data.get(certificate), data.get(key)) {
                (None, None) => Ok(None),
                (None, _) => Err(AuthorityError::Missing(certificate)),
                (_, None) => Err(AuthorityError::Missing(key)),
                (Some(certificate), Some(key)) => Ca::from_pem(certificate, key, names).map(Some),
            }
        };
        let previous = data.get(PREVIOUS).map(|pem| {
            let certificate = CertificateDer::from_pem_slice(pem).map_err(|_| AuthorityError::Unreadable(PREVIOUS))?;
            let (_, not_after, _) = examine(&certificate, PREVIOUS)?;
            let until = data
                .get(PREVIOUS_UNTIL)
                .and_then(|until| std::str::from_utf8(until).ok()?.parse().ok());
            // Without a date it stays until it ends by itself; never longer.
            let until = until.unwrap_or(not_after).min(not_after);
            Ok::<_, AuthorityError>(Previous { certificate, until })
        });
        Ok(Self {
            current: ca(CURRENT)?.ok_or(AuthorityError::Missing(CURRENT[0]))?,
            next: ca(NEXT)?,
            previous: previous.transpose()?,
        })
    }

    /// Writes it over `data`; keys that are not ours stay.
    pub fn write(&self, data: &mut Data) {
        for name in CURRENT.into_iter().chain(NEXT).chain([PREVIOUS, PREVIOUS_UNTIL]) {
            data.remove(name);
        }
        for (names, ca) in [(CURRENT, Some(&self.current)), (NEXT, self.next.as_ref())] {
            if let Some(ca) = ca {
                data.insert(names[0].to_owned(), pem(&ca.certificate).into_bytes());
                data.insert(names[1].to_owned(), ca.key_pem().as_bytes().to_vec());
            }
        }
        if let Some(previous) = &self.previous {
            data.insert(PREVIOUS.to_owned(), pem(&previous.certificate).into_bytes());
            data.insert(PREVIOUS_UNTIL.to_owned(), previous.until.to_string().into_bytes());
        }
    }

    /// What every caBundle must have, no more and no less.
    pub fn bundle(&self) -> Vec<&CertificateDer<'static>> {
        let next = self.next.iter().map(|ca| &ca.certificate);
        let previous = self.previous.iter().map(|previous| &previous.certificate);
        [&self.current.certificate]
            .into_iter()
            .chain(next)
            .chain(previous)
            .collect()
    }
}

/// PEM, with lines of 64 characters that end as everywhere on Linux.
pub(super) fn pem(certificate: &CertificateDer<'_>) -> String {
    let block = Pem::new("CERTIFICATE", certificate.as_ref());
    pem::encode_config(&block, EncodeConfig::new().set_line_ending(LineEnding::LF))
}
