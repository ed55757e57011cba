//! Opens the files that processes have mapped: exactly those, whatever has their names by now.
//!
//! By their path within the root of the process first, without following links. If that is another file, by what the kernel keeps of the
//! mapping itself, where it lets us.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use crate::process::{ProcessTable, TargetRoot};
use crate::runtime::native::mapping::{Backing, FileId, Mapping};

/// Why a mapped file cannot be had.
#[derive(Debug)]
pub(super) enum Lost {
    /// Nothing has its name.
    Deleted,
    /// Another file has its name.
    Replaced,
    /// What the kernel said.
    Refused(io::Error),
}

impl Lost {
    /// For a stamp.
    pub(super) fn sentence(&self, module: &str) -> String {
        match self {
            Self::Deleted => format!("{module} was deleted since it was loaded"),
            Self::Replaced => format!("{module} was replaced since it was loaded"),
            Self::Refused(error) => format!("{module} cannot be opened: {error}"),
        }
    }
}

/// Knows where the files of processes are.
#[derive(Debug)]
pub(super) struct Opener {
    root: Option<TargetRoot>,
    table: ProcessTable,
    users: Vec<u32>,
    /// Root of the process that was asked last.
    recent: Option<(i32, TargetRoot)>,
}

impl Opener {
    pub(super) fn new(root: Option<TargetRoot>, table: ProcessTable, users: Vec<u32>) -> Self {
        Self {
            root,
            table,
            users,
            recent: None,
        }
    }

    /// The root of a process; that of the target if it is gone.
    fn root_of(&mut self, pid: i32) -> io::Result<&TargetRoot> {
        if self.recent.as_ref().is_none_or(|(recent, _)| *recent != pid) {
            let id = self.table.id_of(pid);
            self.recent = id
                .and_then(|id| TargetRoot::open(&self.table, id).ok())
                .map(|root| (pid, root));
        }
        let recent = self.recent.as_ref().map(|(_, root)| root);
        recent
            .or(self.root.as_ref())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The file of `mapping`.
    pub(super) fn open(&mut self, pid: i32, mapping: &Mapping) -> Result<File, Lost> {
        let Backing::File { path, id } = &mapping.backing else {
            return Err(Lost::Deleted);
        };
        let opened = self.root_of(pid).and_then(|root| root.open_file(path));
        let lost = match opened {
            Ok(file) if is_same(&file, *id) => return Ok(file),
            Ok(_) => Lost::Replaced,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Lost::Deleted,
            // A link has its name now.
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32) => Lost::Replaced,
            Err(error) => Lost::Refused(error),
        };
        let process = self.table.directory(pid);
        let range = format!("map_files/{:x}-{:x}", mapping.start, mapping.end);
        [process.join(range), process.join("exe")]
            .iter()
            .find_map(|link| open_kernel_link(link, *id))
            .ok_or(lost)
    }

    /// The perf map of a process, if one of the users or its own wrote it.
    pub(super) fn perf_map(&mut self, pid: i32) -> Option<File> {
        let process = self.table.get(pid);
        let namespace_pid = process.as_ref().map_or(pid, |process| process.namespace_pid);
        let own = process.map(|process| process.credentials.uid);
        let users: Vec<u32> = self.users.iter().copied().chain(own).collect();
        self.root_of(pid)
            .ok()?
            .open_file_of(format!("/tmp/perf-{namespace_pid}.map"), &users)
            .ok()
    }
}

/// What a link of `/proc/PID` leads to, if it is that file. It is looked at before it is opened: opening a device can do anything.
fn open_kernel_link(link: &Path, id: FileId) -> Option<File> {
    let open = |path: &Path, flags: OFlag| {
        std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits())
            .open(path)
            .ok()
    };
    let found = open(link, OFlag::O_PATH)?;
    if !found.metadata().ok()?.is_file() || !is_same(&found, id) {
        return None;
    }
    let file = open(
        Path::new(&format!("/proc/self/fd/{}", found.as_raw_fd())),
        OFlag::O_NONBLOCK,
    )?;
    is_same(&file, id).then_some(file)
}

/// Whether it is the file that was mapped. On file systems without a disk of their own (overlayfs, btrfs) the device that `maps` has is
/// another one than that of `stat`.
fn is_same(file: &File, id: FileId) -> bool {
    let Ok(facts) = file.metadata() else {
        return false;
    };
    let device = (
        u32::try_from(nix::sys::stat::major(facts.dev())).unwrap_or(u32::MAX),
        u32::try_from(nix::sys::stat::minor(facts.dev())).unwrap_or(u32::MAX),
    );
    facts.ino() == id.inode && (device == id.device || device.0 == 0)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::path::PathBuf;

    use super::*;

    fn mapping(path: &str, file: &File) -> Mapping {
        let facts = file.metadata().unwrap();
        let number = |number| u32::try_from(number).unwrap();
        let id = FileId {
            device: (
                number(nix::sys::stat::major(facts.dev())),
                number(nix::sys::stat::minor(facts.dev())),
            ),
            inode: facts.ino(),
        };
        Mapping {
            start: 0x1000,
            end: 0x2000,
            offset: 0,
            backing: Backing::File {
                path: PathBuf::from(path),
                id,
            },
        }
    }

    fn content(file: Result<File, Lost>) -> String {
        let mut text = String::new();
        file.unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn only_the_file_that_was_mapped_is_opened() {
        let (root, proc, process) = TargetRoot::example();
        let folder = proc.path().join("17/root");
        let library = folder.join("tmp/libfoo.so");
        std::fs::write(&library, "first").unwrap();
        // Kept open, so that its inode is not given to its successor.
        let first = File::open(&library).unwrap();
        let mapping = mapping("/tmp/libfoo.so", &first);
        let table = ProcessTable::at(proc.path());
        let mut opener = Opener::new(Some(root), table, Vec::new());
        assert_eq!(content(opener.open(process.id.pid, &mapping)), "first");

        std::fs::write(folder.join("tmp/new"), "second").unwrap();
        std::fs::rename(folder.join("tmp/new"), &library).unwrap();
        let replaced = opener.open(process.id.pid, &mapping).unwrap_err();
        assert_eq!(
            replaced.sentence("libfoo.so"),
            "libfoo.so was replaced since it was loaded"
        );

        std::fs::remove_file(&library).unwrap();
        let deleted = opener.open(process.id.pid, &mapping).unwrap_err();
        assert!(matches!(deleted, Lost::Deleted), "{deleted:?}");
        // A link to the file is none that the kernel would have told us.
        std::os::unix::fs::symlink("new", &library).unwrap();
        assert!(matches!(
            opener.open(process.id.pid, &mapping).unwrap_err(),
            Lost::Replaced
        ));
    }

    #[test]
    fn a_deleted_program_is_read_by_what_the_kernel_keeps() {
        let (root, proc, process) = TargetRoot::example();
        let kept = proc.path().join("kept");
        std::fs::write(&kept, "program").unwrap();
        std::os::unix::fs::symlink(&kept, proc.path().join("17/exe")).unwrap();
        let mapping = mapping("/bin/gone", &File::open(&kept).unwrap());
        let mut opener = Opener::new(Some(root), ProcessTable::at(proc.path()), Vec::new());
        assert_eq!(content(opener.open(process.id.pid, &mapping)), "program");
    }

    #[test]
    fn a_perf_map_of_somebody_else_is_not_read() {
        let (root, proc, process) = TargetRoot::example();
        std::fs::write(proc.path().join("17/root/tmp/perf-17.map"), "10 10 jit\n").unwrap();
        let own = process.credentials.uid;
        let mut opener = Opener::new(Some(root), ProcessTable::at(proc.path()), vec![own + 1]);
        assert!(opener.perf_map(17).is_none());
        opener.users = vec![own];
        assert!(opener.perf_map(17).is_some());
    }
}
