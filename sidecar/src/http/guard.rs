//! Who may talk to us. A profiler on localhost is within reach of every web page the user has open: DNS rebinding,
//! forms, images and links must not start captures or read them.
//!
//! Runs before every handler and decides by headers alone. Knows no endpoint but `/`, `/healthz`, the files of the page and the pages of results.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, REFERER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::{Problem, Token, go_profiler, ui};

/// The operator's choice.
#[derive(Debug, Clone, Default)]
pub struct GuardSettings {
    /// Accept every Host: for listening on the address of a pod. Heeded only together with a token.
    pub allow_any_host: bool,
    /// Every request but `/healthz` and the files of the page must carry it as bearer token.
    pub token: Option<Token>,
}

/// The settings, those that make sense together.
pub(super) struct Guard {
    allow_any_host: bool,
    token: Option<Token>,
}

impl Guard {
    pub(super) fn new(settings: GuardSettings) -> Self {
        Self {
            allow_any_host: settings.allow_any_host && settings.token.is_some(),
            token: settings.token,
        }
    }

    /// For what other pods may see. They come by an address or a name of the cluster, which cannot be listed.
    pub(super) fn of_metrics(token: Option<Token>) -> Self {
        Self {
            allow_any_host: true,
            token,
        }
    }

    pub(super) fn judge(&self, request: &Request) -> Result<(), Problem> {
        let host = host(request)?;
        if !self.allow_any_host && !is_loopback(&host) {
            return Err(Problem::foreign_host("the Host header names another machine"));
        }
        refuse_other_pages(request, &host)?;
        if request.uri().path() != "/healthz" && !ui::is_public(request) && !is_result(request) {
            self.check_token(request.headers())?;
        }
        Ok(())
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(token) = &self.token else {
            return Ok(());
        };
        let expected = token.digest().map_err(|error| {
            tracing::error!(%error, "there is no token, so every request is refused");
            Problem::unauthorized()
        })?;
        let given = only_one(headers, &AUTHORIZATION).ok().flatten().unwrap_or_default();
        let (scheme, given) = given.split_once(' ').unwrap_or_default();
        let digest: [u8; 32] = Sha256::digest(given.trim()).into();
        // Digests are compared to the end: the time tells nothing about the token or its length.
        let differences = expected.iter().zip(digest).fold(0, |all, (a, b)| all | (a ^ b));
        if scheme.eq_ignore_ascii_case("bearer") && differences == 0 {
            Ok(())
        } else {
            Err(Problem::unauthorized())
        }
    }
}

/// Lets the request through, or answers for the handler.
pub(super) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.judge(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            let headers = request.headers();
            let shown = |name: &str| {
                headers
                    .get(name)
                    .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            tracing::info!(code = problem.code(), host = ?shown("host"), origin = ?shown("origin"),
                site = ?shown("sec-fetch-site"), "request refused");
            problem.into_response()
        }
    }
}

/// The host the client believes to talk to, with its port. Two different ones would let a proxy and us disagree.
fn host(request: &Request) -> Result<String, Problem> {
    let header = only_one(request.headers(), &HOST);
    let header = header.map_err(|()| Problem::foreign_host("the Host header is given twice or unreadable"))?;
    let header = header.ok_or_else(|| Problem::foreign_host("the Host header is missing"))?;
    match request.uri().authority() {
        Some(authority) if authority.as_str() != header => Err(Problem::foreign_host(
            "the request line and the Host header name different hosts",
        )),
        _ => Ok(header.to_ascii_lowercase()),
    }
}

/// `localhost`, `*.localhost` (RFC 6761 §6.3), 127.0.0.0/8 or `[::1]`, with any port: people forward 8080:7117.
fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if port.is_empty() || port.starts_with(':') => {
            let loopback = address.parse() == Ok(Ipv6Addr::LOCALHOST);
            return loopback && is_port(port.strip_prefix(':'));
        }
        Some(_) => return false,
        None => host
            .split_once(':')
            .map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let is_name = name == "localhost"
        || name.strip_suffix(".localhost").is_some_and(|labels| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !labels.is_empty() && labels.chars().all(plain)
        });
    let is_address = name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    (is_name || is_address) && is_port(port)
}

fn is_port(port: Option<&str>) -> bool {
    port.is_none_or(|port| port.bytes().all(|digit| digit.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

/// Fetch metadata, Origin and Referer: what browsers say about the page that asks. Tools send none of them.
fn refuse_other_pages(request: &Request, host: &str) -> Result<(), Problem> {
    let headers = request.headers();
    let fetch = |name: &'static str| {
        headers
            .get_all(name)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect::<Vec<_>>()
    };
    let (site, path) = (fetch("sec-fetch-site"), request.uri().path());
    // A link in a chat may lead to a page, and to nothing that has an effect.
    let link_to_page = request.method() == Method::GET
        && (path == "/" || is_result(request))
        && fetch("sec-fetch-mode") == [b"navigate"]
        && fetch("sec-fetch-dest") == [b"document"];
    match site.as_slice() {
        [] => {}
        [b"same-origin" | b"none"] => {}
        // Site ignores the port: localhost:3000 is same-site with us.
        [b"same-site" | b"cross-site"] if link_to_page => {}
        _ => {
            return Err(Problem::cross_site(
                "the browser says that another site asks (Sec-Fetch-Site)",
            ));
        }
    }
    match only_one(headers, &ORIGIN) {
        Ok(None) => {}
        Ok(Some(origin)) if is_same_origin(origin, host) => {}
        _ => {
            return Err(Problem::cross_site(
                "the browser says that another origin asks (Origin)",
            ));
        }
    }
    // Safari before 16.4 and some others send no metadata to localhost over http; nearly all send a Referer.
    if site.is_empty() && path != "/" && !is_result(request) {
        match only_one(headers, &REFERER) {
            Ok(None) => {}
            Ok(Some(referer)) if is_same_origin(&origin_of(referer), host) => {}
            _ => return Err(Problem::cross_site("another page links here (Referer)")),
        }
    }
    // A browser that guesses what the user will type must not start a capture.
    if path != "/"
        && fetch("sec-purpose")
            .iter()
            .any(|purpose| purpose.starts_with(b"prefetch"))
    {
        return Err(Problem::cross_site("the browser only prefetches (Sec-Purpose)"));
    }
    Ok(())
}

/// A page that stands for a result, or a part of it: its address has an id that only who got it knows, for as long as it lives,
/// and looking at it has no effect.
fn is_result(request: &Request) -> bool {
    let looks = matches!(*request.method(), Method::GET | Method::HEAD);
    let below = request.uri().path().strip_prefix(go_profiler::PATH);
    looks && below.is_some_and(|rest| rest.starts_with('/'))
}

fn is_same_origin(origin: &str, host: &str) -> bool {
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// Scheme and authority of a URL.
fn origin_of(url: &str) -> String {
    let end = url.match_indices('/').nth(2).map_or(url.len(), |(at, _)| at);
    url[..end].to_owned()
}

/// The value of a header that may be given once.
fn only_one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_loopback_name_with_any_port() {
        for good in [
            "localhost",
            "localhost:7117",
            "localhost:8080",
            "shop.localhost:1",
            "127.0.0.1",
            "127.9.8.7:80",
            "[::1]",
            "[::1]:7117",
        ] {
            assert!(is_loopback(good), "{good}");
        }
        for bad in [
            "",
            ":7117",
            "evil.example",
            "localhost.evil.example",
            "evillocalhost",
            ".localhost",
            "a@.localhost",
            "user@localhost",
            "localhost:x",
            "localhost:99999",
            "localhost:+80",
            "localhost:80:80",
            "127.0.0.1.evil.example",
            "127.1",
            "2130706433",
            "0.0.0.0",
            "10.0.0.1:7117",
            "[::1",
            "[::1]x",
            "[::]",
            "::1",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }

    #[test]
    fn an_origin_is_compared_with_its_port() {
        assert!(is_same_origin("http://localhost:7117", "localhost:7117"));
        for other in [
            "http://localhost:3000",
            "http://localhost",
            "null",
            "http://localhost:7117.evil",
            "",
        ] {
            assert!(!is_same_origin(other, "localhost:7117"), "{other}");
        }
        assert_eq!(origin_of("http://localhost:7117/a/b?c"), "http://localhost:7117");
        assert_eq!(origin_of("http://localhost:7117"), "http://localhost:7117");
    }

    #[test]
    fn any_host_needs_a_token() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "0123456789abcdef").unwrap();
        let any = |token| {
            Guard::new(GuardSettings {
                allow_any_host: true,
                token,
            })
        };
        let token = Token::of_file(file.path()).unwrap();
        assert!(!any(None).allow_any_host && any(Some(token)).allow_any_host);
    }
}
