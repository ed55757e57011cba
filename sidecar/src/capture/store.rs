//! The spool on disk: one folder per capture below a folder per server, all 0700.
//!
//! A server holds a lock on its folder. Of folders that are not locked the next one takes over the captures, where it was
//! told its place ([`Settings::keeps`](super::Settings)), and removes the rest, so that a crash leaves nothing for long. Called by the registry.

use std::collections::HashMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::budget::Lease;
use super::state::CaptureId;
use folder::{Folder, OwnFolder, kept_file, private_file};

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
/// What a capture says of itself to the next server.
const METADATA: &str = "metadata.json";

/// Longest text a capture says of itself; most of it are the threads of a process.
pub const LARGEST_METADATA: u64 = 1 << 20;

/// A capture of a server that is gone. What it says may be anything.
#[derive(Debug)]
pub struct Found {
    /// The name of its folder.
    pub id: CaptureId,
    /// Its folder, of which nothing is leased.
    pub directory: CaptureDirectory,
    /// What it says of itself, [`LARGEST_METADATA`] bytes at most.
    pub metadata: Vec<u8>,
    /// Length of the recording; `None` if there is none that is a plain file of ours.
    pub recording: Option<u64>,
}

impl Store {
    /// Makes our folder below `parent`, without one in a place of its own below the temporary directory. Those of servers that
    /// are gone are taken over if `adopt`, else removed.
    ///
    /// # Errors
    /// `parent` cannot be made or written, or is not ours.
    pub fn open(parent: Option<&Path>, adopt: bool) -> io::Result<Self> {
        Ok(Self(Arc::new(Shared {
            own: OwnFolder::make(parent, adopt)?,
            readers: AtomicUsize::new(0),
        })))
    }

    /// The captures that were here before us. Of each only the recording and the metadata are left; what is neither whole nor
    /// ours is removed.
    pub fn found(&self) -> Vec<Found> {
        let ids = self.0.own.folder.captures();
        let found = ids.into_iter().filter_map(|id| {
            let directory = self.directory(&id);
            match directory.look(id) {
                Ok((id, metadata, recording)) => Some(Found {
                    id,
                    directory,
                    metadata,
                    recording,
                }),
                Err(error) => {
                    tracing::warn!(%error, "a capture of an earlier server cannot be read");
                    directory.remove();
                    None
                }
            }
        });
        found.collect()
    }

    fn directory(&self, id: &CaptureId) -> CaptureDirectory {
        CaptureDirectory {
            name: id.clone(),
            store: Arc::clone(&self.0),
            leases: Mutex::default(),
        }
    }

    /// A folder for one capture.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(&self, id: &CaptureId) -> io::Result<CaptureDirectory> {
        let directory = self.directory(id);
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

    /// Keeps `lease` for the whole recording, whose writer has ended. Gives its length.
    ///
    /// # Errors
    /// The length of the file cannot be read.
    pub fn keep_recording(&self, lease: Lease) -> io::Result<u64> {
        let file = kept_file(&self.path().join(RECORDING))?;
        self.keep(None, lease, &file)?;
        Ok(file.metadata()?.len())
    }

    /// Says `metadata` of the capture to the next server, in place of what was said before. It need not survive the machine,
    /// only us, so nothing is forced to the disk.
    ///
    /// # Errors
    /// What `open`, `write` and `rename` say.
    pub fn describe(&self, metadata: &[u8], lease: Lease) -> io::Result<()> {
        let mut partial = self.create_partial(METADATA)?;
        partial.file.write_all(metadata)?;
        partial.publish(lease)
    }

    /// What it has of an earlier server, after removing all the rest.
    fn look(&self, id: CaptureId) -> io::Result<(CaptureId, Vec<u8>, Option<u64>)> {
        let folder = Folder::of_ours(&self.path())?;
        folder.clear_but(&[RECORDING, METADATA]);
        let mut metadata = Vec::new();
        let file = kept_file(&folder.path().join(METADATA))?;
        if file.metadata()?.len() > LARGEST_METADATA {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        file.take(LARGEST_METADATA).read_to_end(&mut metadata)?;
        let recording = kept_file(&folder.path().join(RECORDING));
        let recording = recording.and_then(|file| Ok(file.metadata()?.len())).ok();
        Ok((id, metadata, recording))
    }

    /// Removes all but what it says of itself.
    pub fn empty(&self) {
        if let Ok(folder) = Folder::of_ours(&self.path()) {
            folder.clear_but(&[METADATA]);
        }
        self.leases().retain(|name, _| name.as_deref() == Some(METADATA));
    }

    /// Removes the files that were made of the recording and are not being read. Gives their names.
    pub fn remove_artifacts(&self) -> Vec<String> {
        let mut removed = Vec::new();
        self.leases().retain(|name, lease| match name.as_deref() {
            None | Some(METADATA) => true,
            Some(_) if Arc::strong_count(lease) > 1 => true,
            Some(name) => {
                let _ = std::fs::remove_file(self.path().join(name));
                removed.push(name.to_owned());
                false
            }
        });
        removed
    }

    /// Bytes of its recording.
    pub fn recording_bytes(&self) -> u64 {
        self.leases().get(&None).map_or(0, |lease| lease.bytes())
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
        let file = kept_file(&self.path().join(name.unwrap_or(RECORDING)))?;
        let lease = ReadLease::new(lease, &self.store);
        Ok(KeptFile { file, lease })
    }

    /// Opens the recording for reading while it is written.
    ///
    /// # Errors
    /// What `open` says; NotFound before it is begun.
    pub fn open_growing(&self) -> io::Result<File> {
        kept_file(&self.path().join(RECORDING))
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

    /// Where a file of it is.
    #[cfg(test)]
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The names of its files, sorted.
    #[cfg(test)]
    pub(super) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
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
        let store = Store::open(Some(parent.path()), false).unwrap();
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
