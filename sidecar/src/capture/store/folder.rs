//! Where a server keeps its files: a folder of its own, 0700 and locked, in a parent that several servers share.
//!
//! In a shared `/tmp` others may plant links, fifos and folders under every name they can guess. So a folder is opened
//! without following a link, its owner and mode are read from the descriptor, and everything below is reached through
//! that descriptor (`/proc/self/fd/N/…`): what is put in its place later is never touched. Must not know captures beyond
//! the names of their folders and whether they are described.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;

use super::METADATA;
use crate::capture::state::CaptureId;

const LOCK: &str = "lock";
const PREFIX: &str = "sideflame-";

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder(File);

impl Folder {
    /// Opens what is itself a folder, no link to one.
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(open(path, OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW)?))
    }

    /// Opens a folder that is ours alone.
    ///
    /// # Errors
    /// It is a link or no folder, or others own it or may enter it.
    pub(super) fn of_ours(path: &Path) -> io::Result<Self> {
        let folder = Self::open(path)?;
        if is_ours_alone(&folder.0.metadata()?) {
            Ok(folder)
        } else {
            Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "others own it or may look into it",
            ))
        }
    }

    /// Ids of the captures that have a folder in it.
    pub(super) fn captures(&self) -> Vec<CaptureId> {
        let entries = std::fs::read_dir(self.path()).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| CaptureId::parse(entry.file_name().to_str()?))
            .collect()
    }

    /// Removes what is in it but for the entries called so.
    pub(super) fn clear_but(&self, kept: &[&str]) {
        for entry in std::fs::read_dir(self.path()).into_iter().flatten().flatten() {
            if kept.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            // Neither follows a link.
            let _ = match entry.file_type() {
                Ok(kind) if kind.is_dir() => std::fs::remove_dir_all(entry.path()),
                _ => std::fs::remove_file(entry.path()),
            };
        }
    }

    /// Leads to the folder whatever became of its name; not to be used after `self` is gone.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    /// Removes what is in it.
    fn clear(&self) {
        self.clear_but(&[]);
    }
}

/// The folder of this server.
#[derive(Debug)]
pub(super) struct OwnFolder {
    pub(super) folder: Folder,
    parent: Folder,
    name: String,
    /// Held for our life; a folder whose lock is free is a leftover.
    _lock: File,
}

impl OwnFolder {
    /// Makes our folder below `given`, without it below the temporary directory, or with `adopt` takes over that of a server
    /// that is gone, and what others left that are gone as well. Without, their folders are removed, but not those in which
    /// captures are described: these wait for a server that adopts them.
    ///
    /// # Errors
    /// `given` is a link or somebody else's; nothing can be made there.
    pub(super) fn make(given: Option<&Path>, adopt: bool) -> io::Result<Self> {
        /// Each time it fails, another server that starts was within a few microseconds of us.
        const TRIES: usize = 100;
        let parent = match given {
            Some(path) => given_parent(path)?,
            None => parent_of_ours(&std::env::temp_dir())?,
        };
        let adopted = if adopt {
            take_over(&parent)
        } else {
            sweep(&parent);
            None
        };
        if let Some((name, leftover)) = adopted {
            return Ok(Self {
                folder: leftover.folder,
                parent,
                name,
                _lock: leftover.lock,
            });
        }
        for _ in 0..TRIES {
            let name = new_folder(&parent)?;
            if let Some((folder, lock)) = claim(&parent.path().join(&name))? {
                return Ok(Self {
                    folder,
                    parent,
                    name,
                    _lock: lock,
                });
            }
        }
        Err(io::Error::other("every new folder in it was taken for a leftover"))
    }

    /// Removes it with all that is in it; nothing can be made in it from then on.
    pub(super) fn remove(&self) {
        self.folder.clear();
        let _ = std::fs::remove_dir(self.parent.path().join(&self.name));
    }
}

fn new_folder(parent: &Folder) -> io::Result<String> {
    let name = format!("{PREFIX}{}", CaptureId::random()?);
    DirBuilder::new().mode(0o700).create(parent.path().join(&name))?;
    Ok(name)
}

/// Takes the lock of a new folder. `None` if a server that sweeps has taken the folder for a leftover.
fn claim(path: &Path) -> io::Result<Option<(Folder, File)>> {
    let claimed = || {
        let folder = Folder::open(path)?;
        let path = folder.path().join(LOCK);
        private_file(&path)?;
        // Open for reading only, it does not keep the file system from being made read-only.
        let lock = open(&path, OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK)?;
        match lock.try_lock() {
            Ok(()) if lock.metadata()?.nlink() > 0 && is_ours_alone(&folder.0.metadata()?) => Ok((folder, lock)),
            Ok(()) | Err(TryLockError::WouldBlock) => Err(io::ErrorKind::NotFound.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    };
    match claimed() {
        Ok(claimed) => Ok(Some(claimed)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            // Without a lock it would stay for ever.
            let _ = std::fs::remove_dir(path);
            Err(error)
        }
    }
}

/// The folder an operator names. It may also be root's, as the volume of a pod is: what others who may write there could do
/// to the name of our folder does not lead us elsewhere, and into the folder they cannot look.
fn given_parent(path: &Path) -> io::Result<Folder> {
    // With a slash at its end a link would be followed.
    let path: PathBuf = path.components().collect();
    DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
    let folder = Folder::open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotADirectory => refused("it is a link"),
        _ => error,
    })?;
    refuse_foreign(folder.0.metadata()?.uid(), geteuid().as_raw())?;
    Ok(folder)
}

fn refuse_foreign(owner: u32, us: u32) -> io::Result<()> {
    if owner == us || owner == 0 {
        return Ok(());
    }
    let what = format!("it belongs to user {owner}, and the server runs as user {us}");
    Err(refused(&what))
}

fn refused(what: &str) -> io::Error {
    let remedy = "give a folder of the server's own user, or one that does not exist yet, to --store-dir";
    io::Error::new(io::ErrorKind::PermissionDenied, format!("{what}; {remedy}"))
}

/// By user, as one user's 0700 folder would lock out another's server. If somebody else was there first, our folder gets
/// its random name directly in `temporary`.
fn parent_of_ours(temporary: &Path) -> io::Result<Folder> {
    let usual = temporary.join(format!("sideflame-store-{}", geteuid()));
    private_folder(&usual).or_else(|error| {
        tracing::warn!(%error, usual = %usual.display(), "the usual folder of the store cannot be used; making one beside it");
        Ok(Folder(open(temporary, OFlag::O_DIRECTORY)?))
    })
}

fn private_folder(path: &Path) -> io::Result<Folder> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    Folder::of_ours(path)
}

/// The folder of a server that is gone, locked by us from now on: neither its server nor another one takes it.
#[derive(Debug)]
struct Leftover {
    folder: Folder,
    lock: File,
}

impl Leftover {
    /// `None` if there never was a lock in it. Its server died before it had one, and there is nothing in it; or it
    /// starts, and will make another one.
    ///
    /// # Errors
    /// It is not ours, or its server lives.
    fn open(path: &Path) -> io::Result<Option<Self>> {
        let folder = Folder::of_ours(path)?;
        // Whatever has the name of the lock: opening it neither waits nor follows.
        let lock = open(&folder.path().join(LOCK), OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK);
        let lock = match lock {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            lock => lock?,
        };
        let lock_file = lock.metadata()?;
        if !lock_file.is_file() || lock_file.uid() != geteuid().as_raw() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        lock.try_lock()?;
        // Else another server took it over and removed it while we came here.
        if lock.metadata()?.nlink() == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Some(Self { folder, lock }))
    }

    /// True if a server that adopts has something of it.
    fn is_described(&self) -> bool {
        let described = |id: &CaptureId| {
            let metadata = self.folder.path().join(id.as_str()).join(METADATA);
            metadata.symlink_metadata().is_ok()
        };
        self.folder.captures().iter().any(described)
    }
}

/// Removes the folders of servers that are gone and left nothing to adopt, and nothing else.
fn sweep(parent: &Folder) {
    for path in folders_of_servers(parent) {
        let _ = match Leftover::open(&path) {
            Ok(Some(leftover)) if !leftover.is_described() => {
                // Locked until all is gone, so that its owner cannot take it for its own meanwhile.
                leftover.folder.clear();
                std::fs::remove_dir(path)
            }
            Ok(None) => std::fs::remove_dir(path),
            Ok(Some(_)) | Err(_) => Ok(()),
        };
    }
}

/// Takes the folder of a server that is gone, with its name, and moves into it what others left that are gone as well.
fn take_over(parent: &Folder) -> Option<(String, Leftover)> {
    let mut taken: Option<(String, Leftover)> = None;
    for path in folders_of_servers(parent) {
        let leftover = match Leftover::open(&path) {
            Ok(Some(leftover)) => leftover,
            Ok(None) => {
                let _ = std::fs::remove_dir(path);
                continue;
            }
            Err(_) => continue,
        };
        let Some((_, own)) = &taken else {
            let name = path.file_name().and_then(OsStr::to_str).map(str::to_owned);
            taken = name.map(|name| (name, leftover));
            continue;
        };
        for id in leftover.folder.captures() {
            let [from, to] = [&leftover.folder, &own.folder].map(|folder| folder.path().join(id.as_str()));
            // What is there already has another's name by chance, or somebody planted it: it stays.
            if to.symlink_metadata().is_err() {
                let _ = std::fs::rename(from, to);
            }
        }
        leftover.folder.clear();
        let _ = std::fs::remove_dir(path);
    }
    taken
}

/// Whatever has the name of a server's folder.
fn folders_of_servers(parent: &Folder) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent.path()).into_iter().flatten().flatten();
    let named = entries.filter(|entry| is_name(&entry.file_name()));
    named.map(|entry| entry.path()).collect()
}

fn is_name(name: &OsStr) -> bool {
    let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
    digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

fn is_ours_alone(metadata: &Metadata) -> bool {
    metadata.uid() == geteuid().as_raw() && metadata.mode() & 0o077 == 0
}

fn open(path: &Path, flags: OFlag) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
}

/// Opens a file of ours for reading: what is not a plain file, or has another name as well, is neither followed nor
/// waited for.
pub(super) fn kept_file(path: &Path) -> io::Result<File> {
    let file = open(path, OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK)?;
    let facts = file.metadata()?;
    if facts.is_file() && facts.nlink() <= 1 && facts.uid() == geteuid().as_raw() {
        Ok(file)
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

/// A new file of ours; whatever has the name already is an error.
pub(super) fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests;
