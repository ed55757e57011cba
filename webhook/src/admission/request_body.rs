//! Reading a body: whole and bounded, or, where its memory was taken away, only its beginning.

use axum::body::{Body, Bytes, HttpBody};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout_at;

use super::BODY_BYTES;
use super::body_memory::{BodyMemory, Share};
use super::deadlines::Deadlines;
use crate::outcome::Refusal;

/// An API server writes the uid within the first hundred bytes, and the annotations early in the object.
const BEGINNING_BYTES: usize = 4 << 10;

/// A body that is too long is read this far: closing on it would reset the connection, and the client would lose the
/// answer that says why.
const DISCARDED_BYTES: usize = 16 << 20;

/// What was read.
#[derive(Debug)]
pub(super) enum Read<'a> {
    /// All of it, with its share of the memory.
    Whole(Bytes, Share<'a>),
    /// Its beginning; the rest was thrown away, as there was no memory for it.
    Beginning(Vec<u8>),
}

/// Reads at most [`BODY_BYTES`], before the deadline.
///
/// It never stops reading: an HTTP/2 stream that is not read uses up the window of its connection, and with it the other
/// streams. Frames are copied as they come, not collected: a hostile client sends them a byte each, and a frame takes 32
/// more.
pub(super) async fn read(mut body: Body, deadlines: Deadlines, memory: &BodyMemory) -> Result<Read<'_>, Refusal> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let read = if announced > BODY_BYTES {
        Err(Refusal::TooLarge)
    } else {
        read_within(&mut body, announced, deadlines, memory).await
    };
    if let Err(Refusal::TooLarge) = read {
        // Too large it stays, however this ends.
        let mut rest = Limited::new(body, DISCARDED_BYTES);
        while let Ok(Some(_)) = next(&mut rest, deadlines).await {}
    }
    read
}

async fn read_within<'a>(
    body: &mut Body,
    announced: usize,
    deadlines: Deadlines,
    memory: &'a BodyMemory,
) -> Result<Read<'a>, Refusal> {
    let mut body = Limited::new(body, BODY_BYTES);
    let share = memory.share();
    let mut whole = Whole::default();
    let mut last = None;
    loop {
        let frame = tokio::select! {
            biased;
            () = share.taken() => break,
            frame = next(&mut body, deadlines) => frame?,
        };
        let Some(frame) = frame else {
            return Ok(Read::Whole(whole.into_bytes(), share));
        };
        if !share.grow(frame.len()) {
            last = Some(frame);
            break;
        }
        whole.take(frame, announced);
    }
    drop(share);
    let mut beginning = Vec::with_capacity(BEGINNING_BYTES);
    let mut keep = |bytes: &[u8]| {
        let room = BEGINNING_BYTES - beginning.len();
        beginning.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    };
    keep(&whole.into_bytes());
    last.iter().for_each(|frame| keep(frame));
    while let Some(frame) = next(&mut body, deadlines).await? {
        keep(&frame);
    }
    Ok(Read::Beginning(beginning))
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

/// The data of the next frame that has some; `None` at the end.
async fn next(
    body: &mut Limited<impl HttpBody<Data = Bytes, Error = axum::Error> + Unpin>,
    deadlines: Deadlines,
) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame = timeout_at(deadlines.body, body.frame()).await;
        match frame.map_err(|_| Refusal::Slow)? {
            None => return Ok(None),
            Some(Err(error)) if error.is::<LengthLimitError>() => return Err(Refusal::TooLarge),
            // The client went away or broke the framing: there is no more to come.
            Some(Err(_)) => return Err(Refusal::Malformed),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}
