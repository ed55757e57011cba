//! Samples added up by their stacks, whose addresses have no names yet.
//!
//! Must not know what an address means. Called by `collector`.

use hashbrown::HashTable;

use super::symbols::Place;

/// Bytes for distinct stacks. One of 40 frames takes 500: 40,000 of them.
const MOST_BYTES: usize = 20 << 20;

/// Moments of all stacks, of 24 bytes each.
const MOST_MOMENTS: usize = 512 << 10;

/// A frame of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StackFrame {
    /// Code of a process.
    Program(Place),
    /// Code of the kernel.
    Kernel(Place),
    /// No code, but what is known in its place.
    Words(&'static str),
}

/// Whose stack it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Owner {
    /// Group of its process; 0 where processes are not told apart by groups.
    pub group: u32,
    /// Process; 0 where threads are not told apart.
    pub pid: i32,
    /// Thread; 0 where threads are not told apart.
    pub tid: i32,
}

/// Sums of the samples of one stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// Samples.
    pub count: u64,
    /// What they stand for.
    pub weight: u64,
}

/// When there were samples of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Number of the interval, from the beginning on.
    pub interval: u32,
    /// What was in it.
    pub sum: Sum,
}

impl Sum {
    fn add(&mut self, weight: u64) {
        self.count += 1;
        self.weight = self.weight.saturating_add(weight);
    }
}

/// A distinct stack.
#[derive(Debug)]
pub struct Stack {
    /// Whose.
    pub owner: Owner,
    /// Leaf first, the kernel's frames before the program's.
    pub frames: Box<[StackFrame]>,
    /// Its callers are missing.
    pub is_cut: bool,
    /// Its samples.
    pub sum: Sum,
    /// The same by when they were, in the order in which they were told; none of any stack if there were too many.
    pub moments: Vec<Moment>,
}

/// The number of a distinct stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StackId(u32);

/// All stacks so far.
#[derive(Debug, Default)]
pub struct Stacks {
    stacks: Vec<Stack>,
    by_frames: HashTable<StackId>,
    hasher: ahash::RandomState,
    bytes: usize,
    /// What did not fit.
    rest: Sum,
    /// How many of all stacks.
    moments: usize,
}

impl Stacks {
    /// The number of a stack; `None` if there is no room for another one.
    pub fn stack(&mut self, owner: Owner, frames: &[StackFrame], is_cut: bool) -> Option<StackId> {
        let hash = self.hasher.hash_one((owner, frames, is_cut));
        let stacks = &self.stacks;
        let same = |id: &StackId| {
            stacks
                .get(id.0 as usize)
                .is_some_and(|stack| stack.owner == owner && *stack.frames == *frames && stack.is_cut == is_cut)
        };
        if let Some(known) = self.by_frames.find(hash, same) {
            return Some(*known);
        }
        let bytes = size_of::<Stack>() + size_of_val(frames) + 16;
        if self.bytes + bytes > MOST_BYTES {
            return None;
        }
        let id = StackId(u32::try_from(self.stacks.len()).ok()?);
        self.bytes += bytes;
        self.stacks.push(Stack {
            owner,
            frames: frames.into(),
            is_cut,
            sum: Sum::default(),
            moments: Vec::new(),
        });
        let (stacks, hasher) = (&self.stacks, &self.hasher);
        let rehash = |id: &StackId| {
            let stack = stacks.get(id.0 as usize);
            stack.map_or(0, |stack| hasher.hash_one((stack.owner, &*stack.frames, stack.is_cut)))
        };
        self.by_frames.insert_unique(hash, id, rehash);
        Some(id)
    }

    /// Counts a sample of that interval; of a stack that had no room, among the rest.
    pub fn add(&mut self, stack: Option<StackId>, weight: u64, interval: u32) {
        let keeps_times = self.keeps_times();
        let Some(stack) = stack.and_then(|id| self.stacks.get_mut(id.0 as usize)) else {
            self.rest.add(weight);
            return;
        };
        stack.sum.add(weight);
        if !keeps_times {
            return;
        }
        match stack.moments.last_mut() {
            Some(last) if last.interval == interval => last.sum.add(weight),
            _ => {
                let mut sum = Sum::default();
                sum.add(weight);
                stack.moments.push(Moment { interval, sum });
                self.moments += 1;
            }
        }
        if !self.keeps_times() {
            // What is left would be taken for the whole.
            self.stacks.iter_mut().for_each(|stack| stack.moments = Vec::new());
        }
    }

    /// False if there were so many moments that none is kept.
    pub fn keeps_times(&self) -> bool {
        self.moments <= MOST_MOMENTS
    }

    /// The stacks, in the order in which they were seen first.
    pub fn iter(&self) -> impl Iterator<Item = &Stack> {
        self.stacks.iter()
    }

    /// Samples of stacks for which there was no room.
    pub fn rest(&self) -> Sum {
        self.rest
    }

    /// All samples.
    pub fn total(&self) -> Sum {
        self.stacks
            .iter()
            .map(|stack| stack.sum)
            .fold(self.rest, |total, sum| Sum {
                count: total.count.saturating_add(sum.count),
                weight: total.weight.saturating_add(sum.weight),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_stacks_are_one_and_what_has_no_room_is_counted() {
        let mut stacks = Stacks::default();
        let frame = StackFrame::Words("work");
        for (owner, weight) in [(0, 1), (0, 2), (7, 4)] {
            let owner = Owner {
                tid: owner,
                ..Owner::default()
            };
            let stack = stacks.stack(owner, &[frame, frame], false);
            stacks.add(stack, weight, 0);
        }
        let cut = stacks.stack(Owner::default(), &[frame, frame], true);
        stacks.add(cut, 5, 0);
        let sums: Vec<_> = stacks
            .iter()
            .map(|stack| (stack.owner.tid, stack.is_cut, stack.sum.count, stack.sum.weight))
            .collect();
        assert_eq!(sums, [(0, false, 2, 3), (7, false, 1, 4), (0, true, 1, 5)]);
        assert_eq!(stacks.total(), Sum { count: 4, weight: 12 });
        let deep = vec![frame; 1 << 19];
        for depth in 0..8 {
            let stack = stacks.stack(Owner::default(), &deep[depth..], false);
            stacks.add(stack, 1, 0);
        }
        assert!(stacks.rest().count > 0 && stacks.bytes <= MOST_BYTES);
        assert_eq!(stacks.total().count, 12);
    }

    #[test]
    fn a_stack_knows_when_it_was_unless_that_is_too_much() {
        let mut stacks = Stacks::default();
        let stack = stacks.stack(Owner::default(), &[StackFrame::Words("work")], false);
        for (weight, interval) in [(1, 0), (2, 0), (4, 3), (8, 0)] {
            stacks.add(stack, weight, interval);
        }
        let moments = |stacks: &Stacks| {
            let of = |moment: &Moment| (moment.interval, moment.sum.count, moment.sum.weight);
            stacks
                .iter()
                .flat_map(|stack| stack.moments.iter().map(of))
                .collect::<Vec<_>>()
        };
        assert_eq!(moments(&stacks), [(0, 2, 3), (3, 1, 4), (0, 1, 8)]);
        for interval in 0..u32::try_from(MOST_MOMENTS).unwrap() {
            stacks.add(stack, 1, interval + 7);
        }
        assert!(!stacks.keeps_times() && moments(&stacks).is_empty());
        stacks.add(stack, 1, 0);
        assert_eq!(
            (moments(&stacks), stacks.total().count),
            (vec![], 5 + MOST_MOMENTS as u64)
        );
    }
}
