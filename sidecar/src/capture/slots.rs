//! At most one capture per target and a few per pod: two profilers in one process disturb each other, and the app
//! comes first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::CaptureError;
use crate::process::ProcessId;

/// Who is being profiled, and until about when.
#[derive(Debug)]
pub struct Slots {
    most: usize,
    taken: Arc<Mutex<HashMap<ProcessId, Instant>>>,
}

/// The right to profile one target; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    target: ProcessId,
    taken: Arc<Mutex<HashMap<ProcessId, Instant>>>,
}

impl Slots {
    /// At most `most` targets at a time.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            taken: Arc::default(),
        }
    }

    /// Takes the slot of `target` for about `duration`.
    ///
    /// # Errors
    /// [`CaptureError::Busy`] with the seconds until one becomes free.
    pub fn reserve(&self, target: ProcessId, duration: Duration) -> Result<Slot, CaptureError> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // Attach, stop and transfer come on top of the sampling time; one second covers them nearly always.
        let wait = |end: Instant| end.saturating_duration_since(Instant::now()).as_secs() + 1;
        if let Some(end) = taken.get(&target) {
            let what = format!("process {target} is being captured");
            return Err(CaptureError::Busy {
                what,
                retry_after: wait(*end),
            });
        }
        if taken.len() >= self.most {
            let what = format!("{} captures are running, the most there may be", self.most);
            let first = taken.values().min().copied();
            return Err(CaptureError::Busy {
                what,
                retry_after: first.map_or(1, wait),
            });
        }
        taken.insert(target, Instant::now() + duration);
        Ok(Slot {
            target,
            taken: Arc::clone(&self.taken),
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(pid: i32) -> ProcessId {
        ProcessId { pid, start_time: 1 }
    }

    #[test]
    fn a_target_has_one_slot_and_the_pod_a_few() {
        let slots = Slots::new(2);
        let ten = Duration::from_secs(10);
        let first = slots.reserve(id(1), ten).unwrap();
        assert!(matches!(
            slots.reserve(id(1), ten),
            Err(CaptureError::Busy {
                retry_after: 10..=11,
                ..
            })
        ));
        let _second = slots.reserve(id(2), ten).unwrap();
        assert!(matches!(slots.reserve(id(3), ten), Err(CaptureError::Busy { .. })));
        drop(first);
        slots.reserve(id(1), ten).unwrap();
    }

    #[test]
    fn a_reused_pid_is_another_target() {
        let slots = Slots::new(2);
        let _old = slots.reserve(id(1), Duration::from_secs(1)).unwrap();
        slots
            .reserve(ProcessId { pid: 1, start_time: 2 }, Duration::from_secs(1))
            .unwrap();
    }
}
