//! A recording in the format somebody asked for, as a file that is whole.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::CaptureError;
use super::budget::{Budget, Lease};
use super::state::{Capture, CaptureState};
use super::store::KeptFile;
use crate::child::{Children, RenderFailure, RenderOrder};
use crate::event::Event;
use crate::format::{Format, RecordingKind};
use crate::profile::CollapsedValues;
use crate::profile::Quality;
use crate::runtime::NoRoom;

/// A file ready to be sent.
#[derive(Debug)]
pub struct Artifact {
    /// Open for reading, at its start.
    pub file: File,
    /// Facts about it.
    pub meta: ArtifactFile,
    /// Suggested file name, ASCII without quotes.
    pub file_name: String,
    /// The file's place in the store; to be held for as long as the file is open.
    pub lease: Arc<Lease>,
}

/// Facts about a file in the store.
#[derive(Debug, Clone)]
pub struct ArtifactFile {
    /// Its format.
    pub format: Format,
    /// Length in bytes.
    pub length: u64,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
    /// The stamp, completed by what rendering counted.
    pub quality: Quality,
    /// Its name in the store; `None` is the recording itself.
    name: Option<&'static str>,
}

#[cfg(test)]
impl Artifact {
    /// An artifact without a store.
    pub(crate) fn of_file(file: File, format: Format, quality: Quality) -> Self {
        let length = file.metadata().unwrap().len();
        let sha256 = digest(file.try_clone().unwrap()).unwrap();
        std::io::Seek::rewind(&mut &file).unwrap();
        let meta = ArtifactFile {
            format,
            length,
            sha256,
            quality,
            name: None,
        };
        let file_name = format!("shop_cpu_17_20260101T000000Z.{}", format.extension());
        let lease = Arc::new(Budget::new(length).lease(length));
        Self {
            file,
            meta,
            file_name,
            lease,
        }
    }
}

impl Capture {
    /// The artifact in `format`, rendered into the store at the first request.
    pub(super) async fn artifact(
        &self,
        format: Format,
        budget: &Budget,
        children: &Children,
    ) -> Result<Artifact, CaptureError> {
        let quality = match self.state() {
            CaptureState::Running(_) => return Err(CaptureError::NotFinished(self.id.to_string())),
            CaptureState::Failed(error) => return Err(error),
            CaptureState::Finished(quality) => *quality,
        };
        // The lock is held while rendering: a second request for the same artifact waits instead of rendering too.
        let mut artifacts = self.artifacts.lock().await;
        let meta = match artifacts.get(&format) {
            Some(meta) => meta.clone(),
            None => {
                let meta = self.produce(format, quality, (budget, children)).await?;
                artifacts.insert(format, meta.clone());
                meta
            }
        };
        let KeptFile { file, lease } = self
            .directory
            .open(meta.name)
            .map_err(|error| self.store_error(&error))?;
        Ok(Artifact {
            file,
            meta,
            file_name: self.file_name(format),
            lease,
        })
    }

    async fn produce(
        &self,
        format: Format,
        mut quality: Quality,
        (budget, children): (&Budget, &Children),
    ) -> Result<ArtifactFile, CaptureError> {
        // async-profiler's own text carries frame annotations, so `collapsed` is rendered as well.
        let as_it_is = format == self.kind.native_format() && self.kind != RecordingKind::Collapsed;
        let name = (!as_it_is).then_some(format.name());
        if let Some(name) = name {
            let sample_type = self.sample_type(&quality);
            let order = RenderOrder {
                kind: self.kind,
                format,
                quality,
                sample_type,
                max_bytes: 0,
            };
            quality = self.render(name, order, (budget, children)).await?;
        }
        let file = self
            .directory
            .open(name)
            .map_err(|error| self.store_error(&error))?
            .file;
        let length = file.metadata().map_err(|error| CaptureError::store(&error))?.len();
        let digest = tokio::task::spawn_blocking(move || digest(file)).await;
        let sha256 = match digest {
            Ok(Ok(sha256)) => sha256,
            Ok(Err(error)) => return Err(CaptureError::store(&error)),
            Err(error) => return Err(CaptureError::internal("read the artifact", &error)),
        };
        Ok(ArtifactFile {
            format,
            length,
            sha256,
            quality,
            name,
        })
    }

    /// How much a renderer writes shows only when it does. So it gets little room first, and four times as much each
    /// time that was not enough: a renderer that held all of the store's room would starve the recordings.
    async fn render(
        &self,
        name: &'static str,
        mut order: RenderOrder,
        (budget, children): (&Budget, &Children),
    ) -> Result<Quality, CaptureError> {
        const FIRST: u64 = 4 << 20;
        let store = |error: std::io::Error| self.store_error(&error);
        let mut lease = budget.lease(FIRST);
        loop {
            order.max_bytes = lease.bytes();
            let recording = self.directory.open(None).map_err(store)?.file;
            let partial = self.directory.create_partial(name).map_err(store)?;
            let output = partial.file.try_clone().map_err(store)?;
            match children.render(&order, recording, output).await {
                Ok(quality) => {
                    partial.publish(lease).map_err(store)?;
                    return Ok(quality);
                }
                Err(RenderFailure::NoRoom(NoRoom::Store)) if lease.grow(3 * lease.bytes().max(FIRST)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// An error of the capture's folder: it is gone when the capture was deleted or expired meanwhile.
    fn store_error(&self, error: &std::io::Error) -> CaptureError {
        match error.kind() {
            std::io::ErrorKind::NotFound => CaptureError::NoSuchCapture(self.id.to_string()),
            _ => CaptureError::store(error),
        }
    }

    /// Which of several sample types a flame graph shows; `None` leaves it to the recording.
    fn sample_type(&self, quality: &Quality) -> Option<String> {
        let name = match (self.kind, &self.event) {
            (RecordingKind::Pprof, Event::Alloc) => "alloc_space",
            (RecordingKind::Pprof, Event::Heap) => "inuse_space",
            // Nanoseconds waited, as `go tool pprof` shows by default, not how often.
            (RecordingKind::Pprof, Event::Lock | Event::Block) => "delay",
            // Counts are what async-profiler's collapsed text holds and its users know.
            (RecordingKind::Collapsed, _) if CollapsedValues::of(quality).interval.is_some() => "samples",
            _ => return None,
        };
        Some(name.to_owned())
    }

    /// `<name>_<event>_<pid>_<UTC time>.<extension>`.
    fn file_name(&self, format: Format) -> String {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') {
                c
            } else {
                '_'
            }
        };
        let name: String = self.target.name.chars().take(64).map(plain).collect();
        let event: String = self.event.name().chars().take(64).map(plain).collect();
        // RFC 3339 without its separators: colons are not allowed in the file names of every system.
        let time = humantime::format_rfc3339_seconds(self.created_at)
            .to_string()
            .replace(['-', ':'], "");
        format!("{name}_{event}_{}_{time}.{}", self.target.pid, format.extension())
    }
}

fn digest(mut file: File) -> std::io::Result<String> {
    let mut sha256 = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => sha256.update(&buffer[..read]),
        }
    }
    Ok(sha256.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
