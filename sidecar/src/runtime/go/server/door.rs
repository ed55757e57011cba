//! How a recorder gets a connection to what it is to ask: to a port of a process, or to a server that was named by its URL.
//!
//! The name of a server is resolved once; every address of the answer is judged, and what was judged is connected to. Who
//! changes the answer afterwards changes nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hyper::header::AUTHORIZATION;
use rustls::pki_types::ServerName;
use tokio::time::timeout;

use super::super::address::Address;
use super::super::pprof_client::{ClientError, Connection, Peer, PprofClient};
use super::super::settings::PlaceSettings;
use super::{Opened, ServerPlan};
use crate::process::TargetRoot;
use crate::runtime::go::pprof_client::Scheme;
use crate::runtime::{Reason, RecordError};

/// Connecting over loopback, and a TLS handshake with an app whose CPUs are busy.
const CONNECT: Duration = Duration::from_secs(5);

/// For a resolver, which by itself takes 5 s for each server that does not answer.
const RESOLVE: Duration = Duration::from_secs(10);

/// For all there is to do before the profile is asked for: the name, the Secret, and each of the addresses.
const SERVER: Duration = Duration::from_secs(30);

/// The way to the profiles.
pub(in super::super) enum Door {
    /// To a port or a Unix socket, which is below the root.
    Port {
        client: PprofClient,
        address: Address,
        scheme: Scheme,
        root: Option<TargetRoot>,
    },
    /// To what a URL leads to.
    Server { plan: Box<ServerPlan>, opened: Opened },
}

/// A connection, and the token that must not be repeated.
pub(in super::super) struct Entered {
    pub(in super::super) connection: Connection,
    pub(in super::super) token: Option<String>,
}

impl Door {
    /// Connects.
    ///
    /// # Errors
    /// Outside why it was not tried or took too long, inside why it failed.
    pub(in super::super) async fn enter(self) -> Result<Result<Entered, ClientError>, RecordError> {
        match self {
            Self::Port {
                client,
                address,
                scheme,
                root,
            } => {
                let connecting = client.connect(&address, scheme, root.as_ref());
                let connected = timeout(CONNECT, connecting).await;
                let connected = connected.map_err(|_| too_slow("connecting to the pprof port", CONNECT))?;
                Ok(connected.map(|connection| Entered {
                    connection,
                    token: None,
                }))
            }
            Self::Server { plan, opened } => match timeout(SERVER, server(&plan, opened)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(too_slow("connecting to the server", SERVER)),
            },
        }
    }
}

async fn server(plan: &ServerPlan, opened: Opened) -> Result<Result<Entered, ClientError>, RecordError> {
    let url = &plan.url;
    let destination = match plan.policy.destination(url).map_err(RecordError::Impossible)? {
        Some(destination) => destination,
        None => {
            let answer = resolve(&url.host())
                .await
                .map_err(|error| unresolved(&url.host(), &error))?;
            plan.policy.answered(url, &answer).map_err(RecordError::Impossible)?
        }
    };
    let Opened {
        mut authorities,
        secret,
    } = opened;
    let mut headers = Vec::new();
    let mut token = None;
    if let Some(secret) = secret {
        let found = secret.credential().await?;
        authorities.add(&found.authority);
        headers.push((AUTHORIZATION.to_string(), format!("Bearer {}", found.token)));
        token = Some(found.token);
    }
    let settings = PlaceSettings {
        headers,
        ..PlaceSettings::default()
    };
    let internal = |detail: String| RecordError::Internal {
        step: "prepare the request".to_owned(),
        detail,
    };
    let client = PprofClient::new(&settings).map_err(|error| internal(error.to_string()))?;
    let peer = Peer {
        scheme: url.scheme(),
        host: url.authority(),
        name: ServerName::try_from(url.host()).map_err(|error| internal(error.to_string()))?,
        authorities: authorities.store(),
    };
    let mut last = None;
    for address in destination {
        match timeout(CONNECT, client.connect_to(address, &peer)).await {
            Ok(Ok(connection)) => return Ok(Ok(Entered { connection, token })),
            // Of several addresses the next may be the one that listens; who answered is who was meant.
            Ok(Err(error @ ClientError::Connect(_))) => last = Some(error),
            Ok(Err(error)) => return Ok(Err(error)),
            Err(_) => last = Some(ClientError::Connect(io::ErrorKind::TimedOut.into())),
        }
    }
    // There is at least one address.
    Ok(Err(last.unwrap_or_else(|| {
        ClientError::Connect(io::ErrorKind::AddrNotAvailable.into())
    })))
}

/// The addresses that the system's resolver has for a name, asked once; an address is its own.
///
/// # Errors
/// There are none, or no answer came in time.
pub(super) async fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    // The port is of no interest to a resolver.
    let answer = timeout(RESOLVE, tokio::net::lookup_host((host, 0))).await;
    let mut addresses: Vec<_> = answer??.map(|address: SocketAddr| address.ip()).collect();
    addresses.dedup();
    Ok(addresses)
}

fn unresolved(name: &str, error: &io::Error) -> RecordError {
    RecordError::Impossible(Reason::new(
        "name_not_resolved",
        format!("{name} has no address here: {error}"),
        "correct the name in url=, or give an address",
    ))
}

fn too_slow(step: &str, bound: Duration) -> RecordError {
    RecordError::Timeout {
        step: step.to_owned(),
        seconds: bound.as_secs(),
    }
}
