//! Reading a body: whole and bounded, or only its beginning.

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use tokio::time::timeout_at;

use super::budget::Budget;
use super::outcome::Refusal;
use super::{BODY_BYTES, review};

/// An API server writes the uid within the first hundred bytes.
const PREFIX_BYTES: usize = 4 << 10;

/// A client whose body is too long is heard out this far: closing on it would reset the connection, and it would lose
/// the answer that says why.
const DISCARDED_BYTES: usize = 16 << 20;

/// The whole body, at most [`BODY_BYTES`], before the deadline.
pub(super) async fn read_whole(body: Body, announced: usize, budget: Budget) -> Result<Bytes, Refusal> {
    let mut buffer = Vec::new();
    let mut only = None;
    let mut length = 0;
    each_frame(body, budget, |frame| {
        length += frame.len();
        if length.max(announced) > BODY_BYTES {
            (buffer, only) = (Vec::new(), None);
            return (length <= DISCARDED_BYTES).then_some(()).ok_or(Refusal::TooLarge);
        }
        // A body of one frame, which most are, is used where it lies.
        if buffer.is_empty() && only.is_none() {
            only = Some(frame);
            return Ok(());
        }
        if let Some(first) = only.take() {
            buffer.reserve(announced.max(first.len() + frame.len()));
            buffer.extend_from_slice(&first);
        }
        buffer.extend_from_slice(&frame);
        Ok(())
    })
    .await?;
    if length.max(announced) > BODY_BYTES {
        return Err(Refusal::TooLarge);
    }
    Ok(only.unwrap_or_else(|| buffer.into()))
}

/// Reads to the end without keeping more than the beginning, and finds the uid there. For requests that are answered
/// without being looked at: they must not cost memory, and a client wants its body read before it takes an answer.
pub(super) async fn read_uid(body: Body, budget: Budget) -> Result<Option<String>, Refusal> {
    let mut prefix = Vec::new();
    let mut length = 0;
    each_frame(body, budget, |frame| {
        length += frame.len();
        if length > BODY_BYTES {
            return Err(Refusal::TooLarge);
        }
        let room = PREFIX_BYTES - prefix.len();
        prefix.extend_from_slice(frame.get(..room).unwrap_or(&frame));
        Ok(())
    })
    .await?;
    Ok(review::uid_of(&prefix))
}

async fn each_frame(
    mut body: Body,
    budget: Budget,
    mut take: impl FnMut(Bytes) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    loop {
        let frame = timeout_at(budget.deadline.into(), body.frame()).await;
        match frame.map_err(|_| Refusal::Slow)? {
            None => return Ok(()),
            // The client went away or broke the framing: there is no more to come.
            Some(Err(_)) => return Err(Refusal::Malformed),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    take(data)?;
                }
            }
        }
    }
}
