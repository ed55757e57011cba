//! A capture as evidence: one archive of the recording, of what is known of it and of the process, and of the digests of
//! all, which `sha256sum -c` takes.
//!
//! Its parts are put together as they are sent: neither the memory nor the store holds the archive. Must not know HTTP.

use std::time::SystemTime;

use serde::Serialize;
use sha2::{Digest, Sha256};
use tar::Header;

use super::artifact::hexadecimal;
use super::metadata::Evidence;
use super::store::KeptFile;
use super::{Capture, CaptureError, CaptureState, Captures, Snapshot};
use crate::format::RecordingKind;

/// The archive, ready to be sent.
#[derive(Debug)]
pub struct Export {
    /// Suggested file name, ASCII without quotes.
    pub file_name: String,
    /// Bytes in all.
    pub length: u64,
    /// What to send, one after the other.
    pub parts: Vec<Part>,
}

/// A piece of the archive.
#[derive(Debug)]
pub enum Part {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many bytes of a file.
    File {
        /// Open at its start.
        kept: KeptFile,
        /// Bytes to send.
        length: u64,
    },
}

/// `metadata.json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct About<'a> {
    #[serde(flatten)]
    capture: Snapshot,
    /// Version of sideflame that recorded it.
    sideflame: &'a str,
    /// SHA-256 of the recording, counted when it ended.
    recording_sha256: &'a str,
    /// As the kernel and the inspector saw it when the capture began.
    process: &'a crate::runtime::Target,
    /// Secrets hidden.
    command_line: &'a [String],
}

impl Captures {
    /// A finished capture with all that is known of it.
    ///
    /// # Errors
    /// It is not finished or failed; its recording cannot be read.
    pub async fn export(&self, capture: &Capture) -> Result<Export, CaptureError> {
        let quality = match capture.state() {
            CaptureState::Running(_) => return Err(CaptureError::NotFinished(capture.id.to_string())),
            CaptureState::Failed(error) => return Err(error),
            CaptureState::Finished(quality) => *quality,
        };
        let digest = self.unless_closed(capture.recording_digest()).await?;
        let recording = capture
            .directory
            .open(None)
            .map_err(|error| capture.store_error(&error))?;
        let length = capture.directory.recording_bytes();
        let Evidence {
            sideflame,
            process,
            command_line,
            verdicts,
        } = &capture.evidence;
        let mut snapshot = capture.snapshot();
        snapshot.quality = None;
        let about = About {
            capture: snapshot,
            sideflame,
            recording_sha256: &digest,
            process,
            command_line,
        };
        let mut archive = Archive::new(capture);
        archive.add("README.txt", readme(capture.kind).into_bytes())?;
        archive.add("metadata.json", json(&about)?)?;
        archive.add("quality.json", json(&quality)?)?;
        archive.add("doctor.json", json(verdicts)?)?;
        let name = format!("recording.{}", capture.kind.native_format().extension());
        archive.add_recording(&name, recording, length, &digest)?;
        let export = archive.finish()?;
        self.registry.fetched(capture);
        Ok(export)
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, CaptureError> {
    let text = serde_json::to_vec_pretty(value);
    let mut text = text.map_err(|error| CaptureError::internal("describe the capture", &error))?;
    text.push(b'\n');
    Ok(text)
}

/// Says what is in the archive, to whoever gets it from somebody else.
fn readme(kind: RecordingKind) -> String {
    let contents = match kind {
        RecordingKind::Dump => {
            "all memory of the process, or a part of it: whatever the app keeps there, passwords and personal data included"
        }
        RecordingKind::HeapDump | RecordingKind::HeapDumpGz => {
            "all objects of the app with what is in them: whatever it keeps there, passwords and personal data included"
        }
        RecordingKind::Jfr => {
            "names of functions, types and threads, libraries, and values of the machine. Values of environment variables and \
             system properties and arguments are blanked, unless the capture was asked for with secrets=keep"
        }
        RecordingKind::Nettrace | RecordingKind::NettraceThreads | RecordingKind::Heap => {
            "names of functions, types and threads, and what the chosen providers tell; the runtime adds its command line to it"
        }
        RecordingKind::Trace => "names of functions, and what the program itself wrote into its trace",
        RecordingKind::Counters => "names and values of counters, the program's own included",
        RecordingKind::Pprof
        | RecordingKind::PprofTimed
        | RecordingKind::PprofThreads
        | RecordingKind::AllocationSites
        | RecordingKind::Text
        | RecordingKind::Goroutines => {
            "names of functions and files, labels that the program gave, and paths of its executables"
        }
        RecordingKind::Collapsed | RecordingKind::Threads | RecordingKind::ClassHistogram => {
            "names of functions, types and threads"
        }
    };
    format!(
        "A capture of sideflame.\n\n\
         recording.*    as the profiler wrote it. It can contain {contents}.\n\
         metadata.json  what was asked for, when, and the process as it was: name, ids, pod, arguments (secrets hidden by their names).\n\
         quality.json   how complete the recording is.\n\
         doctor.json    what would have worked on this process then, and why not.\n\
         SHA256SUMS     digests of these files: sha256sum -c SHA256SUMS\n\n\
         `sideflame render` makes flame graphs of the recording. Headers and tokens of sideflame are in none of these files.\n"
    )
}

/// An archive that grows.
struct Archive {
    folder: String,
    modified: u64,
    sums: String,
    length: u64,
    parts: Vec<Part>,
}

impl Archive {
    /// Archives are made of blocks.
    const BLOCK: u64 = 512;

    fn new(capture: &Capture) -> Self {
        let modified = capture.created_at.duration_since(SystemTime::UNIX_EPOCH);
        Self {
            folder: format!("sideflame-{}", capture.id),
            modified: modified.unwrap_or_default().as_secs(),
            sums: String::new(),
            length: 0,
            parts: Vec::new(),
        }
    }

    fn add(&mut self, name: &str, content: Vec<u8>) -> Result<(), CaptureError> {
        let digest = hexadecimal(&Sha256::digest(&content));
        self.sum(name, &digest);
        self.add_unsummed(name, content)
    }

    fn add_unsummed(&mut self, name: &str, content: Vec<u8>) -> Result<(), CaptureError> {
        let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
        self.head(name, length)?;
        self.push(content);
        self.pad(length);
        Ok(())
    }

    fn add_recording(&mut self, name: &str, kept: KeptFile, length: u64, digest: &str) -> Result<(), CaptureError> {
        self.sum(name, digest);
        self.head(name, length)?;
        self.length += length;
        self.parts.push(Part::File { kept, length });
        self.pad(length);
        Ok(())
    }

    fn finish(mut self) -> Result<Export, CaptureError> {
        let sums = std::mem::take(&mut self.sums);
        self.add_unsummed("SHA256SUMS", sums.into_bytes())?;
        // Two empty blocks are the end.
        self.push(vec![0; 1024]);
        Ok(Export {
            file_name: format!("{}.tar", self.folder),
            length: self.length,
            parts: self.parts,
        })
    }

    fn sum(&mut self, name: &str, digest: &str) {
        self.sums.extend([digest, "  ", name, "\n"]);
    }

    fn head(&mut self, name: &str, length: u64) -> Result<(), CaptureError> {
        let mut header = Header::new_gnu();
        let path = header.set_path(format!("{}/{name}", self.folder));
        path.map_err(|error| CaptureError::internal("name a file of the archive", &error))?;
        header.set_size(length);
        header.set_mode(0o644);
        header.set_mtime(self.modified);
        header.set_cksum();
        self.push(header.as_bytes().to_vec());
        Ok(())
    }

    fn pad(&mut self, length: u64) {
        let missing = length.next_multiple_of(Self::BLOCK) - length;
        self.push(vec![0; usize::try_from(missing).unwrap_or_default()]);
    }

    fn push(&mut self, bytes: Vec<u8>) {
        self.length += u64::try_from(bytes.len()).unwrap_or_default();
        self.parts.push(Part::Bytes(bytes));
    }
}
