//! A door for `tests/fuzz` to the policy on URLs. Only with the feature `fuzzing`.

use std::net::{IpAddr, SocketAddr};

use super::url::{AllowedUrl, ServerUrl, UrlPolicy};

/// A URL as it was understood, and where it leads.
#[derive(Debug)]
pub struct Judged {
    /// As it is shown, which is read as the same again.
    pub shown: String,
    /// Path of the index.
    pub index: String,
    /// Where it leads without a resolver; `None` if it is refused, `Some(None)` if it is a name.
    pub destination: Option<Option<Vec<SocketAddr>>>,
    /// Where it leads with this answer.
    pub answered: Option<Vec<SocketAddr>>,
}

/// Reads and judges a URL against a list, with an answer for its name; `None` if it is no URL that we ask.
pub fn judge(url: &str, allowed: &[&str], answer: &[IpAddr]) -> Option<Judged> {
    let url = ServerUrl::parse(url).ok()?;
    assert_eq!(ServerUrl::parse(&url.to_string()).as_ref(), Ok(&url));
    let policy = UrlPolicy {
        allowed: allowed
            .iter()
            .filter_map(|entry| AllowedUrl::parse(entry).ok())
            .collect(),
        own: Vec::new(),
    };
    Some(Judged {
        shown: url.to_string(),
        index: url.index().to_owned(),
        destination: policy.destination(&url).ok(),
        answered: policy.answered(&url, answer).ok(),
    })
}
