//! A recording in the format somebody asked for, as a file that is whole.

use std::fs::File;
use std::io::Read;
use std::sync::PoisonError;

use sha2::{Digest, Sha256};

use super::CaptureError;
use super::registry::Registry;
use super::render_queue::{RenderQueue, WaitUntil};
use super::request::{self, RequestError};
use super::state::{Capture, CaptureState};
use super::store::{KeptFile, ReadLease};
use super::views;
use crate::child::{Children, RenderFailure, RenderOrder};
use crate::event::Event;
use crate::format::{Format, RecordingKind};
use crate::profile::format::jfr::sampled::Sampled;
use crate::profile::{CollapsedValues, Quality, View};
use crate::runtime::NoRoom;

mod made;

pub use made::Made;

/// What is made of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// What it becomes.
    pub format: Format,
    /// Which event, where the recording has several and the format shows one.
    pub event: Option<Event>,
    /// Which part of it.
    pub view: View,
}

impl From<Format> for Wanted {
    fn from(format: Format) -> Self {
        Self {
            format,
            event: None,
            view: View::default(),
        }
    }
}

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
    pub lease: ReadLease,
}

/// Facts about a file in the store.
#[derive(Debug, Clone)]
pub struct ArtifactFile {
    /// Its format.
    pub format: Format,
    /// Its event, where the recording has several.
    pub event: Option<Event>,
    /// Which part of it it shows.
    pub view: View,
    /// Length in bytes.
    pub length: u64,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
    /// The stamp, completed by what rendering counted.
    pub quality: Quality,
    /// Its name in the store; `None` is the recording itself.
    name: Option<String>,
}

impl ArtifactFile {
    /// Of a file that is no capture's.
    pub(super) fn unkept(format: Format, view: &View, (length, sha256): (u64, String), quality: Quality) -> Self {
        Self {
            format,
            event: None,
            view: view.clone(),
            length,
            sha256,
            quality,
            name: None,
        }
    }

    /// Its name in the store; `None` is the recording itself.
    pub(super) fn stored_as(&self) -> Option<&str> {
        self.name.as_deref()
    }
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
            event: None,
            view: View::default(),
            length,
            sha256,
            quality,
            name: None,
        };
        let file_name = format!("shop_cpu_17_20260101T000000Z.{}", format.extension());
        let budget = super::budget::Budget::new(length, std::sync::Weak::new());
        let lease = ReadLease::without_a_store(budget.lease(length));
        Self {
            file,
            meta,
            file_name,
            lease,
        }
    }
}

/// What making an artifact takes from outside of its capture.
#[derive(Debug)]
pub(super) struct Workshop<'a, R> {
    /// Has the room.
    pub(super) registry: &'a Registry,
    /// Says when.
    pub(super) queue: &'a RenderQueue,
    /// What a renderer is started by.
    pub(super) children: &'a Children,
    /// Runs a renderer: order, recording, artifact. [`Children::render`], but for tests.
    pub(super) render: R,
}

impl Capture {
    /// What a request for an artifact means; without a format, the one that the capture was asked for.
    ///
    /// # Errors
    /// A format or an event that the recording does not have, none of several events, or a part of what can only be had whole.
    pub fn wanted(&self, format: Option<Format>, event: Option<&Event>, view: &View) -> Result<Wanted, CaptureError> {
        let format = format.unwrap_or(self.format);
        if !self.kind.formats().contains(&format) {
            return Err(CaptureError::FormatNotOffered {
                runtime: self.target.runtime,
                format,
                allowed: self.kind.formats().to_vec(),
            });
        }
        views::divisible(view, format, self.kind)?;
        let parts = self.event.parts();
        let names = || parts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let unsuitable = |message| {
            Err(CaptureError::Request(RequestError::Unsuitable {
                name: "event",
                message,
            }))
        };
        let several = matches!(self.event, Event::Several(_));
        match event {
            Some(event) if !parts.contains(event) => Err(CaptureError::Request(RequestError::Invalid {
                name: "event",
                value: request::shorten(event.name()),
                expected: "an event of the recording".to_owned(),
                allowed: names(),
            })),
            Some(_) if several && format == self.kind.native_format() => unsuitable(format!(
                "{format} has every event of the recording; give another format"
            )),
            None if several && format != self.kind.native_format() => unsuitable(format!(
                "the recording is of {}: choose one by event=",
                names().join(", ")
            )),
            event => Ok(Wanted {
                format,
                event: event.filter(|_| several).cloned(),
                view: view.clone(),
            }),
        }
    }

    /// SHA-256 of the whole recording in hexadecimal digits.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) async fn recording_digest(&self) -> Result<String, CaptureError> {
        let digest = self.digest.get_or_try_init(async || {
            let KeptFile { file, lease: _reading } =
                self.directory.open(None).map_err(|error| self.store_error(&error))?;
            digest_of(file).await
        });
        digest.await.cloned()
    }

    /// An artifact, rendered into the store at the first request. What is `wanted` was checked by [`Self::wanted`].
    pub(super) async fn artifact<R>(
        &self,
        wanted: impl Into<Wanted>,
        workshop: &Workshop<'_, R>,
    ) -> Result<Artifact, CaptureError>
    where
        R: AsyncFn(&Children, &RenderOrder, File, File) -> Result<Quality, RenderFailure>,
    {
        let wanted = wanted.into();
        let quality = match self.state() {
            CaptureState::Running(_) => return Err(CaptureError::NotFinished(self.id.to_string())),
            CaptureState::Failed(error) => return Err(error),
            CaptureState::Finished(quality) => *quality,
        };
        let meta = match self.made(&wanted) {
            Some(meta) => meta,
            None => {
                let made = self.make_once(&wanted, quality, workshop).await;
                made.map_err(|cause| self.not_rendered(wanted.format, cause))?
            }
        };
        let KeptFile { file, lease } = self
            .directory
            .open(meta.name.as_deref())
            .map_err(|error| self.store_error(&error))?;
        Ok(Artifact {
            file,
            meta,
            file_name: self.file_name(&wanted),
            lease,
        })
    }

    fn made(&self, wanted: &Wanted) -> Option<ArtifactFile> {
        let artifacts = self.artifacts.lock().unwrap_or_else(PoisonError::into_inner);
        artifacts.get(wanted)
    }

    /// A second request for the same artifact waits instead of making it, too.
    async fn make_once<R>(
        &self,
        wanted: &Wanted,
        quality: Quality,
        workshop: &Workshop<'_, R>,
    ) -> Result<ArtifactFile, CaptureError>
    where
        R: AsyncFn(&Children, &RenderOrder, File, File) -> Result<Quality, RenderFailure>,
    {
        let until = WaitUntil::of_now();
        let _making = until.wait(self.making.lock()).await?;
        if let Some(meta) = self.made(wanted) {
            return Ok(meta);
        }
        let meta = self.make(wanted, quality, workshop, until).await?;
        let mut artifacts = self.artifacts.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = artifacts.insert(wanted.clone(), meta.clone());
        if let Some(name) = oldest.and_then(|oldest| oldest.name) {
            self.directory.discard(&name);
        }
        Ok(meta)
    }

    async fn make<R>(
        &self,
        wanted: &Wanted,
        mut quality: Quality,
        workshop: &Workshop<'_, R>,
        until: WaitUntil,
    ) -> Result<ArtifactFile, CaptureError>
    where
        R: AsyncFn(&Children, &RenderOrder, File, File) -> Result<Quality, RenderFailure>,
    {
        let Wanted { format, event, view } = wanted.clone();
        let native = self.kind.is_handed_out_as(format);
        let as_it_is = native && view.is_all();
        let name = (!as_it_is).then(|| self.stored_as(wanted));
        if let Some(name) = &name {
            let order = self.render_order(wanted, quality);
            let _turn = workshop.queue.turn(until).await?;
            quality = self.render(name, order, workshop).await?;
        } else {
            quality = quality.of_all();
        }
        let stored = self.directory.open(name.as_deref());
        let KeptFile { file, lease: _reading } = stored.map_err(|error| self.store_error(&error))?;
        let length = file.metadata().map_err(|error| CaptureError::store(&error))?.len();
        let sha256 = match &name {
            Some(_) => digest_of(file).await?,
            None => self.recording_digest().await?,
        };
        Ok(ArtifactFile {
            format,
            event,
            view,
            length,
            sha256,
            quality,
            name,
        })
    }

    /// What a renderer is told.
    pub(super) fn render_order(&self, wanted: &Wanted, quality: Quality) -> RenderOrder {
        let of_jfr = || wanted.event.as_ref().unwrap_or(&self.event).to_string();
        RenderOrder {
            kind: self.kind,
            format: wanted.format,
            sample_type: self.sample_type(wanted, &quality),
            quality,
            names: self.names,
            event: (self.kind == RecordingKind::Jfr).then(of_jfr),
            view: wanted.view.clone(),
            max_bytes: 0,
        }
    }

    /// The recording of a finished capture.
    pub(super) fn open_recording(&self) -> Result<KeptFile, CaptureError> {
        self.directory.open(None).map_err(|error| self.store_error(&error))
    }

    /// How much a renderer writes shows only when it does. So it gets little room first, and four times as much each
    /// time that was not enough: a renderer that held all of the store's room would starve the recordings.
    async fn render<R>(
        &self,
        name: &str,
        mut order: RenderOrder,
        workshop: &Workshop<'_, R>,
    ) -> Result<Quality, CaptureError>
    where
        R: AsyncFn(&Children, &RenderOrder, File, File) -> Result<Quality, RenderFailure>,
    {
        const FIRST: u64 = 4 << 20;
        let store = |error: std::io::Error| self.store_error(&error);
        let mut lease = workshop.registry.lease(FIRST);
        loop {
            order.max_bytes = lease.bytes();
            let recording = self.directory.open(None).map_err(store)?;
            let partial = self.directory.create_partial(name).map_err(store)?;
            let output = partial.file.try_clone().map_err(store)?;
            match (workshop.render)(workshop.children, &order, recording.file, output).await {
                Ok(quality) => {
                    partial.publish(lease).map_err(store)?;
                    return Ok(quality);
                }
                Err(RenderFailure::NoRoom(NoRoom::Store)) if lease.grow(3 * lease.bytes().max(FIRST)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Its name in the store: an event goes by its place among all, as it may have any characters.
    fn stored_as(&self, wanted: &Wanted) -> String {
        if !wanted.view.is_all() {
            let mut artifacts = self.artifacts.lock().unwrap_or_else(PoisonError::into_inner);
            return artifacts.next_part();
        }
        let place = |event| self.event.parts().iter().position(|part| part == event);
        match wanted.event.as_ref().and_then(place) {
            Some(place) => format!("{}-{place}", wanted.format.name()),
            None => wanted.format.name().to_owned(),
        }
    }

    /// The recording is there nevertheless, and may be had in another format.
    fn not_rendered(&self, format: Format, cause: CaptureError) -> CaptureError {
        match cause {
            CaptureError::NoSuchCapture(_) => cause,
            cause => CaptureError::NotRendered {
                capture: self.id.to_string(),
                others: self
                    .kind
                    .formats()
                    .iter()
                    .copied()
                    .filter(|other| *other != format)
                    .collect(),
                cause: Box::new(cause),
            },
        }
    }

    /// An error of the capture's folder: it is gone when the capture was deleted or expired meanwhile.
    pub(super) fn store_error(&self, error: &std::io::Error) -> CaptureError {
        match error.kind() {
            std::io::ErrorKind::NotFound => CaptureError::NoSuchCapture(self.id.to_string()),
            _ => CaptureError::store(error),
        }
    }

    /// Which of several sample types a reader is shown first; `None` leaves it to the recording.
    fn sample_type(&self, wanted: &Wanted, quality: &Quality) -> Option<String> {
        let format = wanted.format;
        let event = wanted.event.as_ref().unwrap_or(&self.event);
        let name = match (self.kind, event) {
            (RecordingKind::Pprof, Event::Alloc) => "alloc_space",
            (RecordingKind::Pprof, Event::Heap) => "inuse_space",
            // Nanoseconds waited, as `go tool pprof` shows by default, not how often.
            (RecordingKind::Pprof, Event::Lock | Event::Block) => "delay",
            // Counts are what async-profiler's collapsed text holds and its users know.
            (RecordingKind::Collapsed, _) if CollapsedValues::of(quality).interval.is_some() => match format {
                // Time, as in Go's own profiles.
                Format::Pprof | Format::Top | Format::TopJson | Format::Flame => {
                    return Some(CollapsedValues::of(quality).value.name);
                }
                _ => "samples",
            },
            // The same as of collapsed text; the reader puts time behind the counts.
            (RecordingKind::Jfr, event) => match (Sampled::named(event.name()), format) {
                (Sampled::Cpu | Sampled::Wall, Format::Svg | Format::Collapsed | Format::Speedscope) => "samples",
                _ => return None,
            },
            _ => return None,
        };
        Some(name.to_owned())
    }

    /// `<name>_<event>_<pid>_<UTC time>.<extension>`.
    fn file_name(&self, wanted: &Wanted) -> String {
        let event = wanted.event.as_ref().unwrap_or(&self.event);
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') {
                c
            } else {
                '_'
            }
        };
        let name: String = self.target.name.chars().take(64).map(plain).collect();
        let event: String = event.name().chars().take(64).map(plain).collect();
        // RFC 3339 without its separators: colons are not allowed in the file names of every system.
        let time = humantime::format_rfc3339_seconds(self.created_at)
            .to_string()
            .replace(['-', ':'], "");
        format!(
            "{name}_{event}_{}_{time}.{}",
            self.target.pid,
            wanted.format.extension()
        )
    }
}

async fn digest_of(file: File) -> Result<String, CaptureError> {
    match tokio::task::spawn_blocking(move || digest(file)).await {
        Ok(Ok(sha256)) => Ok(sha256),
        Ok(Err(error)) => Err(CaptureError::store(&error)),
        Err(error) => Err(CaptureError::internal("read the artifact", &error)),
    }
}

pub(super) fn digest(mut file: File) -> std::io::Result<String> {
    let mut sha256 = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => sha256.update(&buffer[..read]),
        }
    }
    Ok(hexadecimal(&sha256.finalize()))
}

/// Bytes as digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
