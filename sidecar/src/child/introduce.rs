//! Introduction, both sides: has a runtime that only the port shows say who it is. What it says is the app's word, so a child with
//! no rights reads it.
//!
//! Must not know what a runtime is asked.

use std::error::Error;
use std::os::fd::AsFd;
use std::process::ExitCode;

use super::Children;
use super::channel::{Channel, LONGEST_FRAME};
use super::ending::ChildError;
use super::order::ChildOrder;
use super::port::ServedLine;
use crate::confine;
use crate::runtime::{Introduction, Line};

impl Children {
    /// Asks over `line`.
    ///
    /// # Errors
    /// The runtime does not answer, or its answer spoiled the child.
    pub(super) async fn introduce(&self, line: &ServedLine) -> Result<Introduction, ChildError> {
        let mut heard = None;
        let bounds = (LONGEST_FRAME, self.timeouts.inspect_one);
        let order = ChildOrder::Introduce;
        self.ask(&order, &[line.as_fd()], bounds, |said: Introduction| heard = Some(said))
            .await?;
        let said = heard.ok_or_else(|| ChildError::Failed {
            role: order.role(),
            detail: "it says nothing of the runtime".to_owned(),
        });
        Ok(said?.shortened())
    }
}

/// The child.
///
/// # Errors
/// The runtime did not answer; stderr then tells the server.
pub(super) fn run(mut channel: Channel) -> Result<ExitCode, Box<dyn Error>> {
    let line = channel.file()?;
    confine::drop_rights()?;
    let line = Line::new(line.into())?;
    channel.send(&Introduction::ask(&line)?.shortened())?;
    Ok(ExitCode::SUCCESS)
}
