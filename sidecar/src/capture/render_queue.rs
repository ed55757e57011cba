//! One renderer at a time, over all captures: each may use what the container's memory leaves, and two at once would be
//! the end of the server. Called by [`super::artifact`].

use std::future::Future;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::CaptureError;

/// How long a request waits for the renderers of others. One of them may take two minutes, but then something is wrong.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Who may render.
#[derive(Debug)]
pub struct RenderQueue(Semaphore);

impl Default for RenderQueue {
    fn default() -> Self {
        Self(Semaphore::new(1))
    }
}

/// When the waiting of a request ends, whatever it waits for.
#[derive(Debug, Clone, Copy)]
pub struct WaitUntil(Instant);

impl WaitUntil {
    /// For a request that comes now.
    pub fn of_now() -> Self {
        Self(Instant::now() + LONGEST_WAIT)
    }

    /// What `future` gives, in time.
    ///
    /// # Errors
    /// [`CaptureError::Busy`].
    pub async fn wait<T>(self, future: impl Future<Output = T>) -> Result<T, CaptureError> {
        timeout_at(self.0, future).await.map_err(|_| CaptureError::Busy {
            what: format!("other artifacts were rendered for {} s", LONGEST_WAIT.as_secs()),
            retry_after: 10,
        })
    }
}

impl RenderQueue {
    /// The right to run a renderer, in the order of asking; given back when dropped.
    ///
    /// # Errors
    /// [`CaptureError::Busy`].
    pub async fn turn(&self, until: WaitUntil) -> Result<SemaphorePermit<'_>, CaptureError> {
        let turn = until.wait(self.0.acquire()).await?;
        turn.map_err(|closed| CaptureError::internal("wait for a renderer", &closed))
    }
}
