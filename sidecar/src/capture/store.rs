//! The spool on disk: one folder per capture below a folder per server, all 0700.
//!
//! A server holds a lock on its folder; the next one removes folders nobody holds, so a crash leaves nothing for long.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::state::CaptureId;

/// Bounded store of recordings and artifacts.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    max_bytes: u64,
    /// Held for our life; a folder whose lock is free is a leftover.
    _lock: File,
}

const LOCK: &str = "lock";
const RECORDING: &str = "recording";

impl Store {
    /// Makes our folder below `parent` and removes those of servers that are gone.
    ///
    /// # Errors
    /// `parent` cannot be made or written.
    pub fn open(parent: &Path, max_bytes: u64) -> io::Result<Self> {
        private_directory(parent)?;
        for entry in std::fs::read_dir(parent)?.flatten() {
            let left = File::open(entry.path().join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok());
            if left {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let directory = parent.join(CaptureId::random()?.as_str());
        private_directory(&directory)?;
        let lock = private_file(&directory.join(LOCK))?;
        lock.try_lock()?;
        Ok(Self {
            directory,
            max_bytes,
            _lock: lock,
        })
    }

    /// A folder for one capture.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(&self, id: &CaptureId) -> io::Result<CaptureDirectory> {
        let path = self.directory.join(id.as_str());
        private_directory(&path)?;
        Ok(CaptureDirectory { path })
    }

    /// Bytes in all captures, those still growing included.
    pub fn used(&self) -> u64 {
        let captures = std::fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let files = captures.flat_map(|capture| std::fs::read_dir(capture.path()).into_iter().flatten().flatten());
        files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
    }

    /// Bytes that may still be written.
    pub fn room(&self) -> u64 {
        self.max_bytes.saturating_sub(self.used())
    }

    /// Removes everything; the server is going down.
    pub fn remove(&self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The folder of one capture.
#[derive(Debug)]
pub struct CaptureDirectory {
    path: PathBuf,
}

impl CaptureDirectory {
    /// Creates the recording, which must not exist.
    ///
    /// # Errors
    /// What `open` says.
    pub fn create_recording(&self) -> io::Result<File> {
        private_file(&self.path.join(RECORDING))
    }

    /// Opens a file of this capture for reading: the recording without `name`.
    ///
    /// # Errors
    /// What `open` says.
    pub fn open(&self, name: Option<&str>) -> io::Result<File> {
        File::open(self.path.join(name.unwrap_or(RECORDING)))
    }

    /// Creates a file that becomes visible under `name` only when whole.
    ///
    /// # Errors
    /// What `open` says.
    pub fn create_partial(&self, name: &str) -> io::Result<File> {
        let path = self.partial(name);
        let _ = std::fs::remove_file(&path);
        private_file(&path)
    }

    /// Gives a whole partial file its name.
    ///
    /// # Errors
    /// What `rename` says.
    pub fn publish(&self, name: &str) -> io::Result<()> {
        std::fs::rename(self.partial(name), self.path.join(name))
    }

    /// Removes a partial file.
    pub fn discard(&self, name: &str) {
        let _ = std::fs::remove_file(self.partial(name));
    }

    /// Removes the recording of a failed capture.
    pub fn remove_recording(&self) {
        let _ = std::fs::remove_file(self.path.join(RECORDING));
    }

    /// Removes everything. Artifacts that are being read stay readable through their open files.
    pub fn remove(&self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }

    fn partial(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.partial"))
    }
}

fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}
