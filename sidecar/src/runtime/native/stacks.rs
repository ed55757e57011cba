//! Samples added up by their stacks, whose addresses have no names yet.
//!
//! Must not know what an address means. Called by `collector`.

use hashbrown::HashTable;

use super::symbols::Place;

/// Bytes for distinct stacks. One of 40 frames takes 500: 40,000 of them.
const MOST_BYTES: usize = 20 << 20;

/// Moments of all stacks, of 24 bytes each.
const MOST_MOMENTS: usize = 512 << 10;

/// Moments of a stack that are looked at for that of a sample: more than run at a time on most machines. What is not found is one more.
const SEARCHED: usize = 64;

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

/// When a thread had samples of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Number of the interval, from the beginning on.
    pub interval: u32,
    /// Thread; 0 where its stacks are its own, or there were too many moments to keep it.
    pub thread: i32,
    /// What was in it.
    pub sum: Sum,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.weight = self.weight.saturating_add(other.weight);
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

impl Stack {
    fn forget_threads(&mut self) {
        self.moments.iter_mut().for_each(|moment| moment.thread = 0);
        self.moments.sort_unstable_by_key(|moment| moment.interval);
        self.moments.dedup_by(|other, kept| {
            let same = other.interval == kept.interval;
            if same {
                kept.sum.add(other.sum);
            }
            same
        });
        self.moments.shrink_to_fit();
    }
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
    /// What is left of them.
    keeps: Keeps,
}

/// What is kept of each sample beside its stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keeps {
    /// Its time and its thread.
    #[default]
    All,
    /// Its time.
    Times,
    /// Neither.
    Nothing,
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

    /// Counts a sample of a thread in that interval; of a stack that had no room, among the rest.
    pub fn add(&mut self, stack: Option<StackId>, weight: u64, interval: u32, thread: i32) {
        let sum = Sum { count: 1, weight };
        let Some(stack) = stack.and_then(|id| self.stacks.get_mut(id.0 as usize)) else {
            self.rest.add(sum);
            return;
        };
        stack.sum.add(sum);
        let thread = match self.keeps {
            // Those of one thread are together already.
            Keeps::All if stack.owner.tid == 0 => thread,
            Keeps::All | Keeps::Times => 0,
            Keeps::Nothing => return,
        };
        let latest = stack.moments.iter_mut().rev().take(SEARCHED);
        let mut same = latest.take_while(|moment| moment.interval == interval);
        if let Some(moment) = same.find(|moment| moment.thread == thread) {
            moment.sum.add(sum);
            return;
        }
        stack.moments.push(Moment { interval, thread, sum });
        self.moments += 1;
        if self.moments > MOST_MOMENTS {
            self.forget();
        }
    }

    /// Makes room: without threads first. Of times none is left then, as some would be taken for the whole.
    fn forget(&mut self) {
        if self.keeps == Keeps::All {
            self.keeps = Keeps::Times;
            self.stacks.iter_mut().for_each(Stack::forget_threads);
            self.moments = self.stacks.iter().map(|stack| stack.moments.len()).sum();
        }
        if self.moments > MOST_MOMENTS {
            self.keeps = Keeps::Nothing;
            self.stacks.iter_mut().for_each(|stack| stack.moments = Vec::new());
            self.moments = 0;
        }
    }

    /// What is known of each sample beside its stack.
    pub fn keeps(&self) -> Keeps {
        self.keeps
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
        let mut total = self.rest;
        self.stacks.iter().for_each(|stack| total.add(stack.sum));
        total
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
            stacks.add(stack, weight, 0, 7);
        }
        let cut = stacks.stack(Owner::default(), &[frame, frame], true);
        stacks.add(cut, 5, 0, 7);
        let sums: Vec<_> = stacks
            .iter()
            .map(|stack| (stack.owner.tid, stack.is_cut, stack.sum.count, stack.sum.weight))
            .collect();
        assert_eq!(sums, [(0, false, 2, 3), (7, false, 1, 4), (0, true, 1, 5)]);
        assert_eq!(stacks.total(), Sum { count: 4, weight: 12 });
        let deep = vec![frame; 1 << 19];
        for depth in 0..8 {
            let stack = stacks.stack(Owner::default(), &deep[depth..], false);
            stacks.add(stack, 1, 0, 7);
        }
        assert!(stacks.rest().count > 0 && stacks.bytes <= MOST_BYTES);
        assert_eq!(stacks.total().count, 12);
    }

    #[test]
    fn a_stack_knows_when_it_was_and_of_which_thread_unless_that_is_too_much() {
        let mut stacks = Stacks::default();
        let stack = stacks.stack(Owner::default(), &[StackFrame::Words("work")], false);
        let told = [(1, 0, 7), (2, 0, 8), (4, 0, 7), (8, 3, 7), (16, 0, 8)];
        for (weight, interval, thread) in told {
            stacks.add(stack, weight, interval, thread);
        }
        let moments = |stacks: &Stacks| {
            let of = |moment: &Moment| (moment.interval, moment.thread, moment.sum.count, moment.sum.weight);
            stacks
                .iter()
                .flat_map(|stack| stack.moments.iter().map(of))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            moments(&stacks),
            [(0, 7, 2, 5), (0, 8, 1, 2), (3, 7, 1, 8), (0, 8, 1, 16)]
        );
        // Two threads in each of so many intervals are too many, one is not.
        let intervals = u32::try_from(MOST_MOMENTS / 2).unwrap();
        for interval in 4..intervals + 4 {
            stacks.add(stack, 1, interval, 7);
            stacks.add(stack, 1, interval, 8);
        }
        assert_eq!(stacks.keeps(), Keeps::Times);
        let kept = moments(&stacks);
        assert_eq!(kept[..3], [(0, 0, 4, 23), (3, 0, 1, 8), (4, 0, 2, 2)]);
        assert_eq!(kept.len(), MOST_MOMENTS / 2 + 2);
        let samples = kept.iter().map(|(_, _, count, _)| count).sum::<u64>();
        assert_eq!(samples, stacks.total().count);
        for interval in intervals + 4..2 * intervals + 4 {
            stacks.add(stack, 1, interval, 7);
        }
        assert!(stacks.keeps() == Keeps::Nothing && moments(&stacks).is_empty());
        stacks.add(stack, 1, 0, 7);
        assert_eq!(
            (moments(&stacks), stacks.total().count),
            (vec![], samples + MOST_MOMENTS as u64 / 2 + 1)
        );
    }

    #[test]
    fn what_is_split_by_thread_has_no_thread_twice() {
        let mut stacks = Stacks::default();
        let owner = Owner { group: 0, tid: 7 };
        let stack = stacks.stack(owner, &[StackFrame::Words("work")], false);
        stacks.add(stack, 1, 0, 7);
        let threads = stacks
            .iter()
            .flat_map(|stack| stack.moments.iter().map(|moment| moment.thread));
        assert_eq!(threads.collect::<Vec<_>>(), [0]);
    }
}
