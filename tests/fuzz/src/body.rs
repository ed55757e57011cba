//! The JSON body of `POST /captures`: the same pairs as a query, and not many times as long as the body.

use sideflame::http::fuzz::body;

use crate::{Seed, query};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(pairs) = body(bytes) else { return };
    let size: usize = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(size <= 4096 + 64 * bytes.len(), "{size} bytes of {}", bytes.len());
    query::order(&pairs);
}

pub(crate) fn seeds() -> Vec<Seed> {
    vec![
        ("profile", br#"{"name":"shop","seconds":30,"event":"cpu","format":"svg","threads":true}"#.to_vec()),
        ("lists", br#"{"include":["a*","b"],"exclude":["c"],"pid":7}"#.to_vec()),
        ("escapes", br#"{"name":"\u00e9\ud83d\ude00\n","seconds":"2m"}"#.to_vec()),
        ("wrong", br#"{"name":{"a":null},"seconds":1e300}"#.to_vec()),
    ]
}
