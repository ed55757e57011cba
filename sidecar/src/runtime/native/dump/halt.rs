//! All threads of a process, made to stand still for as long as its memory is copied (`ptrace`).
//!
//! As one thread is for a look at it (`threads/still`): seized and interrupted, by a thread of ours that never lets them go by a call. It
//! ends, and with it the kernel detaches them all (`exit_ptrace`): whatever else happens, a panic and the end of our process included.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::unistd::Pid;

use super::registers::Registers;
use crate::process::{ProcessTable, Task};

/// Threads that are made to stand.
pub(super) const MOST: usize = 16_384;

/// For all of them to stand. On a machine without a free CPU, a thread may not run for a second.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// A thread that waits for a device or a file system for longer is left alone: it runs no code of the program.
const UNINTERRUPTIBLE: Duration = Duration::from_secs(1);

/// Between two looks whether a thread stands. Most do within 20 µs.
const BETWEEN: Duration = Duration::from_micros(20);

/// How often whoever waits for all to stand is asked whether it still does.
const POLL: Duration = Duration::from_millis(20);

/// Registers on their way.
const AHEAD: usize = 16;

/// Why the process does not stand still.
#[derive(Debug, thiserror::Error)]
pub(super) enum HaltError {
    /// It has too many threads.
    #[error("more than {MOST} threads")]
    TooManyThreads,
    /// Some went on running.
    #[error("it took longer than {} s", LIMIT.as_secs())]
    TooSlow,
    /// The kernel does not let us trace the thread.
    #[error("{1}")]
    Refused(PathBuf, Errno),
    /// All its threads are gone.
    #[error("the process is gone")]
    Gone,
    /// Whoever waits for it gave up.
    #[error("given up")]
    GivenUp,
    /// No thread of ours can be started, or it panicked.
    #[error("{0}")]
    Broken(String),
}

/// A process whose threads stand still until this is dropped.
#[derive(Debug)]
pub(super) struct Halted {
    /// Those that stand, the first one first.
    pub(super) threads: Vec<i32>,
    /// Those that wait in the kernel and have no registers to be read.
    pub(super) unseen: usize,
    /// Bytes of [`Registers::extended`] of each.
    pub(super) extended: usize,
    began: Instant,
    registers: Option<Receiver<Result<Registers, Errno>>>,
    hold: Option<Sender<Infallible>>,
    tracer: Option<JoinHandle<()>>,
}

impl Halted {
    /// Makes all threads of `pid` stand. `goes_on` is asked now and then.
    ///
    /// # Errors
    /// See [`HaltError`]; then none stands.
    pub(super) fn new(table: &ProcessTable, pid: i32, goes_on: &mut dyn FnMut() -> bool) -> Result<Self, HaltError> {
        let broken = |error: &dyn ToString| HaltError::Broken(error.to_string());
        let (tell, told) = sync_channel(1);
        let (send, registers) = sync_channel(AHEAD);
        let (hold, held) = channel();
        let tracing = Tracing {
            table: table.clone(),
            pid,
            held,
        };
        let began = Instant::now();
        let tracer = std::thread::Builder::new().name("tracer".to_owned());
        let tracer = tracer.spawn(move || tracing.run(&tell, &send));
        // From here on it ends whenever this is dropped.
        let mut halted = Self {
            threads: Vec::new(),
            unseen: 0,
            extended: 0,
            began,
            registers: Some(registers),
            hold: Some(hold),
            tracer: Some(tracer.map_err(|error| broken(&error))?),
        };
        let standing = loop {
            match told.recv_timeout(POLL) {
                Ok(standing) => break standing?,
                Err(RecvTimeoutError::Disconnected) => return Err(broken(&"the tracer ended")),
                Err(RecvTimeoutError::Timeout) if !goes_on() => return Err(HaltError::GivenUp),
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        (halted.threads, halted.unseen) = (standing.threads, standing.unseen);
        halted.extended = standing.extended;
        Ok(halted)
    }

    /// The registers of the next thread, in the order of [`Self::threads`].
    ///
    /// # Errors
    /// It was killed meanwhile.
    pub(super) fn registers(&self) -> Result<Registers, Errno> {
        let next = self.registers.as_ref().and_then(|registers| registers.recv().ok());
        let mut next = next.unwrap_or(Err(Errno::ESRCH))?;
        next.extended.resize(self.extended, 0);
        Ok(next)
    }

    /// Lets all go on. Gives how long they stood.
    ///
    /// # Errors
    /// The tracer panicked, so that they did not stand all the time.
    pub(super) fn resume(mut self) -> Result<Duration, HaltError> {
        let ended = self.end();
        let stood = self.began.elapsed();
        ended.map(|()| stood)
    }

    fn end(&mut self) -> Result<(), HaltError> {
        // Whatever it waits for, it does so no longer.
        drop((self.registers.take(), self.hold.take()));
        match self.tracer.take().map(JoinHandle::join) {
            Some(Err(_)) => Err(HaltError::Broken("the tracer panicked".to_owned())),
            Some(Ok(())) | None => Ok(()),
        }
    }
}

impl Drop for Halted {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// What stands.
#[derive(Debug)]
struct Standing {
    threads: Vec<i32>,
    unseen: usize,
    extended: usize,
}

/// The tracer: only the thread that has seized another may look at it, and for as long as it lives that one stands.
struct Tracing {
    table: ProcessTable,
    pid: i32,
    /// Closed when all shall go on.
    held: Receiver<Infallible>,
}

impl Tracing {
    fn run(&self, tell: &SyncSender<Result<Standing, HaltError>>, send: &SyncSender<Result<Registers, Errno>>) {
        let standing = self.stop_all();
        let threads = standing
            .as_ref()
            .map_or(Vec::new(), |standing| standing.threads.clone());
        if tell.send(standing).is_err() {
            return;
        }
        for tid in threads {
            if send.send(Registers::of(Pid::from_raw(tid))).is_err() {
                return;
            }
        }
        // Nothing is ever sent.
        let _ = self.held.recv();
    }

    /// Looks again until there is none that runs: a thread that does not stand yet may start others.
    fn stop_all(&self) -> Result<Standing, HaltError> {
        let until = Instant::now() + LIMIT;
        let mut known = BTreeSet::new();
        let (mut threads, mut unseen) = (Vec::new(), 0);
        loop {
            let mut seized = Vec::new();
            for tid in self.table.threads(self.pid) {
                if !known.insert(tid) {
                    continue;
                }
                if known.len() > MOST {
                    return Err(HaltError::TooManyThreads);
                }
                if self.seize(tid)? {
                    seized.push(tid);
                }
            }
            if seized.is_empty() {
                break;
            }
            for tid in seized {
                match self.stands(tid, until)? {
                    Stands::Still => threads.push(tid),
                    Stands::InTheKernel => unseen += 1,
                    Stands::Gone => {}
                }
            }
        }
        if threads.is_empty() && unseen == 0 {
            return Err(HaltError::Gone);
        }
        threads.sort_unstable_by_key(|tid| (*tid != self.pid, *tid));
        let first = threads.first().and_then(|tid| Registers::of(Pid::from_raw(*tid)).ok());
        Ok(Standing {
            threads,
            unseen,
            extended: first.map_or(0, |registers| registers.extended.len()),
        })
    }

    /// False of one that is gone.
    fn seize(&self, tid: i32) -> Result<bool, HaltError> {
        let thread = Pid::from_raw(tid);
        let task = self.task(tid);
        match ptrace::seize(thread, ptrace::Options::empty()).and_then(|()| ptrace::interrupt(thread)) {
            Ok(()) => Ok(true),
            Err(Errno::ESRCH) => Ok(false),
            // The kernel says EPERM of one that has ended.
            Err(_) if has_ended(&task) => Ok(false),
            Err(error) => Err(HaltError::Refused(task, error)),
        }
    }

    fn stands(&self, tid: i32, until: Instant) -> Result<Stands, HaltError> {
        let (task, began) = (self.task(tid), Instant::now());
        loop {
            match ptrace::getregs(Pid::from_raw(tid)) {
                Ok(_) => return Ok(Stands::Still),
                Err(Errno::ESRCH) if has_ended(&task) => return Ok(Stands::Gone),
                Err(Errno::ESRCH) => {}
                Err(error) => return Err(HaltError::Refused(task, error)),
            }
            if self.held.try_recv() == Err(TryRecvError::Disconnected) {
                return Err(HaltError::GivenUp);
            }
            let now = Instant::now();
            if now.duration_since(began) > UNINTERRUPTIBLE.min(until.saturating_duration_since(began)) {
                match Task::read(&task).map(|task| task.state) {
                    Some('D') => return Ok(Stands::InTheKernel),
                    _ if now > until => return Err(HaltError::TooSlow),
                    _ => {}
                }
            }
            std::thread::sleep(BETWEEN);
        }
    }

    fn task(&self, tid: i32) -> PathBuf {
        self.table.directory(self.pid).join("task").join(tid.to_string())
    }
}

enum Stands {
    Still,
    InTheKernel,
    Gone,
}

fn has_ended(task: &Path) -> bool {
    Task::read(task).is_none_or(|task| matches!(task.state, 'Z' | 'X'))
}
