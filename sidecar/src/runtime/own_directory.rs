//! A directory of ours among the target's files, which others cannot look into: a dump lies in it, or it says that something beside it is ours.
//!
//! It is locked as long as its recorder lives, and gone with it; what a killed one left is swept. Must not know what it is for.
//! Called by the folders of
//! runtimes that write files for us.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::process::target_root::Directory;
use crate::process::{Process, ProcessTable, TargetRoot};
use crate::runtime::Target;

/// The only file that is taken out of one.
const FILE: &str = "core";

/// Names that are looked at in a temporary directory; an application decides how many there are.
const MOST_NAMES: usize = 65_536;

/// What a directory is for, as its name says.
pub(super) type Purpose = &'static str;

/// What all of our names for a process begin with.
fn prefix(process: &Process, purpose: Purpose) -> String {
    format!(".sideflame-{}-{purpose}-", process.namespace_pid)
}

/// A directory; removed with what is in it when dropped.
#[derive(Debug)]
pub(super) struct OwnDirectory {
    parent: Directory,
    name: String,
    directory: Directory,
    /// The kernel gives it back with the descriptor.
    _lock: File,
}

impl OwnDirectory {
    /// A new one in `temporary`, under a name that cannot be guessed.
    ///
    /// # Errors
    /// What the target's file system says.
    pub(super) fn create(root: &TargetRoot, temporary: &Path, process: &Process, purpose: Purpose) -> io::Result<Self> {
        let mut random = [0; 8];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let name = format!("{}{:016x}", prefix(process, purpose), u64::from_ne_bytes(random));
        let parent = root.open_directory(temporary)?;
        let directory = parent.create_directory(&name, 0o700)?;
        let lock = File::from(directory.as_fd().try_clone_to_owned()?);
        lock.try_lock().map_err(io::Error::from)?;
        Ok(Self {
            parent,
            name,
            directory,
            _lock: lock,
        })
    }

    /// The path of the file as the target knows it.
    pub(super) fn path(&self) -> String {
        self.directory.path().join(FILE).display().to_string()
    }

    /// Opens the file, if it is `user`'s, and takes its name away: the bytes are gone with the last descriptor.
    ///
    /// # Errors
    /// There is none, or it is no regular file of that user.
    pub(super) fn take(&self, user: u32) -> io::Result<File> {
        let file = self.directory.open_file_of(FILE, &[user])?;
        self.directory.remove_file(FILE)?;
        Ok(file)
    }
}

impl Drop for OwnDirectory {
    fn drop(&mut self) {
        // A dump that was given up may create its file between the removal of all files and of the directory.
        const LONGEST: Duration = Duration::from_secs(2);
        const BETWEEN: Duration = Duration::from_millis(10);
        let until = Instant::now() + LONGEST;
        while let Err(error) = self.parent.remove_directory(&self.name) {
            if error.kind() != io::ErrorKind::DirectoryNotEmpty || Instant::now() > until {
                return;
            }
            std::thread::sleep(BETWEEN);
        }
    }
}

/// The process of `target` and its files, if it is still there.
pub(super) fn still_there(table: &ProcessTable, target: &Target) -> Option<(Process, TargetRoot)> {
    let id = target.id();
    Some((table.find(id)?, TargetRoot::open(table, id).ok()?))
}

/// Removes what a recorder that was killed left of `process`, once `clean` has removed what it stands for.
pub(super) fn sweep(
    root: &TargetRoot,
    temporary: &Path,
    process: &Process,
    purpose: Purpose,
    clean: impl Fn(&Directory),
) {
    let Ok(parent) = root.open_directory(temporary) else {
        return;
    };
    let prefix = prefix(process, purpose);
    for name in parent.names(MOST_NAMES).unwrap_or_default() {
        if !name.starts_with(&prefix) {
            continue;
        }
        let Ok(directory) = parent.directory(&name) else {
            continue;
        };
        let ours = directory.owner().ok() == Some(nix::unistd::geteuid().as_raw());
        let lock = directory.as_fd().try_clone_to_owned().map(File::from);
        if ours && lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            clean(&parent);
            let _ = parent.remove_directory(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    fn left(proc: &tempfile::TempDir) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(proc.path().join("17/root/tmp")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn nobody_else_can_look_into_it_and_nothing_is_left() {
        let (root, proc, process) = TargetRoot::example();
        let place = OwnDirectory::create(&root, Path::new("/tmp"), &process, "dump").unwrap();
        let [directory] = &left(&proc)[..] else { panic!("one") };
        assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(
            place.take(process.credentials.uid).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        std::fs::write(directory.join(FILE), "dump").unwrap();
        let mut text = String::new();
        let mut file = place.take(process.credentials.uid).unwrap();
        assert!(!directory.join(FILE).exists(), "its name is gone");
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "dump");
        std::fs::write(directory.join(FILE), "more").unwrap();
        drop(place);
        assert_eq!(left(&proc), [] as [PathBuf; 0]);
    }

    #[test]
    fn a_link_or_the_file_of_another_user_is_not_taken() {
        let (root, proc, process) = TargetRoot::example();
        let place = OwnDirectory::create(&root, Path::new("/tmp"), &process, "dump").unwrap();
        let file = left(&proc)[0].join(FILE);
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        assert!(place.take(process.credentials.uid).is_err());
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, "dump").unwrap();
        assert!(place.take(process.credentials.uid + 1).is_err());
    }

    #[test]
    fn only_what_no_recorder_holds_is_swept() {
        let (root, proc, process) = TargetRoot::example();
        let place = OwnDirectory::create(&root, Path::new("/tmp"), &process, "dump").unwrap();
        let killed = proc.path().join("17/root/tmp").join(prefix(&process, "dump") + "0123");
        std::fs::create_dir(&killed).unwrap();
        std::fs::write(killed.join(FILE), "half").unwrap();
        let of_the_app = proc.path().join("17/root/tmp/.sideflame-other");
        std::fs::create_dir(&of_the_app).unwrap();
        sweep(&root, Path::new("/tmp"), &process, "dump", |_| {});
        assert!(!killed.exists() && of_the_app.exists());
        assert_eq!(left(&proc).len(), 2, "the live one stays");
        drop(place);
    }
}
