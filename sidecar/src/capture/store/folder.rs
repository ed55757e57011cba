//! Where a server keeps its files: a folder of its own, 0700 and locked, in a parent that several servers share.
//!
//! In a shared `/tmp` others may plant links, fifos and folders under every name they can guess. So a folder is opened
//! without following a link, its owner and mode are read from the descriptor, and everything below is reached through
//! that descriptor (`/proc/self/fd/N/…`): what is put in its place later is never touched. Must not know captures.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;

use crate::capture::state::CaptureId;

const LOCK: &str = "lock";
const PREFIX: &str = "sideflame-";

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder(File);

impl Folder {
    /// Opens what is itself a folder, no link to one.
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(open(path, OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW, false)?))
    }

    /// Leads to the folder whatever became of its name; not to be used after `self` is gone.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    /// Removes what is in it.
    fn clear(&self) {
        for entry in std::fs::read_dir(self.path()).into_iter().flatten().flatten() {
            // Neither follows a link.
            let _ = match entry.file_type() {
                Ok(kind) if kind.is_dir() => std::fs::remove_dir_all(entry.path()),
                _ => std::fs::remove_file(entry.path()),
            };
        }
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
    /// Makes our folder below `given`, without it below the temporary directory, and removes those of servers that are gone.
    ///
    /// # Errors
    /// `given` is a link or somebody else's; nothing can be made there.
    pub(super) fn make(given: Option<&Path>) -> io::Result<Self> {
        /// Each time it fails, another server that starts was within a few microseconds of us.
        const TRIES: usize = 100;
        let parent = match given {
            Some(path) => given_parent(path)?,
            None => parent_of_ours(&std::env::temp_dir())?,
        };
        sweep(&parent);
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
        let lock = private_file(&folder.path().join(LOCK))?;
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
        Ok(Folder(open(temporary, OFlag::O_DIRECTORY, false)?))
    })
}

fn private_folder(path: &Path) -> io::Result<Folder> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let folder = Folder::open(path)?;
    if is_ours_alone(&folder.0.metadata()?) {
        Ok(folder)
    } else {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "others own it or may look into it",
        ))
    }
}

/// Removes the folders of servers that are gone, and nothing else.
fn sweep(parent: &Folder) {
    for entry in std::fs::read_dir(parent.path()).into_iter().flatten().flatten() {
        if is_name(&entry.file_name()) {
            let _ = remove_leftover(&entry.path());
        }
    }
}

fn is_name(name: &OsStr) -> bool {
    let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
    digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

fn remove_leftover(path: &Path) -> io::Result<()> {
    let folder = Folder::open(path)?;
    if !is_ours_alone(&folder.0.metadata()?) {
        return Ok(());
    }
    // Whatever has the name of the lock: opening it neither waits nor follows.
    let lock = open(&folder.path().join(LOCK), OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK, true);
    // Held until all is gone, so that its owner cannot take it for its own meanwhile.
    let _held = match lock {
        Ok(lock) => {
            let lock_file = lock.metadata()?;
            if !lock_file.is_file() || lock_file.uid() != geteuid().as_raw() {
                return Ok(());
            }
            lock.try_lock()?;
            folder.clear();
            Some(lock)
        }
        // Its server died before it had a lock: there is nothing in it. Or it starts, and will make another one.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    std::fs::remove_dir(path)
}

fn is_ours_alone(metadata: &Metadata) -> bool {
    metadata.uid() == geteuid().as_raw() && metadata.mode() & 0o077 == 0
}

fn open(path: &Path, flags: OFlag, write: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(write)
        .custom_flags(flags.bits())
        .open(path)
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
