//! Go servers that are profiled at a URL in place of a process: who they are to the rest of us, and what is planned for one.
//!
//! The plan has the operator's list and the names of files; the recorder opens those ([`Opened`]), gives up all rights, and
//! only then resolves the name, reads the Secret and connects (`door`). So the server process has neither the token nor
//! a byte that another machine sent.

mod door;
mod secret;
mod trust;
mod url;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::path::PathBuf;

use nix::ifaddrs::getifaddrs;
use serde::{Deserialize, Serialize};

use super::plan::{GoPlan, Place};
use super::request::ProfileRequest;
use super::settings::PlaceSettings;
use crate::process::{Process, ProcessId};
use crate::runtime::{Asked, PlanError, PprofEndpoint, Reason, RecordError, RuntimeFacts, Target};

pub(super) use door::{Door, Entered};
pub use secret::{ApiServer, SecretName};
use secret::{SecretPlan, SecretSources};
use trust::Authorities;
use url::UrlPolicy;
pub use url::{AllowedUrl, ServerUrl, URL_NOT_ALLOWED};

/// What the operator told us about servers that are no processes of ours; from flags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerSettings {
    /// Those that may be asked beside loopback and the pod's own addresses.
    pub allowed: Vec<AllowedUrl>,
    /// Files of certificates of authorities that are believed beside the system's.
    pub authorities: Vec<PathBuf>,
    /// Folder where Secrets are mounted.
    pub secrets: Option<PathBuf>,
    /// Folder of our own service account.
    pub account: Option<PathBuf>,
    /// Where the cluster's API is.
    pub api: Option<ApiServer>,
}

/// What a recorder needs to know of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerPlan {
    pub(super) url: ServerUrl,
    policy: UrlPolicy,
    authorities: Vec<PathBuf>,
    account: Option<PathBuf>,
    secret: Option<SecretPlan>,
}

/// The server at `url` as a target. Nothing of it is in our `/proc`, and what asks it has no rights.
pub fn target(url: &ServerUrl) -> Target {
    /// The user and group that own nothing.
    const NOBODY: u32 = 65_534;
    let mut hasher = DefaultHasher::new();
    url.hash(&mut hasher);
    // The same server has the same number, so that two captures of it know of each other; no process has pid 0.
    let id = ProcessId::outside(0, hasher.finish() >> 2);
    let endpoint = PprofEndpoint {
        scheme: url.scheme().name().to_owned(),
        authority: url.authority(),
        path: url.index().to_owned(),
        profiles: Vec::new(),
    };
    Target {
        process: Process::outside(id, NOBODY, NOBODY),
        name: url.to_string(),
        facts: RuntimeFacts::Go {
            version: None,
            module: None,
            pprof: Some(endpoint),
            pprof_absence: None,
        },
    }
}

/// Plans a recording of the server at `url`. Nothing is resolved yet, but what can be judged without is.
///
/// # Errors
/// The URL is not allowed, or a parameter does not fit.
pub fn plan(asked: &Asked<'_>, url: &ServerUrl, settings: &ServerSettings) -> Result<GoPlan, PlanError> {
    let secret = asked.options.go.secret.as_ref();
    if secret.is_some() && !url.is_encrypted() {
        return Err(PlanError::unsuitable("secret", "a token is sent over https alone"));
    }
    let policy = UrlPolicy {
        allowed: settings.allowed.clone(),
        own: own_addresses(),
    };
    policy.destination(url).map_err(PlanError::Impossible)?;
    let request = ProfileRequest::new(asked.event, asked.seconds, asked.kind, &asked.options.go)?;
    let request = request.ok_or_else(|| {
        let sentence = format!("net/http/pprof has no profile of {}", asked.event);
        PlanError::Impossible(Reason::new(
            "no_such_profile",
            sentence,
            "use event=cpu, heap or goroutine",
        ))
    })?;
    let server = ServerPlan {
        url: url.clone(),
        policy,
        authorities: settings.authorities.clone(),
        account: settings.account.clone(),
        secret: secret.map(|name| SecretPlan {
            name: name.clone(),
            folder: settings.secrets.clone(),
            api: settings.api.clone(),
        }),
    };
    Ok(GoPlan {
        place: Place::Server(Box::new(server)),
        scheme: url.scheme(),
        index: url.index().to_owned(),
        request,
        settings: PlaceSettings::default(),
    })
}

/// Addresses of our network namespace, which in a pod are the pod's.
fn own_addresses() -> Vec<IpAddr> {
    let addresses = getifaddrs().into_iter().flatten().filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    addresses.collect::<HashSet<_>>().into_iter().collect()
}

/// Files of ours that a recorder reads while it still may.
#[derive(Debug)]
pub struct Opened {
    authorities: Authorities,
    secret: Option<SecretSources>,
}

impl Opened {
    /// What the plan needs.
    ///
    /// # Errors
    /// A file that the operator named cannot be read.
    pub(super) fn open(plan: &ServerPlan) -> Result<Self, RecordError> {
        let account = plan.account.as_deref();
        Ok(Self {
            authorities: match plan.url.is_encrypted() {
                true => Authorities::read(&plan.authorities, account)?,
                false => Authorities::default(),
            },
            secret: plan.secret.as_ref().map(|secret| SecretSources::read(secret, account)),
        })
    }
}

/// A door for the URL policy's fuzz target.
#[cfg(feature = "fuzzing")]
pub mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::format::RecordingKind;
    use crate::runtime::Options;

    fn planned(url: &str, secret: Option<&str>, settings: &ServerSettings) -> Result<GoPlan, PlanError> {
        let url = ServerUrl::parse(url).unwrap();
        let mut options = Options::default();
        options.go.secret = secret.map(|name| SecretName::parse(name).unwrap());
        let asked = Asked {
            target: &target(&url),
            event: &Event::Heap,
            seconds: 0,
            kind: RecordingKind::Pprof,
            options: &options,
        };
        plan(&asked, &url, settings)
    }

    #[test]
    fn a_server_is_no_process_of_ours_and_the_same_one_each_time() {
        let one = |text: &str| target(&ServerUrl::parse(text).unwrap());
        let known = one("https://shop:6443");
        assert!(known.id().is_outside() && known.id().pid == 0);
        assert_eq!(known.id(), one("HTTPS://shop:6443/debug/pprof/").id());
        assert_ne!(known.id(), one("https://shop:6444").id());
        assert_eq!(known.name, "https://shop:6443");
    }

    #[test]
    fn what_is_not_allowed_is_not_planned() {
        let settings = ServerSettings::default();
        assert!(planned("http://127.0.0.1:6060", None, &settings).is_ok());
        for bad in ["http://1.1.1.1", "http://shop:6060", "http://169.254.169.254"] {
            let Err(PlanError::Impossible(reason)) = planned(bad, None, &settings) else {
                panic!("{bad}")
            };
            assert_eq!(reason.key, URL_NOT_ALLOWED);
        }
    }

    #[test]
    fn a_token_is_for_https() {
        let settings = ServerSettings::default();
        assert!(planned("https://127.0.0.1:6443", Some("shop/token"), &settings).is_ok());
        let plain = planned("http://127.0.0.1:6060", Some("shop/token"), &settings);
        assert!(matches!(
            plain,
            Err(PlanError::Unsuitable {
                parameter: "secret",
                ..
            })
        ));
    }
}
