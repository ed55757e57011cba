//! Who is connected to the port: one waiting connection each, the newest.
//!
//! Knows no bytes. A connection that ends, or on which something is said unasked, is dropped. Called by [`super`].

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use crate::process::ProcessId;
use crate::runtime::{Caller, Introduction};

/// Runtimes that are kept; a pod has a handful of containers.
const MOST: usize = 64;

/// Of one user and group: none can keep the others out.
const MOST_OF_USER: usize = 32;

/// How long a runtime whose connection was taken is still known: it dials anew within a millisecond, one without CPU within its
/// share of a second.
const BETWEEN: Duration = Duration::from_secs(10);

/// What a runtime said when it was asked who it is, or why that is not known, and when it was asked.
pub(in crate::child) type Said = (Instant, Result<Introduction, String>);

/// A runtime as others see it.
#[derive(Debug, Clone)]
pub(in crate::child) struct Known {
    /// Whose connections it has.
    pub(in crate::child) caller: Caller,
    /// Its identity: that of its row in `/proc`, or one of ours.
    pub(in crate::child) id: ProcessId,
    /// What it said of itself.
    pub(in crate::child) said: Option<Said>,
}

/// All runtimes.
#[derive(Debug, Default)]
pub(super) struct Callers {
    table: Mutex<Table>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Table {
    runtimes: Vec<Runtime>,
    /// How many runtimes there have been.
    count: u64,
    /// How many connections.
    connections: u64,
    said_full: bool,
}

#[derive(Debug)]
struct Runtime {
    caller: Caller,
    id: ProcessId,
    waiting: Option<Waiting>,
    /// When its last connection was taken or ended.
    without_since: Instant,
    lines: usize,
    said: Option<Said>,
}

/// A connection on which nothing was said yet, and who looks after it.
#[derive(Debug)]
struct Waiting {
    number: u64,
    stream: Arc<UnixStream>,
    watch: AbortHandle,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Callers {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a connection of `caller`, whose pid in its own pid namespace is `pid`.
    pub(super) fn arrive(self: &Arc<Self>, caller: Caller, pid: i32, stream: UnixStream) {
        let mut table = self.table();
        let at = match table.place(caller, pid) {
            Some(at) => at,
            None => {
                if !std::mem::replace(&mut table.said_full, true) {
                    tracing::warn!(uid = caller.uid, "too many runtimes are connected; no more are taken");
                }
                return;
            }
        };
        table.connections += 1;
        let number = table.connections;
        let stream = Arc::new(stream);
        let watched = watch(Arc::clone(self), caller, number, Arc::clone(&stream));
        table.runtimes[at].waiting = Some(Waiting {
            number,
            stream,
            watch: tokio::spawn(watched).abort_handle(),
        });
        drop(table);
        self.arrived.notify_waiters();
    }

    /// A connection ended, or is not to be used.
    fn lose(&self, caller: &Caller, number: u64) {
        let mut table = self.table();
        let Some(at) = table.find(caller) else { return };
        let runtime = &mut table.runtimes[at];
        if runtime.waiting.as_ref().is_some_and(|waiting| waiting.number == number) {
            runtime.waiting = None;
            runtime.without_since = Instant::now();
            // It was not taken, so the runtime is gone. Who has a line waits for it all the same.
            if runtime.lines == 0 {
                table.runtimes.swap_remove(at);
            }
        }
    }

    /// Takes the connection of `caller`, or its next one if that comes within `limit`.
    pub(super) async fn take(&self, caller: &Caller, limit: Duration) -> Option<Arc<UnixStream>> {
        let deadline = Instant::now() + limit;
        loop {
            let mut arrived = std::pin::pin!(self.arrived.notified());
            arrived.as_mut().enable();
            {
                let mut table = self.table();
                let at = table.find(caller)?;
                let runtime = &mut table.runtimes[at];
                if let Some(waiting) = runtime.waiting.take() {
                    runtime.without_since = Instant::now();
                    return Some(Arc::clone(&waiting.stream));
                }
            }
            timeout_at(deadline, arrived).await.ok()?;
        }
    }

    /// Everyone.
    pub(super) fn list(&self) -> Vec<Known> {
        let mut table = self.table();
        table.forget();
        let known = table.runtimes.iter().map(|runtime| Known {
            caller: runtime.caller,
            id: runtime.id,
            said: runtime.said.clone(),
        });
        known.collect()
    }

    pub(super) fn remember(&self, caller: &Caller, said: Said) {
        let mut table = self.table();
        if let Some(at) = table.find(caller) {
            table.runtimes[at].said = Some(said);
        }
    }

    /// Keeps `caller` known for one line more, or one less. True if it was.
    pub(super) fn hold(&self, caller: &Caller, by: isize) -> bool {
        let mut table = self.table();
        table.forget();
        let Some(at) = table.find(caller) else { return false };
        let runtime = &mut table.runtimes[at];
        runtime.lines = runtime.lines.saturating_add_signed(by);
        true
    }
}

impl Table {
    fn find(&self, caller: &Caller) -> Option<usize> {
        self.runtimes.iter().position(|runtime| runtime.caller == *caller)
    }

    /// Where the connection of `caller` belongs; `None` if there is no room.
    fn place(&mut self, caller: Caller, pid: i32) -> Option<usize> {
        if let Some(at) = self.find(&caller) {
            return Some(at);
        }
        self.forget();
        // A process has one runtime; another cookie means another program in it.
        self.runtimes.retain(|runtime| {
            caller.process.is_none() || runtime.caller.process != caller.process || runtime.lines > 0
        });
        let same_user = |runtime: &&Runtime| (runtime.caller.uid, runtime.caller.gid) == (caller.uid, caller.gid);
        if self.runtimes.len() >= MOST || self.runtimes.iter().filter(same_user).count() >= MOST_OF_USER {
            return None;
        }
        self.count += 1;
        self.runtimes.push(Runtime {
            caller,
            id: caller.process.unwrap_or(ProcessId::outside(pid, self.count)),
            waiting: None,
            without_since: Instant::now(),
            lines: 0,
            said: None,
        });
        Some(self.runtimes.len() - 1)
    }

    /// Drops those that have not dialled anew.
    fn forget(&mut self) {
        self.runtimes.retain(|runtime| {
            runtime.waiting.is_some() || runtime.lines > 0 || runtime.without_since.elapsed() < BETWEEN
        });
    }
}

/// Waits until something happens on a connection on which nothing should.
async fn watch(callers: Arc<Callers>, caller: Caller, number: u64, stream: Arc<UnixStream>) {
    let nothing = || {
        let mut byte = [0_u8];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match stream.try_io(Interest::READABLE, || Ok(recv(stream.as_fd(), &mut byte[..], flags)?)) {
            Err(error) => error.kind() == ErrorKind::WouldBlock,
            Ok(_) => false,
        }
    };
    while stream.readable().await.is_ok() && nothing() {}
    callers.lose(&caller, number);
}
