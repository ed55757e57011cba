//! Annotated pods as a load on the webhook, created as dry runs so that nothing stays.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::control_plane::{ControlPlane, wait};
use crate::webhook::{dry_run, is_injected};

/// Says stop when dropped: else a scope would wait for ever where what it is for fails.
#[derive(Debug)]
pub struct Stopping<'a>(pub &'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The pods that were created so far.
#[derive(Debug)]
pub struct Load<'a>(&'a AtomicU32);

impl Load<'_> {
    /// Waits until `count` more pods have been created.
    ///
    /// # Panics
    /// That takes longer than a minute.
    pub fn wait_for(&self, count: u32) {
        let enough = self.0.load(Ordering::Relaxed) + count;
        wait("load", Duration::from_secs(60), || {
            (self.0.load(Ordering::Relaxed) >= enough).then_some(())
        });
    }
}

/// Creates 50 annotated pods a second while `act` runs; gives how many of them were missed.
///
/// # Panics
/// The API server refuses one.
pub fn under_load(plane: &'static ControlPlane, act: impl FnOnce(Load<'_>)) -> u32 {
    const THREADS: u32 = 5;
    const PER_SECOND: u32 = 50;
    let (made, missed) = (AtomicU32::new(0), AtomicU32::new(0));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stopping = Stopping(&stop);
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut next = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    if !is_injected(&dry_run(plane)) {
                        missed.fetch_add(1, Ordering::Relaxed);
                    }
                    made.fetch_add(1, Ordering::Relaxed);
                    next += Duration::from_secs(1) * THREADS / PER_SECOND;
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            });
        }
        act(Load(&made));
    });
    missed.into_inner()
}
