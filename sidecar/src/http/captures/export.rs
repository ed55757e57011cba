//! `GET /captures/{id}/export`: a capture as evidence, in one archive.

use std::io;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::{Id, known};
use crate::capture::export::{Export, Part};
use crate::http::problem::ProblemBody;
use crate::http::{AppState, Problem};

/// Bytes read at a time.
const CHUNK: usize = 64 << 10;

/// A finished capture as a tar archive: the recording, what is known of it and of the process, and the SHA-256 of each file.
///
/// `tar x`, then `sha256sum -c SHA256SUMS` in the folder. README.txt in it says what the files can contain.
#[utoipa::path(get, path = "/captures/{id}/export", tag = "captures", params(("id" = String, Path)),
    responses(
        (status = 200, description = "the archive", body = Vec<u8>, content_type = "application/x-tar"),
        (status = "4XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn export(State(state): State<AppState>, id: Id) -> Result<Response, Problem> {
    let capture = state.captures.get(&known(id)?)?;
    let export = state.captures.export(&capture).await?;
    let disposition = format!("attachment; filename=\"{}\"", export.file_name);
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/x-tar")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (CONTENT_LENGTH, export.length.into()),
        (
            CONTENT_DISPOSITION,
            HeaderValue::try_from(disposition).map_err(|error| Problem::bug(&error))?,
        ),
    ];
    Ok((headers, body(export)).into_response())
}

fn body(export: Export) -> Body {
    let parts = stream::iter(export.parts.into_iter().map(Ok::<_, io::Error>));
    let chunks = parts.map_ok(|part| match part {
        Part::Bytes(bytes) => stream::iter([Ok(Bytes::from(bytes))]).left_stream(),
        Part::File { kept, length } => {
            let file = tokio::fs::File::from_std(kept.file).take(length);
            let lease = kept.lease;
            let chunks = ReaderStream::with_capacity(file, CHUNK).map(move |chunk| {
                // The stream owns the lease, as that of an artifact does.
                let _held = &lease;
                chunk
            });
            chunks.right_stream()
        }
    });
    Body::from_stream(chunks.try_flatten())
}
