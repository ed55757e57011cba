//! Writes collapsed stacks: `root;caller;leaf 12`, plain names, sorted, one line per distinct text.
//!
//! Called by the renderer. What `flamegraph.pl`, speedscope and diff tools read.

use std::io::{self, Write};

use crate::profile::flat_stacks::{FlatStacks, Frame};
use crate::profile::frame_name::UNKNOWN;

/// Writes the stacks.
///
/// # Errors
/// The output fails.
pub fn write(stacks: &FlatStacks<'_>, out: &mut impl Write) -> io::Result<()> {
    let ranks = |index: usize| stacks.stack(index).iter().copied().map(Frame::rank);
    let mut order: Vec<usize> = (0..stacks.count()).collect();
    order.sort_unstable_by(|&a, &b| ranks(a).cmp(ranks(b)));
    let mut line = Vec::new();
    for same in order.chunk_by(|&a, &b| ranks(a).eq(ranks(b))) {
        line.clear();
        for (depth, rank) in same.first().into_iter().flat_map(|&index| ranks(index)).enumerate() {
            if depth > 0 {
                line.push(b';');
            }
            line.extend_from_slice(stacks.names.get(rank).map_or(UNKNOWN, |name| name).as_bytes());
        }
        let weight: u64 = same.iter().filter_map(|&index| stacks.weights.get(index)).sum();
        writeln!(line, " {weight}")?;
        out.write_all(&line)?;
    }
    Ok(())
}
