//! What each function took itself, and with all that it called: the table that everybody reads first.
//!
//! A row is a name, as in `go tool pprof -top`: functions of one name in two files are one row. Of a stack each name counts once,
//! however often it calls itself. Threads and the mark of callers that are missing are no functions. Called by the writer.

use super::flat_stacks::{FlatStacks, Frame};
use super::frame_name::{is_cut, is_thread};
use super::model::FrameKind;

/// A function's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Index into [`FlatStacks::names`].
    pub name: usize,
    /// Of stacks that end in it.
    pub own: u64,
    /// Of stacks that have it.
    pub total: u64,
}

/// Adds up one value after the other by name.
#[derive(Debug)]
pub struct Tally {
    /// By rank of the name.
    own: Vec<u64>,
    total: Vec<u64>,
    /// The last stack that a name was counted for, plus one.
    seen: Vec<usize>,
    stacks: usize,
    no_function: Vec<bool>,
}

impl Tally {
    /// For stacks with these names.
    pub fn new<N: AsRef<str>>(names: &[N]) -> Self {
        let no_function = |name: &N| is_cut(name.as_ref()) || is_thread(name.as_ref());
        Self {
            own: vec![0; names.len()],
            total: vec![0; names.len()],
            seen: vec![0; names.len()],
            stacks: 0,
            no_function: names.iter().map(no_function).collect(),
        }
    }

    /// Counts a stack, root first.
    pub fn add(&mut self, stack: &[Frame], value: u64) {
        if value == 0 {
            return;
        }
        self.stacks += 1;
        for frame in stack {
            let rank = frame.rank();
            let Some(seen) = self.seen.get_mut(rank) else { continue };
            if frame.kind() == FrameKind::Thread || self.no_function.get(rank) == Some(&true) || *seen == self.stacks {
                continue;
            }
            *seen = self.stacks;
            if let Some(total) = self.total.get_mut(rank) {
                *total = total.saturating_add(value);
            }
        }
        let leaf = stack.last().filter(|frame| frame.kind() != FrameKind::Thread);
        if let Some(own) = leaf.and_then(|frame| self.own.get_mut(frame.rank())) {
            *own = own.saturating_add(value);
        }
    }

    /// What a name has by now.
    pub fn row(&self, name: usize) -> Row {
        let of = |values: &[u64]| values.get(name).copied().unwrap_or_default();
        Row {
            name,
            own: of(&self.own),
            total: of(&self.total),
        }
    }

    /// The names that have something.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        (0..self.total.len())
            .map(|name| self.row(name))
            .filter(|row| row.total > 0)
    }
}

/// The functions of a profile, those that took most themselves first.
pub fn rows(stacks: &FlatStacks<'_>) -> Vec<Row> {
    let mut tally = Tally::new(&stacks.names);
    for (index, &weight) in stacks.weights.iter().enumerate() {
        tally.add(stacks.stack(index), weight);
    }
    let mut rows: Vec<_> = tally.rows().collect();
    // Ranks are in the order of the names.
    rows.sort_unstable_by_key(|row| (std::cmp::Reverse((row.own, row.total)), row.name));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{ProfileBuilder, ValueType};

    /// `root;leaf 3` per line → `name own total` per row.
    fn table(text: &str, max_frames: Option<u32>) -> Vec<String> {
        let mut builder = ProfileBuilder::new(vec![ValueType::new("samples", "count")]).unwrap();
        for line in text.lines() {
            let (frames, count) = line.rsplit_once(' ').unwrap();
            let stack: Vec<_> = frames
                .rsplit(';')
                .map(|name| builder.frame(name, FrameKind::Other).unwrap())
                .collect();
            builder.sample(&stack, &[count.parse().unwrap()], &[]).unwrap();
        }
        let profile = builder.finish();
        let stacks = FlatStacks::new(&profile, 0, max_frames).unwrap();
        let row = |row: Row| format!("{} {} {}", stacks.names[row.name], row.own, row.total);
        rows(&stacks).into_iter().map(row).collect()
    }

    #[test]
    fn recursion_counts_once_per_stack() {
        assert_eq!(
            table("main;f;g;f 3\nmain;f;f;f 2\nmain;g 1", None),
            ["f 5 5", "g 1 4", "main 0 6"]
        );
    }

    #[test]
    fn threads_and_missing_callers_are_no_functions() {
        assert_eq!(
            table("[main tid=7];a;b 2\n[main tid=8];b 1", Some(2)),
            ["b 3 3", "a 0 2"]
        );
    }
}
