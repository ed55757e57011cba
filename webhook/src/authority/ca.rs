//! An authority with its key, and the leaves it issues. ECDSA P-256 throughout.

use std::fmt;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

use crate::tls::{Certificate, CertificateError};

/// Certificates begin this long before they are made: clocks of nodes differ.
pub(super) const BACKDATE: i64 = 3600;

/// Why an authority cannot be used or made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A certificate that cannot be read.
    #[error("{0} cannot be read as a certificate")]
    Unreadable(&'static str),
    /// A certificate of something else.
    #[error("{0} is no certificate authority")]
    NoAuthority(&'static str),
    /// A part is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A key that is none, or another one's.
    #[error("{0} is not the key of its certificate")]
    Key(&'static str),
    /// The generator refused.
    #[error("a certificate could not be made: {0}; check --tls-san, --service-name and --namespace")]
    Generate(#[from] rcgen::Error),
    /// What was made cannot be served.
    #[error("a certificate was made that cannot be served: {0}")]
    Unservable(#[from] CertificateError),
}

/// An authority that can issue.
#[derive(Clone, PartialEq, Eq)]
pub struct Ca {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// PKCS#8, PEM. Never logged.
    key: String,
    /// Seconds after the Unix epoch.
    pub not_before: i64,
    /// Seconds after the Unix epoch.
    pub not_after: i64,
}

impl fmt::Debug for Ca {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = (self.not_before, self.not_after);
        formatter
            .debug_struct("Ca")
            .field("times", &times)
            .finish_non_exhaustive()
    }
}

/// A serving certificate, and who issued it.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// With its key, as TLS needs it.
    pub certificate: Certificate,
    /// The authority's certificate.
    pub issuer: CertificateDer<'static>,
    /// When it was made, seconds after the Unix epoch.
    pub issued: i64,
}

impl Ca {
    /// Makes an authority that lives for `life` seconds from `now`.
    pub fn generate(now: i64, life: i64) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = params(Vec::new(), now, now.saturating_add(life))?;
        // A name of its own: where two authorities overlap, verifiers that look by name find the right one at once.
        let name = format!("sideflame-webhook authority {now} {}", short_id(&key));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Self {
            certificate,
            key: key.serialize_pem(),
            not_before: params.not_before.unix_timestamp(),
            not_after: params.not_after.unix_timestamp(),
        })
    }

    /// Reads one back. `names` say which parts are meant, in error messages.
    pub(super) fn from_pem(certificate: &[u8], key: &[u8], names: [&'static str; 2]) -> Result<Self, AuthorityError> {
        let [certificate_name, key_name] = names;
        let certificate = CertificateDer::from_pem_slice(certificate);
        let certificate = certificate.map_err(|_| AuthorityError::Unreadable(certificate_name))?;
        let (not_before, not_after, public_key) = examine(&certificate, certificate_name)?;
        let text = std::str::from_utf8(key).map_err(|_| AuthorityError::Key(key_name))?;
        let pair = KeyPair::from_pem(text).map_err(|_| AuthorityError::Key(key_name))?;
        if pair.public_key_raw() != public_key {
            return Err(AuthorityError::Key(key_name));
        }
        Ok(Self {
            certificate,
            key: text.to_owned(),
            not_before,
            not_after,
        })
    }

    /// For the Secret.
    pub(super) fn key_pem(&self) -> &str {
        &self.key
    }

    /// When two thirds of its life are over.
    pub fn renewal(&self) -> i64 {
        super::Lifetimes::renewal(
            self.not_before.saturating_add(BACKDATE).min(self.not_after),
            self.not_after,
        )
    }

    /// Whether a verifier would accept it at `now`.
    pub fn is_valid(&self, now: i64) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// Issues a serving certificate for `names`, for `life` seconds or as long as the authority has.
    pub fn issue(&self, names: &[String], now: i64, life: i64) -> Result<Leaf, AuthorityError> {
        let issuer = Issuer::from_ca_cert_der(&self.certificate, KeyPair::from_pem(&self.key)?)?;
        let key = KeyPair::generate()?;
        let mut params = params(names.to_vec(), now, now.saturating_add(life).min(self.not_after))?;
        let name = names.first().map_or("sideflame-webhook", String::as_str);
        // X.509 has room for 64 characters here, and only people read it.
        params
            .distinguished_name
            .push(DnType::CommonName, name.chars().take(64).collect::<String>());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let chain = vec![params.signed_by(&key, &issuer)?.der().clone()];
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Leaf {
            certificate: Certificate::from_der(chain, &der)?,
            issuer: self.certificate.clone(),
            issued: now,
        })
    }
}

fn params(names: Vec<String>, now: i64, not_after: i64) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = date(now.saturating_sub(BACKDATE));
    params.not_after = date(not_after);
    Ok(params)
}

/// A clock beyond the year 9999 is wrong anyway.
fn date(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn short_id(key: &KeyPair) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, key.public_key_raw());
    let bytes = digest.as_ref().iter().take(4);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// Begin, end and public key of an authority's certificate.
pub(super) fn examine(
    certificate: &CertificateDer<'_>,
    name: &'static str,
) -> Result<(i64, i64, Vec<u8>), AuthorityError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| AuthorityError::Unreadable(name))?;
    if !parsed.is_ca() {
        return Err(AuthorityError::NoAuthority(name));
    }
    let validity = parsed.validity();
    let key = parsed.public_key().subject_public_key.data.to_vec();
    Ok((validity.not_before.timestamp(), validity.not_after.timestamp(), key))
}
