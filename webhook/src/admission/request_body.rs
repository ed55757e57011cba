//! Reading a body: whole and bounded, or only its beginning.

use axum::body::{Body, Bytes, HttpBody};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout_at;

use super::deadlines::Deadlines;
use super::{BODY_BYTES, review};
use crate::outcome::Refusal;

/// An API server writes the uid within the first hundred bytes.
const PREFIX_BYTES: usize = 4 << 10;

/// A body that is too long is read this far: closing on it would reset the connection, and the client would lose the
/// answer that says why.
const DISCARDED_BYTES: usize = 16 << 20;

/// The whole body, at most [`BODY_BYTES`], before the deadline.
///
/// Frames are copied as they come, not collected: a hostile client sends them a byte each, and a frame takes 32 more.
pub(super) async fn read_whole(mut body: Body, deadlines: Deadlines) -> Result<Bytes, Refusal> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut whole = Whole::default();
    let read = if announced > BODY_BYTES {
        Err(Refusal::TooLarge)
    } else {
        let body = Limited::new(&mut body, BODY_BYTES);
        each_frame(body, deadlines, |frame| whole.take(frame, announced)).await
    };
    if read == Err(Refusal::TooLarge) {
        drop(whole);
        // Too large it stays, however this ends.
        let _ = each_frame(Limited::new(body, DISCARDED_BYTES), deadlines, drop).await;
        return Err(Refusal::TooLarge);
    }
    read.map(|()| whole.into_bytes())
}

/// Reads to the end without keeping more than the beginning, and finds the uid there. For requests that are answered
/// without being looked at: they must not cost memory, and a client expects its body to be read before it is answered.
pub(super) async fn read_uid(body: Body, deadlines: Deadlines) -> Result<Option<String>, Refusal> {
    let mut prefix = Vec::new();
    each_frame(Limited::new(body, BODY_BYTES), deadlines, |frame| {
        let room = PREFIX_BYTES - prefix.len();
        prefix.extend_from_slice(frame.get(..room).unwrap_or(&frame));
    })
    .await?;
    Ok(review::uid_of(&prefix))
}

/// Frames put together. A body of one frame, which most are, is used where it lies.
#[derive(Default)]
struct Whole {
    only: Option<Bytes>,
    buffer: Vec<u8>,
}

impl Whole {
    fn take(&mut self, frame: Bytes, announced: usize) {
        if self.buffer.is_empty() && self.only.is_none() {
            self.only = Some(frame);
            return;
        }
        if let Some(first) = self.only.take() {
            self.buffer.reserve(announced.max(first.len() + frame.len()));
            self.buffer.extend_from_slice(&first);
        }
        self.buffer.extend_from_slice(&frame);
    }

    fn into_bytes(self) -> Bytes {
        self.only.unwrap_or_else(|| self.buffer.into())
    }
}

async fn each_frame(
    mut body: Limited<impl HttpBody<Data = Bytes, Error = axum::Error> + Unpin>,
    deadlines: Deadlines,
    mut take: impl FnMut(Bytes),
) -> Result<(), Refusal> {
    loop {
        let frame = timeout_at(deadlines.answer.into(), body.frame()).await;
        match frame.map_err(|_| Refusal::Slow)? {
            None => return Ok(()),
            Some(Err(error)) if error.is::<LengthLimitError>() => return Err(Refusal::TooLarge),
            // The client went away or broke the framing: there is no more to come.
            Some(Err(_)) => return Err(Refusal::Malformed),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    take(data);
                }
            }
        }
    }
}
