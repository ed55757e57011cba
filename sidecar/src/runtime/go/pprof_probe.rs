//! Finds `net/http/pprof` of a Go process by asking the ports on which it listens.
//!
//! Asking a port of an unknown protocol is rude, so it is done sparingly: only sockets of a Go process, one
//! well-formed request each, bounded in ports, bytes and time, and the server keeps the answer. Called by
//! [`super::detect`].

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderMap, LOCATION};
use tokio::time::{Instant, timeout_at};

use super::address::Address;
use super::candidates::{Candidate, candidates, trust_by_user};
use super::pprof_client::{ClientError, PprofClient, Scheme, read_body};
use super::settings::PlaceSettings;
use super::{listening_sockets, pprof_index, unix_sockets};
use crate::process::{Process, ProcessTable, TargetRoot};
use crate::runtime::{GoPprofSettings, PprofAbsence, PprofEndpoint};

/// Ports asked per process.
const PORTS: usize = 16;

/// Unix sockets asked per process, after the ports.
const SOCKETS: usize = 4;

/// Bound for all ports of a process together.
const ALL_PORTS: Duration = Duration::from_secs(2);

/// Bound for one port, from the connect to the end of the answer.
const ONE_PORT: Duration = Duration::from_secs(1);

/// Go 1.26's index is 3 KB; custom profiles add a row each.
const INDEX_LIMIT: usize = 64 << 10;

/// Whose index is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Program<'a> {
    /// The process.
    pub(super) process: &'a Process,
    /// What it is called.
    pub(super) name: &'a str,
}

/// Asks the ports of `program`, the configured ones first, then its Unix sockets.
///
/// # Errors
/// Why there is no endpoint, the reason a person can do most about if there are several.
pub(super) fn find(
    table: &ProcessTable,
    program: Program<'_>,
    settings: &GoPprofSettings,
) -> Result<PprofEndpoint, PprofAbsence> {
    let process = program.process;
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
    let sockets = unix_sockets::of(table, process.id.pid).unwrap_or_default();
    match unreadable {
        Some(error) if candidates.is_empty() => {
            return Err(PprofAbsence::SocketsUnreadable {
                detail: error.to_string(),
            });
        }
        _ => {}
    }
    if candidates.is_empty() && sockets.is_empty() {
        return Err(PprofAbsence::NoListeningPort);
    }
    let root = TargetRoot::open(table, process.id).ok();
    ask_all(program, settings, candidates, (root.as_ref(), sockets))
}

/// Like [`find`] for a process we may not look into: only the configured ports, and only an answer that proves to
/// come from this process.
pub(super) fn find_configured(
    table: &ProcessTable,
    program: Program<'_>,
    settings: &GoPprofSettings,
) -> Option<PprofEndpoint> {
    let process = program.process;
    if settings.ports.is_empty() || process.is_stopped() || table.other_network(process.id.pid).is_some() {
        return None;
    }
    let mut candidates = candidates(&[], &settings.ports);
    trust_by_user(&mut candidates, table, process);
    ask_all(program, settings, candidates, (None, Vec::new())).ok()
}

/// What one place said.
enum Answer {
    Pprof(PprofEndpoint),
    /// There may be pprof, and somebody can do something about it.
    Absent(PprofAbsence),
    SomethingElse,
}

fn ask_all(
    program: Program<'_>,
    settings: &GoPprofSettings,
    mut candidates: Vec<Candidate>,
    (root, sockets): (Option<&TargetRoot>, Vec<String>),
) -> Result<PprofEndpoint, PprofAbsence> {
    let untried = candidates.split_off(candidates.len().min(PORTS));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| PprofAbsence::ProbeFailed {
            detail: error.to_string(),
        })?;
    let mut probe = Probe {
        program,
        settings,
        root,
        asked: Vec::new(),
        paths: Vec::new(),
        end: None,
    };
    let mut untried: Vec<u16> = untried.iter().map(|candidate| candidate.port).collect();
    runtime
        .block_on(probe.ask(&candidates, &mut untried, &sockets))
        .map_err(|absence| {
            absence.unwrap_or(PprofAbsence::NotOnPorts {
                ports: probe.asked,
                untried,
                sockets,
                path: probe.paths.join(" or "),
            })
        })
}

struct Probe<'a> {
    program: Program<'a>,
    settings: &'a GoPprofSettings,
    root: Option<&'a TargetRoot>,
    /// Ports so far.
    asked: Vec<u16>,
    /// Paths so far.
    paths: Vec<String>,
    /// When all must be done.
    end: Option<Instant>,
}

/// How a place is asked.
struct Way<'a> {
    client: &'a PprofClient,
    address: &'a Address,
    index: &'a str,
    /// The process was seen listening there.
    seen: bool,
}

impl Probe<'_> {
    /// The first endpoint, else the absence that somebody can do most about.
    async fn ask(
        &mut self,
        candidates: &[Candidate],
        untried: &mut Vec<u16>,
        sockets: &[String],
    ) -> Result<PprofEndpoint, Option<PprofAbsence>> {
        let end = Instant::now() + ALL_PORTS;
        self.end = Some(end);
        let mut absences = Vec::new();
        for candidate in candidates {
            if Instant::now() >= end {
                untried.push(candidate.port);
                continue;
            }
            self.asked.push(candidate.port);
            let settings = self.settings.of(self.program.name, Some(candidate.port));
            let settings = if candidate.trusted {
                settings
            } else {
                settings.without_headers()
            };
            let addresses = candidate.addresses.iter().copied().map(Address::from).collect();
            match self.ask_place(addresses, &settings, candidate.seen).await {
                Answer::Pprof(endpoint) => return Ok(endpoint),
                Answer::Absent(absence) => absences.push(absence),
                Answer::SomethingElse => {}
            }
        }
        let settings = self.settings.of(self.program.name, None);
        for path in sockets.iter().filter(|name| name.starts_with('/')).take(SOCKETS) {
            let address = vec![Address::Unix(path.into())];
            match self.ask_place(address, &settings, true).await {
                Answer::Pprof(endpoint) => return Ok(endpoint),
                Answer::Absent(absence) => absences.push(absence),
                Answer::SomethingElse => {}
            }
        }
        // The first of the best.
        absences.sort_by_key(helpfulness);
        Err(absences.into_iter().next())
    }

    /// One port or socket, which may be reached at several addresses.
    async fn ask_place(&mut self, addresses: Vec<Address>, settings: &PlaceSettings, seen: bool) -> Answer {
        for index in &settings.indexes {
            if !self.paths.contains(index) {
                self.paths.push(index.clone());
            }
        }
        let client = match PprofClient::new(settings) {
            Ok(client) => client,
            Err(error) => {
                return Answer::Absent(PprofAbsence::ProbeFailed {
                    detail: error.to_string(),
                });
            }
        };
        let deadline = self.end.into_iter().fold(Instant::now() + ONE_PORT, Instant::min);
        let mut best = Answer::SomethingElse;
        for index in &settings.indexes {
            for address in &addresses {
                let way = Way {
                    client: &client,
                    address,
                    index,
                    seen,
                };
                match timeout_at(deadline, self.ask_way(&way)).await {
                    Ok(Err(ClientError::Connect(_))) => continue,
                    Ok(Ok(Answer::Pprof(endpoint))) => return Answer::Pprof(endpoint),
                    Ok(Ok(absent @ Answer::Absent(_))) if matches!(best, Answer::SomethingElse) => best = absent,
                    // Too slow is something else, too: the profiles would not come either.
                    Err(_) => return best,
                    Ok(_) => {}
                }
                break;
            }
        }
        best
    }

    async fn ask_way(&self, way: &Way<'_>) -> Result<Answer, ClientError> {
        let address = || way.address.to_string();
        let answer = match self.ask_by(way, Scheme::Http).await {
            Err(ClientError::SpeaksTls) if way.client.accepts_any_certificate() => {
                self.ask_by(way, Scheme::Https).await
            }
            answer => answer,
        };
        match answer {
            Err(ClientError::SpeaksTls) if way.seen => {
                Ok(Answer::Absent(PprofAbsence::UnverifiedTls { address: address() }))
            }
            Err(ClientError::WantsCertificate) if way.seen => {
                Ok(Answer::Absent(PprofAbsence::MutualTls { address: address() }))
            }
            answer => answer,
        }
    }

    async fn ask_by(&self, way: &Way<'_>, scheme: Scheme) -> Result<Answer, ClientError> {
        let connection = way.client.connect(way.address, scheme, self.root).await?;
        let (head, body) = connection.get(way.index).await?.into_parts();
        let (address, status) = (way.address.to_string(), head.status.as_u16());
        if matches!(head.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) && way.seen {
            return Ok(Answer::Absent(PprofAbsence::Unauthorized { address, status }));
        }
        if head.status.is_redirection()
            && way.seen
            && let Some(location) = head.headers.get(LOCATION)
        {
            return Ok(Answer::Absent(PprofAbsence::Redirected {
                address,
                status,
                location: shown(location.as_bytes()),
            }));
        }
        let body = read_body(body, INDEX_LIMIT).await?;
        if scheme == Scheme::Http && head.status == StatusCode::BAD_REQUEST && asks_for_tls(&body) {
            return Err(ClientError::SpeaksTls);
        }
        let is_pprof = is_pprof(head.status, &head.headers, &body);
        if !is_pprof || !(way.seen || self.is_process(way, scheme).await?) {
            return Ok(Answer::SomethingElse);
        }
        Ok(Answer::Pprof(PprofEndpoint {
            scheme: scheme.name().to_owned(),
            authority: address,
            path: way.index.to_owned(),
            profiles: pprof_index::profiles(&String::from_utf8_lossy(&body)),
        }))
    }

    /// True when the pprof server says that its arguments are those of the process.
    async fn is_process(&self, way: &Way<'_>, scheme: Scheme) -> Result<bool, ClientError> {
        let connection = way.client.connect(way.address, scheme, self.root).await?;
        let response = connection.get(&format!("{}cmdline", way.index)).await?;
        let body = read_body(response.into_body(), INDEX_LIMIT).await?;
        let arguments = String::from_utf8_lossy(&body);
        Ok(arguments.split('\0').filter(|argument| !argument.is_empty()).eq(self
            .program
            .process
            .command_line
            .arguments()))
    }
}

/// The smaller, the more likely pprof is there and a flag opens it.
fn helpfulness(absence: &PprofAbsence) -> u8 {
    match absence {
        PprofAbsence::ProbeFailed { .. } => 0,
        PprofAbsence::Unauthorized { .. } => 1,
        PprofAbsence::MutualTls { .. } => 2,
        PprofAbsence::UnverifiedTls { .. } => 3,
        // Many an app sends everybody to a page where people log in.
        _ => 4,
    }
}

/// A place that the app names, short and printable.
fn shown(location: &[u8]) -> String {
    const LONGEST: usize = 200;
    let plain = |c: &char| matches!(c, '!'..='~');
    String::from_utf8_lossy(location)
        .chars()
        .filter(plain)
        .take(LONGEST)
        .collect()
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
