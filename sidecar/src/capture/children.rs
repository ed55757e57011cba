//! Starts our own executable again as a child: inspector, recorder, renderer or sweeper.
//!
//! A child inherits stdin, stdout and stderr and nothing else (every descriptor of ours is CLOEXEC) and an empty
//! environment: what the operator put there, also a token, is none of its business.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use nix::libc::{SIGABRT, SIGKILL};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::CaptureError;

/// A command that runs `role` of our own executable; killed when its handle is dropped.
///
/// `/proc/self/exe` is the file we were started from, also after it was replaced or removed.
pub fn command(role: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(role)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.kill_on_drop(true);
    command
}

/// Runs a short child to its end: `input` to its stdin, everything it says back.
///
/// # Errors
/// It could not be started, took longer than `limit`, or ended with an error (then its stderr is the detail).
pub async fn run(role: &'static str, input: &[u8], limit: Duration) -> Result<Output, CaptureError> {
    let failed = |error: &dyn std::fmt::Display| CaptureError::internal(role, error);
    let mut child = command(role).spawn().map_err(|error| failed(&error))?;
    let stdin = child.stdin.take();
    let talk = async move {
        if let Some(mut stdin) = stdin {
            // A child that ends without reading says why on stderr.
            let _ = stdin.write_all(input).await;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(limit, talk).await;
    let output = output.map_err(|_| failed(&format!("no answer within {} s", limit.as_secs())))?;
    let output = output.map_err(|error| failed(&error))?;
    if out_of_memory(output.status, &String::from_utf8_lossy(&output.stderr)) {
        return Err(CaptureError::OutOfMemory { child: role });
    }
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr[..output.stderr.len().min(2000)]).into_owned();
        return Err(failed(&format!("{}: {}", output.status, stderr.trim())));
    }
    Ok(output)
}

/// True if a child that we did not kill was killed, as the kernel does at the container's memory limit, or was refused
/// memory by its own limit.
pub fn out_of_memory(status: ExitStatus, stderr: &str) -> bool {
    match status.signal() {
        Some(SIGKILL) => true,
        // The words of Rust's allocator before it aborts.
        Some(SIGABRT) => stderr.contains("memory allocation of"),
        _ => false,
    }
}
