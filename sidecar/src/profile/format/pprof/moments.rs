//! When and in which thread the samples of a profile were, which `profile.proto` has no place for: a field of ours in each of its samples.
//!
//! Tools that do not know the field step over it, as protobuf demands, and `go tool pprof` does. It has the length of an interval in
//! milliseconds, and then for each interval and thread with samples both numbers and the share of every value. Names of threads are a field
//! of the profile. As labels, as others have them, threads would be rows of their own in every picture. Called by the writer, the reader
//! and the recorder of machine code.

use std::collections::{BTreeMap, HashMap};

use crate::profile::builder::{ModelError, ProfileBuilder};
use crate::profile::model::Label;
use crate::profile::thread_root;

/// Threads with names: as many as the recorder of machine code keeps.
const MAX_THREADS: usize = 1 << 16;

/// The moments of a profile's samples, by their rows.
#[derive(Debug, Default)]
pub struct Moments {
    /// Milliseconds of an interval.
    interval: u64,
    rows: HashMap<usize, Vec<u64>, ahash::RandomState>,
    threads: BTreeMap<i32, String>,
}

/// A part of what a sample counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// Beginning of the interval, nanoseconds from that of the recording on.
    pub nanos: u64,
    /// Number of the thread, if it is known.
    pub thread: Option<i64>,
    /// Values, one for each sample type.
    pub values: &'a [i64],
}

impl Moments {
    /// Of intervals of so many milliseconds.
    pub fn new(interval: u64) -> Self {
        Self {
            interval,
            rows: HashMap::default(),
            threads: BTreeMap::new(),
        }
    }

    /// Of the sample in `row`, so much of each value was in that interval, in the thread with this number and name; 0 if that is not known.
    pub fn add(&mut self, row: usize, interval: u32, (thread, name): (i32, Option<&str>), values: &[u64]) {
        let length = self.interval;
        let packed = self.rows.entry(row).or_insert_with(|| vec![length]);
        packed.push(interval.into());
        packed.push(thread.unsigned_abs().into());
        packed.extend_from_slice(values);
        if let Some(name) = name.filter(|_| !self.threads.contains_key(&thread)) {
            self.threads.insert(thread, name.to_owned());
        }
    }

    /// Numbers and names of threads.
    pub(super) fn threads(&self) -> impl Iterator<Item = (i64, &str)> {
        let threads = self.threads.iter();
        threads.map(|(thread, name)| (i64::from(*thread), name.as_str()))
    }

    /// What is written of a row; nothing if it has no times.
    pub(super) fn packed(&self, row: usize) -> &[u64] {
        self.rows.get(&row).map_or(&[], Vec::as_slice)
    }
}

/// Threads by which the samples of a profile are told apart.
#[derive(Debug, Default)]
pub(super) struct Threads<'a> {
    names: HashMap<i64, &'a str, ahash::RandomState>,
    known: HashMap<i64, [Label; 2], ahash::RandomState>,
}

impl<'a> Threads<'a> {
    /// The thread of this number has that name.
    pub(super) fn name(&mut self, number: i64, name: &'a str) -> Result<(), ModelError> {
        if self.names.len() >= MAX_THREADS {
            return Err(ModelError::TooLarge {
                what: "threads",
                limit: MAX_THREADS,
            });
        }
        self.names.insert(number, name);
        Ok(())
    }

    /// The labels of the thread of this number.
    pub(super) fn labels(&mut self, number: i64, builder: &mut ProfileBuilder) -> Result<[Label; 2], ModelError> {
        if let Some(known) = self.known.get(&number) {
            return Ok(*known);
        }
        let name = self.names.get(&number).copied().unwrap_or_default();
        let labels = thread_root::labels_of(builder, name, number)?;
        self.known.insert(number, labels);
        Ok(labels)
    }
}

/// Tells each part of a sample that has `width` values. What is cut is left out.
pub(super) fn each<E>(packed: &[u64], width: usize, mut take: impl FnMut(Part<'_>) -> Result<(), E>) -> Result<(), E> {
    let Some((length, intervals)) = packed.split_first() else {
        return Ok(());
    };
    let mut values = Vec::with_capacity(width);
    for part in intervals.chunks_exact(width + 2) {
        let [interval, thread, rest @ ..] = part else { break };
        let number = |value: &u64| i64::try_from(*value).unwrap_or(i64::MAX);
        values.clear();
        values.extend(rest.iter().map(number));
        take(Part {
            nanos: interval.saturating_mul(*length).saturating_mul(1_000_000),
            thread: Some(number(thread)).filter(|thread| *thread > 0),
            values: &values,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_comes_back_and_what_is_cut_does_not() {
        let mut moments = Moments::new(10);
        moments.add(3, 0, (7, Some("shop")), &[1, 100]);
        moments.add(3, 7, (0, None), &[2, 200]);
        let told = |packed: &[u64]| {
            let mut told = Vec::new();
            each::<()>(packed, 2, |part| {
                told.push((part.nanos / 1_000_000, part.thread, part.values.to_vec()));
                Ok(())
            })
            .unwrap();
            told
        };
        let packed = moments.packed(3);
        let first = (0, Some(7), vec![1, 100]);
        assert_eq!(told(packed), [first.clone(), (70, None, vec![2, 200])]);
        assert_eq!(told(&packed[..7]), [first]);
        assert!(told(moments.packed(4)).is_empty());
        assert_eq!(moments.threads().collect::<Vec<_>>(), [(7, "shop")]);
        assert_eq!(told(&[u64::MAX, u64::MAX, u64::MAX, u64::MAX, 0])[0].2, [i64::MAX, 0]);
    }
}
