//! The bearer token for a server: from a Secret, by the API where our service account may read it, else from where it is
//! mounted. It is in the recorder alone, and in no text that comes from here.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{ACCEPT, AUTHORIZATION};
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};

use super::super::pprof_client::{Peer, PprofClient, Scheme, read_body};
use super::super::settings::PlaceSettings;
use super::door::resolve;
use super::trust::{Authorities, read};
use crate::process::container::{is_dns_name, is_label};
use crate::runtime::{Reason, RecordError};

/// Namespace and name of a Secret, neither of which leads anywhere as a part of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretName {
    namespace: Option<String>,
    name: String,
}

impl SecretName {
    /// Reads `NAMESPACE/NAME` or `NAME`; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, text),
        };
        let plain = is_dns_name(name) && name.split('.').all(|label| !label.is_empty());
        (plain && namespace.is_none_or(is_label)).then(|| Self {
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Host and port of the cluster's API, as the kubelet tells them to every container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiServer {
    /// A name or an address.
    pub host: String,
    /// The port of HTTPS.
    pub port: u16,
}

/// Which Secret, and where it may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SecretPlan {
    pub(super) name: SecretName,
    /// Where Secrets are mounted.
    pub(super) folder: Option<PathBuf>,
    pub(super) api: Option<ApiServer>,
}

/// What a Secret has for us.
pub(super) struct Credential {
    /// The bearer token.
    pub(super) token: String,
    /// Who vouches for the server, in PEM; empty where the Secret does not say.
    pub(super) authority: Vec<u8>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").finish_non_exhaustive()
    }
}

/// Our own service account.
struct Account {
    api: ApiServer,
    token: String,
    namespace: Option<String>,
    cluster: Authorities,
}

/// Where a Secret may come from, as far as files tell.
pub(super) struct SecretSources {
    name: SecretName,
    account: Option<Account>,
    mounted: Result<Credential, String>,
}

impl fmt::Debug for SecretSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretSources")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl SecretSources {
    /// Reads what is mounted.
    pub(super) fn read(plan: &SecretPlan, account: Option<&Path>) -> Self {
        let file = |name: &str| {
            let text = account.and_then(|folder| read(&folder.join(name)).ok())?;
            String::from_utf8(text).ok().map(|text| text.trim().to_owned())
        };
        let own = plan.api.clone().zip(file("token")).map(|(api, token)| Account {
            api,
            token,
            namespace: file("namespace"),
            cluster: Authorities::of_cluster(account),
        });
        Self {
            name: plan.name.clone(),
            account: own,
            mounted: mounted(plan),
        }
    }

    /// The token.
    ///
    /// # Errors
    /// It is nowhere, and why.
    pub(super) async fn credential(self) -> Result<Credential, RecordError> {
        let asked = match &self.account {
            Some(account) => account.ask(&self.name).await,
            None => Err("sideflame has no service account here".to_owned()),
        };
        let (by_api, mounted) = match (asked, self.mounted) {
            (Ok(found), _) | (Err(_), Ok(found)) => return Ok(found),
            (Err(by_api), Err(mounted)) => (by_api, mounted),
        };
        Err(RecordError::Impossible(Reason::new(
            "secret_unreadable",
            format!("the token of Secret {} cannot be read: {by_api}; {mounted}", self.name),
            "let sideflame's service account get this Secret, or mount it as NAMESPACE/NAME or NAME in a folder and give \
             sideflame --url-secrets FOLDER",
        )))
    }
}

fn mounted(plan: &SecretPlan) -> Result<Credential, String> {
    let Some(folder) = &plan.folder else {
        return Err("no folder of Secrets is given".to_owned());
    };
    let name = &plan.name.name;
    let within = plan
        .name
        .namespace
        .iter()
        .map(|namespace| folder.join(namespace).join(name));
    let places: Vec<_> = within.chain([folder.join(name)]).collect();
    let found = places
        .iter()
        .find_map(|place| Some((place, read(&place.join("token")).ok()?)));
    let (place, token) = found.ok_or_else(|| format!("there is no {name}/token in {}", folder.display()))?;
    Ok(Credential {
        token: printable(token).ok_or("its token in a file is no token")?,
        authority: read(&place.join("ca.crt")).unwrap_or_default(),
    })
}

impl Account {
    /// Asks the API for the Secret, as any client of it does.
    async fn ask(&self, name: &SecretName) -> Result<Credential, String> {
        /// A Secret has a MiB, and its description some more.
        const LARGEST: usize = 4 << 20;
        let ApiServer { host, port } = &self.api;
        let settings = PlaceSettings {
            headers: vec![
                (AUTHORIZATION.to_string(), format!("Bearer {}", self.token)),
                (ACCEPT.to_string(), "application/json".to_owned()),
            ],
            ..PlaceSettings::default()
        };
        let client = PprofClient::new(&settings).map_err(|_| "our own token is no token".to_owned())?;
        let failed = |error: &dyn fmt::Display| format!("the API server at {host}:{port} cannot be asked: {error}");
        let peer = Peer {
            scheme: Scheme::Https,
            host: format!("{host}:{port}"),
            name: ServerName::try_from(host.clone()).map_err(|error| failed(&error))?,
            authorities: self.cluster.store(),
        };
        // Who told us the address is the kubelet.
        let addresses = resolve(host).await.map_err(|error| failed(&error))?;
        let address = addresses.first().ok_or_else(|| failed(&"its name has no address"))?;
        let connection = client.connect_to((*address, *port).into(), &peer).await;
        let namespace = name
            .namespace
            .as_deref()
            .or(self.namespace.as_deref())
            .unwrap_or("default");
        let path = format!("/api/v1/namespaces/{namespace}/secrets/{}", name.name);
        let answer = connection.map_err(|error| failed(&error))?.get(&path).await;
        let answer = answer.map_err(|error| failed(&error))?;
        match answer.status() {
            StatusCode::OK => {}
            status => return Err(format!("the API server answered {status} to GET {path}")),
        }
        let body = read_body(answer.into_body(), LARGEST)
            .await
            .map_err(|error| failed(&error))?;
        credential(&body).ok_or_else(|| "it has no token".to_owned())
    }
}

/// What the API says of a Secret.
fn credential(body: &[u8]) -> Option<Credential> {
    #[derive(Deserialize)]
    struct Secret {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        token: Option<String>,
        #[serde(rename = "ca.crt")]
        authority: Option<String>,
    }
    let Secret { data } = serde_json::from_slice(body).ok()?;
    let token = STANDARD.decode(data.token?).ok()?;
    let authority = data.authority.and_then(|text| STANDARD.decode(text).ok());
    Some(Credential {
        token: printable(token)?,
        authority: authority.unwrap_or_default(),
    })
}

/// A token is one word.
fn printable(bytes: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(bytes).ok()?;
    let token = text.trim();
    (!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())).then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_secret_leads_nowhere_else() {
        for good in [
            "token",
            "shop/token",
            "kubediag/apiserver-profiler-sa-token-gj9x8",
            "a.b",
        ] {
            assert_eq!(SecretName::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "", "/", "a/", "/a", "..", "../a", "a/..", "a/../b", "a/b/c", "a.b/c", "A", "a%2fb", "a?b", "a b", "a..b",
            ".a",
        ] {
            assert_eq!(SecretName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_mounted_secret_is_found_by_namespace_first() {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let file = folder.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        put("token-1/token", "plain\n");
        put("shop/token-1/token", "of shop");
        put("shop/token-1/ca.crt", "PEM");
        put("bad/token", "two\nlines");
        let token = |name: &str| {
            let plan = SecretPlan {
                name: SecretName::parse(name).unwrap(),
                folder: Some(folder.path().to_owned()),
                api: None,
            };
            mounted(&plan).map(|found| (found.token, found.authority.len()))
        };
        assert_eq!(token("token-1"), Ok(("plain".to_owned(), 0)));
        // One word it must be.
        assert!(token("shop/token-1").unwrap_err().contains("no token"));
        put("shop/token-1/token", "of-shop");
        assert_eq!(token("shop/token-1"), Ok(("of-shop".to_owned(), 3)));
        assert_eq!(token("cart/token-1"), Ok(("plain".to_owned(), 0)));
        let words = token("bad").unwrap_err();
        assert!(!words.contains("two"), "{words}");
        assert!(token("none").unwrap_err().contains("no none/token"));
    }

    #[test]
    fn the_api_gives_token_and_authority_in_base64() {
        let body = |data: &str| credential(format!(r#"{{"kind":"Secret","data":{data}}}"#).as_bytes());
        let found = body(r#"{"token":"czNjcmV0","ca.crt":"UEVN","other":"x"}"#).unwrap();
        assert_eq!(
            (found.token.as_str(), found.authority.as_slice()),
            ("s3cret", &b"PEM"[..])
        );
        assert!(!format!("{found:?}").contains("s3cret"));
        for bad in [
            "{}",
            "null",
            r#"{"token":"%"}"#,
            r#"{"token":"YQpi"}"#,
            r#"{"token":""}"#,
        ] {
            assert!(body(bad).is_none(), "{bad}");
        }
    }
}
