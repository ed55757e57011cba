//! Names as Kubernetes makes them of DNS.
//!
//! A leaf. Called by everything that takes a name from outside and puts it into an address, an Event or a patch.

/// RFC 1123 label, as namespaces and containers have.
pub(crate) fn is_label(text: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let bytes = text.as_bytes();
    text.len() <= 63 && edge(bytes.first().copied()) && edge(bytes.last().copied()) && bytes.iter().copied().all(inner)
}

/// RFC 1123 subdomain, as most objects have.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}
