//! Writes the tree of a difference in the form of [`super::write`], with two columns behind the others: `before f64[n]` and `after f64[n]`, what
//! each node has in either of the two, with what it calls. Called by the renderer.
//!
//! All values are on the scale of the second. Widths are those of the base; a stack that this one does not have is as wide as it is in the
//! other. So a node without `after` is gone, and one without `before` is new. The head has in the place of one stamp those of both, how they are
//! compared, and the difference in a sentence.

use std::io::{self, Write};

use serde::Serialize;

use super::write::{Tree, most};
use crate::profile::amount::precise;
use crate::profile::diff::widths::{Both, Widths};
use crate::profile::diff::{Base, Diff};
use crate::profile::format::diff::table::Whole;

/// What the head of a difference has more.
#[derive(Debug, Serialize)]
struct Compared<'a> {
    headline: &'a str,
    normalise: &'static str,
    base: &'static str,
    before: Whole<'a>,
    after: Whole<'a>,
}

/// Writes a difference, with at most `nodes` nodes if that is said.
///
/// # Errors
/// The output fails.
pub fn write(
    diff: &Diff<'_>,
    (base, nodes): (Base, Option<u32>),
    headline: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    let widths = Widths::of(diff, base);
    let stacks = widths.stacks(diff);
    let tree = Tree::of(&stacks, most(nodes));
    let sums = widths.sums(diff, &tree.tree);
    let compared = Compared {
        headline,
        normalise: diff.normalise.name(),
        base: base.name(),
        before: Whole::of(&diff.before, &diff.value.unit),
        after: Whole::of(&diff.after, &diff.value.unit),
    };
    let of = |side: fn(&Both) -> u64| {
        let (sums, unit) = (&sums, precise(widths.unit));
        move |node: usize| sums.get(node).map_or(0.0, |sum| precise(side(sum)) * unit)
    };
    let (before, after) = (of(|both| both.before), of(|both| both.after));
    let event = diff.after.quality.event.as_deref();
    tree.write((&diff.value, event), widths.unit, compared, &[&before, &after], out)
}
