//! Talks to a JVM's attach listener, and wakes the listener up first if it sleeps.
//!
//! Must not know async-profiler. Called by [`super::agent`]. The listener's socket and the file that wakes it live in
//! the target's `/tmp` (HotSpot ignores `TMPDIR` and `java.io.tmpdir` here) and carry its pid in its own namespace.

use std::fs::{File, Metadata, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::geteuid;

use super::attach_protocol::{self, EncodeError, MalformedReply, Reply, Version};
use super::attach_socket::{self, Listener};
use super::detect::socket_path;
use super::doctor;
use super::waits::Waits;
use crate::process::{Process, ProcessHandle, TargetRoot};
use crate::runtime::{RecordError, stopped};

/// A healthy JVM opens its socket within 10 to 50 ms of the signal; one in a long garbage collection takes its time.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a process that was stopped during a capture may take to continue.
const STOPPED: Duration = Duration::from_secs(10);

/// First pause while waiting for the socket; grows by itself.
const FIRST_POLL: Duration = Duration::from_millis(5);

/// Longest pause between two looks.
const SLOWEST_POLL: Duration = Duration::from_millis(100);

/// No command whose answer is kept in memory answers with more; the target may try.
const REPLY_LIMIT: usize = 1 << 20;

/// A JVM that can be given commands, one at a time.
#[derive(Debug)]
pub struct Attach<'a> {
    root: &'a TargetRoot,
    socket: String,
    trigger: String,
    /// Asked once, when a request needs to know.
    version: Option<Version>,
    /// An answer is no longer waited for when the server gives up.
    gives_up: bool,
}

impl<'a> Attach<'a> {
    /// Prepares to talk to `process`; sends nothing.
    pub fn new(root: &'a TargetRoot, process: &Process) -> Self {
        let trigger = trigger_path(process);
        Self {
            root,
            socket: socket_path(process),
            trigger,
            version: None,
            gives_up: false,
        }
    }

    /// Waits for no answer once the server gives up. The JVM then goes on with what it was asked for: only for commands whose
    /// effects are gone with their files.
    pub fn that_gives_up(self) -> Self {
        Self { gives_up: true, ..self }
    }

    /// Sends a command and waits for the whole answer, at most `limit`. `step` names it in errors.
    ///
    /// # Errors
    /// [`RecordError::Timeout`], [`RecordError::TargetExited`], [`RecordError::Protocol`] for an answer that is none,
    /// [`RecordError::Impossible`] when the JVM must not be signalled.
    pub fn command(
        &mut self,
        waits: &Waits<'_>,
        (step, limit): (&str, Duration),
        command: &str,
        arguments: &[&str],
    ) -> Result<Reply, RecordError> {
        let deadline = Deadline::after(step, limit);
        let request = self.request(waits, &deadline, command, arguments)?;
        self.exchange(waits, &deadline, &request)
    }

    /// Sends a command and hands the text of its answer on as it comes, however long; the answer's code is the result.
    ///
    /// # Errors
    /// As [`Self::command`], and what `sink` says.
    pub fn stream(
        &mut self,
        waits: &Waits<'_>,
        (step, limit): (&str, Duration),
        (command, arguments): (&str, &[&str]),
        sink: &mut dyn FnMut(&[u8]) -> Result<(), RecordError>,
    ) -> Result<i32, RecordError> {
        /// A code is a number, and its line ends soon.
        const LONGEST_CODE: usize = 16;
        let deadline = Deadline::after(step, limit);
        let request = self.request(waits, &deadline, command, arguments)?;
        let (mut head, mut code) = (Vec::new(), None);
        let malformed = |error: MalformedReply| lost(waits, &deadline, error);
        self.send(waits, &deadline, &request, &mut |bytes| {
            if code.is_some() {
                return sink(bytes);
            }
            head.extend_from_slice(bytes);
            let Some(end) = head.iter().position(|byte| *byte == b'\n') else {
                return match head.len() {
                    0..=LONGEST_CODE => Ok(()),
                    _ => Err(malformed(MalformedReply::NoCode)),
                };
            };
            code = Some(attach_protocol::decode(&head[..=end]).map_err(malformed)?.code);
            sink(&head[end + 1..])
        })?;
        code.ok_or_else(|| malformed(attach_protocol::decode(&head).err().unwrap_or(MalformedReply::NoCode)))
    }

    fn request(
        &mut self,
        waits: &Waits<'_>,
        deadline: &Deadline<'_>,
        command: &str,
        arguments: &[&str],
    ) -> Result<Vec<u8>, RecordError> {
        let version = if attach_protocol::fits_v1(arguments) {
            Version::V1
        } else {
            self.version(waits, deadline)?
        };
        attach_protocol::encode(version, command, arguments).map_err(|error| match error {
            EncodeError::TooLong { .. } => RecordError::BadArgument {
                parameter: "include".to_owned(),
                message: format!("the filters are too long for this JVM: {error}"),
            },
            _ => RecordError::Internal {
                step: deadline.step.to_owned(),
                detail: error.to_string(),
            },
        })
    }

    fn version(&mut self, waits: &Waits<'_>, deadline: &Deadline<'_>) -> Result<Version, RecordError> {
        if let Some(version) = self.version {
            return Ok(version);
        }
        let internal = |error: EncodeError| RecordError::Internal {
            step: "ask for the attach protocol's version".to_owned(),
            detail: error.to_string(),
        };
        let request = attach_protocol::encode(Version::V1, "getversion", &["options"]).map_err(internal)?;
        let version = attach_protocol::understood_version(&self.exchange(waits, deadline, &request)?);
        self.version = Some(version);
        Ok(version)
    }

    fn exchange(&self, waits: &Waits<'_>, deadline: &Deadline<'_>, request: &[u8]) -> Result<Reply, RecordError> {
        let mut reply = Vec::new();
        self.send(waits, deadline, request, &mut |bytes| {
            reply.extend_from_slice(bytes);
            if reply.len() > REPLY_LIMIT {
                return Err(deadline.protocol("the answer is longer than 1 MiB".to_owned()));
            }
            Ok(())
        })?;
        attach_protocol::decode(&reply).map_err(|error| lost(waits, deadline, error))
    }

    /// Sends `request`; the answer goes to `sink` as it comes.
    fn send(
        &self,
        waits: &Waits<'_>,
        deadline: &Deadline<'_>,
        request: &[u8],
        sink: &mut dyn FnMut(&[u8]) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        // A request in the backlog of a stopped JVM would be carried out when it continues, long after we gave up.
        let continued = Deadline::after("waiting for the stopped process (state T) to continue", STOPPED);
        let stopped = || {
            waits
                .table()
                .get(waits.target().pid)
                .is_some_and(|process| process.is_stopped())
        };
        while stopped() {
            continued.pause(waits, SLOWEST_POLL.min(deadline.left()?))?;
        }
        let mut stream = self.connect(waits, deadline)?;
        stream
            .set_write_timeout(Some(deadline.left()?))
            .map_err(|error| lost(waits, deadline, error))?;
        stream
            .write_all(request)
            .map_err(|error| lost(waits, deadline, error))?;
        read_all(&mut stream, (waits, self.gives_up), deadline, sink)
    }

    fn connect(&self, waits: &Waits<'_>, deadline: &Deadline<'_>) -> Result<UnixStream, RecordError> {
        let mut woken = false;
        loop {
            match self.root.connect(&self.socket) {
                Ok(stream) => return Ok(stream),
                // The listener takes one request at a time and queues a few.
                Err(error) if error.kind() == ErrorKind::WouldBlock => deadline.pause(waits, FIRST_POLL)?,
                Err(error) if has_no_listener(&error) && !woken => {
                    self.wake(waits, deadline)?;
                    woken = true;
                }
                Err(error) => {
                    waits.expect_target()?;
                    return Err(self.unusable(waits, deadline, &error));
                }
            }
        }
    }

    fn unusable(&self, waits: &Waits<'_>, deadline: &Deadline<'_>, error: &std::io::Error) -> RecordError {
        let process = waits.table().get(waits.target().pid);
        match process {
            Some(process) if Listener::of(waits.table(), self.root, &process) == Listener::Foreign => {
                RecordError::Impossible(attach_socket::tmp_shared(&process))
            }
            _ => deadline.protocol(format!("{} cannot be used: {error}", self.socket)),
        }
    }

    /// A socket without a listener is left by an earlier process of the same pid. While its name exists, a listener
    /// that already runs would not open a new one but print all threads to the application's output.
    fn remove_stale_socket(&self, deadline: &Deadline<'_>) -> Result<(), RecordError> {
        let name = self.socket.rsplit('/').next().unwrap_or_default();
        let removed = self.root.open_directory("/tmp").and_then(|tmp| tmp.remove_file(name));
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(deadline.protocol(format!("the stale socket {} cannot be removed: {error}", self.socket)))
            }
            _ => Ok(()),
        }
    }

    /// Makes the listener start: a file the JVM looks for, and one SIGQUIT to make it look. The JDK's own client repeats
    /// the signal; a JVM whose attach mechanism is off in a way we cannot see would print its threads once more. So would one that
    /// listens already: of several recorders one signals, when it holds the file and has looked again, and the others wait.
    fn wake(&self, waits: &Waits<'_>, deadline: &Deadline<'_>) -> Result<(), RecordError> {
        let handshake = Deadline::after("attach", HANDSHAKE.min(deadline.left()?));
        let mut trigger = None;
        let mut poll = FIRST_POLL;
        loop {
            let had_none = trigger.is_none();
            if had_none {
                trigger = Trigger::create(self.root, &self.trigger)?;
            }
            let is_new = had_none && trigger.is_some();
            match self.root.connect(&self.socket) {
                Err(error) if has_no_listener(&error) && is_new => {
                    if error.kind() == ErrorKind::ConnectionRefused {
                        waits.expect_target()?;
                        self.remove_stale_socket(deadline)?;
                    }
                    signal(waits)?;
                }
                Err(error) if has_no_listener(&error) => {}
                // Anything else is judged by the caller, who connects again.
                _ => return Ok(()),
            }
            handshake.pause(waits, poll)?;
            poll = (poll * 2).min(SLOWEST_POLL);
        }
    }
}

/// True if a connection failed because the socket is not there, or is one that was left.
fn has_no_listener(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

/// Sends SIGQUIT, if it is certain that it does not end the process.
fn signal(waits: &Waits<'_>) -> Result<(), RecordError> {
    let (table, id) = (waits.table(), waits.target());
    let failed = |error: std::io::Error| match Errno::from_raw(error.raw_os_error().unwrap_or_default()) {
        Errno::ESRCH => RecordError::TargetExited,
        _ => RecordError::Internal {
            step: "signal the JVM".to_owned(),
            detail: error.to_string(),
        },
    };
    // First: what is read of the process afterwards is true of whoever gets the signal.
    let handle = ProcessHandle::open(table, id).map_err(failed)?;
    let process = table.find(id).ok_or(RecordError::TargetExited)?;
    if process.is_stopped() {
        return Err(RecordError::Impossible(stopped()));
    }
    if !process.handles_sigquit() {
        return Err(RecordError::Impossible(doctor::sigquit_unhandled()));
    }
    handle.quit().map_err(failed)
}

/// Why a connection ended before its time. A dying process closes its sockets before it is gone.
fn lost(waits: &Waits<'_>, deadline: &Deadline<'_>, error: impl std::fmt::Display) -> RecordError {
    const DYING: Duration = Duration::from_millis(500);
    let end = Instant::now() + DYING;
    loop {
        match waits.expect_target() {
            Err(exited) => return exited,
            Ok(()) if Instant::now() >= end => return deadline.protocol(error.to_string()),
            Ok(()) => std::thread::sleep(FIRST_POLL),
        }
    }
}

fn read_all(
    stream: &mut UnixStream,
    (waits, gives_up): (&Waits<'_>, bool),
    deadline: &Deadline<'_>,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), RecordError>,
) -> Result<(), RecordError> {
    const SLICE: Duration = Duration::from_millis(200);
    let mut chunk = [0; 4096];
    loop {
        let left = deadline.left()?;
        let io = |error: std::io::Error| deadline.protocol(error.to_string());
        stream.set_read_timeout(Some(left.min(SLICE))).map_err(io)?;
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => sink(&chunk[..count])?,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                waits.expect_target()?;
                if gives_up {
                    waits.check()?;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(lost(waits, deadline, error)),
        }
    }
}

/// The file that asks the JVM to start its listener; gone when dropped. Locked as long as whoever made it lives.
#[derive(Debug)]
struct Trigger<'a> {
    root: &'a TargetRoot,
    path: &'a str,
    _locked: File,
}

impl<'a> Trigger<'a> {
    /// `None` while another recorder has one.
    fn create(root: &'a TargetRoot, path: &'a str) -> Result<Option<Self>, RecordError> {
        // The JVM accepts the file only from its own user or root; no other needs to read it.
        const MODE: u32 = 0o600;
        match root.create_file(path, MODE) {
            // Whoever took it for a dead one's before it was locked has removed it.
            Ok(file) if is_locked(&file) && is_there(root, path, &file) => Ok(Some(Self {
                root,
                path,
                _locked: file,
            })),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let file = match root.open_file(path) {
                    Ok(file) if file.metadata().is_ok_and(|facts| facts.uid() == geteuid().as_raw()) => file,
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                    // Neither a plain file nor one of our own user: somebody planted it.
                    _ => {
                        return Err(RecordError::Protocol {
                            step: "attach".to_owned(),
                            detail: format!("{path} exists in the target and is not a file of its user; remove it"),
                        });
                    }
                };
                // Left by a client that was killed.
                if is_locked(&file) && is_there(root, path, &file) {
                    remove(root, path);
                }
                Ok(None)
            }
            Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => {
                Err(RecordError::Impossible(doctor::tmp_read_only()))
            }
            Err(error) => Err(RecordError::Internal {
                step: format!("create {path}"),
                detail: error.to_string(),
            }),
        }
    }
}

/// True if it is locked by us now. Where files have no locks each is taken for ours.
fn is_locked(file: &File) -> bool {
    !matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// True if `file` is what has that name.
fn is_there(root: &TargetRoot, path: &str, file: &File) -> bool {
    let identity = |facts: Metadata| (facts.dev(), facts.ino());
    let now = root.open_file(path).and_then(|file| file.metadata()).map(identity);
    now.is_ok_and(|now| file.metadata().map(identity).is_ok_and(|ours| ours == now))
}

impl Drop for Trigger<'_> {
    fn drop(&mut self) {
        remove(self.root, self.path);
    }
}

/// Removes the file of a client that was killed in the middle of its handshake, which takes seconds.
pub fn sweep_trigger(root: &TargetRoot, process: &Process) {
    const ABANDONED: Duration = Duration::from_secs(60);
    let path = trigger_path(process);
    let facts = root.open_file(&path).and_then(|file| file.metadata());
    let abandoned = facts.is_ok_and(|facts| {
        let age = facts.modified().ok().and_then(|modified| modified.elapsed().ok());
        facts.uid() == geteuid().as_raw() && age.is_some_and(|age| age > ABANDONED)
    });
    if abandoned {
        remove(root, &path);
    }
}

fn trigger_path(process: &Process) -> String {
    format!("/tmp/.attach_pid{}", process.namespace_pid)
}

fn remove(root: &TargetRoot, path: &str) {
    let name = path.rsplit('/').next().unwrap_or_default();
    // Gone already is what we want; anything else cannot be helped.
    let _ = root.open_directory("/tmp").and_then(|tmp| tmp.remove_file(name));
}

/// The end of a step.
#[derive(Debug)]
struct Deadline<'a> {
    step: &'a str,
    limit: Duration,
    end: Instant,
}

impl<'a> Deadline<'a> {
    fn after(step: &'a str, limit: Duration) -> Self {
        Self {
            step,
            limit,
            end: Instant::now() + limit,
        }
    }

    fn left(&self) -> Result<Duration, RecordError> {
        match self.end.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(RecordError::Timeout {
                step: self.step.to_owned(),
                seconds: self.limit.as_secs().max(1),
            }),
            left => Ok(left),
        }
    }

    fn pause(&self, waits: &Waits<'_>, duration: Duration) -> Result<(), RecordError> {
        waits.pause(duration.min(self.left()?))
    }

    fn protocol(&self, detail: String) -> RecordError {
        RecordError::Protocol {
            step: self.step.to_owned(),
            detail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_recorder_at_a_time_has_the_file_that_wakes_a_jvm() {
        let (root, directory, process) = TargetRoot::example();
        let path = trigger_path(&process);
        let file = directory.path().join(format!("{}/root{path}", process.id.pid));
        let create = || Trigger::create(&root, &path);
        let first = create().unwrap().unwrap();
        assert!(create().unwrap().is_none() && file.exists(), "the first lives");
        drop(first);
        assert!(!file.exists());
        // Of one that was killed, whose lock went with it.
        std::fs::write(&file, "").unwrap();
        assert!(create().unwrap().is_none() && !file.exists());
        let again = create().unwrap().unwrap();
        // Taken for a dead one's: what lies there now is another's, and no lock of ours.
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, "").unwrap();
        assert!(!is_there(&root, &path, &again._locked));
        drop(again);
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        let planted = create().unwrap_err();
        assert!(planted.to_string().contains("is not a file of its user"), "{planted}");
    }
}
