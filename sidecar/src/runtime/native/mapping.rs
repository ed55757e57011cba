//! A range of a process's memory that may hold code.
//!
//! From `/proc/PID/maps` or a record of the kernel; both repeat names that the app chose.

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

impl Mapping {
    /// True if `address` lies in it.
    pub fn contains(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }
}
