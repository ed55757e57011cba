//! How many connections each address has: none may take the places of all others.
//!
//! An API server is one address that needs many of them, and so is a proxy in front of several: half of all places are
//! enough for either, see `serve`. Called by `serve`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Limits;

/// Open connections by address.
#[derive(Debug, Clone)]
pub(super) struct Peers {
    limits: Limits,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_peer: HashMap<IpAddr, usize>,
}

impl Peers {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            open: Arc::default(),
        }
    }

    /// A place for a connection of `address`, unless it has its part. That is an eighth when few places are left: so a new
    /// address finds one.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Place> {
        let peer = peer(address);
        let mut open = self.open();
        let Limits {
            connections, per_peer, ..
        } = self.limits;
        let few_left = open.all >= connections - connections / 4;
        let part = if few_left { per_peer.div_ceil(8) } else { per_peer };
        let has = open.by_peer.get(&peer).copied().unwrap_or_default();
        if has >= part {
            return None;
        }
        open.by_peer.insert(peer, has + 1);
        open.all += 1;
        drop(open);
        Some(Place {
            peers: self.clone(),
            peer,
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who may be taken for one client. With IPv6 a client may have a network of 64 bits to itself.
fn peer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

/// A place, free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    peers: Peers,
    peer: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.peers.open();
        open.all -= 1;
        if let Some(count) = open.by_peer.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                open.by_peer.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers() -> Peers {
        Peers::new(Limits {
            connections: 192,
            per_peer: 96,
            ..Limits::default()
        })
    }

    fn fill(peers: &Peers, address: &str) -> Vec<Place> {
        let address = address.parse().unwrap();
        std::iter::from_fn(|| peers.admit(address)).collect()
    }

    #[test]
    fn one_address_has_half_of_the_places_and_two_leave_some_for_a_third() {
        let peers = peers();
        let first = fill(&peers, "10.0.0.1");
        assert_eq!(first.len(), 96);
        let second = fill(&peers, "10.0.0.2");
        assert_eq!(second.len(), 48);
        assert_eq!(fill(&peers, "10.0.0.3").len(), 12);
        drop(first);
        assert_eq!(fill(&peers, "10.0.0.1").len(), 96);
        drop(second);
        assert!(peers.open().by_peer.is_empty(), "nothing is remembered");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client_and_a_mapped_address_is_the_one_of_ipv4() {
        let peers = peers();
        let places = fill(&peers, "2001:db8::1");
        assert_eq!(fill(&peers, "2001:db8::ffff:1").len(), 0);
        let other = fill(&peers, "2001:db8:0:1::1");
        assert_eq!(other.len(), 48);
        drop((places, other));
        let mapped = fill(&peers, "::ffff:10.0.0.1");
        assert_eq!((mapped.len(), fill(&peers, "10.0.0.1").len()), (96, 0));
    }
}
