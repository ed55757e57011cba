//! Whose requests are answered. A browser's page of another origin is not, however it is written; nor is another host.

use axum::body::Body;
use axum::extract::Request;
use sideflame::http::GuardSettings;
use sideflame::http::fuzz::admit;

use crate::Seed;

/// Method and target, then a header per line, as in HTTP/1.1.
pub(crate) fn run(bytes: &[u8]) {
    let Some(request) = request(bytes) else { return };
    if admit(&request, GuardSettings::default()).is_err() {
        return;
    }
    let all = |name: &str| request.headers().get_all(name).iter().map(|value| value.to_str().unwrap_or("?").to_ascii_lowercase());
    let host: Vec<String> = all("host").collect();
    let [host] = host.as_slice() else {
        panic!("hosts {host:?}")
    };
    assert!(is_here(host), "host {host}");
    for origin in all("origin") {
        let host_of_page = origin.split_once("://").map(|(_, host)| host.to_owned());
        assert_eq!(host_of_page.as_ref(), Some(host), "origin");
    }
    let path = request.uri().path();
    let is_result = path.starts_with("/processor/goProfiler/");
    let is_link = request.method() == "GET" && (path == "/" || is_result);
    for site in all("sec-fetch-site") {
        assert!(is_link || ["same-origin", "none"].contains(&site.as_str()), "site {site}");
    }
    let may_be_linked = path == "/" || (is_result && ["GET", "HEAD"].contains(&request.method().as_str()));
    if all("sec-fetch-site").next().is_none() && !may_be_linked {
        for referer in all("referer") {
            let page = referer.split_once("://").and_then(|(_, rest)| rest.split('/').next());
            assert_eq!(page, Some(host.as_str()), "referer");
        }
    }
}

fn request(bytes: &[u8]) -> Option<Request> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut words = lines.next()?.split(|byte| *byte == b' ');
    let mut request = Request::builder().method(words.next()?).uri(words.next()?);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let value = line[colon + 1..].trim_ascii();
        request = request.header(&line[..colon], value);
    }
    request.body(Body::empty()).ok()
}

/// A name or an address of this machine, by other means than the guard's.
fn is_here(host: &str) -> bool {
    let uri: axum::http::Uri = format!("http://{host}/").parse().expect("a host");
    let name = uri.host().expect("a host").trim_start_matches('[').trim_end_matches(']');
    assert!(!host.contains('@'), "a user in {host}");
    let address = name.parse::<std::net::IpAddr>();
    address.map_or(name == "localhost" || name.ends_with(".localhost"), |address| address.is_loopback())
}

pub(crate) fn seeds() -> Vec<Seed> {
    vec![
        ("curl", b"GET /profile?seconds=1 HTTP/1.1\nHost: localhost:7117\nUser-Agent: curl/8".to_vec()),
        (
            "browser",
            b"GET / HTTP/1.1\nhost: 127.0.0.1:8080\nsec-fetch-site: cross-site\nsec-fetch-mode: navigate\nsec-fetch-dest: document"
                .to_vec(),
        ),
        (
            "page",
            b"POST /captures HTTP/1.1\nhost: [::1]:7117\norigin: http://[::1]:7117\nreferer: http://[::1]:7117/\nsec-fetch-site: same-origin"
                .to_vec(),
        ),
        ("evil", b"GET /captures HTTP/1.1\nhost: localhost\norigin: https://evil.example\nsec-fetch-site: same-site".to_vec()),
        ("absolute", b"GET http://shop.localhost:1/healthz HTTP/1.1\nhost: shop.localhost:1\nsec-purpose: prefetch".to_vec()),
        (
            "result",
            b"GET /processor/goProfiler/0123456789abcdef HTTP/1.1\nhost: localhost\nsec-fetch-site: cross-site\nsec-fetch-mode: navigate\nsec-fetch-dest: document"
                .to_vec(),
        ),
        ("token", b"GET /doctor HTTP/1.1\nhost: localhost\nauthorization: Bearer 0123456789abcdef".to_vec()),
    ]
}
