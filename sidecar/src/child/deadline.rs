//! How long children may take, and the one clock of a capture.

use std::time::Duration;

use tokio::time::Instant;

/// All bounds on children. Values, so that tests need not wait.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// On top of a recorder's sampling time. A .NET rundown of a large app takes minutes; the recorder itself ends a
    /// step that makes no progress much earlier.
    pub grace: Duration,
    /// What a recorder gets to stop a profiler and remove its files before it is killed.
    pub clean_up: Duration,
    /// What the sweep after a killed recorder gets.
    pub sweep: Duration,
    /// Until the kernel gives back a child that was killed.
    pub reap: Duration,
    /// For an inspector with several processes, each of which may take 2 s: all its Go programs listen on ports that
    /// never answer; and some more for a starved CPU.
    pub inspect: Duration,
    /// For an inspector with one process.
    pub inspect_one: Duration,
    /// A renderer holds a bounded profile in memory; minutes would mean it hangs.
    pub render: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(300),
            clean_up: Duration::from_secs(13),
            sweep: Duration::from_secs(10),
            reap: Duration::from_secs(1),
            inspect: Duration::from_secs(20),
            inspect_one: Duration::from_secs(10),
            render: Duration::from_secs(120),
        }
    }
}

/// Where a capture stands, as far as time is concerned. It only moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Until the sampling time and the grace are over.
    Sampling,
    /// It was asked to end early.
    Stopping,
    /// Nothing of it is wanted any more but a clean target.
    CleanUp,
}

/// The deadline of the present stage: absolute, and unmoved by anything said in the stage, also by entering it again.
#[derive(Debug)]
pub(super) struct Deadline {
    stage: Stage,
    until: Instant,
}

impl Deadline {
    /// A capture that samples for `seconds` from now on.
    pub(super) fn new(seconds: u64, timeouts: &Timeouts) -> Self {
        Self {
            stage: Stage::Sampling,
            until: Instant::now() + Duration::from_secs(seconds) + timeouts.grace,
        }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// Ends the sampling time: only the grace is left.
    pub(super) fn stop(&mut self, timeouts: &Timeouts) {
        if self.stage < Stage::Stopping {
            self.stage = Stage::Stopping;
            self.until = self.until.min(Instant::now() + timeouts.grace);
        }
    }

    /// Begins the clean-up.
    pub(super) fn clean_up(&mut self, timeouts: &Timeouts) {
        if self.stage < Stage::CleanUp {
            self.stage = Stage::CleanUp;
            self.until = Instant::now() + timeouts.clean_up;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_does_not_kill_us_before_everything_is_clean() {
        // It sends SIGKILL 30 s after SIGTERM; 5 s are for connections and the store.
        let Timeouts {
            clean_up, sweep, reap, ..
        } = Timeouts::default();
        assert!(clean_up + reap + sweep + reap <= Duration::from_secs(25));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_never_moves_within_its_stage() {
        let timeouts = Timeouts::default();
        let mut deadline = Deadline::new(30, &timeouts);
        let began = Instant::now();
        assert_eq!(deadline.until() - began, Duration::from_secs(330));
        tokio::time::advance(Duration::from_secs(10)).await;
        deadline.stop(&timeouts);
        assert_eq!(deadline.until() - began, Duration::from_secs(310));
        tokio::time::advance(Duration::from_secs(10)).await;
        deadline.stop(&timeouts);
        assert_eq!(deadline.until() - began, Duration::from_secs(310));
        deadline.clean_up(&timeouts);
        for _ in 0..20 {
            tokio::time::advance(Duration::from_secs(1)).await;
            deadline.clean_up(&timeouts);
            deadline.stop(&timeouts);
        }
        assert_eq!(deadline.until() - began, Duration::from_secs(20) + timeouts.clean_up);
        assert_eq!(deadline.stage(), Stage::CleanUp);
    }
}
