//! Compressed answers (RFC 9110 §8.4 and §12.5.3): whether a client takes them, and the bytes as they come, compressed.

use std::io::{self, Write};

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT_ENCODING;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{Stream, StreamExt, stream};

use super::accept::thousandths;

/// More codings than any client names; the rest is ignored.
const MOST: usize = 32;

/// True if gzip is named, or whatever is not named.
pub(super) fn is_accepted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    let codings = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let (mut gzip, mut any) = (None, None);
    for coding in codings.take(MOST) {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight
            .trim()
            .strip_prefix(['q', 'Q'])
            .and_then(|rest| rest.strip_prefix('='));
        let weight = weight.and_then(thousandths).unwrap_or(0);
        match name.trim() {
            "*" => any = Some(weight),
            name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => gzip = Some(weight),
            _ => {}
        }
    }
    gzip.or(any).is_some_and(|weight| weight > 0)
}

/// The chunks compressed one by one. The server has one thread: one chunk takes it for less than a millisecond, a file would for as long as
/// it is.
pub(super) fn compressed(
    chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    stream::unfold((Box::pin(chunks), Some(encoder)), async |(mut chunks, encoder)| {
        // Without one it has ended.
        let mut encoder = encoder?;
        loop {
            let chunk = match chunks.next().await {
                Some(chunk) => chunk.and_then(|chunk| encoder.write_all(&chunk)),
                None => return Some((encoder.finish().map(Bytes::from), (chunks, None))),
            };
            if let Err(error) = chunk {
                return Some((Err(error), (chunks, None)));
            }
            let made = std::mem::take(encoder.get_mut());
            if !made.is_empty() {
                return Some((Ok(made.into()), (chunks, Some(encoder))));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn gzip_is_sent_to_who_names_it_or_takes_anything() {
        let is_accepted = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(ACCEPT_ENCODING, value.parse().unwrap());
            }
            is_accepted(&headers)
        };
        for yes in [
            &["gzip"][..],
            &["gzip, deflate, br, zstd"],
            &["br", "GZIP;q=0.5"],
            &["*"],
            &["*;q=0, x-gzip ; q=0.001"],
        ] {
            assert!(is_accepted(yes), "{yes:?}");
        }
        for no in [
            &[][..],
            &[""],
            &["identity"],
            &["gzip;q=0"],
            &["*, gzip;q=0.0"],
            &["gzip;q=x"],
            &["gzipped"],
        ] {
            assert!(!is_accepted(no), "{no:?}");
        }
    }

    #[tokio::test]
    async fn what_is_compressed_chunk_by_chunk_is_one_file() {
        let chunks: Vec<Vec<u8>> = (0..40_u8).map(|number| vec![number; 64 << 10]).collect();
        let whole = chunks.concat();
        let sent = stream::iter(chunks.into_iter().map(|chunk| Ok(Bytes::from(chunk))));
        let made: Vec<_> = compressed(sent).map(Result::unwrap).collect().await;
        let made = made.concat();
        let mut read = Vec::new();
        GzDecoder::new(made.as_slice()).read_to_end(&mut read).unwrap();
        assert!(read == whole && made.len() * 100 < whole.len(), "{}", made.len());
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_has_no_end() {
        let sent = stream::iter([Ok(Bytes::from_static(b"a")), Err(io::Error::other("gone"))]);
        let made: Vec<_> = compressed(sent).collect().await;
        assert!(matches!(made.as_slice(), [.., Err(_)]), "{made:?}");
    }
}
