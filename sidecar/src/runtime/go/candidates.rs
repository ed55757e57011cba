//! Which ports of a Go program are worth asking for pprof, and how far each is trusted. Connects to none; called by
//! [`super::pprof_probe`].

use std::net::{Ipv6Addr, SocketAddr};

use super::listening_sockets::{self, dial_addresses};
use crate::process::{Process, ProcessTable};

/// The port of every example in Go's documentation.
const CUSTOMARY_PORT: u16 = 6060;

/// A port worth asking, and the addresses to reach it at, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Which.
    pub(super) port: u16,
    /// Where.
    pub(super) addresses: Vec<SocketAddr>,
    /// The process was seen listening there; else the answer must prove that it comes from this process.
    pub(super) seen: bool,
    /// The operator's headers are for this port, and as far as we may tell it is this process that listens there.
    pub(super) trusted: bool,
}

/// Where we may not see whose a socket is, we see at least whose user's. Candidates are the configured ones then.
pub(super) fn trust_by_user(candidates: &mut [Candidate], table: &ProcessTable, process: &Process) {
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

/// The ports to ask, in order: the configured ones first, then the likely ones.
pub(super) fn candidates(listening: &[SocketAddr], configured: &[u16]) -> Vec<Candidate> {
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
