//! The spool on disk: one folder per capture below a folder per server, all 0700.
//!
//! A server holds a lock on its folder; the next one removes folders that are not locked, so a crash leaves nothing for
//! long. Called by the registry.

use std::collections::HashMap;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::budget::Lease;
use super::state::CaptureId;
use folder::{OwnFolder, private_file};

mod folder;

/// Recordings and artifacts.
#[derive(Debug)]
pub struct Store(Arc<Shared>);

/// What the folders of captures have in common.
#[derive(Debug)]
struct Shared {
    own: OwnFolder,
    /// Files that are open for reading.
    readers: AtomicUsize,
}

const RECORDING: &str = "recording";

impl Store {
    /// Makes our folder below `parent`, without one in a place of its own below the temporary directory, and removes those
    /// of servers that are gone.
    ///
    /// # Errors
    /// `parent` cannot be made or written, or is not ours.
    pub fn open(parent: Option<&Path>) -> io::Result<Self> {
        Ok(Self(Arc::new(Shared {
            own: OwnFolder::make(parent)?,
            readers: AtomicUsize::new(0),
        })))
    }

    /// A folder for one capture.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(&self, id: &CaptureId) -> io::Result<CaptureDirectory> {
        let directory = CaptureDirectory {
            name: id.clone(),
            store: Arc::clone(&self.0),
            leases: Mutex::default(),
        };
        DirBuilder::new().mode(0o700).create(directory.path())?;
        Ok(directory)
    }

    /// A file without a name, which is gone when it is closed.
    ///
    /// # Errors
    /// What `open` and `unlink` say.
    pub fn scratch(&self) -> io::Result<File> {
        let name = CaptureId::random()?;
        let path = self.0.own.folder.path().join(format!("{name}.scratch"));
        let file = private_file(&path)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    }

    /// Keeps `lease` for a file that is no capture's, for as long as it is open.
    pub fn hold(&self, lease: Lease) -> ReadLease {
        ReadLease::new(Arc::new(lease), &self.0)
    }

    /// How many files are being read, also of captures that are forgotten.
    pub fn being_read(&self) -> usize {
        self.0.readers.load(Ordering::Relaxed)
    }

    /// Removes everything; the server is going down. Nothing can be created any more.
    pub fn remove(&self) {
        self.0.own.remove();
    }
}

/// The folder of one capture.
#[derive(Debug)]
pub struct CaptureDirectory {
    name: CaptureId,
    store: Arc<Shared>,
    /// Of the whole files, by name. Readers share them: a removed file takes its place on the disk until it is closed.
    leases: Mutex<HashMap<Option<String>, Arc<Lease>>>,
}

/// A whole file, open for reading.
#[derive(Debug)]
pub struct KeptFile {
    /// At its start.
    pub file: File,
    /// Held for as long as the file is open.
    pub lease: ReadLease,
}

/// The place in the store of a file that is being read.
#[derive(Debug)]
pub struct ReadLease {
    #[cfg_attr(not(test), expect(dead_code, reason = "it is held"))]
    lease: Arc<Lease>,
    /// `None` in tests, for a file without a store.
    store: Option<Arc<Shared>>,
}

impl ReadLease {
    fn new(lease: Arc<Lease>, store: &Arc<Shared>) -> Self {
        store.readers.fetch_add(1, Ordering::Relaxed);
        Self {
            lease,
            store: Some(Arc::clone(store)),
        }
    }

    #[cfg(test)]
    pub(super) fn without_a_store(lease: Lease) -> Self {
        Self {
            lease: Arc::new(lease),
            store: None,
        }
    }

    /// Tells whether somebody holds it.
    #[cfg(test)]
    pub(crate) fn watch(&self) -> std::sync::Weak<Lease> {
        Arc::downgrade(&self.lease)
    }
}

impl Drop for ReadLease {
    fn drop(&mut self) {
        if let Some(store) = &self.store {
            store.readers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A file that becomes visible under its name only when whole, and is removed if that never happens.
#[derive(Debug)]
pub struct PartialFile<'a> {
    /// Open for writing, empty.
    pub file: File,
    directory: &'a CaptureDirectory,
    name: String,
}

impl PartialFile<'_> {
    /// Gives the whole file its name; `lease` is at least its length.
    ///
    /// # Errors
    /// What `rename` says; NotFound if the capture was removed meanwhile.
    pub fn publish(self, lease: Lease) -> io::Result<()> {
        let path = self.directory.path().join(&self.name);
        std::fs::rename(self.directory.partial(&self.name), path)?;
        self.directory.keep(Some(&self.name), lease, &self.file)
    }
}

impl Drop for PartialFile<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.directory.partial(&self.name));
    }
}

impl CaptureDirectory {
    /// Creates the recording, which must not exist.
    ///
    /// # Errors
    /// What `open` says.
    pub fn create_recording(&self) -> io::Result<File> {
        private_file(&self.path().join(RECORDING))
    }

    /// Keeps `lease` for the whole recording, whose writer has ended.
    ///
    /// # Errors
    /// The length of the file cannot be read.
    pub fn keep_recording(&self, lease: Lease) -> io::Result<()> {
        self.keep(None, lease, &File::open(self.path().join(RECORDING))?)
    }

    /// Opens a whole file of this capture for reading: the recording without `name`.
    ///
    /// # Errors
    /// What `open` says; NotFound if it is not kept (any more).
    pub fn open(&self, name: Option<&str>) -> io::Result<KeptFile> {
        let lease = self
            .leases()
            .get(&name.map(str::to_owned))
            .map(Arc::clone)
            .ok_or(io::ErrorKind::NotFound)?;
        let file = File::open(self.path().join(name.unwrap_or(RECORDING)))?;
        let lease = ReadLease::new(lease, &self.store);
        Ok(KeptFile { file, lease })
    }

    /// Opens the recording for reading while it is written.
    ///
    /// # Errors
    /// What `open` says; NotFound before it is begun.
    pub fn open_growing(&self) -> io::Result<File> {
        File::open(self.path().join(RECORDING))
    }

    /// Creates a file that becomes visible under `name` only when whole.
    ///
    /// # Errors
    /// What `open` says.
    pub fn create_partial(&self, name: &str) -> io::Result<PartialFile<'_>> {
        Ok(PartialFile {
            file: private_file(&self.partial(name))?,
            directory: self,
            name: name.to_owned(),
        })
    }

    /// Removes one of the artifacts. Who reads it goes on to.
    pub fn discard(&self, name: &str) {
        let _ = std::fs::remove_file(self.path().join(name));
        self.leases().remove(&Some(name.to_owned()));
    }

    /// Bytes that removing it would free. None while a whole file is being read.
    pub fn removable_bytes(&self) -> Option<u64> {
        let leases = self.leases();
        let at_rest = leases.values().all(|lease| Arc::strong_count(lease) == 1);
        at_rest.then(|| leases.values().map(|lease| lease.bytes()).sum())
    }

    /// Removes everything. Artifacts that are being read stay readable through their open files.
    pub fn remove(&self) {
        let _ = std::fs::remove_dir_all(self.path());
        self.leases().clear();
    }

    fn keep(&self, name: Option<&str>, mut lease: Lease, file: &File) -> io::Result<()> {
        lease.shrink(file.metadata()?.len());
        self.leases().insert(name.map(str::to_owned), Arc::new(lease));
        Ok(())
    }

    fn leases(&self) -> MutexGuard<'_, HashMap<Option<String>, Arc<Lease>>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self) -> PathBuf {
        self.store.own.folder.path().join(self.name.as_str())
    }

    fn partial(&self, name: &str) -> PathBuf {
        self.path().join(format!("{name}.partial"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Weak;

    use super::*;
    use crate::capture::budget::Budget;

    fn store() -> (tempfile::TempDir, Store, CaptureDirectory) {
        let parent = tempfile::tempdir().unwrap();
        let store = Store::open(Some(parent.path())).unwrap();
        let directory = store.create(&CaptureId::random().unwrap()).unwrap();
        (parent, store, directory)
    }

    #[test]
    fn a_whole_file_takes_its_length_and_a_removed_one_until_it_is_closed() {
        let (_parent, store, directory) = store();
        let budget = Budget::new(100, Weak::new());
        directory.create_recording().unwrap().write_all(b"12345").unwrap();
        directory.keep_recording(budget.lease(60)).unwrap();
        assert_eq!((budget.free(), directory.removable_bytes()), (95, Some(5)));
        let reader = directory.open(None).unwrap();
        assert_eq!((directory.removable_bytes(), store.being_read()), (None, 1));
        directory.remove();
        assert_eq!((budget.free(), store.being_read()), (95, 1));
        assert_eq!(directory.open(None).unwrap_err().kind(), io::ErrorKind::NotFound);
        drop(reader);
        assert_eq!((budget.free(), store.being_read()), (100, 0));
    }

    #[test]
    fn a_partial_file_is_seen_when_published_and_gone_when_dropped() {
        let (_parent, _store, directory) = store();
        let budget = Budget::new(100, Weak::new());
        let mut partial = directory.create_partial("svg").unwrap();
        partial.file.write_all(b"<svg").unwrap();
        assert!(directory.open(Some("svg")).is_err());
        drop(partial);
        let mut partial = directory.create_partial("svg").unwrap();
        partial.file.write_all(b"<svg/>").unwrap();
        partial.publish(budget.lease(50)).unwrap();
        assert!(directory.open(Some("svg")).is_ok());
        assert_eq!(budget.reserved(), 6);
        let late = directory.create_partial("pprof").unwrap();
        directory.remove();
        let error = late.publish(budget.lease(50)).unwrap_err();
        assert_eq!((error.kind(), budget.reserved()), (io::ErrorKind::NotFound, 0));
    }

    #[test]
    fn a_file_without_a_name_leaves_nothing_and_takes_its_room_until_it_is_closed() {
        let (parent, store, _directory) = store();
        let budget = Budget::new(100, Weak::new());
        let files = || {
            std::fs::read_dir(parent.path().join(store.0.own.folder.path()))
                .unwrap()
                .count()
        };
        let before = files();
        let mut file = store.scratch().unwrap();
        file.write_all(b"12345").unwrap();
        let held = store.hold(budget.lease(5));
        assert_eq!((files(), budget.free(), store.being_read()), (before, 95, 1));
        drop((file, held));
        assert_eq!((budget.free(), store.being_read()), (100, 0));
    }

    #[test]
    fn a_removed_store_stays_removed() {
        let (parent, store, directory) = store();
        store.remove();
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
        assert_eq!(
            store.create(&CaptureId::random().unwrap()).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert_eq!(
            directory.create_recording().unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
