//! What the operator told us about pprof ports; from flags, handed to inspector and recorder.

use serde::{Deserialize, Serialize};

/// What the operator told us about where to look; from flags, handed to inspector and recorder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GoPprofSettings {
    /// Ports to try first, whether or not the process is seen listening on them.
    pub ports: Vec<u16>,
    /// Paths in front of `/debug/pprof/`, e.g. `/admin`. Without one it is tried, too.
    pub path_prefixes: Vec<Scoped<String>>,
    /// Headers, e.g. `Authorization: Bearer …`, for `ports` and no other. Secret: never logged, never in an argument list.
    pub headers: Vec<Scoped<(String, String)>>,
    /// Where any certificate of an https pprof port is accepted.
    pub insecure_tls: Vec<Scope>,
}

/// Something that is for some pprof ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scoped<T> {
    /// Which.
    pub scope: Scope,
    /// What.
    pub value: T,
}

/// Of several Go programs, which; without anything all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The program's name, or what comes behind its last slash.
    pub process: Option<String>,
    /// The port it listens on.
    pub port: Option<u16>,
}

impl Scope {
    /// `6060`, `cart` or `cart:6060`.
    pub fn parse(text: &str) -> Option<Self> {
        let (process, port) = match text.rsplit_once(':') {
            Some((process, port)) => (Some(process), Some(port)),
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => (None, Some(text)),
            None => (Some(text), None),
        };
        let good = |name: &str| !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || "=:,".contains(c));
        if process.is_some_and(|name| !good(name)) {
            return None;
        }
        let port = port.map(|port| port.parse().ok().filter(|port: &u16| *port > 0));
        Some(Self {
            process: process.map(str::to_owned),
            port: match port {
                Some(port) => Some(port?),
                None => None,
            },
        })
    }

    /// `port` is `None` for a Unix socket.
    fn covers(&self, process: &str, port: Option<u16>) -> bool {
        let base = process.rsplit('/').next().unwrap_or(process);
        let is = |name: &String| name == process || name == base;
        self.process.as_ref().is_none_or(is) && (self.port.is_none() || self.port == port)
    }

    fn is_for_all(&self) -> bool {
        self.process.is_none() && self.port.is_none()
    }
}

/// What is for one place of one program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlaceSettings {
    /// Paths of the index to try, each with its closing slash.
    pub indexes: Vec<String>,
    /// To send along.
    pub headers: Vec<(String, String)>,
    /// Accept any certificate.
    pub insecure_tls: bool,
}

impl GoPprofSettings {
    /// What is for the place where `process` listens; `port` is `None` for a Unix socket, which gets no headers.
    pub fn of(&self, process: &str, port: Option<u16>) -> PlaceSettings {
        let mut own: Vec<_> = self
            .path_prefixes
            .iter()
            .filter(|one| one.scope.covers(process, port))
            .collect();
        // The more special ones first.
        own.sort_by_key(|one| one.scope.is_for_all());
        let mut indexes: Vec<_> = own.into_iter().map(|one| index_path(&one.value)).collect();
        indexes.push(index_path(""));
        let mut seen = std::collections::HashSet::new();
        indexes.retain(|index| seen.insert(index.clone()));
        PlaceSettings {
            indexes,
            headers: self.headers_of(process, port),
            insecure_tls: self.insecure_tls.iter().any(|scope| scope.covers(process, port)),
        }
    }

    /// A port with headers of its own gets no others: they are another one's.
    fn headers_of(&self, process: &str, port: Option<u16>) -> Vec<(String, String)> {
        if port.is_none_or(|port| !self.ports.contains(&port)) {
            return Vec::new();
        }
        let covering = |all| {
            let headers = self.headers.iter().filter(move |one| one.scope.is_for_all() == all);
            let headers = headers.filter(|one| one.scope.covers(process, port));
            headers.map(|one| one.value.clone()).collect::<Vec<_>>()
        };
        let mentioned = self.headers.iter().any(|one| one.scope.port == port);
        match covering(false) {
            own if !own.is_empty() => own,
            // Of the program of another name that should listen here.
            _ if mentioned => Vec::new(),
            _ => covering(true),
        }
    }
}

impl PlaceSettings {
    /// The same without what is secret.
    pub fn without_headers(&self) -> Self {
        Self {
            headers: Vec::new(),
            ..self.clone()
        }
    }
}

/// `/debug/pprof/` behind the operator's prefix.
fn index_path(prefix: &str) -> String {
    match prefix.trim_matches('/') {
        "" => "/debug/pprof/".to_owned(),
        prefix => format!("/{prefix}/debug/pprof/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scoped<T>(scope: &str, value: T) -> Scoped<T> {
        let scope = match scope {
            "" => Scope::default(),
            scope => Scope::parse(scope).unwrap(),
        };
        Scoped { scope, value }
    }

    fn header(scope: &str, value: &str) -> Scoped<(String, String)> {
        scoped(scope, ("Authorization".to_owned(), value.to_owned()))
    }

    fn sent(settings: &GoPprofSettings, process: &str, port: u16) -> Vec<String> {
        let headers = settings.of(process, Some(port)).headers;
        headers.into_iter().map(|(_, value)| value).collect()
    }

    #[test]
    fn a_scope_is_a_port_a_name_or_both() {
        let scope = |process: Option<&str>, port| {
            let process = process.map(str::to_owned);
            Some(Scope { process, port })
        };
        assert_eq!(Scope::parse("6060"), scope(None, Some(6060)));
        assert_eq!(Scope::parse("cart"), scope(Some("cart"), None));
        assert_eq!(Scope::parse("cart:6060"), scope(Some("cart"), Some(6060)));
        for bad in ["", ":6060", "cart:", "cart:x", "70000", "0", "a:b:1", "a b", "a=b"] {
            assert_eq!(Scope::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_credential_goes_to_the_port_it_was_given_for_and_no_other() {
        let settings = GoPprofSettings {
            ports: vec![6060, 6061, 6062, 6063],
            headers: vec![
                header("", "everybody's"),
                header("6061", "the second's"),
                header("cart:6062", "the cart's"),
            ],
            ..GoPprofSettings::default()
        };
        assert_eq!(sent(&settings, "shop", 6060), ["everybody's"]);
        assert_eq!(sent(&settings, "shop", 6061), ["the second's"]);
        assert_eq!(sent(&settings, "example.com/cart", 6062), ["the cart's"]);
        assert_eq!(sent(&settings, "shop", 6062), [""; 0]);
        assert_eq!(sent(&settings, "cart", 6063), ["everybody's"]);
        assert_eq!(sent(&settings, "cart", 8080), [""; 0]);
        assert_eq!(settings.of("cart", None).headers, []);
    }

    #[test]
    fn the_index_is_looked_for_behind_the_prefix_and_without_one() {
        let settings = GoPprofSettings {
            path_prefixes: vec![
                scoped("", "/admin".to_owned()),
                scoped("cart", "/a/b/".to_owned()),
                scoped("6061", "/".to_owned()),
            ],
            insecure_tls: vec![Scope::parse("6061").unwrap()],
            ..GoPprofSettings::default()
        };
        let of = |process, port| settings.of(process, port).indexes;
        assert_eq!(of("shop", Some(6060)), ["/admin/debug/pprof/", "/debug/pprof/"]);
        assert_eq!(of("shop", Some(6061)), ["/debug/pprof/", "/admin/debug/pprof/"]);
        let of_cart = ["/a/b/debug/pprof/", "/admin/debug/pprof/", "/debug/pprof/"];
        assert_eq!(of("cart", None), of_cart);
        let tls = |port| settings.of("shop", Some(port)).insecure_tls;
        assert!(tls(6061) && !tls(6060));
    }
}
