//! Our directory in the target's `/tmp`: whose it is, whether a recorder still lives behind it, and its end.
//!
//! One name per process (`/tmp/.sideflame-<pid>-<start time>`), so that a JVM always sees the library at the same
//! path, and the directory itself is the lock: a live recorder holds a `flock` on it, which the kernel releases however
//! the recorder ends. Must not know the attach protocol. Called by the recorder and by the sweep.

use std::cell::Cell;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use crate::process::target_root::Directory;
use crate::process::{Process, TargetRoot};
use crate::runtime::RecordError;

/// The only directory every image has for scratch files, and the one HotSpot's own socket needs.
const TMP: &str = "/tmp";

/// What all our names begin with.
const PREFIX: &str = ".sideflame-";

/// Says when the session began and when async-profiler ends it by itself.
const MARKER: &str = "session";

/// Names we look at in a `/tmp`; an application decides how many there are.
const MOST_NAMES: usize = 65_536;

/// The recorder's word to its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Marker {
    /// Milliseconds after the Unix epoch.
    pub started_at_ms: u64,
    /// async-profiler's own timeout.
    pub timeout_seconds: u64,
}

impl Marker {
    /// A session that begins now.
    pub fn now(timeout_seconds: u64) -> Self {
        Self {
            started_at_ms: now_ms(),
            timeout_seconds,
        }
    }

    /// True if a session that has been running for so long can be the one this marker announced. The marker is
    /// written first; loading the library and starting may take half a minute on a busy machine.
    pub fn announced(&self, running_seconds: u64, now_ms: u64) -> bool {
        const SLACK_MS: u64 = 2_000;
        const START_MS: u64 = 35_000;
        let began = now_ms.saturating_sub(running_seconds.saturating_mul(1_000));
        began.saturating_add(SLACK_MS) >= self.started_at_ms
            && began <= self.started_at_ms.saturating_add(START_MS)
            && running_seconds <= self.timeout_seconds.saturating_add(START_MS / 1_000)
    }

    /// True when nothing that this session started can still run.
    fn is_over(&self, now_ms: u64) -> bool {
        const MARGIN_SECONDS: u64 = 60;
        let lasts = self
            .timeout_seconds
            .saturating_add(MARGIN_SECONDS)
            .saturating_mul(1_000);
        now_ms > self.started_at_ms.saturating_add(lasts)
    }
}

/// Milliseconds after the Unix epoch.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Name of the directory of a process.
fn name_of(process: &Process) -> String {
    format!("{PREFIX}{}-{}", process.namespace_pid, process.id.start_time)
}

/// The directory while we hold it; removed with everything in it when dropped.
#[derive(Debug)]
pub struct Session {
    tmp: Directory,
    name: String,
    directory: Directory,
    /// Holds the lock; the kernel gives it back with the descriptor.
    _lock: File,
    keep: Cell<bool>,
}

impl Session {
    /// Takes the directory of `process`, new or left by a recorder that was killed, with what that one announced.
    ///
    /// # Errors
    /// [`RecordError::AlreadyProfiled`] while another recorder holds it; [`RecordError::Protocol`] when something
    /// else has its name.
    pub fn acquire(root: &TargetRoot, process: &Process) -> Result<(Self, Option<Marker>), RecordError> {
        let tmp = open_tmp(root)?;
        let name = name_of(process);
        // A round is lost only to a recorder that removes its directory at this very moment.
        const ROUNDS: usize = 8;
        for _ in 0..ROUNDS {
            let directory = match tmp.create_directory(&name, 0o700) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => tmp.directory(&name),
                created => created,
            };
            let directory = match directory {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => {
                    return Err(RecordError::Impossible(super::doctor::tmp_read_only()));
                }
                Err(error) => return Err(unusable(&name, &error.to_string())),
                Ok(directory) => directory,
            };
            match lock(&tmp, &name, &directory)? {
                Lock::Held(lock) => return Ok(Self::holding(tmp, name, directory, lock)),
                Lock::Busy => return Err(another_recorder()),
                Lock::Gone => {}
            }
        }
        Err(another_recorder())
    }

    /// Takes the directory only if it exists; `None` also while a recorder holds it.
    pub fn orphan(root: &TargetRoot, process: &Process) -> Option<(Self, Option<Marker>)> {
        let tmp = open_tmp(root).ok()?;
        let name = name_of(process);
        let directory = tmp.directory(&name).ok()?;
        let Ok(Lock::Held(lock)) = lock(&tmp, &name, &directory) else {
            return None;
        };
        Some(Self::holding(tmp, name, directory, lock))
    }

    /// The session whose lock is held, and what the recorder before left in it.
    fn holding(tmp: Directory, name: String, directory: Directory, lock: File) -> (Self, Option<Marker>) {
        let marker = read_marker(&directory);
        let session = Self {
            tmp,
            name,
            directory,
            _lock: lock,
            keep: Cell::new(false),
        };
        (session, marker)
    }

    /// The directory as the target knows it.
    pub fn path(&self) -> String {
        format!("{TMP}/{}", self.name)
    }

    /// A name in the directory as the target knows it.
    pub fn path_of(&self, name: &str) -> String {
        format!("{TMP}/{}/{name}", self.name)
    }

    /// Empties the directory and leaves word of what begins now.
    ///
    /// # Errors
    /// The target's file system refused.
    pub fn begin(&self, marker: Marker) -> Result<(), RecordError> {
        for name in self.directory.names(MOST_NAMES).unwrap_or_default() {
            // What cannot be removed is no file of ours; creating ours says whether it matters.
            let _ = self.directory.remove_file(&name);
        }
        let text = serde_json::to_vec(&marker).unwrap_or_default();
        self.create(MARKER, 0o600)
            .and_then(|mut file| file.write_all(&text))
            .map_err(|error| unusable(&self.name, &error.to_string()))
    }

    /// Creates a file for the JVM to read.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(&self, name: &str, mode: u32) -> std::io::Result<File> {
        self.directory.create_file(name, mode)
    }

    /// Opens a file the JVM wrote.
    ///
    /// # Errors
    /// As [`Directory::open_file`].
    pub fn open(&self, name: &str) -> std::io::Result<File> {
        self.directory.open_file(name)
    }

    /// The first 64 KiB of a file the JVM wrote; empty if there is none.
    pub fn text(&self, name: &str) -> String {
        const LIMIT: u64 = 64 << 10;
        let mut bytes = Vec::new();
        let read = self
            .open(name)
            .and_then(|file| file.take(LIMIT).read_to_end(&mut bytes));
        if read.is_ok() {
            String::from_utf8_lossy(&bytes).into_owned()
        } else {
            String::new()
        }
    }

    /// Leaves the directory behind: our profiler may still run, and the next recorder must know that it is ours.
    pub fn keep(&self) {
        self.keep.set(true);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.keep.get() {
            // While we still hold the lock, so that it is not taken half-removed.
            let _ = self.tmp.remove_directory(&self.name);
        }
    }
}

/// True if there is a directory of ours for the process: a recorder is at work, or was killed.
pub fn exists(root: &TargetRoot, process: &Process) -> bool {
    root.exists(format!("{TMP}/{}", name_of(process)))
}

/// Removes the directories of processes that share this `/tmp` and whose sessions are over, of our own user only.
pub fn sweep_finished(root: &TargetRoot) {
    let Ok(tmp) = open_tmp(root) else { return };
    for name in tmp.names(MOST_NAMES).unwrap_or_default() {
        if !name.starts_with(PREFIX) {
            continue;
        }
        let Ok(directory) = tmp.directory(&name) else { continue };
        let Ok(Lock::Held(_lock)) = lock(&tmp, &name, &directory) else {
            continue;
        };
        if read_marker(&directory).is_some_and(|marker| marker.is_over(now_ms())) {
            let _ = tmp.remove_directory(&name);
        }
    }
}

fn open_tmp(root: &TargetRoot) -> Result<Directory, RecordError> {
    root.open_directory(TMP).map_err(|error| RecordError::Internal {
        step: "open the target's /tmp".to_owned(),
        detail: error.to_string(),
    })
}

#[derive(Debug)]
enum Lock {
    Held(File),
    Busy,
    /// The directory was removed between our opening and our locking it.
    Gone,
}

fn lock(tmp: &Directory, name: &str, directory: &Directory) -> Result<Lock, RecordError> {
    let failed = |error: std::io::Error| unusable(name, &error.to_string());
    let file = File::from(directory.as_fd().try_clone_to_owned().map_err(failed)?);
    let facts = file.metadata().map_err(failed)?;
    if facts.uid() != geteuid().as_raw() {
        return Err(unusable(name, &format!("it belongs to user {}", facts.uid())));
    }
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(Lock::Busy),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
        Ok(()) => {}
    }
    let named = tmp
        .directory(name)
        .and_then(|directory| File::from(directory.as_fd().try_clone_to_owned()?).metadata());
    match named {
        Ok(named) if (named.dev(), named.ino()) == (facts.dev(), facts.ino()) => Ok(Lock::Held(file)),
        _ => Ok(Lock::Gone),
    }
}

fn read_marker(directory: &Directory) -> Option<Marker> {
    const LIMIT: u64 = 4096;
    let mut bytes = Vec::new();
    directory
        .open_file(MARKER)
        .ok()?
        .take(LIMIT)
        .read_to_end(&mut bytes)
        .ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn another_recorder() -> RecordError {
    RecordError::AlreadyProfiled {
        what: "another capture of sideflame".to_owned(),
    }
}

fn unusable(name: &str, detail: &str) -> RecordError {
    RecordError::Protocol {
        step: "use a directory in /tmp".to_owned(),
        detail: format!("{TMP}/{name} cannot be used: {detail}; remove it if it is not the application's"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Marker = Marker {
        started_at_ms: 1_000_000,
        timeout_seconds: 45,
    };

    #[test]
    fn a_session_as_old_as_its_marker_is_ours() {
        assert!(MARK.announced(10, 1_010_000));
        assert!(MARK.announced(8, 1_010_000), "it took two seconds to start");
        assert!(MARK.announced(11, 1_010_000), "uptime is rounded");
    }

    #[test]
    fn a_session_older_or_much_younger_than_the_marker_is_somebody_elses() {
        assert!(!MARK.announced(20, 1_010_000), "it ran before us");
        assert!(!MARK.announced(1, 1_060_000), "ours was over by then");
        assert!(
            !MARK.announced(300, 1_301_000),
            "ours would have ended by its own timeout"
        );
    }

    #[test]
    fn a_session_is_over_a_minute_after_its_timeout() {
        assert!(!MARK.is_over(1_000_000));
        assert!(!MARK.is_over(1_000_000 + 105_000));
        assert!(MARK.is_over(1_000_000 + 105_001));
        let forged = Marker {
            started_at_ms: u64::MAX,
            timeout_seconds: u64::MAX,
        };
        assert!(!forged.is_over(u64::MAX));
        assert!(!forged.announced(u64::MAX, u64::MAX));
    }
}
