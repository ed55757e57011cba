//! The only door to the files of a target.
//!
//! Everything below `/proc/PID/root` belongs to the profiled app, which may plant links anywhere. Paths are resolved
//! by the kernel with `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)`: an absolute path
//! stays inside the root and a link anywhere on the way is an error (`ELOOP`), never followed; but for
//! [`TargetRoot::open_linked_file_of`], where the kernel keeps the links within the root, too. Who we are while we do so is
//! decided elsewhere ([`crate::confine`]).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use super::{ProcessId, ProcessTable};

/// Root directory of a target's mount namespace.
#[derive(Debug)]
pub struct TargetRoot {
    root: OwnedFd,
    target: ProcessId,
}

impl AsFd for TargetRoot {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

impl TargetRoot {
    /// Opens the root of `target`.
    ///
    /// # Errors
    /// `EACCES` without the right to look into the process; `ESRCH` when the pid belongs to another process by now.
    pub fn open(table: &ProcessTable, target: ProcessId) -> io::Result<Self> {
        let path = table.directory(target.pid).join("root");
        let root = open(
            &path,
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        // Checked after the open: a reused pid has another start time, and the descriptor cannot change any more.
        if !table.is_alive(target) {
            return Err(nix::errno::Errno::ESRCH.into());
        }
        Ok(Self { root, target })
    }

    /// Of process 17 of the user of the test, in a proc folder whose `17/root` it may fill; the folder lives as long as the
    /// second value.
    #[cfg(test)]
    pub(crate) fn example() -> (Self, tempfile::TempDir, super::Process) {
        let mut process = super::Process::example(17);
        process.credentials.uid = nix::unistd::geteuid().as_raw();
        let proc = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(proc.path().join("17/root/tmp")).unwrap();
        let (before, after) = ("0 ".repeat(15), "0 ".repeat(30));
        let stat = format!("17 (shop) S 1 1 1 {before}{} {after}", process.id.start_time);
        std::fs::write(proc.path().join("17/stat"), stat).unwrap();
        let root = Self::open(&ProcessTable::at(proc.path()), process.id).unwrap();
        (root, proc, process)
    }

    fn resolve(&self, path: &Path, flags: OFlag, mode: Mode) -> io::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW)
            .mode(mode)
            .resolve(
                ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS,
            );
        Ok(openat2(self.root.as_fd(), path, how)?)
    }

    /// Opens a regular file as [`Self::open_file_of`] does, also behind links: for a file that the target itself read by this
    /// name, as one of a ConfigMap, which always is behind two. They lead where they lead for the target, within its root, and
    /// never through `/proc`.
    ///
    /// # Errors
    /// `ELOOP` for links in a circle or a link of `/proc`, else as [`Self::open_file_of`].
    pub fn open_linked_file_of(&self, path: impl AsRef<Path>, users: &[u32]) -> io::Result<File> {
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        owned_by(users, regular(openat2(self.root.as_fd(), path.as_ref(), how)?)?)
    }

    /// Opens a regular file for reading. A FIFO, device or socket of that name is refused, and opening cannot block.
    ///
    /// # Errors
    /// `ELOOP` for a link on the way, `EINVAL` for anything but a regular file, else what the kernel says.
    pub fn open_file(&self, path: impl AsRef<Path>) -> io::Result<File> {
        regular(self.resolve(path.as_ref(), OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty())?)
    }

    /// Opens a regular file as [`Self::open_file`] does, for what it says of the target: in a directory that others share
    /// anybody can put a file of any name, so it must belong to one of `users` and not be everybody's to write.
    ///
    /// # Errors
    /// `EPERM` for a file of somebody else; see [`Self::open_file`].
    pub fn open_file_of(&self, path: impl AsRef<Path>, users: &[u32]) -> io::Result<File> {
        owned_by(users, self.open_file(path)?)
    }

    /// Owner of whatever has that name, of a link itself.
    ///
    /// # Errors
    /// `ENOENT`, or as [`Self::open_file`].
    pub fn owner(&self, path: impl AsRef<Path>) -> io::Result<u32> {
        let fd = self.resolve(path.as_ref(), OFlag::O_PATH, Mode::empty())?;
        Ok(nix::sys::stat::fstat(&fd)?.st_uid)
    }

    /// Creates a file that must not exist yet.
    ///
    /// # Errors
    /// `EEXIST` if anything, also a dangling link, has the name; `EROFS`, `EACCES`, `ELOOP`, …
    pub fn create_file(&self, path: impl AsRef<Path>, mode: u32) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        Ok(File::from(self.resolve(
            path.as_ref(),
            flags,
            Mode::from_bits_truncate(mode),
        )?))
    }

    /// Opens a directory, e.g. to [`Directory::create_directory`] or list below it.
    ///
    /// # Errors
    /// `ELOOP` for a link on the way, `ENOTDIR`, `ENOENT`, `EACCES`.
    pub fn open_directory(&self, path: impl AsRef<Path>) -> io::Result<Directory> {
        let path = path.as_ref();
        let fd = self.resolve(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())?;
        Ok(Directory {
            fd,
            path: path.to_owned(),
        })
    }

    /// True if something of that name exists; a link counts as it is.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.resolve(path.as_ref(), OFlag::O_PATH, Mode::empty()).is_ok()
    }

    /// Connects to a Unix socket of the target.
    ///
    /// The peer must be the target itself (`SO_PEERCRED` names the process that listens): an app cannot lead us to
    /// another process's socket.
    ///
    /// # Errors
    /// `ENOENT`; `ECONNREFUSED` for a stale socket; `EAGAIN` when its backlog is full (it never blocks); `EINVAL` for
    /// anything but a socket; `EPERM` for a foreign peer.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<UnixStream> {
        let file = File::from(self.resolve(path.as_ref(), OFlag::O_PATH, Mode::empty())?);
        const S_IFSOCK: u32 = 0o140_000;
        if file.metadata()?.mode() & 0o170_000 != S_IFSOCK {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a socket"));
        }
        // Through our own descriptor: the name cannot be exchanged between the check and the connect.
        let address = UnixAddr::new(format!("/proc/self/fd/{}", file.as_raw_fd()).as_str())?;
        // A blocking connect would wait for ever for a stopped process whose backlog is full.
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(fd.as_raw_fd(), &address)?;
        let stream = UnixStream::from(fd);
        stream.set_nonblocking(false)?;
        let peer = getsockopt(&stream, sockopt::PeerCredentials)?;
        if peer.pid() != self.target.pid {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("the socket belongs to process {}, not to the target", peer.pid()),
            ));
        }
        Ok(stream)
    }

    /// Facts of the file system that holds `path`.
    ///
    /// # Errors
    /// As [`Self::open_directory`].
    pub fn file_system(&self, path: impl AsRef<Path>) -> io::Result<FileSystem> {
        let fd = self.resolve(path.as_ref(), OFlag::O_PATH, Mode::empty())?;
        let facts = fstatvfs(&fd)?;
        Ok(FileSystem {
            read_only: facts.flags().contains(FsFlags::ST_RDONLY),
            no_exec: facts.flags().contains(FsFlags::ST_NOEXEC),
            free_bytes: facts.blocks_available().saturating_mul(facts.fragment_size()),
        })
    }
}

/// What `statvfs` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
    /// Mounted read-only.
    pub read_only: bool,
    /// Mounted noexec: a library in it cannot be loaded.
    pub no_exec: bool,
    /// Bytes an unprivileged process may still write.
    pub free_bytes: u64,
}

/// An open directory of a target. Names given to it are single components; none is followed if it is a link.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Directory {
    /// The path the target knows it by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Owner of the directory.
    ///
    /// # Errors
    /// What `fstat` says.
    pub fn owner(&self) -> io::Result<u32> {
        Ok(nix::sys::stat::fstat(&self.fd)?.st_uid)
    }

    /// Names in the directory, at most `limit` of them: the app decides how many there are.
    ///
    /// # Errors
    /// What `readdir` says.
    pub fn names(&self, limit: usize) -> io::Result<Vec<String>> {
        let dot = openat2(
            self.fd.as_fd(),
            ".",
            OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC),
        )?;
        let mut dir = Dir::from_fd(dot)?;
        let mut names = Vec::new();
        for entry in dir.iter().take(limit) {
            let entry = entry?;
            if let Ok(name) = entry.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Creates a directory that must not exist yet and opens it.
    ///
    /// # Errors
    /// `EEXIST`, `EROFS`, `EACCES`, `ENOSPC`; `ELOOP` if the app exchanged it for a link before we opened it.
    pub fn create_directory(&self, name: &str, mode: u32) -> io::Result<Self> {
        nix::sys::stat::mkdirat(&self.fd, name, Mode::from_bits_truncate(mode))?;
        self.directory(name)
    }

    /// Opens a directory in this one.
    ///
    /// # Errors
    /// `ELOOP` for a link, `ENOTDIR`, `ENOENT`.
    pub fn directory(&self, name: &str) -> io::Result<Self> {
        let fd = self.beneath(name, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())?;
        Ok(Self {
            fd,
            path: self.path.join(name),
        })
    }

    /// Creates a file that must not exist yet.
    ///
    /// # Errors
    /// `EEXIST`, `EROFS`, `EACCES`, `ENOSPC`.
    pub fn create_file(&self, name: &str, mode: u32) -> io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL;
        Ok(File::from(self.beneath(name, flags, Mode::from_bits_truncate(mode))?))
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// `ELOOP` for a link, `EINVAL` for anything but a regular file, `ENOENT`.
    pub fn open_file(&self, name: &str) -> io::Result<File> {
        regular(self.beneath(name, OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty())?)
    }

    /// Opens a regular file that says something of the target; see [`TargetRoot::open_file_of`].
    ///
    /// # Errors
    /// `EPERM` for a file of somebody else; see [`Self::open_file`].
    pub fn open_file_of(&self, name: &str, users: &[u32]) -> io::Result<File> {
        owned_by(users, self.open_file(name)?)
    }

    /// Gives a file of this directory a second name; the first is then removed. Unlike a rename it cannot replace.
    ///
    /// # Errors
    /// `EEXIST` if the new name is taken.
    pub fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        linkat(&self.fd, from, &self.fd, to, AtFlags::empty())?;
        self.remove_file(from)
    }

    /// Removes a name that is not a directory.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`, `EACCES`.
    pub fn remove_file(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir)?)
    }

    /// Removes a directory with the files in it; directories inside it are not ours and make it fail.
    ///
    /// # Errors
    /// The first error; what could be removed is gone then.
    pub fn remove_directory(&self, name: &str) -> io::Result<()> {
        // We put at most a handful of files there; the bound keeps an app from making us loop.
        const OURS: usize = 64;
        let directory = self.directory(name)?;
        for file in directory.names(OURS)? {
            directory.remove_file(&file)?;
        }
        Ok(unlinkat(&self.fd, name, UnlinkatFlags::RemoveDir)?)
    }

    fn beneath(&self, name: &str, flags: OFlag, mode: Mode) -> io::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW)
            .mode(mode)
            .resolve(
                ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS,
            );
        Ok(openat2(self.fd.as_fd(), name, how)?)
    }
}

/// The file if it is no FIFO, device or directory.
fn regular(fd: OwnedFd) -> io::Result<File> {
    let file = File::from(fd);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

/// `file` if it is one of `users`' and not everybody's to write.
fn owned_by(users: &[u32], file: File) -> io::Result<File> {
    const OTHERS_WRITE: u32 = 0o002;
    let facts = file.metadata()?;
    if users.contains(&facts.uid()) && facts.mode() & OTHERS_WRITE == 0 {
        Ok(file)
    } else {
        Err(nix::errno::Errno::EPERM.into())
    }
}

#[cfg(test)]
mod tests;
