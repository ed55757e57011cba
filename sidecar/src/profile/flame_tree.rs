//! The part of a flame graph that can be seen: the heaviest nodes of the call tree, within a budget.
//!
//! The whole tree of a large profile has millions of nodes of which a screen shows a few thousand. Nodes are opened
//! heaviest first, and a child never outweighs its parent, so stopping anywhere leaves a tree without gaps and no hidden
//! node is heavier than a shown one. Stacks below hidden nodes are never looked at again, which is where the speed comes
//! from. Called by the SVG writer and by that of the columns; knows no picture format.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde::Serialize;

use super::flat_stacks::FlatStacks;
use super::model::FrameKind;

/// How much of the tree is kept.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Nodes below this share of the total are hidden.
    pub min_share: f64,
    /// Sum of the costs of the kept nodes.
    pub cost: usize,
    /// Sum of the lengths of the kept nodes' paths in bytes.
    pub path_bytes: usize,
}

/// One box of the flame graph.
#[derive(Debug)]
pub struct Node {
    /// Index into [`FlatStacks::names`]; meaningless for the root.
    pub rank: usize,
    /// The kind that most of its weight has.
    pub kind: FrameKind,
    /// Value of all stacks through it.
    pub total: u64,
    /// What its kept children leave of `total`.
    pub own: u64,
    /// Value of the stacks that end in it; the rest of `own` is hidden children.
    pub ended: u64,
    /// Kept children in the order of their names.
    pub children: Vec<usize>,
    path_bytes: usize,
}

/// The kept nodes. The first is the root, "all".
#[derive(Debug)]
pub struct FlameTree {
    /// In the order they were opened: heaviest first.
    pub nodes: Vec<Node>,
    /// Weight of the heaviest hidden node, 0 if all are shown.
    pub heaviest_hidden: u64,
}

/// What of a tree is not kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Folded {
    /// Nodes, at every depth.
    pub nodes: u64,
    /// What they have together, inside of their parents.
    pub value: u64,
}

/// A node that is known but not yet kept: a range of `Builder::order` at a depth.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pending {
    total: u64,
    /// Of equal weights the first found wins, so that equal input gives equal output.
    rank: Reverse<usize>,
    parent: usize,
    depth: usize,
    start: usize,
    end: usize,
}

struct Grower<'s, 'a> {
    stacks: &'s FlatStacks<'a>,
    /// Indexes of stacks; the stacks of a node are a range of it.
    order: Vec<u32>,
    scratch: Vec<u32>,
    /// Weight and count per rank of the node being opened, all zero in between.
    per_rank: Vec<(u64, usize)>,
    touched: Vec<usize>,
}

impl FlameTree {
    /// Keeps the heaviest nodes; `cost` is what a node with this name costs.
    pub fn grow(stacks: &FlatStacks<'_>, budget: Budget, cost: impl Fn(&str) -> usize) -> Self {
        Self::grown(stacks, budget, cost).0
    }

    /// Keeps the `most` heaviest nodes, the root among them, and counts all others.
    pub fn of_heaviest(stacks: &FlatStacks<'_>, most: usize) -> (Self, Folded) {
        let budget = Budget {
            min_share: 0.0,
            cost: most.saturating_sub(1),
            path_bytes: usize::MAX,
        };
        let (tree, mut grower, hidden) = Self::grown(stacks, budget, |_| 1);
        let mut hidden = hidden.into_vec();
        let mut folded = Folded {
            nodes: 0,
            value: hidden.iter().map(|pending| pending.total).sum(),
        };
        // In any order: none is kept.
        while let Some(pending) = hidden.pop() {
            folded.nodes += 1;
            grower.open(&pending, 0, |child| hidden.push(child));
        }
        (tree, folded)
    }

    /// The tree, and what would have been opened next.
    fn grown<'s, 'a>(
        stacks: &'s FlatStacks<'a>,
        budget: Budget,
        cost: impl Fn(&str) -> usize,
    ) -> (Self, Grower<'s, 'a>, BinaryHeap<Pending>) {
        let count = u32::try_from(stacks.count()).unwrap_or(u32::MAX);
        let mut grower = Grower {
            stacks,
            order: (0..count).collect(),
            scratch: Vec::new(),
            per_rank: vec![(0, 0); stacks.names.len()],
            touched: Vec::new(),
        };
        let mut tree = Self {
            nodes: Vec::new(),
            heaviest_hidden: 0,
        };
        let end = grower.order.len();
        let mut heap = BinaryHeap::new();
        heap.push(Pending {
            total: stacks.total,
            rank: Reverse(0),
            parent: 0,
            depth: 0,
            start: 0,
            end,
        });
        let (mut spent, mut path_spent) = (0, 0);
        while let Some(pending) = heap.pop() {
            let index = tree.nodes.len();
            let mut path_bytes = 0;
            if index > 0 {
                let name = stacks.names.get(pending.rank.0).map_or("", |name| name);
                path_bytes = tree.nodes[pending.parent].path_bytes + 1 + name.len();
                path_spent = path_bytes.saturating_add(path_spent);
                spent += cost(name);
                let visible = share(pending.total, stacks.total) >= budget.min_share;
                if !visible || spent > budget.cost || path_spent > budget.path_bytes {
                    tree.heaviest_hidden = pending.total;
                    heap.push(pending);
                    break;
                }
                tree.nodes[pending.parent].own -= pending.total;
                tree.nodes[pending.parent].children.push(index);
            }
            let (kind, ended) = grower.open(&pending, index, |child| heap.push(child));
            let Pending {
                total,
                rank: Reverse(rank),
                ..
            } = pending;
            tree.nodes.push(Node {
                rank,
                kind,
                total,
                own: total,
                ended,
                children: Vec::new(),
                path_bytes,
            });
        }
        let ranks: Vec<_> = tree.nodes.iter().map(|node| node.rank).collect();
        for node in &mut tree.nodes {
            node.children.sort_unstable_by_key(|&child| ranks.get(child));
        }
        (tree, grower, heap)
    }
}

impl Grower<'_, '_> {
    /// Sorts the stacks of a node by their next frame, so that each child has a range; gives the node's own kind, and the value of
    /// the stacks that end in it.
    fn open(&mut self, node: &Pending, index: usize, mut found: impl FnMut(Pending)) -> (FrameKind, u64) {
        let range = &mut self.order[node.start..node.end];
        let mut kinds = [0_u64; FrameKind::COUNT];
        let (mut ended, mut ended_value) = (0, 0);
        for &stack in range.iter() {
            let weight = self.stacks.weights[stack as usize];
            let frames = self.stacks.stack(stack as usize);
            if let Some(frame) = node.depth.checked_sub(1).and_then(|own| frames.get(own)) {
                kinds[frame.kind() as usize] += weight;
            }
            let Some(next) = frames.get(node.depth) else {
                ended += 1;
                ended_value += weight;
                continue;
            };
            let slot = &mut self.per_rank[next.rank()];
            if slot.1 == 0 {
                self.touched.push(next.rank());
            }
            *slot = (slot.0 + weight, slot.1 + 1);
        }
        self.touched.sort_unstable();
        // From here on the count of a rank becomes the place where its next stack goes; finished stacks go first.
        let (mut place, mut finished) = (ended, 0);
        for &rank in &self.touched {
            let (total, count) = self.per_rank[rank];
            let (start, end) = (node.start + place, node.start + place + count);
            found(Pending {
                total,
                rank: Reverse(rank),
                parent: index,
                depth: node.depth + 1,
                start,
                end,
            });
            self.per_rank[rank].1 = place;
            place += count;
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(range);
        for &stack in &self.scratch {
            let slot = match self.stacks.stack(stack as usize).get(node.depth) {
                Some(next) => &mut self.per_rank[next.rank()].1,
                None => &mut finished,
            };
            range[*slot] = stack;
            *slot += 1;
        }
        for rank in self.touched.drain(..) {
            self.per_rank[rank] = (0, 0);
        }
        let heaviest = (0..kinds.len())
            .rev()
            .max_by_key(|&kind| kinds[kind])
            .unwrap_or_default();
        (super::flat_stacks::KINDS[heaviest], ended_value)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no more than f64 has")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests;
