//! The socket to which runtimes connect by themselves, of whatever pid namespace: .NET with `DOTNET_DiagnosticPorts`.
//!
//! A runtime dials, says 34 bytes of fixed form, and waits for one command; then it dials anew. The server reads those 34 bytes and
//! not one more. The connection goes to a child over a line (`line`), which knows what to say on it. Nothing here wakes up while
//! nothing comes and none goes.
//!
//! Who dials is anyone that has the volume. So connections that have said nothing share a few places, of which the newest takes the
//! oldest's; a runtime is known by its cookie *and* what the kernel says of its process (`callers`); and no user has all places. A
//! caller gains nothing but our questions. Called by [`super::inspect`] and [`super::record`]; opened by `cli/serve`.

mod callers;
mod line;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{sleep, timeout};

use crate::process::ProcessTable;
use crate::runtime::{Advertise, Caller};
use callers::Callers;

pub(super) use callers::Known;
pub(super) use line::ServedLine;

/// How long a connection may take to say who it is; a runtime says it in the same breath.
const GREETING: Duration = Duration::from_secs(5);

/// Connections at a time that have not said who they are.
const UNNAMED: usize = 16;

/// How long to wait when the process has no descriptor left.
const AGAIN: Duration = Duration::from_secs(1);

/// Our socket, and who is connected to it. It is removed when dropped.
#[derive(Debug)]
pub struct Port {
    path: PathBuf,
    callers: Arc<Callers>,
    accepting: JoinHandle<()>,
}

impl Port {
    /// Listens at `path`, where the socket of a server that is gone is replaced. Processes are those of `table`. To be called
    /// inside a tokio runtime.
    ///
    /// # Errors
    /// Somebody listens there, something else is there, or the socket cannot be made.
    pub fn open(path: &Path, table: ProcessTable) -> io::Result<Self> {
        let told =
            |error: io::Error| io::Error::new(error.kind(), format!("failed to listen on {}: {error}", path.display()));
        remove_left(path).map_err(told)?;
        let listener = UnixListener::bind(path).map_err(told)?;
        // To connect takes the right to write, and apps run as any user. What they gain is to be asked.
        std::fs::set_permissions(path, Permissions::from_mode(0o666)).map_err(told)?;
        let callers = Arc::new(Callers::default());
        let accepting = tokio::spawn(accept(listener, Arc::clone(&callers), table));
        Ok(Self {
            path: path.to_owned(),
            callers,
            accepting,
        })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Everyone who is connected, or was a moment ago.
    pub(super) fn known(&self) -> Vec<Known> {
        self.callers.list()
    }

    /// What `caller` said of itself, for as long as it is known.
    pub(super) fn remember(&self, caller: &Caller, said: callers::Said) {
        self.callers.remember(caller, said);
    }

    /// A line by which a child gets the connections of `caller` and of no one else; `None` if it is not known any more.
    ///
    /// # Errors
    /// No socket could be made.
    pub(super) fn line(&self, caller: &Caller) -> io::Result<Option<ServedLine>> {
        ServedLine::to(&self.callers, caller)
    }

    /// True if no runtime is connected.
    pub fn is_idle(&self) -> bool {
        self.callers.list().is_empty()
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.accepting.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Removes the socket of a server that is gone.
fn remove_left(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => {}
        // Binding says what is wrong with anything else.
        _ => return Ok(()),
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(probe.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) | Err(nix::errno::Errno::EAGAIN) => Err(ErrorKind::AddrInUse.into()),
        Err(_) => std::fs::remove_file(path),
    }
}

async fn accept(listener: UnixListener, callers: Arc<Callers>, table: ProcessTable) {
    let mut unnamed = VecDeque::<AbortHandle>::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "could not accept a runtime");
                sleep(AGAIN).await;
                continue;
            }
        };
        unnamed.retain(|greeting| !greeting.is_finished());
        if unnamed.len() == UNNAMED
            && let Some(oldest) = unnamed.pop_front()
        {
            oldest.abort();
        }
        let greeting = tokio::spawn(greet(stream, Arc::clone(&callers), table.clone()));
        unnamed.push_back(greeting.abort_handle());
    }
}

/// Reads who it is. A connection that says anything else, or nothing, is closed.
async fn greet(mut stream: UnixStream, callers: Arc<Callers>, table: ProcessTable) {
    let mut bytes = [0; Advertise::LENGTH];
    let Ok(Ok(_)) = timeout(GREETING, stream.read_exact(&mut bytes)).await else {
        return;
    };
    let (Some(advertise), Ok(peer)) = (Advertise::decode(&bytes), stream.peer_cred()) else {
        return;
    };
    // The kernel says 0 of a process that our pid namespace does not show.
    let pid = peer.pid().filter(|pid| *pid > 0);
    let caller = Caller {
        cookie: advertise.cookie,
        process: pid.and_then(|pid| table.id_of(pid)),
        uid: peer.uid(),
        gid: peer.gid(),
    };
    callers.arrive(caller, advertise.pid, stream);
}
