//! An artifact as a response: headers, conditions and ranges (RFC 9110 §13 and §14), bytes from the open file, compressed where that is
//! worth it and the client takes it.
//!
//! Memory is bounded by one buffer per response however large the file is; the open file stays readable when its
//! capture is deleted meanwhile.

use std::io::{self, Seek, SeekFrom};

use axum::body::{Body, Bytes};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION,
    CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::digest::hex_to_base64;
use super::problem::{NOT_MODIFIED, OK, PARTIAL_CONTENT};
use super::{AppState, Problem, gzip, query, svg};
use crate::capture::{Artifact, CaptureRequest};
use crate::format::Format;

/// Bytes read at a time: few system calls, and small against the idle budget of the server.
const CHUNK: usize = 64 << 10;

const REPR_DIGEST: &str = "repr-digest";

/// What a browser does with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Disposition {
    /// Shows it if it can.
    Inline,
    /// Saves it.
    Attachment,
    /// Saves it under this name.
    Named(String),
}

/// Takes a capture for a client that waits, and answers with its artifact.
pub(super) async fn taken(
    state: &AppState,
    request: &CaptureRequest,
    disposition: &Disposition,
) -> Result<Response, Problem> {
    let (capture, artifact) = state.captures.profile(request).await?;
    fresh(artifact, capture.id.as_str(), disposition)
}

/// The artifact of a capture that this very request made: neither conditions nor ranges make sense, a second request
/// would make another capture. Content-Location says where the same bytes can be had again, with ranges.
fn fresh(artifact: Artifact, id: &str, disposition: &Disposition) -> Result<Response, Problem> {
    let mut location = format!("/captures/{id}/artifact?format={}", artifact.meta.format);
    if let Some(event) = &artifact.meta.event {
        location.extend(["&event=", event.name()]);
    }
    for (name, value) in artifact.meta.view.pairs() {
        location.extend(["&", name, "=", &query::encode(&value)]);
    }
    let length = artifact.meta.length;
    let mut headers = headers(&artifact, Some(id), disposition);
    // Whole or not at all: a part of it would be the address of something else.
    if let Ok(location) = HeaderValue::try_from(location) {
        headers.insert(CONTENT_LOCATION, location);
    }
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
    headers.insert(CONTENT_LENGTH, length.into());
    Ok((OK, headers, body(artifact, 0, length)?).into_response())
}

/// What HEAD says of an artifact that [`taken`] would give, without a capture: its type, and nothing of its length.
pub(super) async fn announced(state: &AppState, request: &CaptureRequest) -> Result<Response, Problem> {
    let format = state.captures.check(request).await?;
    let unknown_length = Body::from_stream(ReaderStream::new(tokio::io::empty()));
    let content_type = [(CONTENT_TYPE, HeaderValue::from_static(format.content_type()))];
    Ok((OK, content_type, unknown_length).into_response())
}

/// The artifact of a kept capture, or one that is the same each time it is made, whole or in part, or the news that the client has it.
pub(super) fn kept(
    artifact: Artifact,
    id: Option<&str>,
    disposition: &Disposition,
    method: &Method,
    conditions: &HeaderMap,
) -> Result<Response, Problem> {
    let length = artifact.meta.length;
    let mut headers = headers(&artifact, id, disposition);
    // What is for a page alone is fetched over a port-forward, whole and often.
    let varies = artifact.meta.format == Format::Flame;
    // A part of a compressed file is of no use, so who asks for one gets it of the file.
    let compressed = varies && gzip::is_accepted(conditions) && !conditions.contains_key(RANGE);
    headers.insert(
        ACCEPT_RANGES,
        HeaderValue::from_static(if compressed { "none" } else { "bytes" }),
    );
    if varies {
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    let mut etag = etag(&artifact);
    if compressed {
        // Other bytes have another tag.
        etag.insert_str(etag.len() - 1, "-gzip");
        headers.insert(ETAG, header_value(&etag));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        // It is the digest of what is not sent.
        headers.remove(REPR_DIGEST);
    }
    if conditions
        .get_all(IF_NONE_MATCH)
        .iter()
        .any(|value| names(value, &etag))
    {
        headers.remove(CONTENT_TYPE);
        headers.remove(CONTENT_ENCODING);
        return Ok((NOT_MODIFIED, headers).into_response());
    }
    if compressed {
        let body = Body::from_stream(gzip::compressed(bytes(artifact, 0, length)?));
        return Ok((OK, headers, body).into_response());
    }
    let range = if method == Method::GET && if_range(conditions, &etag) {
        range(conditions, length)
    } else {
        Range::Whole
    };
    match range {
        Range::Whole => {
            headers.insert(CONTENT_LENGTH, length.into());
            Ok((OK, headers, body(artifact, 0, length)?).into_response())
        }
        Range::Part { first, last } => {
            let part = last - first + 1;
            headers.insert(CONTENT_RANGE, header_value(&format!("bytes {first}-{last}/{length}")));
            headers.insert(CONTENT_LENGTH, part.into());
            Ok((PARTIAL_CONTENT, headers, body(artifact, first, part)?).into_response())
        }
        Range::Unsatisfiable => Err(Problem::range_not_satisfiable(length)),
    }
}

fn headers(artifact: &Artifact, id: Option<&str>, disposition: &Disposition) -> HeaderMap {
    let meta = &artifact.meta;
    let quality = &meta.quality;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(meta.format.content_type()));
    headers.insert(
        CONTENT_DISPOSITION,
        header_value(&content_disposition(artifact, disposition)),
    );
    // Names and stacks of the app stay out of shared caches; a browser may keep it and ask whether it is current.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(ETAG, header_value(&etag(artifact)));
    if meta.format == Format::Svg {
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(svg::POLICY));
    }
    // RFC 9530 §3: of the whole representation, also with a part.
    let digest = format!("sha-256=:{}:", hex_to_base64(&meta.sha256));
    let counted = |count: Option<u64>| count.map(|count| count.to_string());
    let stamp = [
        (REPR_DIGEST, Some(digest)),
        ("sideflame-capture", id.map(str::to_owned)),
        ("sideflame-pod", quality.pod.clone()),
        ("sideflame-container", quality.container.clone()),
        ("sideflame-sampler", quality.sampler.clone()),
        ("sideflame-samples", counted(quality.samples)),
        ("sideflame-lost", counted(quality.lost)),
        ("sideflame-cpu-ms", counted(quality.cpu_ms)),
        ("sideflame-sampled-cpu-ms", counted(quality.sampled_cpu_ms)),
        (
            "sideflame-unresolved",
            quality.unresolved.map(|share| format!("{share:.4}")),
        ),
        (
            "sideflame-degraded",
            (!quality.degraded.is_empty()).then(|| quality.degraded.join("; ")),
        ),
    ];
    for (name, value) in stamp {
        if let Some(value) = value {
            headers.insert(HeaderName::from_static(name), header_value(&value));
        }
    }
    headers
}

fn etag(artifact: &Artifact) -> String {
    format!("\"sha256-{}\"", artifact.meta.sha256)
}

fn content_disposition(artifact: &Artifact, disposition: &Disposition) -> String {
    let (word, name) = match disposition {
        Disposition::Inline => ("inline", &artifact.file_name),
        Disposition::Attachment => ("attachment", &artifact.file_name),
        Disposition::Named(name) => ("attachment", name),
    };
    format!("{word}; filename=\"{name}\"")
}

/// Printable ASCII passes, the rest becomes `?`: names of the target could hold anything.
fn header_value(text: &str) -> HeaderValue {
    let plain = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    let text: String = text.chars().map(plain).take(1024).collect();
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("?"))
}

fn body(artifact: Artifact, first: u64, length: u64) -> Result<Body, Problem> {
    Ok(Body::from_stream(bytes(artifact, first, length)?))
}

fn bytes(
    artifact: Artifact,
    first: u64,
    length: u64,
) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + 'static, Problem> {
    let Artifact { mut file, lease, .. } = artifact;
    file.seek(SeekFrom::Start(first))
        .map_err(|error| Problem::bug(&error))?;
    let part = tokio::fs::File::from_std(file).take(length);
    Ok(ReaderStream::with_capacity(part, CHUNK).map(move |chunk| {
        // The stream owns the lease: the file's place on the disk is taken until the stream is dropped.
        let _held = &lease;
        chunk
    }))
}

/// True if an If-None-Match value names the tag; the comparison is weak (RFC 9110 §13.1.2).
pub(super) fn names(value: &HeaderValue, etag: &str) -> bool {
    let given = value.to_str().unwrap_or_default();
    let mut tags = given.split(',').map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// True if there is no If-Range, or it names the tag strongly. A date never does: ours are not unique.
fn if_range(conditions: &HeaderMap, etag: &str) -> bool {
    conditions
        .get(IF_RANGE)
        .is_none_or(|value| value.as_bytes() == etag.as_bytes())
}

/// What part is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Range {
    Whole,
    /// Both included.
    Part {
        first: u64,
        last: u64,
    },
    Unsatisfiable,
}

/// One range of bytes; anything else is ignored as RFC 9110 §14.2 allows, several ranges too.
pub(super) fn range(conditions: &HeaderMap, length: u64) -> Range {
    let mut values = conditions.get_all(RANGE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Range::Whole;
    };
    let spec = value.to_str().ok().and_then(|value| value.strip_prefix("bytes="));
    let Some((first, last)) = spec.and_then(|spec| spec.trim().split_once('-')) else {
        return Range::Whole;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    // Digits that do not fit are a number beyond every end.
    let number = |text: &str| digits(text).then(|| text.parse().unwrap_or(u64::MAX));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if last < first => Range::Whole,
        (Some(first), end) if end.is_some() || last.is_empty() => {
            match end.unwrap_or(u64::MAX).min(length.saturating_sub(1)) {
                last if first < length => Range::Part { first, last },
                _ => Range::Unsatisfiable,
            }
        }
        (None, Some(suffix)) if first.is_empty() => match length.saturating_sub(suffix) {
            first if first < length => Range::Part {
                first,
                last: length - 1,
            },
            _ => Range::Unsatisfiable,
        },
        _ => Range::Whole,
    }
}

#[cfg(test)]
mod tests;
