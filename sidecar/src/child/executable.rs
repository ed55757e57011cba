//! What is started as a child. A value, so that a test can let a script play a child that misbehaves.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::{Child, Command};

/// A program and the arguments that make it a child of ours.
#[derive(Debug, Clone)]
pub struct Executable {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Default for Executable {
    /// Our own hidden command. `/proc/self/exe` is the file we were started from, also after it was replaced or removed.
    fn default() -> Self {
        Self {
            program: "/proc/self/exe".into(),
            arguments: vec!["child".into()],
        }
    }
}

impl Executable {
    /// A shell that runs `script`; the channel is its standard input, for both directions.
    #[cfg(test)]
    pub(crate) fn script(script: &str) -> Self {
        Self {
            program: "/bin/sh".into(),
            arguments: ["-c", script].map(OsString::from).to_vec(),
        }
    }

    /// Starts it with `channel` as its standard input. It is killed when the handle is dropped.
    ///
    /// It inherits no other descriptor (all of ours are CLOEXEC) and an empty environment: what the operator put there,
    /// also a token, is not for children. A process list shows its role by its zeroth argument.
    pub(super) fn spawn(&self, role: &str, channel: OwnedFd) -> std::io::Result<Child> {
        Command::new(&self.program)
            .arg0(format!("sideflame-{role}"))
            .args(&self.arguments)
            .env_clear()
            .stdin(Stdio::from(channel))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    }
}
