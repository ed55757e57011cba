//! Sweeping, both sides: removes what a killed recorder left in a target.
//!
//! Must not know what a runtime leaves: [`crate::runtime`] does.

use std::error::Error;
use std::process::ExitCode;

use serde::de::IgnoredAny;

use super::Children;
use super::order::ChildOrder;
use crate::runtime::Target;
use crate::{confine, runtime};

impl Children {
    /// Removes what a dead recorder left in `target`. Failing is logged: the next sweep tries again.
    pub async fn sweep(&self, target: &Target) {
        if !runtime::may_leave_something(target.runtime()) {
            return;
        }
        let order = ChildOrder::Sweep(Box::new(target.clone()));
        // A sweeper has nothing to say but how it ends.
        let swept = self.ask(&order, &[], (0, self.timeouts.sweep), |_: IgnoredAny| {});
        if let Err(error) = swept.await {
            tracing::warn!(%error, pid = target.id().pid, "could not clean the target");
        }
    }
}

/// The child.
///
/// # Errors
/// The identity could not be taken on; stderr then tells the server.
pub(super) fn run(target: &Target) -> Result<ExitCode, Box<dyn Error>> {
    confine::become_target(target.process.credentials)?;
    runtime::sweep(target);
    Ok(ExitCode::SUCCESS)
}
