//! Finds `net/http/pprof` of a Go process by asking the ports on which it listens.
//!
//! Asking a port of an unknown protocol is rude, so it is done sparingly: only sockets of a Go process, one
//! well-formed request each, bounded in ports, bytes and time, and the server keeps the answer. Called by
//! [`super::detect`].

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderMap;
use tokio::time::{Instant, timeout_at};

use super::listening_sockets::{self, dial_addresses};
use super::pprof_client::{ClientError, PprofClient, Scheme, read_body};
use crate::process::{Process, ProcessTable};
use crate::runtime::{GoPprofSettings, PprofAbsence, PprofEndpoint};

/// Ports asked per process.
const PORTS: usize = 16;

/// Bound for all ports of a process together.
const ALL_PORTS: Duration = Duration::from_secs(2);

/// Bound for one port, from the connect to the end of the answer.
const ONE_PORT: Duration = Duration::from_secs(1);

/// Go 1.26's index is 3 KB; custom profiles add a row each.
const INDEX_LIMIT: usize = 64 << 10;

/// The port of every example in Go's documentation.
const CUSTOMARY_PORT: u16 = 6060;

/// A port worth asking, and the addresses to reach it at, in order.
#[derive(Debug, PartialEq, Eq)]
struct Candidate {
    port: u16,
    addresses: Vec<SocketAddr>,
    /// The process was seen listening there; else the answer must prove that it comes from this process.
    seen: bool,
    /// The operator's headers are for this port, and as far as we may tell it is this process that listens there.
    trusted: bool,
}

/// Asks the ports of `process`, the configured ones first.
///
/// # Errors
/// Why there is no endpoint, the reason a person can do most about if there are several.
pub(super) fn find(
    table: &ProcessTable,
    process: &Process,
    settings: &GoPprofSettings,
) -> Result<PprofEndpoint, PprofAbsence> {
    if process.is_stopped() {
        return Err(PprofAbsence::Stopped);
    }
    // As for a pod seen from a hostPID pod; an inspector with the right to do so has entered it before. Where we may not
    // tell, only proven answers count anyway.
    if let Some(namespace) = table.other_network(process.id.pid) {
        let namespace = namespace.to_string_lossy().into_owned();
        return Err(PprofAbsence::OtherNetworkNamespace { namespace });
    }
    let listening = listening_sockets::of(table, process.id.pid);
    let (listening, unreadable) = match listening {
        Ok(listening) => (listening, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let mut candidates = candidates(&listening, &settings.ports);
    if unreadable.is_some() {
        trust_by_user(&mut candidates, table, process);
    }
    match unreadable {
        Some(error) if candidates.is_empty() => {
            return Err(PprofAbsence::SocketsUnreadable {
                detail: error.to_string(),
            });
        }
        _ => {}
    }
    if candidates.is_empty() {
        return Err(PprofAbsence::NoListeningPort);
    }
    ask_all(process, settings, candidates)
}

/// Like [`find`] for a process we may not look into: only the configured ports, and only an answer that proves to
/// come from this process.
pub(super) fn find_configured(
    table: &ProcessTable,
    process: &Process,
    settings: &GoPprofSettings,
) -> Option<PprofEndpoint> {
    if settings.ports.is_empty() || process.is_stopped() || table.other_network(process.id.pid).is_some() {
        return None;
    }
    let mut candidates = candidates(&[], &settings.ports);
    trust_by_user(&mut candidates, table, process);
    ask_all(process, settings, candidates).ok()
}

/// Where we may not see whose a socket is, we see at least whose user's. Candidates are the configured ones then.
fn trust_by_user(candidates: &mut [Candidate], table: &ProcessTable, process: &Process) {
    let listening = listening_sockets::of_user(table, process).unwrap_or_default();
    let reachable: Vec<SocketAddr> = listening.into_iter().flat_map(dial_addresses).collect();
    for candidate in candidates {
        // What would not lead there must not be asked either.
        let leads_there: Vec<SocketAddr> = candidate
            .addresses
            .extract_if(.., |address| reachable.contains(address))
            .collect();
        candidate.trusted = !leads_there.is_empty();
        if candidate.trusted {
            candidate.addresses = leads_there;
        }
    }
}

fn candidates(listening: &[SocketAddr], configured: &[u16]) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = Vec::new();
    for port in configured {
        if !candidates.iter().any(|known| known.port == *port) {
            candidates.push(Candidate {
                port: *port,
                addresses: Vec::new(),
                seen: false,
                trusted: false,
            });
        }
    }
    let mut listening = listening.to_owned();
    // pprof mostly hides on loopback, where disturbing a protocol is least likely too.
    listening.sort_by_key(|address| {
        (
            address.port() != CUSTOMARY_PORT,
            !address.ip().is_loopback(),
            address.port(),
        )
    });
    for address in listening {
        let dial = dial_addresses(address);
        if dial.is_empty() {
            continue;
        }
        let known = candidates.iter().position(|known| known.port == address.port());
        let index = known.unwrap_or_else(|| {
            candidates.push(Candidate {
                port: address.port(),
                addresses: Vec::new(),
                seen: true,
                trusted: false,
            });
            candidates.len() - 1
        });
        candidates[index].seen = true;
        candidates[index].trusted = configured.contains(&address.port());
        for address in dial {
            if !candidates[index].addresses.contains(&address) {
                candidates[index].addresses.push(address);
            }
        }
    }
    for candidate in &mut candidates {
        if candidate.addresses.is_empty() {
            candidate.addresses = dial_addresses(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), candidate.port));
            candidate.addresses.reverse();
        }
    }
    candidates
}

/// What one port said.
enum Answer {
    Pprof(PprofEndpoint),
    Unauthorized { address: SocketAddr, status: u16 },
    UnverifiedTls { address: SocketAddr },
    SomethingElse,
}

fn ask_all(
    process: &Process,
    settings: &GoPprofSettings,
    mut candidates: Vec<Candidate>,
) -> Result<PprofEndpoint, PprofAbsence> {
    let untried = candidates.split_off(candidates.len().min(PORTS));
    let failed = |detail: String| PprofAbsence::ProbeFailed { detail };
    let client = |settings| PprofClient::new(settings).map_err(|error| failed(error.to_string()));
    let (client, anonymous) = (client(settings)?, client(&settings.without_headers())?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let index = index_path(&settings.path_prefix);
    let mut probe = Probe {
        client,
        anonymous,
        index,
        process,
        asked: Vec::new(),
    };
    let mut untried: Vec<u16> = untried.iter().map(|candidate| candidate.port).collect();
    runtime
        .block_on(probe.ask(&candidates, &mut untried))
        .map_err(|absence| {
            absence.unwrap_or(PprofAbsence::NotOnPorts {
                ports: probe.asked,
                untried,
                path: probe.index,
            })
        })
}

/// `/debug/pprof/` behind the operator's prefix.
pub(super) fn index_path(prefix: &str) -> String {
    let prefix = prefix.trim_matches('/');
    if prefix.is_empty() {
        "/debug/pprof/".to_owned()
    } else {
        format!("/{prefix}/debug/pprof/")
    }
}

struct Probe<'a> {
    /// With the operator's headers.
    client: PprofClient,
    /// Without them.
    anonymous: PprofClient,
    index: String,
    process: &'a Process,
    asked: Vec<u16>,
}

impl Probe<'_> {
    /// The first endpoint, else the absence that a flag could cure.
    async fn ask(
        &mut self,
        candidates: &[Candidate],
        untried: &mut Vec<u16>,
    ) -> Result<PprofEndpoint, Option<PprofAbsence>> {
        let end = Instant::now() + ALL_PORTS;
        let (mut unauthorized, mut unverified) = (None, None);
        for candidate in candidates {
            if Instant::now() >= end {
                untried.push(candidate.port);
                continue;
            }
            self.asked.push(candidate.port);
            let deadline = end.min(Instant::now() + ONE_PORT);
            match timeout_at(deadline, self.ask_port(candidate)).await {
                Ok(Answer::Pprof(endpoint)) => return Ok(endpoint),
                Ok(Answer::Unauthorized { address, status }) => {
                    unauthorized.get_or_insert(PprofAbsence::Unauthorized {
                        address: address.to_string(),
                        status,
                    });
                }
                Ok(Answer::UnverifiedTls { address }) => {
                    unverified.get_or_insert(PprofAbsence::UnverifiedTls {
                        address: address.to_string(),
                    });
                }
                // Too slow is something else, too: the profiles would not come either.
                Ok(Answer::SomethingElse) | Err(_) => {}
            }
        }
        Err(unauthorized.or(unverified))
    }

    async fn ask_port(&self, candidate: &Candidate) -> Answer {
        for address in &candidate.addresses {
            let answer = match self.ask_address(*address, Scheme::Http, candidate).await {
                Err(ClientError::Connect(_)) => continue,
                Err(ClientError::SpeaksTls) if self.client.accepts_any_certificate() => {
                    self.ask_address(*address, Scheme::Https, candidate).await
                }
                Err(ClientError::SpeaksTls) if candidate.seen => Ok(Answer::UnverifiedTls { address: *address }),
                answer => answer,
            };
            return answer.unwrap_or(Answer::SomethingElse);
        }
        Answer::SomethingElse
    }

    async fn ask_address(
        &self,
        address: SocketAddr,
        scheme: Scheme,
        candidate: &Candidate,
    ) -> Result<Answer, ClientError> {
        let client = if candidate.trusted {
            &self.client
        } else {
            &self.anonymous
        };
        let seen = candidate.seen;
        let response = client.connect(address, scheme).await?.get(&self.index).await?;
        let (head, body) = response.into_parts();
        if matches!(head.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) && seen {
            return Ok(Answer::Unauthorized {
                address,
                status: head.status.as_u16(),
            });
        }
        let body = read_body(body, INDEX_LIMIT).await?;
        if scheme == Scheme::Http && head.status == StatusCode::BAD_REQUEST && asks_for_tls(&body) {
            return Err(ClientError::SpeaksTls);
        }
        if !is_pprof(head.status, &head.headers, &body) || !(seen || self.is_process(client, address, scheme).await?) {
            return Ok(Answer::SomethingElse);
        }
        let (authority, path) = (address.to_string(), self.index.clone());
        Ok(Answer::Pprof(PprofEndpoint {
            scheme: scheme.name().to_owned(),
            authority,
            path,
        }))
    }

    /// True when the pprof server says that its arguments are those of the process.
    async fn is_process(&self, client: &PprofClient, address: SocketAddr, scheme: Scheme) -> Result<bool, ClientError> {
        let connection = client.connect(address, scheme).await?;
        let response = connection.get(&format!("{}cmdline", self.index)).await?;
        let body = read_body(response.into_body(), INDEX_LIMIT).await?;
        let arguments = String::from_utf8_lossy(&body);
        Ok(arguments
            .split('\0')
            .filter(|argument| !argument.is_empty())
            .eq(self.process.command_line.arguments()))
    }
}

/// What Go's and nginx's servers say to plain HTTP on a TLS port.
fn asks_for_tls(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    text.contains("http request to an https server") || text.contains("http request was sent to https port")
}

/// Only an index that names the profiles counts, or an error that `net/http/pprof` marks as its own.
fn is_pprof(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> bool {
    if !status.is_success() {
        return headers.get("x-go-pprof").is_some_and(|value| value == "1");
    }
    let text = String::from_utf8_lossy(body);
    let is_index = text.contains("/debug/pprof/") || text.contains("profile?debug");
    status == StatusCode::OK && is_index && text.contains("goroutine") && text.contains("threadcreate")
}

#[cfg(test)]
mod tests;
