//! Which servers may be asked for a profile by their URL: what no such URL is, what is never asked, and what the operator
//! allows. Pure: nothing is resolved and nothing is connected to here.
//!
//! An address is judged as what we connect to, and so only in the one way in which it can be written: `127.1`, `0x7f000001`
//! and `2130706433` are no hosts at all. Of an IPv6 address that stands for an IPv4 one, that one is judged.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::super::pprof_client::Scheme;
use crate::runtime::Reason;

/// The key of a URL that is not asked; it has a status of its own.
pub const URL_NOT_ALLOWED: &str = "url_not_allowed";

/// Longest URL that is read.
const LONGEST: usize = 2048;

/// Longest name of a host (RFC 1035 §2.3.4).
const LONGEST_NAME: usize = 253;

/// Addresses of one name that are looked at; who answers with more wants something else.
const MOST_ADDRESSES: usize = 16;

/// Where `net/http/pprof` is below a path.
const INDEX: &str = "/debug/pprof/";

/// A name or an address, in its only spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Host {
    /// In lower case.
    Name(String),
    /// Never an IPv4 address in IPv6.
    Address(IpAddr),
}

/// Where a Go server has its profiles: `https://10.0.2.15:6443`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerUrl {
    scheme: Scheme,
    host: Host,
    port: u16,
    /// Path of the index, with its closing slash.
    index: String,
}

/// Why a text is no URL that we ask, as what would be one. Does not repeat it: there may be a password in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Too long, or with characters that no URL has.
    #[error("a URL of at most {LONGEST} printable ASCII characters, without spaces, quotes and backslashes")]
    Characters,
    /// `file:`, `gopher:` and all others.
    #[error("http://HOST:PORT or https://HOST:PORT, which alone are asked")]
    Scheme,
    /// `user:password@`.
    #[error(
        "a URL without user and password, which would stand in logs; a bearer token comes from a Secret, \
         secret=NAMESPACE/NAME"
    )]
    Credentials,
    /// No name and no address.
    #[error("a URL whose host is a DNS name, an IPv4 address, or an IPv6 address in brackets")]
    Host,
    /// A name that systems read as a number.
    #[error(
        "a URL whose IPv4 address is four decimal numbers without leading zeros: other spellings are read differently by \
         different programs"
    )]
    Number,
    /// No port.
    #[error("a URL whose port is a number from 1 to 65535")]
    Port,
    /// With `..`, a query, or anything else that is not simply a path.
    #[error(
        "a URL with at most the path in front of /debug/pprof/ behind host and port, of letters, digits and - . _ ~ /, \
         without // and .. and without a query"
    )]
    Path,
}

impl ServerUrl {
    /// Reads `scheme://host[:port][/path]`.
    ///
    /// # Errors
    /// It is none that we ask, whatever the operator allows.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = scheme(text)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(UrlError::Credentials);
        }
        let (host, port) = host_and_port(authority)?;
        let port = port.map_or_else(|| Ok(scheme.port()), parse_port)?;
        Ok(Self {
            scheme,
            host: parse_host(host)?,
            port,
            index: index(path)?,
        })
    }

    /// How it is spoken to.
    pub(in super::super) fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Path of the index, with its closing slash.
    pub(in super::super) fn index(&self) -> &str {
        &self.index
    }

    /// Host and port as a request names them.
    pub(in super::super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Name or address, for a certificate to be of it.
    pub(super) fn host(&self) -> String {
        match &self.host {
            Host::Name(name) => name.clone(),
            Host::Address(address) => address.to_string(),
        }
    }

    /// True if a token can be sent without being read on the way.
    pub fn is_encrypted(&self) -> bool {
        self.scheme == Scheme::Https
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.index.strip_suffix(INDEX).unwrap_or_default();
        write!(f, "{}://{}{path}", self.scheme.name(), self.authority())
    }
}

/// Servers that the operator allows: `https://10.0.0.0/8:6443`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowedUrl {
    scheme: Scheme,
    hosts: Hosts,
    port: u16,
}

/// Which hosts an entry is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Hosts {
    /// That of exactly this name, wherever it is.
    Name(String),
    /// Those whose address begins with so many bits of this one, also where a name leads to it.
    Network(IpAddr, u8),
}

impl AllowedUrl {
    /// Reads `scheme://host[:port]`, whose host is a name, an address or a network.
    ///
    /// # Errors
    /// What is wrong with it, for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, authority) = scheme(text).map_err(|error| error.to_string())?;
        let wrong = |error: UrlError| {
            format!("{error}; e.g. https://10.0.0.0/8:6443, https://[fd00::/8]:6443 or http://shop.default.svc:6060")
        };
        if authority.contains('@') {
            return Err(wrong(UrlError::Credentials));
        }
        let (host, port) = host_and_port(authority).map_err(wrong)?;
        let port = port.map_or_else(|| Ok(scheme.port()), parse_port).map_err(wrong)?;
        let hosts = Hosts::parse(host).map_err(wrong)?;
        if let Hosts::Network(address, bits) = &hosts
            && *bits == width(*address)
            && let Some(what) = never(*address)
        {
            return Err(format!("{address} is {what}, which is never asked"));
        }
        Ok(Self { scheme, hosts, port })
    }

    fn is_for(&self, url: &ServerUrl) -> bool {
        (self.scheme, self.port) == (url.scheme, url.port)
    }

    fn names(&self, url: &ServerUrl) -> bool {
        self.is_for(url)
            && matches!((&self.hosts, &url.host), (Hosts::Name(listed), Host::Name(name)) if listed == name)
    }

    fn holds(&self, url: &ServerUrl, address: IpAddr) -> bool {
        let Hosts::Network(network, bits) = self.hosts else {
            return false;
        };
        let within = |address: IpAddr| match (network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        };
        self.is_for(url) && (within(address) || embedded(address).is_some_and(|inner| within(inner.into())))
    }
}

impl Hosts {
    fn parse(text: &str) -> Result<Self, UrlError> {
        let Some((address, bits)) = text.trim_matches(['[', ']']).split_once('/') else {
            return Ok(match parse_host(text)? {
                Host::Name(name) => Self::Name(name),
                Host::Address(address) => Self::Network(address, width(address)),
            });
        };
        let address: IpAddr = address.parse().map_err(|_| UrlError::Host)?;
        // In brackets exactly if it has colons of its own.
        if text.starts_with('[') != address.is_ipv6() {
            return Err(UrlError::Host);
        }
        let digits = !bits.is_empty() && bits.bytes().all(|digit| digit.is_ascii_digit());
        let bits = bits.parse().ok().filter(|bits| digits && *bits <= width(address));
        Ok(Self::Network(address, bits.ok_or(UrlError::Host)?))
    }
}

/// The operator's list, and what needs no entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UrlPolicy {
    /// The list.
    pub(super) allowed: Vec<AllowedUrl>,
    /// Addresses of our own network namespace: those of the pod.
    pub(super) own: Vec<IpAddr>,
}

impl UrlPolicy {
    /// Where to connect for `url`, if that can be told without asking for a name; `None` if there is one to ask for.
    ///
    /// # Errors
    /// It is not on the list, whatever the name means.
    pub(super) fn destination(&self, url: &ServerUrl) -> Result<Option<Vec<SocketAddr>>, Reason> {
        match &url.host {
            // Never asked for: what it means is settled (RFC 6761 §6.3).
            Host::Name(name) if name == "localhost" => {
                let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
                Ok(Some(loopback.map(|address| SocketAddr::new(address, url.port)).into()))
            }
            Host::Name(_) => {
                let network = |entry: &AllowedUrl| entry.is_for(url) && matches!(entry.hosts, Hosts::Network(..));
                match self.allowed.iter().any(|entry| entry.names(url) || network(entry)) {
                    true => Ok(None),
                    false => Err(not_listed(url, &url.host.to_string())),
                }
            }
            Host::Address(address) => {
                if let Some(what) = never(*address) {
                    return Err(never_asked(*address, what));
                }
                let is_own = address.is_loopback() || self.own.contains(address);
                if is_own || self.allowed.iter().any(|entry| entry.holds(url, *address)) {
                    return Ok(Some(vec![SocketAddr::new(*address, url.port)]));
                }
                Err(not_listed(url, &url.host.to_string()))
            }
        }
    }

    /// Where to connect for `url`, whose name was answered with these addresses: each of them is judged, and one that is
    /// not allowed spoils all.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(super) fn answered(&self, url: &ServerUrl, answer: &[IpAddr]) -> Result<Vec<SocketAddr>, Reason> {
        let refused = |what: &str, remedy: &str| {
            let sentence = format!("{} resolves to {what}", url.host);
            Err(Reason::new(URL_NOT_ALLOWED, sentence, remedy))
        };
        if answer.len() > MOST_ADDRESSES {
            let many = format!("{} addresses, of which {MOST_ADDRESSES} are looked at", answer.len());
            return refused(&many, "give one of its addresses in place of the name");
        }
        let named = self.allowed.iter().any(|entry| entry.names(url));
        let mut destination = Vec::new();
        for address in answer.iter().map(IpAddr::to_canonical) {
            if let Some(what) = never(address) {
                return refused(&format!("{address}, {what}, which is never asked"), OWN_SERVER);
            }
            // Whoever answers for the name would choose among what listens on loopback.
            if address.is_loopback() || embedded(address).is_some_and(|inner| inner.is_loopback()) {
                let remedy = "write 127.0.0.1, [::1] or localhost in place of the name";
                return refused(&format!("{address}: no name but localhost leads to loopback"), remedy);
            }
            if !named && !self.allowed.iter().any(|entry| entry.holds(url, address)) {
                return Err(not_listed(url, &address.to_string()));
            }
            destination.push(SocketAddr::new(address, url.port));
        }
        match destination.is_empty() {
            true => refused("no address", "correct the name"),
            false => Ok(destination),
        }
    }
}

const OWN_SERVER: &str = "give the address of a server that you run; --allow-url changes nothing here";

fn not_listed(url: &ServerUrl, host: &str) -> Reason {
    let (scheme, port) = (url.scheme.name(), url.port);
    let host = match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    Reason::new(
        URL_NOT_ALLOWED,
        format!("{scheme}://{host}:{port} is not among the servers that may be asked by their URL"),
        format!(
            "start sideflame with --allow-url {scheme}://{host}:{port}; without it are allowed: loopback, and the pod's own addresses"
        ),
    )
}

fn never_asked(address: IpAddr, what: &str) -> Reason {
    let sentence = format!("{address} is {what}, which is never asked");
    Reason::new(URL_NOT_ALLOWED, sentence, OWN_SERVER)
}

/// What an address is that is never asked, whatever the list says.
fn never(address: IpAddr) -> Option<&'static str> {
    /// Where clouds serve credentials of the machine; 169.254.169.254, most clouds', is link-local.
    const METADATA: [IpAddr; 4] = [
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
        IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
        IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
        IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    ];
    if METADATA.contains(&address) {
        return Some("the metadata service of a cloud");
    }
    match address {
        IpAddr::V4(v4) if v4.is_link_local() => Some("a link-local address, as those of metadata services are"),
        IpAddr::V4(v4) if v4.is_multicast() || v4.is_broadcast() => Some("an address of many machines"),
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("the unspecified address"),
        IpAddr::V4(v4) if v4.octets()[0] >= 240 => Some("a reserved address"),
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
        IpAddr::V6(v6) if v6.is_multicast() => Some("an address of many machines"),
        IpAddr::V6(v6) if v6.is_unspecified() => Some("the unspecified address"),
        IpAddr::V6(_) => embedded(address).and_then(|inner| never(inner.into())),
    }
}

/// The IPv4 address that an IPv6 one stands for, by any of the ways that there are or were.
fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match [a, b, c, d, e, f] {
        // Unspecified and loopback are IPv6's own.
        [0, 0, 0, 0, 0, 0] if g == 0 && h <= 1 => None,
        // Compatible, mapped and translated (RFC 4291 §2.5.5, RFC 6145 §1.3), and whatever else may come to be: all that begins so is
        // reserved.
        [0, 0, 0, 0, ..] => Some(v4(g, h)),
        // NAT64, the well-known prefix and the local one (RFC 6052, RFC 8215).
        [0x64, 0xff9b, 0 | 1, ..] => Some(v4(g, h)),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => Some(v4(high, low)),
        // Teredo hides its client's (RFC 4380 §4).
        [0x2001, 0, ..] => Some(v4(!g, !h)),
        // ISATAP (RFC 5214 §6.1).
        [_, _, _, _, 0 | 0x200, 0x5efe] => Some(v4(g, h)),
        _ => None,
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn scheme(text: &str) -> Result<(Scheme, &str), UrlError> {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '\\' | '"' | '<' | '>' | '^' | '`' | '{' | '|' | '}');
    if text.len() > LONGEST || !text.chars().all(plain) {
        return Err(UrlError::Characters);
    }
    let (name, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
    let scheme = Scheme::parse(&name.to_ascii_lowercase()).ok_or(UrlError::Scheme)?;
    Ok((scheme, rest))
}

/// The port is behind the last colon, of an IPv6 address behind its bracket.
fn host_and_port(authority: &str) -> Result<(&str, Option<&str>), UrlError> {
    let bracket = authority.find(']').map_or(0, |at| at + 1);
    match authority[bracket..].find(':') {
        Some(at) => Ok((&authority[..bracket + at], Some(&authority[bracket + at + 1..]))),
        None if authority.is_empty() => Err(UrlError::Host),
        None => Ok((authority, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, UrlError> {
    let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let port = text.parse().ok().filter(|port| digits && *port > 0);
    port.ok_or(UrlError::Port)
}

fn parse_host(text: &str) -> Result<Host, UrlError> {
    if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        let address: Ipv6Addr = address.parse().map_err(|_| UrlError::Host)?;
        return Ok(Host::Address(IpAddr::V6(address).to_canonical()));
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Address(address.into()));
    }
    let name = text.to_ascii_lowercase();
    let is_label = |label: &str| {
        let plain = label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        plain && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    if name.len() > LONGEST_NAME || !name.split('.').all(is_label) {
        return Err(UrlError::Host);
    }
    // What ends in a number is one to a resolver: 127.1, 0x7f.1, 017700000001.
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last
        .strip_prefix("0x")
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UrlError::Number);
    }
    Ok(Host::Name(name))
}

/// The index below `path`, or `path` itself if it is one.
fn index(path: &str) -> Result<String, UrlError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    let segments = path.split('/').skip(1);
    if !path.chars().all(plain) || path.contains("//") || segments.into_iter().any(|one| matches!(one, "." | "..")) {
        return Err(UrlError::Path);
    }
    let path = path.trim_end_matches('/');
    let prefix = path.strip_suffix(INDEX.trim_end_matches('/')).unwrap_or(path);
    Ok(format!("{prefix}{INDEX}"))
}

#[cfg(test)]
mod tests;
