//! A process that cannot turn into another one: what holds it knows when it is gone, even if its pid is reused.
//!
//! Called by whoever signals a target.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{ProcessId, ProcessTable};

/// A descriptor of one process (`man 2 pidfd_open`).
#[derive(Debug)]
pub struct ProcessHandle(OwnedFd);

impl ProcessHandle {
    /// Opens the process of this identity.
    ///
    /// # Errors
    /// `ESRCH` if it is gone, also if another one has its pid.
    pub fn open(table: &ProcessTable, id: ProcessId) -> io::Result<Self> {
        let pid = Pid::from_raw(id.pid).ok_or(rustix::io::Errno::SRCH)?;
        let handle = pidfd_open(pid, PidfdFlags::empty())?;
        // Afterwards: whatever has the pid now, the descriptor is of it or of one that has exited.
        if table.is_alive(id) {
            Ok(Self(handle))
        } else {
            Err(rustix::io::Errno::SRCH.into())
        }
    }

    /// Sends SIGQUIT.
    ///
    /// # Errors
    /// `ESRCH` if the process has exited, `EPERM` without the right.
    pub fn quit(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.0, Signal::QUIT)?)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    use super::*;

    /// A process that dies of SIGQUIT, which a shell has those ignore that it starts in the background.
    fn sleeper() -> (Child, ProcessId) {
        let mut command = Command::new("env");
        let child = command.args(["--default-signal=QUIT", "sleep", "60"]).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let sleeps = || {
            ProcessTable::default()
                .get(pid)
                .filter(|process| process.command == "sleep")
        };
        loop {
            match sleeps() {
                Some(process) => return (child, process.id),
                None => std::thread::yield_now(),
            }
        }
    }

    fn gone(result: io::Result<impl std::fmt::Debug>) -> bool {
        result.unwrap_err().raw_os_error() == Some(nix::libc::ESRCH)
    }

    #[test]
    fn the_process_of_the_identity_gets_the_signal() {
        let (mut child, id) = sleeper();
        ProcessHandle::open(&ProcessTable::default(), id)
            .unwrap()
            .quit()
            .unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(nix::libc::SIGQUIT));
    }

    #[test]
    fn a_process_that_only_has_the_same_pid_gets_none() {
        let (mut child, id) = sleeper();
        let earlier = ProcessId {
            start_time: id.start_time - 1,
            ..id
        };
        assert!(gone(ProcessHandle::open(&ProcessTable::default(), earlier)));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_exits_between_check_and_signal_gets_none() {
        let (mut child, id) = sleeper();
        let handle = ProcessHandle::open(&ProcessTable::default(), id).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        // Whoever has the pid by now.
        assert!(gone(handle.quit()));
    }
}
