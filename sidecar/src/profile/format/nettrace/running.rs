//! How much of each sampled thread's time was CPU time.
//!
//! The runtime samples by the clock, and marks a thread as managed or external. Managed code runs. An external thread waits, mostly; but
//! it may also be in native code, or it was stopped for the sample at a place that counts as external: on .NET 8 that is a third
//! of a loop's samples, on .NET 9 and early 10 nearly all (dotnet/runtime#123996). And managed code may wait for a CPU. What decides is
//! the kernel's count of the thread's CPU time, where the recorder has taken it: no thread has more than that, and what is missing
//! from it is spread over the external samples that do not wait by the name of their function. Called by [`super::profile_of`].

use std::collections::BTreeMap;

use super::sums::{Key, Measure, Sum};
use crate::profile::Quality;

/// Said where there is no count of threads, and the runtime's word is all there is.
const NATIVE_UNSEEN: &str = "CPU time in native code is missing: the runtime marks managed code only";
/// Said where even that says nothing.
const RUNNING_GUESSED: &str = "the runtime marks no thread as running: cpu is what does not wait by its name";
/// Said where the count of threads has filled in a part.
const APPORTIONED: &str = "time not marked as running is apportioned by the kernel's CPU time of each thread";
/// The kernel counts in hundredths of a second: that much more a thread may have run.
const TICK: u64 = 10_000_000;
/// A part that is worth a sentence: one in so many.
const WORTH_A_SENTENCE: u64 = 50;

/// Whether the stamp says what each thread did, and it is wanted.
pub(super) fn knows_threads(stamp: &Quality) -> bool {
    stamp.event.as_deref() == Some("cpu") && !stamp.threads.is_empty()
}

/// What a thread did, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Time {
    managed: u64,
    /// Not managed, and not waiting by its name.
    external: u64,
}

/// Which part of samples was CPU time.
#[derive(Debug, Clone, Copy)]
struct Shares {
    managed: f64,
    /// Of those that do not wait.
    external: f64,
}

/// Which part of each thread's samples was CPU time.
#[derive(Debug)]
pub(super) struct Running {
    /// Of threads that the kernel was asked for.
    of_thread: BTreeMap<u64, Shares>,
    of_others: Shares,
    /// What is to be said of it.
    pub(super) doubt: Option<&'static str>,
}

impl Running {
    /// Judges `rows`, of which `waits` says which wait by their names.
    pub(super) fn new(rows: &[(Key, Sum)], waits: &[bool], stamp: &Quality) -> Self {
        let (mut threads, mut all) = (BTreeMap::<u64, Time>::new(), Time::default());
        for ((key, sum), waits) in rows.iter().zip(waits) {
            let (managed, external) = match key.measure {
                Measure::Managed => (sum.weight, 0),
                Measure::External if !waits => (0, sum.weight),
                _ => continue,
            };
            for time in [threads.entry(key.thread).or_default(), &mut all] {
                time.managed = time.managed.saturating_add(managed);
                time.external = time.external.saturating_add(external);
            }
        }
        let guessed = all.managed == 0 && all.external > 0;
        let of_others = Shares {
            managed: 1.0,
            external: if guessed { 1.0 } else { 0.0 },
        };
        if !knows_threads(stamp) {
            let doubt = if guessed { RUNNING_GUESSED } else { NATIVE_UNSEEN };
            return Self {
                of_thread: BTreeMap::new(),
                of_others,
                doubt: Some(doubt),
            };
        }
        let mut apportioned = 0_u64;
        let of_thread = threads.into_iter().filter_map(|(thread, time)| {
            let used = stamp.threads.get(&thread)?.cpu_ms.saturating_mul(1_000_000);
            let missing = used.saturating_sub(time.managed).min(time.external);
            apportioned = apportioned.saturating_add(missing);
            let shares = Shares {
                managed: share(used.saturating_add(TICK).min(time.managed), time.managed),
                external: share(missing, time.external),
            };
            Some((thread, shares))
        });
        let of_thread = of_thread.collect();
        let worth = apportioned.saturating_mul(WORTH_A_SENTENCE) > all.managed;
        Self {
            of_thread,
            of_others,
            doubt: (apportioned > 0 && worth).then_some(APPORTIONED),
        }
    }

    /// The part of a sum that was CPU time: samples that met the thread running, and nanoseconds.
    pub(super) fn part(&self, key: &Key, sum: Sum, waits: bool) -> Sum {
        let shares = self.of_thread.get(&key.thread).unwrap_or(&self.of_others);
        match key.measure {
            Measure::Managed => Sum {
                weight: scaled(sum.weight, shares.managed),
                ..sum
            },
            Measure::External if !waits => Sum {
                count: scaled(sum.count, shares.external),
                weight: scaled(sum.weight, shares.external),
            },
            _ => Sum::default(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a hundred days fit exactly")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of at most 1 of a number that fits"
)]
fn scaled(number: u64, share: f64) -> u64 {
    (number as f64 * share).round() as u64
}
