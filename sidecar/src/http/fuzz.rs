//! Doors for `tests/fuzz` to what is decided by a client's bytes before a capture is asked for. Only with the feature
//! `fuzzing`.

use axum::extract::Request;
use axum::http::HeaderMap;

use super::artifact::{self, Range};
use super::diff::tar::{self, Piece, Tar};
use super::guard::{Guard, GuardSettings};
use super::{Problem, captures, query};

/// The pairs of a query string, or the code of the problem.
///
/// # Errors
/// It cannot be read.
pub fn query(text: &str) -> Result<Vec<(String, String)>, &'static str> {
    query::parse(text).map(|pairs| pairs.0).map_err(code)
}

/// The pairs of a JSON body, or the code of the problem.
///
/// # Errors
/// It cannot be read.
pub fn body(json: &[u8]) -> Result<Vec<(String, String)>, &'static str> {
    captures::body::parse(json).map_err(code)
}

/// Whether the guard lets a request through, or the code of the problem.
///
/// # Errors
/// It does not.
pub fn admit(request: &Request, settings: GuardSettings) -> Result<(), &'static str> {
    Guard::new(settings).judge(request).map_err(code)
}

/// The first and the last byte that are asked for of an artifact of `length`; `None` for all of them.
///
/// # Errors
/// There are no such bytes.
pub fn range(headers: &HeaderMap, length: u64) -> Result<Option<(u64, u64)>, &'static str> {
    match artifact::range(headers, length) {
        Range::Whole => Ok(None),
        Range::Part { first, last } => Ok(Some((first, last))),
        Range::Unsatisfiable => Err("range_not_satisfiable"),
    }
}

/// A file of an archive, with the size it was said to have.
pub type Archived = (u64, Vec<u8>);

/// The files of an archive that comes in pieces of `step` bytes, and whether it was whole; `None` if it is none.
pub fn tar(archive: &[u8], step: usize) -> Option<(Vec<Archived>, bool)> {
    let (mut tar, mut files) = (Tar::new(), Vec::new());
    for mut bytes in archive.chunks(step.max(1)) {
        while let Some(piece) = tar.next(&mut bytes).ok()? {
            match piece {
                Piece::Begin(size) => files.push((size, Vec::new())),
                Piece::Data(data) => files
                    .last_mut()
                    .iter_mut()
                    .for_each(|(_, file)| file.extend_from_slice(data)),
                Piece::End => {}
            }
        }
    }
    Some((files, tar.is_whole()))
}

/// An archive of two files.
pub fn archive(before: &[u8], after: &[u8]) -> Vec<u8> {
    tar::example::archive(before, after)
}

fn code(problem: Problem) -> &'static str {
    problem.code()
}
