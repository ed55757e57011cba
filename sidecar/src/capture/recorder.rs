//! The server's side of a recorder child: starts it, listens to its reports, steers it, and cleans up after it.

use std::fs::File;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::budget::Lease;
use super::children;
use super::state::Order;
use crate::profile::Quality;
use crate::runtime::{self, Phase, RecordError, RecordOrder, Report, Target};

/// On top of the sampling time. A .NET rundown of a large app takes minutes; the recorder itself ends a step that
/// makes no progress much earlier.
const GRACE: Duration = Duration::from_secs(300);

/// What a recorder gets to stop a profiler and remove its files before it is killed. Kubernetes kills us after 30 s.
const CLEAN_UP: Duration = Duration::from_secs(15);

/// Room a recorder gets at a time: a question each 4 MiB costs nothing, and no capture holds more than that unused.
const STEP: u64 = 4 << 20;

/// A line on stderr longer than this is not ours.
const LONGEST_LINE: usize = 64 << 10;

/// Runs one recorder to its end; `lease` grows with its recording.
///
/// # Errors
/// What the recorder reported; [`RecordError::OutOfMemory`] or [`RecordError::Internal`] with its stderr if it died
/// without a word.
pub async fn run(
    order: &RecordOrder,
    output: File,
    lease: &mut Lease,
    mut orders: mpsc::Receiver<Order>,
    mut entered: impl FnMut(Phase),
) -> Result<Quality, RecordError> {
    let internal = |step: &str, error: &dyn std::fmt::Display| RecordError::Internal {
        step: step.to_owned(),
        detail: error.to_string(),
    };
    let mut child = children::command("recorder")
        .stdout(Stdio::from(output))
        .spawn()
        .map_err(|e| internal("start a recorder", &e))?;
    let mut stdin = child.stdin.take();
    let mut line = serde_json::to_vec(order).map_err(|error| internal("write the order", &error))?;
    line.push(b'\n');
    tell(&mut stdin, &line).await;

    let mut reports = child.stderr.take().map(BufReader::new);
    let deadline = Instant::now() + Duration::from_secs(order.seconds) + GRACE;
    let mut outcome = None;
    let mut said = String::new();
    let mut cancelled = false;
    let mut buffer = Vec::new();
    loop {
        let until = if cancelled { Instant::now() + CLEAN_UP } else { deadline };
        tokio::select! {
            line = next_line(&mut reports, &mut buffer) => match line {
                None => break,
                Some(text) => match serde_json::from_str(&text) {
                    Ok(Report::Phase(phase)) => entered(phase),
                    Ok(Report::NeedsRoom) => {
                        lease.grow(STEP);
                        tell(&mut stdin, format!("room {}\n", lease.bytes()).as_bytes()).await;
                    }
                    Ok(Report::Done(quality)) => outcome = Some(Ok(*quality)),
                    Ok(Report::Failed(error)) => outcome = Some(Err(error)),
                    Err(_) if said.len() < 4000 => { said.push_str(&text); said.push('\n'); }
                    Err(_) => {}
                },
            },
            Some(command) = orders.recv() => match command {
                Order::Stop => tell(&mut stdin, b"stop\n").await,
                Order::Cancel => { stdin = None; cancelled = true; }
            },
            () = sleep_until(until) => {
                if cancelled {
                    break;
                }
                tracing::warn!("the recorder is far over its time; cancelling it");
                stdin = None;
                cancelled = true;
                outcome = Some(Err(RecordError::Timeout {
                    step: "the capture".to_owned(),
                    seconds: order.seconds + GRACE.as_secs(),
                }));
            }
        }
    }
    drop(stdin);
    let status = wait_or_kill(&mut child).await;
    let by_itself = status.is_some_and(|status| status.code().is_some());
    if !by_itself || outcome.is_none() {
        sweep(&order.target).await;
    }
    outcome.unwrap_or_else(|| {
        if cancelled {
            return Err(RecordError::Cancelled);
        }
        if status.is_some_and(|status| children::out_of_memory(status, &said)) {
            return Err(RecordError::OutOfMemory);
        }
        Err(internal(
            "record",
            &format!("the recorder died without a word; {}", said.trim()),
        ))
    })
}

/// Removes what a dead recorder left in `target`. Failing is logged: the next sweep tries again.
pub async fn sweep(target: &Target) {
    if !runtime::may_leave_something(target.runtime()) {
        return;
    }
    let swept = match serde_json::to_vec(target) {
        Ok(json) => children::run("sweeper", &json, CLEAN_UP)
            .await
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = swept {
        tracing::warn!(%error, pid = target.id().pid, "could not clean the target");
    }
}

async fn tell(stdin: &mut Option<ChildStdin>, bytes: &[u8]) {
    if let Some(stdin) = stdin {
        // A recorder that is gone closes its stderr as well, and that ends the loop.
        let _ = stdin.write_all(bytes).await;
        let _ = stdin.flush().await;
    }
}

/// The next line, `None` at the end. Cancel-safe: a partly read line stays in `buffer`.
async fn next_line<R: tokio::io::AsyncRead + Unpin>(
    reports: &mut Option<BufReader<R>>,
    buffer: &mut Vec<u8>,
) -> Option<String> {
    let reader = reports.as_mut()?;
    loop {
        let available = reader.fill_buf().await.ok()?;
        if available.is_empty() && buffer.is_empty() {
            return None;
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(available.len(), |end| end + 1);
        buffer.extend_from_slice(&available[..taken]);
        let last = available.is_empty();
        reader.consume(taken);
        if end.is_some() || last || buffer.len() > LONGEST_LINE {
            let line = String::from_utf8_lossy(buffer).trim_end().to_owned();
            buffer.clear();
            return Some(line);
        }
    }
}

/// How the child ended; `None` if we had to kill it.
async fn wait_or_kill(child: &mut Child) -> Option<ExitStatus> {
    if let Ok(status) = timeout(CLEAN_UP, child.wait()).await {
        return status.ok();
    }
    tracing::warn!("the recorder does not end; killing it");
    let _ = child.kill().await;
    None
}
