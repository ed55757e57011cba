//! Annotated pods as a load on the webhook, created as dry runs so that nothing stays.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::control_plane::ControlPlane;
use crate::webhook::{dry_run, is_injected};

/// Says stop when dropped.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Creates 50 annotated pods a second while `act` runs; gives how many and how many of them were missed.
///
/// # Panics
/// The API server refuses one.
pub fn under_load(plane: &'static ControlPlane, act: impl FnOnce()) -> (u32, u32) {
    const THREADS: u32 = 5;
    const PER_SECOND: u32 = 50;
    let (made, missed) = (AtomicU32::new(0), AtomicU32::new(0));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also when `act` panics; the scope would wait for ever.
        let _stopping = Stopping(&stop);
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut next = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    made.fetch_add(1, Ordering::Relaxed);
                    if !is_injected(&dry_run(plane)) {
                        missed.fetch_add(1, Ordering::Relaxed);
                    }
                    next += Duration::from_secs(1) * THREADS / PER_SECOND;
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            });
        }
        act();
    });
    (made.into_inner(), missed.into_inner())
}
