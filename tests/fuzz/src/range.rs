//! The Range header of a request for an artifact.

use axum::http::header::RANGE;
use axum::http::{HeaderMap, HeaderValue};
use sideflame::http::fuzz::range;

use crate::Seed;

/// Eight bytes for the length of the artifact, then a header per line.
pub(crate) fn run(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return;
    };
    let length = u64::from_be_bytes(*length);
    let mut headers = HeaderMap::new();
    for line in rest.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        headers.append(RANGE, value);
    }
    if let Ok(Some((first, last))) = range(&headers, length) {
        assert!(first <= last && last < length, "{first}-{last} of {length}");
    }
}

pub(crate) fn seeds() -> Vec<Seed> {
    let seed = |length: u64, header: &str| [&length.to_be_bytes(), header.as_bytes()].concat();
    vec![
        ("first", seed(1000, "bytes=0-99")),
        ("open", seed(1000, "bytes=900-")),
        ("suffix", seed(1000, "bytes=-1")),
        ("behind", seed(10, "bytes=10-20")),
        ("huge", seed(u64::MAX, "bytes=18446744073709551614-99999999999999999999")),
        ("several", seed(1000, "bytes=0-1,5-6")),
        ("twice", seed(1000, "bytes=0-1\nbytes=2-3")),
        ("empty", seed(0, "bytes=0-0")),
    ]
}
