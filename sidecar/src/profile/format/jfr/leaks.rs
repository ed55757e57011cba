//! Native memory that was asked for during the recording and not given back: each allocation without a free of its address.
//!
//! async-profiler writes events of a thread in blocks, so an address may be freed in the file before it is allocated: a
//! chunk's calls are put in the order of their time first. What was allocated in the last tenth of the time is left
//! out, as most of it is only in use. Called by [`super::read`].

use std::collections::HashMap;

use super::JfrError;
use super::cursor::Cursor;
use super::metadata::{Type, Types, Value};
use crate::profile::builder::{ModelError, ProfileBuilder};
use crate::profile::model::LocationId;

/// A call of `malloc` or `free`.
#[derive(Debug, Clone, Copy)]
struct Call {
    time: u64,
    address: u64,
    /// Key of the stack, and bytes; `None` of a free.
    allocated: Option<(u64, u64)>,
}

/// The calls of a chunk.
#[derive(Debug)]
pub(super) struct Calls<'t> {
    types: &'t Types,
    malloc: Option<(u64, &'t Type)>,
    free: Option<(u64, &'t Type)>,
    calls: Vec<Call>,
}

impl<'t> Calls<'t> {
    pub(super) fn of(types: &'t Types) -> Self {
        Self {
            types,
            malloc: types.named("profiler.Malloc"),
            free: types.named("profiler.Free"),
            calls: Vec::new(),
        }
    }

    /// Takes an event of the type `id`, if it is one of the two.
    pub(super) fn take(&mut self, id: u64, mut cursor: Cursor<'_>) -> Result<(), JfrError> {
        let is = |kind: Option<(u64, &'t Type)>| kind.filter(|(known, _)| *known == id).map(|(_, of_id)| of_id);
        let (of_id, allocates) = match (is(self.malloc), is(self.free)) {
            (Some(malloc), _) => (malloc, true),
            (None, Some(free)) => (free, false),
            (None, None) => return Ok(()),
        };
        let (mut time, mut address, mut stack, mut size) = (0, 0, 0, 0);
        for field in &of_id.fields {
            match (field.name.as_str(), self.types.field(&mut cursor, field)?) {
                ("startTime", Value::Number(number)) => time = number,
                ("address", Value::Number(number)) => address = number,
                ("stackTrace", Value::Number(number)) => stack = number,
                ("size", Value::Number(number)) => size = number,
                _ => {}
            }
        }
        self.calls.push(Call {
            time,
            address,
            allocated: allocates.then_some((stack, size)),
        });
        Ok(())
    }
}

/// What is allocated after the chunks so far.
#[derive(Debug, Default)]
pub(super) struct Leaks {
    live: HashMap<u64, Live, ahash::RandomState>,
    stacks: Vec<Vec<LocationId>>,
    /// First and last call.
    span: Option<(u64, u64)>,
}

#[derive(Debug)]
struct Live {
    time: u64,
    /// Its place among the stacks.
    stack: usize,
    bytes: u64,
}

impl Leaks {
    /// The part of the time at whose end allocations are not counted is one of so many.
    const TAIL: u64 = 10;

    /// Takes a chunk, of which `stack` tells the stack of a key. Of `interval` bytes one is sampled.
    pub(super) fn add(
        &mut self,
        calls: Calls<'_>,
        interval: u64,
        mut stack: impl FnMut(u64) -> Result<Vec<LocationId>, JfrError>,
    ) -> Result<(), JfrError> {
        let mut calls = calls.calls;
        // Stable: of calls at the same time the order in the file counts.
        calls.sort_by_key(|call| call.time);
        let mut known: HashMap<u64, usize, ahash::RandomState> = HashMap::default();
        for call in calls {
            let (first, last) = self.span.unwrap_or((call.time, call.time));
            self.span = Some((first.min(call.time), last.max(call.time)));
            let Some((key, size)) = call.allocated else {
                self.live.remove(&call.address);
                continue;
            };
            let stack = match known.get(&key) {
                Some(place) => *place,
                None => {
                    self.stacks.push(stack(key)?);
                    known.insert(key, self.stacks.len() - 1);
                    self.stacks.len() - 1
                }
            };
            let live = Live {
                time: call.time,
                stack,
                bytes: size.max(interval),
            };
            self.live.insert(call.address, live);
        }
        Ok(())
    }

    /// Adds what is left to a profile of bytes; gives how many allocations that are.
    pub(super) fn finish(self, builder: &mut ProfileBuilder) -> Result<u64, ModelError> {
        let (first, last) = self.span.unwrap_or_default();
        let end = last - (last - first) / Self::TAIL;
        let mut sums: Vec<u64> = vec![0; self.stacks.len()];
        let mut allocations = 0;
        for live in self.live.into_values().filter(|live| live.time <= end) {
            if let Some(sum) = sums.get_mut(live.stack) {
                *sum = sum.checked_add(live.bytes).ok_or(ModelError::Overflow)?;
                allocations += 1;
            }
        }
        for (stack, bytes) in self.stacks.iter().zip(sums).filter(|(_, bytes)| *bytes > 0) {
            let bytes = i64::try_from(bytes).map_err(|_| ModelError::Overflow)?;
            builder.sample(stack, &[bytes], &[])?;
        }
        Ok(allocations)
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::{OTHER_STACK, STACK, free, malloc, native, pools, setting};
    use super::super::read::read;
    use super::super::sampled::Sampled;
    use crate::profile::hidden_class::Names;
    use crate::profile::slicing::Slicing;

    /// Bytes and allocations that leak in a file of these chunks.
    fn leaks(chunks: &[&[Vec<u8>]]) -> (Vec<i64>, u64) {
        let chunk = |events: &&[Vec<u8>]| native(&[*events, &[pools()]].concat());
        let file: Vec<u8> = chunks.iter().flat_map(chunk).collect();
        let profile = read(&*file, Some(Sampled::Leaks), Names::Normalised, Slicing::default()).unwrap();
        let values = profile.samples().map(|sample| sample.values[0]).collect();
        (values, profile.recorded_samples.unwrap())
    }

    #[test]
    fn what_is_freed_in_any_order_of_the_file_and_in_a_later_chunk_is_no_leak() {
        let end = free(1000, 99);
        let one = [
            free(20, 1),
            malloc(10, 1, 64, STACK),
            malloc(11, 2, 100, STACK),
            malloc(12, 3, 30, STACK),
        ];
        let two = [malloc(30, 4, 5, OTHER_STACK), free(40, 2), end];
        assert_eq!(leaks(&[&one, &two]), (vec![30, 5], 2));
        // An address may be used again.
        let again = [
            malloc(1, 1, 10, STACK),
            free(2, 1),
            malloc(3, 1, 20, STACK),
            free(1000, 99),
        ];
        assert_eq!(leaks(&[&again]), (vec![20], 1));
    }

    #[test]
    fn the_last_tenth_is_left_out_and_a_sample_stands_for_its_interval() {
        let events = [
            setting("nativemem", "1000"),
            malloc(0, 1, 10, STACK),
            malloc(900, 2, 5000, STACK),
            malloc(901, 3, 7, STACK),
            free(1000, 99),
        ];
        assert_eq!(leaks(&[&events]), (vec![6000], 2));
        assert_eq!(leaks(&[&[]]), (vec![], 0));
    }
}
