//! The server's end of a line: hands the connections of one runtime to one child, one for each byte that it says.
//!
//! A child that was taken over gets connections to the runtime that it was started for anyway. The listening socket itself is never
//! handed out: on it come all runtimes. Called by [`super`].

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::task::AbortHandle;

use super::callers::Callers;
use crate::descriptors;
use crate::runtime::Caller;

/// How long a runtime may take to dial anew; beyond that it is gone, or hangs.
const NEXT: Duration = Duration::from_secs(5);

/// Connections over one line. A recording takes two of them, and one for each command that an old runtime does not know.
const MOST: usize = 64;

/// A line as long as it is served.
#[derive(Debug)]
pub(in crate::child) struct ServedLine {
    callers: Arc<Callers>,
    caller: Caller,
    serving: AbortHandle,
    end: OwnedFd,
}

impl ServedLine {
    pub(super) fn to(callers: &Arc<Callers>, caller: &Caller) -> io::Result<Option<Self>> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let ours = UnixStream::from_std(ours)?;
        if !callers.hold(caller, 1) {
            return Ok(None);
        }
        let serving = tokio::spawn(serve(Arc::clone(callers), *caller, ours));
        Ok(Some(Self {
            callers: Arc::clone(callers),
            caller: *caller,
            serving: serving.abort_handle(),
            end: theirs.into(),
        }))
    }
}

impl AsFd for ServedLine {
    /// The child's end.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}

impl Drop for ServedLine {
    fn drop(&mut self) {
        self.serving.abort();
        self.callers.hold(&self.caller, -1);
    }
}

async fn serve(callers: Arc<Callers>, caller: Caller, mut line: UnixStream) {
    for _ in 0..MOST {
        if !matches!(line.read(&mut [0]).await, Ok(1)) {
            return;
        }
        // A byte that is not read yet has room in an empty socket.
        let answered = match callers.take(&caller, NEXT).await {
            Some(connection) => descriptors::send(&line, 1, &[connection.as_fd()]),
            None => descriptors::send(&line, 0, &[]),
        };
        if answered.is_err() {
            return;
        }
    }
}
