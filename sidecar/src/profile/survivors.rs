//! What a sampled survivor of a JVM stands for. Called by what reads async-profiler's live objects, as text and as JFR.
//!
//! HotSpot draws the distance to the next sampled byte at random, `interval` bytes on average
//! (`threadHeapSampler.cpp`, JEP 331), so an object of `size` bytes is sampled with probability 1 − e^(−size/interval),
//! and stands for size / (1 − e^(−size/interval)) bytes: the interval if it is small, its own size if it is large.
//! async-profiler counts a survivor once and adds up the sizes (`LiveRefs::dump` in `objectSampler.cpp`: samples 1,
//! counter `size`), so that neither of its numbers alone is right: the first takes 100 MB for one interval, the second 60,000
//! objects of a kilobyte for the few hundred that were sampled.
//!
//! A stack ends with the class of the object. Its survivors have one size, but for arrays: of several, their mean counts,
//! which errs on the low side.

/// Bytes that `samples` survivors with `bytes` together stand for.
pub fn weight(samples: u64, bytes: u64, interval: u64) -> u64 {
    let (samples, bytes, interval) = (to_float(samples), to_float(bytes), to_float(interval));
    if samples == 0.0 || interval == 0.0 {
        return to_integer(bytes);
    }
    let mean = bytes / samples;
    // exp_m1 is exact where size/interval is tiny, and 1 − e^x is not.
    let sampled = -(-mean / interval).exp_m1();
    to_integer(if sampled > 0.0 {
        bytes / sampled
    } else {
        samples * interval
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the fifteenth digit of an estimate does not matter"
)]
fn to_float(value: u64) -> f64 {
    value as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and no value is negative"
)]
fn to_integer(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: u64 = 524_287;

    #[test]
    fn a_large_object_weighs_its_size() {
        assert_eq!(weight(1, 100 << 20, INTERVAL), 100 << 20);
        assert_eq!(weight(3, 300 << 20, INTERVAL), 300 << 20);
    }

    #[test]
    fn small_objects_weigh_an_interval_for_each_sample() {
        let weight = weight(200, 200 * 16, INTERVAL);
        assert!(
            (200 * INTERVAL..200 * INTERVAL + 200 * 16).contains(&weight),
            "{weight}"
        );
    }

    #[test]
    fn an_object_of_an_interval_weighs_more_than_either() {
        // 63 % of such objects are sampled.
        assert_eq!(weight(632, 632 * INTERVAL, INTERVAL) / INTERVAL, 999);
    }

    #[test]
    fn numbers_that_cannot_be_do_no_harm() {
        assert_eq!(weight(0, 0, INTERVAL), 0);
        assert_eq!(weight(5, 0, 1000), 5000);
        assert_eq!(weight(1, 7, 0), 7);
        assert_eq!(weight(1, u64::MAX, 1), u64::MAX);
    }
}
