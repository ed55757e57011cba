//! A range of a process's memory that may hold code.
//!
//! From `/proc/PID/maps` or a record of the kernel; both repeat names that the app chose.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// An executable range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// Offset of `start` in the file.
    pub offset: u64,
    /// What is mapped.
    pub backing: Backing,
}

/// What is mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backing {
    /// A file.
    File {
        /// Its name in the target's mount namespace, without the kernel's ` (deleted)`.
        path: PathBuf,
        /// Which file it was, whatever has the name now.
        id: FileId,
    },
    /// The kernel's own code in the process, `[vdso]`.
    Vdso,
    /// No file: `//anon`, a memfd of a JIT, `[heap]`.
    Anonymous,
}

/// A file, as `/proc/PID/maps` tells it. Some file systems (overlayfs, btrfs) report another device here than `stat` does:
/// then only the inode can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// Major and minor number of the device.
    pub device: (u32, u32),
    /// Inode.
    pub inode: u64,
}

impl Backing {
    /// What the kernel calls `name`, in `/proc/PID/maps` and in its records alike. Names of what is no file begin with `[`, `//`, or are
    /// none at all; a memfd and shared memory have files that cannot be opened by name.
    pub fn of(name: &[u8], id: FileId) -> Self {
        let path = name.strip_suffix(b" (deleted)").unwrap_or(name);
        let is_file = path.starts_with(b"/")
            && ![&b"//"[..], b"/memfd:", b"/SYSV", b"/dev/zero", b"/anon_hugepage"]
                .iter()
                .any(|other| path.starts_with(other));
        match name {
            b"[vdso]" => Self::Vdso,
            _ if is_file => Self::File {
                path: PathBuf::from(OsStr::from_bytes(path)),
                id,
            },
            _ => Self::Anonymous,
        }
    }
}

impl Mapping {
    /// True if `address` lies in it.
    pub fn contains(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }

    /// Where in the file the byte at `address` is.
    pub fn offset_of(&self, address: u64) -> u64 {
        address.saturating_sub(self.start).saturating_add(self.offset)
    }
}
