//! Two recordings against each other: of two captures, or of two files that somebody sent.
//!
//! What is made of them is kept nowhere: a file without a name in the store's folder, whose room is leased until it is closed. So are
//! files that were sent. Both are gone when the answer is, on every path.

use std::fs::File;
use std::io::Seek;

use tokio::io::AsyncWriteExt;

use super::artifact::{Artifact, ArtifactFile, digest};
use super::budget::Lease;
use super::render_queue::WaitUntil;
use super::store::{KeptFile, ReadLease};
use super::{Capture, CaptureError, CaptureState, Captures};
use crate::child::{CompareOrder, RenderFailure, Source};
use crate::event::Event;
use crate::format::Format;
use crate::profile::View;
use crate::profile::diff::{Base, Normalise};
use crate::runtime::NoRoom;

/// A difference as it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct DiffRequest {
    /// What the artifact is.
    pub format: Format,
    /// How the two are compared.
    pub normalise: Option<Normalise>,
    /// Whose widths a picture has.
    pub base: Base,
    /// Which event, where a recording has several.
    pub event: Option<Event>,
    /// Which part of both.
    pub view: View,
}

/// Largest file that is taken: as much of one as is parsed as a whole.
pub const LARGEST_FILE: u64 = 256 << 20;

/// A file that somebody sends, as far as it has come.
#[derive(Debug)]
pub struct Sent {
    file: tokio::fs::File,
    length: u64,
    lease: Lease,
}

impl Sent {
    /// Takes more of it.
    ///
    /// # Errors
    /// There is no room for it, or it cannot be written.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), CaptureError> {
        /// Room is asked for in pieces of this size.
        const STEP: u64 = 64 << 10;
        self.length += bytes.len() as u64;
        while self.lease.bytes() < self.length {
            if !self.lease.grow(STEP.max(bytes.len() as u64)) {
                return Err(CaptureError::NoRoom(NoRoom::Store));
            }
        }
        let written = self.file.write_all(bytes).await;
        written.map_err(|error| CaptureError::store(&error))
    }

    /// Nothing follows: gives back what it does not need.
    pub fn end(&mut self) {
        self.lease.shrink(self.length);
    }
}

/// One of two recordings, as a child is given it.
struct Side {
    source: Source,
    file: SideFile,
}

enum SideFile {
    Recording(KeptFile),
    Sent { file: File, _lease: ReadLease },
}

impl Captures {
    /// The difference of two finished captures.
    ///
    /// # Errors
    /// One is not finished, failed, or has no such event or part; they are not alike; or rendering failed.
    pub async fn diff(
        &self,
        (before, after): (&Capture, &Capture),
        request: &DiffRequest,
    ) -> Result<Artifact, CaptureError> {
        let name = format!("diff_{}_{}.{}", before.id, after.id, request.format.extension());
        let sides = [self.side(before, request)?, self.side(after, request)?];
        self.unless_closed(Box::pin(self.compare(sides, request, name))).await
    }

    /// The difference of two files that were sent.
    ///
    /// # Errors
    /// One is not understood, they are not alike, or rendering failed.
    pub async fn diff_of_files(&self, sent: [Sent; 2], request: &DiffRequest) -> Result<Artifact, CaptureError> {
        let name = format!("diff.{}", request.format.extension());
        let [before, after] = sent;
        let sides = [
            self.sent_side(before, request).await?,
            self.sent_side(after, request).await?,
        ];
        let compared = self.unless_closed(Box::pin(self.compare(sides, request, name))).await;
        compared.map_err(|error| match error {
            // What was sent is the sender's.
            CaptureError::Render(words) => CaptureError::Unreadable(words),
            error => error,
        })
    }

    /// A place for a file that somebody sends.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn receive(&self) -> Result<Sent, CaptureError> {
        let file = self.registry.scratch().map_err(|error| CaptureError::store(&error))?;
        Ok(Sent {
            file: tokio::fs::File::from_std(file),
            length: 0,
            lease: self.registry.lease(0),
        })
    }

    fn side(&self, capture: &Capture, request: &DiffRequest) -> Result<Side, CaptureError> {
        let quality = match capture.state() {
            CaptureState::Running(_) => return Err(CaptureError::NotFinished(capture.id.to_string())),
            CaptureState::Failed(error) => return Err(error),
            CaptureState::Finished(quality) => *quality,
        };
        // Of several values the one that a profile shows first.
        let wanted = capture.wanted(Some(Format::Pprof), request.event.as_ref(), &request.view)?;
        Ok(Side {
            source: Source::Recording(Box::new(capture.render_order(&wanted, quality))),
            file: SideFile::Recording(capture.open_recording()?),
        })
    }

    async fn sent_side(&self, mut sent: Sent, request: &DiffRequest) -> Result<Side, CaptureError> {
        let flushed = sent.file.flush().await;
        flushed.map_err(|error| CaptureError::store(&error))?;
        Ok(Side {
            source: Source::File {
                view: request.view.clone(),
                event: request.event.as_ref().map(ToString::to_string),
            },
            file: SideFile::Sent {
                file: sent.file.into_std().await,
                _lease: self.registry.hold(sent.lease),
            },
        })
    }

    /// As an artifact of a capture is rendered: with little room first, and four times as much each time that was not enough.
    async fn compare(
        &self,
        [before, after]: [Side; 2],
        request: &DiffRequest,
        file_name: String,
    ) -> Result<Artifact, CaptureError> {
        const FIRST: u64 = 4 << 20;
        let store = |error: std::io::Error| CaptureError::store(&error);
        let _turn = self.render_queue.turn(WaitUntil::of_now()).await?;
        let mut lease = self.registry.lease(FIRST);
        let mut order = CompareOrder {
            before: before.source,
            after: after.source,
            format: request.format,
            normalise: request.normalise,
            base: request.base,
            max_bytes: 0,
        };
        let (file, quality) = loop {
            order.max_bytes = lease.bytes();
            let output = self.registry.scratch().map_err(store)?;
            let recordings = [
                before.file.at_its_start().map_err(store)?,
                after.file.at_its_start().map_err(store)?,
            ];
            let artifact = output.try_clone().map_err(store)?;
            match self.children.compare(&order, recordings, artifact).await {
                Ok(quality) => break (output, quality),
                Err(RenderFailure::NoRoom(NoRoom::Store)) if lease.grow(3 * lease.bytes().max(FIRST)) => {}
                Err(error) => return Err(error.into()),
            }
        };
        let length = file.metadata().map_err(store)?.len();
        lease.shrink(length);
        let mut whole = file.try_clone().map_err(store)?;
        whole.rewind().map_err(store)?;
        let sha256 = match tokio::task::spawn_blocking(move || digest(whole)).await {
            Ok(digest) => digest.map_err(store)?,
            Err(error) => return Err(CaptureError::internal("read the artifact", &error)),
        };
        Ok(Artifact {
            file,
            meta: ArtifactFile::unkept(request.format, &request.view, (length, sha256), quality),
            file_name,
            lease: self.registry.hold(lease),
        })
    }
}

impl SideFile {
    /// The file as a child reads it: children share its offset with us, one after the other.
    fn at_its_start(&self) -> std::io::Result<File> {
        let mut file = match self {
            Self::Recording(kept) => kept.file.try_clone()?,
            Self::Sent { file, .. } => file.try_clone()?,
        };
        file.rewind()?;
        Ok(file)
    }
}
