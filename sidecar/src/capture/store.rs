//! The spool on disk: one folder per capture below a folder per server, all 0700.
//!
//! A server holds a lock on its folder; the next one removes folders nobody holds, so a crash leaves nothing for long.

use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::budget::{Budget, Lease};
use super::state::CaptureId;

/// Bounded store of recordings and artifacts.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    budget: Budget,
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
        // Without a lock nobody would ever take it for a leftover.
        let lock = private_file(&directory.join(LOCK)).inspect_err(|_| {
            let _ = std::fs::remove_dir(&directory);
        })?;
        lock.try_lock()?;
        Ok(Self {
            directory,
            budget: Budget::new(max_bytes),
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
        Ok(CaptureDirectory {
            path,
            leases: Mutex::default(),
        })
    }

    /// What may still be written. Every byte is leased before it is written.
    pub fn budget(&self) -> &Budget {
        &self.budget
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
    /// Of the whole files, by name. Readers share them: a removed file takes its place on the disk until it is closed.
    leases: Mutex<HashMap<Option<&'static str>, Arc<Lease>>>,
}

/// A whole file, open for reading.
#[derive(Debug)]
pub struct KeptFile {
    /// At its start.
    pub file: File,
    /// Held for as long as the file is open.
    pub lease: Arc<Lease>,
}

/// A file that becomes visible under its name only when whole, and is removed if that never happens.
#[derive(Debug)]
pub struct PartialFile<'a> {
    /// Open for writing, empty.
    pub file: File,
    directory: &'a CaptureDirectory,
    name: &'static str,
}

impl PartialFile<'_> {
    /// Gives the whole file its name; `lease` is at least its length.
    ///
    /// # Errors
    /// What `rename` says; NotFound if the capture was removed meanwhile.
    pub fn publish(self, lease: Lease) -> io::Result<()> {
        let path = self.directory.path.join(self.name);
        std::fs::rename(self.directory.partial(self.name), path)?;
        self.directory.keep(Some(self.name), lease, &self.file)
    }
}

impl Drop for PartialFile<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.directory.partial(self.name));
    }
}

impl CaptureDirectory {
    /// Creates the recording, which must not exist.
    ///
    /// # Errors
    /// What `open` says.
    pub fn create_recording(&self) -> io::Result<File> {
        private_file(&self.path.join(RECORDING))
    }

    /// Keeps `lease` for the whole recording, whose writer has ended.
    ///
    /// # Errors
    /// The length of the file cannot be read.
    pub fn keep_recording(&self, lease: Lease) -> io::Result<()> {
        self.keep(None, lease, &File::open(self.path.join(RECORDING))?)
    }

    /// Opens a whole file of this capture for reading: the recording without `name`.
    ///
    /// # Errors
    /// What `open` says; NotFound if it is not kept (any more).
    pub fn open(&self, name: Option<&'static str>) -> io::Result<KeptFile> {
        let lease = self
            .leases()
            .get(&name)
            .map(Arc::clone)
            .ok_or(io::ErrorKind::NotFound)?;
        let file = File::open(self.path.join(name.unwrap_or(RECORDING)))?;
        Ok(KeptFile { file, lease })
    }

    /// Creates a file that becomes visible under `name` only when whole.
    ///
    /// # Errors
    /// What `open` says.
    pub fn create_partial(&self, name: &'static str) -> io::Result<PartialFile<'_>> {
        Ok(PartialFile {
            file: private_file(&self.partial(name))?,
            directory: self,
            name,
        })
    }

    /// True while a whole file is being read: removing it would make no room.
    pub fn is_being_read(&self) -> bool {
        self.leases().values().any(|lease| Arc::strong_count(lease) > 1)
    }

    /// Removes the recording of a failed capture.
    pub fn remove_recording(&self) {
        let _ = std::fs::remove_file(self.path.join(RECORDING));
    }

    /// Removes everything. Artifacts that are being read stay readable through their open files.
    pub fn remove(&self) {
        let _ = std::fs::remove_dir_all(&self.path);
        self.leases().clear();
    }

    fn keep(&self, name: Option<&'static str>, mut lease: Lease, file: &File) -> io::Result<()> {
        lease.shrink(file.metadata()?.len());
        self.leases().insert(name, Arc::new(lease));
        Ok(())
    }

    fn leases(&self) -> MutexGuard<'_, HashMap<Option<&'static str>, Arc<Lease>>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn store(bytes: u64) -> (tempfile::TempDir, Store, CaptureDirectory) {
        let parent = tempfile::tempdir().unwrap();
        let store = Store::open(parent.path(), bytes).unwrap();
        let directory = store.create(&CaptureId::random().unwrap()).unwrap();
        (parent, store, directory)
    }

    #[test]
    fn a_whole_file_takes_its_length_and_a_removed_one_until_it_is_closed() {
        let (_parent, store, directory) = store(100);
        directory.create_recording().unwrap().write_all(b"12345").unwrap();
        directory.keep_recording(store.budget().lease(60)).unwrap();
        assert_eq!(store.budget().free(), 95);
        let reader = directory.open(None).unwrap();
        assert!(directory.is_being_read());
        directory.remove();
        assert_eq!(store.budget().free(), 95);
        assert_eq!(directory.open(None).unwrap_err().kind(), io::ErrorKind::NotFound);
        drop(reader);
        assert_eq!(store.budget().free(), 100);
    }

    #[test]
    fn a_partial_file_is_seen_when_published_and_gone_when_dropped() {
        let (_parent, store, directory) = store(100);
        let mut partial = directory.create_partial("svg").unwrap();
        partial.file.write_all(b"<svg").unwrap();
        assert!(directory.open(Some("svg")).is_err());
        drop(partial);
        let mut partial = directory.create_partial("svg").unwrap();
        partial.file.write_all(b"<svg/>").unwrap();
        partial.publish(store.budget().lease(50)).unwrap();
        assert!(directory.open(Some("svg")).is_ok());
        assert_eq!(store.budget().promised(), 6);
        let late = directory.create_partial("pprof").unwrap();
        directory.remove();
        let error = late.publish(store.budget().lease(50)).unwrap_err();
        assert_eq!((error.kind(), store.budget().promised()), (io::ErrorKind::NotFound, 0));
    }
}
