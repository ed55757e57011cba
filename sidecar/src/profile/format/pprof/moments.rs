//! When the samples of a profile were, which `profile.proto` has no place for: a field of ours in each of its samples.
//!
//! Tools that do not know the field step over it, as protobuf demands, and `go tool pprof` does. It has the length of an interval in
//! milliseconds, and then for each interval with samples its number and its share of every value. Called by the writer, the reader and
//! the recorder of machine code.

use std::collections::HashMap;

/// The moments of a profile's samples, by their rows.
#[derive(Debug, Default)]
pub struct Moments {
    /// Milliseconds of an interval.
    interval: u64,
    rows: HashMap<usize, Vec<u64>, ahash::RandomState>,
}

impl Moments {
    /// Of intervals of so many milliseconds.
    pub fn new(interval: u64) -> Self {
        Self {
            interval,
            rows: HashMap::default(),
        }
    }

    /// Of the sample in `row`, so much of each value was in that interval.
    pub fn add(&mut self, row: usize, interval: u32, values: &[u64]) {
        let length = self.interval;
        let packed = self.rows.entry(row).or_insert_with(|| vec![length]);
        packed.push(interval.into());
        packed.extend_from_slice(values);
    }

    /// What is written of a row; nothing if it has no times.
    pub(super) fn packed(&self, row: usize) -> &[u64] {
        self.rows.get(&row).map_or(&[], Vec::as_slice)
    }
}

/// Tells of each interval with samples its beginning, in nanoseconds, and the values of a sample that has `width` of them. What is cut is
/// left out.
pub(super) fn each<E>(
    packed: &[u64],
    width: usize,
    mut take: impl FnMut(u64, &[i64]) -> Result<(), E>,
) -> Result<(), E> {
    let Some((length, intervals)) = packed.split_first() else {
        return Ok(());
    };
    let mut values = Vec::with_capacity(width);
    for one in intervals.chunks_exact(width + 1) {
        let nanos = one[0].saturating_mul(*length).saturating_mul(1_000_000);
        values.clear();
        values.extend(one[1..].iter().map(|value| i64::try_from(*value).unwrap_or(i64::MAX)));
        take(nanos, &values)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_comes_back_and_what_is_cut_does_not() {
        let mut moments = Moments::new(10);
        moments.add(3, 0, &[1, 100]);
        moments.add(3, 7, &[2, 200]);
        let told = |packed: &[u64]| {
            let mut told = Vec::new();
            each::<()>(packed, 2, |nanos, values| {
                told.push((nanos / 1_000_000, values.to_vec()));
                Ok(())
            })
            .unwrap();
            told
        };
        let packed = moments.packed(3);
        assert_eq!(told(packed), [(0, vec![1, 100]), (70, vec![2, 200])]);
        assert_eq!(told(&packed[..5]), [(0, vec![1, 100])]);
        assert!(told(moments.packed(4)).is_empty());
        assert_eq!(told(&[u64::MAX, u64::MAX, u64::MAX, 0])[0].1, [i64::MAX, 0]);
    }
}
