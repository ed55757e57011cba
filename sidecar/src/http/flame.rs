//! `GET /captures/{id}/flame`: the tree of a flame graph for a page that only draws it.

use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;

use super::captures::{self, Id};
use super::parameters::ViewParameters;
use super::problem::ProblemBody;
use super::query::Pairs;
use super::{AppState, Problem};
use crate::format::Format;

/// The tree of a capture's flame graph as columns of numbers, at most 250,000 nodes, up to a million with `nodes=`; what is folded is
/// counted.
///
/// Little-endian: 4 bytes `SFL1`; a `u32`, the length of the head; the head, JSON in UTF-8 with `event`, `sampleType`, `unit`, `total`, `nodes`
/// (n), `rows` (r), `folded` (`nodes`, `value`), `names`, `kinds` (one for each name) and `quality`; then the columns
/// `rowOffset u32[r + 1]`, `start f64[n]`, `width f64[n]`, `name u32[n]`, `parent u32[n]`, `self f64[n]`, each filled up to 8 bytes.
/// Nodes are row by row, in a row by their start; row i is `rowOffset[i]` up to `rowOffset[i + 1]`. The first one is the root, `all`, whose parent is
/// 4294967295. Children are sorted by name and begin where their parent begins; what they leave of its width is its `self`, and what is folded.
/// A number beyond 2^53 has lost its last digits.
#[utoipa::path(get, path = "/captures/{id}/flame", tag = "captures",
    params(
        ("id" = String, Path),
        ("event" = Option<String>, Query, description = "which event of a recording of several: cpu, alloc, …"),
        ViewParameters,
        ("Accept-Encoding" = Option<String>, Header, description = "gzip"),
        ("Range" = Option<String>, Header, description = "one range of bytes, of what is not compressed"),
        ("If-Range" = Option<String>, Header, description = "its ETag"),
        ("If-None-Match" = Option<String>, Header, description = "its ETag"),
    ),
    responses(
        (status = 200, description = "the tree", body = Vec<u8>, content_type = "application/vnd.sideflame.flame"),
        (status = 206, description = "the part asked for"),
        (status = 304, description = "the client has it"),
        (status = "4XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn flame(
    State(state): State<AppState>,
    id: Id,
    pairs: Pairs,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    pairs.only_with_views(&["event"])?;
    captures::rendered(&state, id, &pairs, Some(Format::Flame), (&method, &headers)).await
}
