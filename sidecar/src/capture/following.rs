//! A recording of lines as it grows, for a client that wants each line when it comes.
//!
//! What is followed is not kept: it ends when it is dropped, and its capture goes with it. Called by `http/counters`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use super::state::{Capture, CaptureId};
use super::{CaptureError, CaptureRequest, CaptureState, Captures};

/// How late a line may be. Looked at only while somebody follows.
const POLL: Duration = Duration::from_millis(100);
/// Longest line; the recorder's are shorter.
const MAX_LINE: usize = 1 << 20;

/// Lines of a capture.
#[derive(Debug)]
pub struct Following {
    captures: Arc<Captures>,
    capture: Arc<Capture>,
    state: watch::Receiver<CaptureState>,
    file: Option<File>,
    /// The beginning of a line.
    rest: Vec<u8>,
}

impl Captures {
    /// Starts a capture whose recording is read line by line.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn follow(self: &Arc<Self>, request: &CaptureRequest) -> Result<Following, CaptureError> {
        let capture = self.start(request).await?;
        Ok(Following {
            captures: Arc::clone(self),
            state: capture.watch(),
            capture,
            file: None,
            rest: Vec::new(),
        })
    }
}

impl Following {
    /// Its name.
    pub fn id(&self) -> &CaptureId {
        &self.capture.id
    }

    /// The next whole lines; `None` when the capture has ended, and all has been read.
    ///
    /// # Errors
    /// Why the capture failed, or the store did.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>, CaptureError>> {
        loop {
            let ended = !matches!(*self.state.borrow_and_update(), CaptureState::Running(_));
            match self.read().await {
                Ok(Some(lines)) => return Some(Ok(lines)),
                Ok(None) => {}
                Err(error) => return Some(Err(CaptureError::store(&error))),
            }
            if ended {
                return match self.capture.state() {
                    CaptureState::Failed(error) => Some(Err(error)),
                    CaptureState::Finished(_) | CaptureState::Running(_) => None,
                };
            }
            tokio::select! {
                _ = self.state.changed() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// The whole lines among what is there.
    async fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.file.is_none() {
            self.file = match self.capture.directory.open_growing() {
                Ok(file) => Some(File::from_std(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
        }
        let Some(file) = &mut self.file else {
            return Ok(None);
        };
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = file.read(&mut buffer).await?;
            if count == 0 {
                return Ok(None);
            }
            self.rest.extend_from_slice(&buffer[..count]);
            if let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') {
                let rest = self.rest.split_off(end + 1);
                return Ok(Some(std::mem::replace(&mut self.rest, rest)));
            }
            if self.rest.len() > MAX_LINE {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let (captures, id) = (Arc::clone(&self.captures), self.capture.id.clone());
        tokio::spawn(async move {
            let _ = captures.delete(id.as_str()).await;
        });
    }
}
