//! Which servers are asked at their URLs. Whatever is written and whatever a resolver answers, what is connected to is on the
//! list or loopback, and never link-local, multicast or unspecified; judged here by other means than there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sideflame::runtime::go::server::fuzz::judge;

use crate::Seed;

const ALLOWED: [&str; 4] = [
    "http://10.0.0.0/8:6060",
    "https://[fd00::/8]:6443",
    "http://shop.test:6060",
    "http://0.0.0.0/0:80",
];

/// A URL, a line break, and the addresses that its name is answered with, 16 bytes each.
pub(crate) fn run(bytes: &[u8]) {
    let (url, answer) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[][..]),
    };
    let Ok(url) = std::str::from_utf8(url) else { return };
    let (answer, _) = answer.as_chunks::<16>();
    let answer: Vec<IpAddr> = answer.iter().map(|octets| Ipv6Addr::from(*octets).into()).collect();
    let Some(judged) = judge(url, &ALLOWED, &answer) else { return };
    assert!(url.is_ascii() && !url.contains(['@', '?', '#', '\\', '%', ' ']), "{url:?}");
    let shown: axum::http::Uri = judged.shown.parse().expect("a URL");
    assert!(matches!(shown.scheme_str(), Some("http" | "https")), "{url:?}");
    let port = shown.port_u16().expect("a port");
    assert!(judged.index.starts_with('/') && judged.index.ends_with("/debug/pprof/"));
    assert!(judged.index.split('/').all(|segment| segment != ".."), "{url:?}");
    for destination in judged.destination.iter().flatten().flatten() {
        check(destination, port, true, url);
    }
    for destination in judged.answered.iter().flatten() {
        check(destination, port, false, url);
    }
    if let Some(destinations) = &judged.answered {
        assert_eq!(destinations.len(), answer.len(), "one address was left out, and the name is asked all the same");
    }
}

fn check(destination: &SocketAddr, port: u16, may_be_loopback: bool, url: &str) {
    assert_eq!(destination.port(), port, "{url:?}");
    let address = destination.ip();
    assert!(may_be_loopback || !address.is_loopback(), "{url:?} leads to {address}");
    let inner = match address {
        IpAddr::V4(address) => vec![address],
        IpAddr::V6(address) => {
            assert!(address.to_ipv4_mapped().is_none(), "{url:?}: what is mapped is connected to as what it stands for");
            assert!(!address.is_multicast() && !address.is_unspecified() && !address.is_unicast_link_local(), "{url:?}");
            let octets = address.octets();
            let at = |from: usize| Ipv4Addr::new(octets[from], octets[from + 1], octets[from + 2], octets[from + 3]);
            match octets[..2] {
                [0x20, 0x02] => vec![at(2)],
                [0, 0x64] if octets[2..4] == [0xff, 0x9b] => vec![at(12)],
                [0, 0] if octets[..8] == [0; 8] && address != Ipv6Addr::LOCALHOST => vec![at(12)],
                _ => Vec::new(),
            }
        }
    };
    for v4 in inner {
        let never = v4.is_link_local() || v4.is_multicast() || v4.is_broadcast() || v4.is_unspecified();
        assert!(!never, "{url:?} leads to {address}");
        assert!(address.is_ipv4() || may_be_loopback || !v4.is_loopback(), "{url:?} leads to {address}");
    }
}

pub(crate) fn seeds() -> Vec<Seed> {
    let answered = |url: &str, answer: &[Ipv6Addr]| {
        let mut seed = format!("{url}\n").into_bytes();
        seed.extend(answer.iter().flat_map(Ipv6Addr::octets));
        seed
    };
    let mapped = |a, b, c, d| Ipv4Addr::new(a, b, c, d).to_ipv6_mapped();
    vec![
        ("loopback", b"http://127.0.0.1:6060/debug/pprof".to_vec()),
        ("localhost", b"https://LocalHost:6443/admin/".to_vec()),
        ("ipv6", b"https://[fd00::7]:6443".to_vec()),
        ("mapped", b"http://[::ffff:169.254.169.254]".to_vec()),
        ("nat64", b"http://[64:ff9b::a9fe:a9fe]:80".to_vec()),
        ("decimal", b"http://2130706433".to_vec()),
        ("octal", b"http://0177.0.0.1:6060".to_vec()),
        ("credentials", b"http://user:password@127.0.0.1".to_vec()),
        ("file", b"file:///etc/passwd".to_vec()),
        ("name", answered("http://shop.test:6060", &[mapped(192, 0, 2, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)])),
        ("network", answered("http://any.test:6060", &[mapped(10, 1, 2, 3)])),
        ("rebound", answered("http://shop.test:6060", &[mapped(10, 1, 2, 3), mapped(169, 254, 169, 254)])),
    ]
}
