//! The caBundles that the API server has for us.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::content::pem;

/// Which of the two configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Pods; it must be there.
    Mutating,
    /// Workloads; it may be missing.
    Validating,
}

/// One entry of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, e.g. `pod.sideflame.io`.
    pub name: String,
    /// PEM.
    pub bundle: Vec<u8>,
}

/// A configuration as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// Which one.
    pub kind: Kind,
    /// A patch holds for this version only.
    pub resource_version: String,
    /// In the order of the object.
    pub entries: Vec<Entry>,
}

/// Everything that was read in a round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundles(pub Vec<Configuration>);

impl Entry {
    fn certificates(&self) -> Option<Vec<CertificateDer<'static>>> {
        CertificateDer::pem_slice_iter(&self.bundle)
            .collect::<Result<_, _>>()
            .ok()
    }

    /// Whether the API server trusts leaves of `authority` here.
    fn trusts(&self, authority: &CertificateDer<'_>) -> bool {
        self.certificates().is_some_and(|all| all.contains(authority))
    }

    /// Whether it has exactly `wanted`, in any order. Text that is no certificate is drift, too.
    fn is_exactly(&self, wanted: &[&CertificateDer<'static>]) -> bool {
        self.certificates()
            .is_some_and(|all| all.len() == wanted.len() && wanted.iter().all(|one| all.contains(one)))
    }
}

impl Configuration {
    /// Positions of the entries that have other authorities than `wanted`.
    pub(super) fn drifted(&self, wanted: &[&CertificateDer<'static>]) -> Vec<usize> {
        let entries = self.entries.iter().enumerate();
        entries
            .filter(|(_, entry)| !entry.is_exactly(wanted))
            .map(|(position, _)| position)
            .collect()
    }
}

impl Bundles {
    /// The first entry that does not trust `authority`, or what else is missing; `Ok` if all do.
    pub(super) fn trust(&self, authority: &CertificateDer<'_>) -> Result<(), String> {
        if !self
            .0
            .iter()
            .any(|one| one.kind == Kind::Mutating && !one.entries.is_empty())
        {
            return Err("there is no MutatingWebhookConfiguration with our name yet; see --webhook-name".to_owned());
        }
        let mut entries = self.0.iter().flat_map(|one| &one.entries);
        match entries.find(|entry| !entry.trusts(authority)) {
            None => Ok(()),
            Some(entry) => Err(format!(
                "the caBundle of {} does not have our authority yet",
                entry.name
            )),
        }
    }

    /// Whether a certificate was written already: then a replica with an authority in memory may be running.
    pub(super) fn is_claimed(&self) -> bool {
        let mut entries = self.0.iter().flat_map(|one| &one.entries);
        entries.any(|entry| entry.certificates().is_some_and(|all| !all.is_empty()))
    }
}

/// A caBundle of `authorities`.
pub(super) fn bundle_of(authorities: &[&CertificateDer<'static>]) -> Vec<u8> {
    authorities.iter().map(|one| pem(one)).collect::<String>().into_bytes()
}
