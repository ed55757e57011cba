//! The server's side of a renderer child: recording in, artifact out.

use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{CaptureError, children};
use crate::format::{Format, RecordingKind};
use crate::profile::Quality;
use crate::runtime::NoRoom;

/// A renderer holds a bounded profile in memory; minutes would mean it hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// What a renderer is told, as one JSON argument: nothing in it is secret inside the pod.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenderOrder {
    /// What stdin holds.
    pub kind: RecordingKind,
    /// What stdout gets.
    pub format: Format,
    /// The stamp.
    pub quality: Quality,
    /// Which of a profile's sample types a flame graph shows.
    pub sample_type: Option<String>,
    /// Largest artifact.
    pub max_bytes: u64,
}

/// A renderer's last word, as one line of JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RenderReport {
    /// The artifact is whole; the stamp is completed.
    Done(Box<Quality>),
    /// The artifact did not fit.
    NoRoom(NoRoom),
    /// The recording cannot be rendered, and why.
    Failed(String),
}

/// Renders `recording` into `artifact`; gives back the stamp with what rendering counted.
///
/// # Errors
/// [`CaptureError::NoRoom`], [`CaptureError::OutOfMemory`], else the renderer's own words.
pub async fn run(order: &RenderOrder, recording: File, artifact: File) -> Result<Quality, CaptureError> {
    let failed = |error: &dyn std::fmt::Display| CaptureError::Render(error.to_string());
    let json = serde_json::to_string(order).map_err(|error| failed(&error))?;
    let child = children::command("renderer")
        .arg(json)
        .stdin(Stdio::from(recording))
        .stdout(Stdio::from(artifact))
        .spawn()
        .map_err(|error| failed(&error))?;
    let output = timeout(LIMIT, child.wait_with_output()).await;
    let output = output.map_err(|_| failed(&format!("not finished after {} s", LIMIT.as_secs())))?;
    let output = output.map_err(|error| failed(&error))?;
    let said = String::from_utf8_lossy(&output.stderr[..output.stderr.len().min(2000)]).into_owned();
    match serde_json::from_str(said.lines().last().unwrap_or_default()) {
        Ok(RenderReport::Done(quality)) => Ok(*quality),
        Ok(RenderReport::NoRoom(limit)) => Err(CaptureError::NoRoom(limit)),
        Ok(RenderReport::Failed(words)) => Err(failed(&words)),
        Err(_) if children::out_of_memory(output.status, &said) => Err(CaptureError::OutOfMemory { child: "renderer" }),
        Err(_) => Err(failed(&format!("{} ({})", said.trim(), output.status))),
    }
}
