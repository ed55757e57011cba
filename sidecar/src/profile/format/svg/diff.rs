//! Writes a differential flame graph: as wide as one of the two is, red where there is more, blue where there is less.
//!
//! Widths are those of `base`; a stack that this one does not have is as wide as it was in the other, so that what is gone or new is
//! seen, and its frames say so. Colours are of what a frame changed itself, not with what it calls: else everything from the
//! root on would have the colour of the one function that changed. The change of all of it is in brackets behind the name.
//! Red and blue differ for everybody, and the sign is there, too.

use std::io::{self, BufWriter, Write};

use inferno::flamegraph::{Options, TextTruncateDirection};

use super::write::{
    BOX_BYTES, BOXES_BYTES, HIDDEN, MIN_SHARE, PATH_BYTES, SUBTITLE_CHARS, TITLE_CHARS, hidden_note, line_name, scale,
    shown_bytes, write_empty,
};
use crate::profile::amount::precise;
use crate::profile::diff::show::points;
use crate::profile::diff::widths::{Both, Widths};
use crate::profile::diff::{Base, Diff};
use crate::profile::flame_tree::{Budget, FlameTree};
use crate::profile::frame_name::short_text;

/// Changes of less than a tenth of a point are not written behind names.
const LEAST_POINTS: f64 = 0.05;
/// What may be written behind a name.
const NOTE_BYTES: usize = 2 * " [gone, -100.0%]".len();

/// Draws a difference.
///
/// # Errors
/// The output fails.
pub fn write(diff: &Diff<'_>, base: Base, title: &str, headline: &str, out: &mut impl Write) -> io::Result<()> {
    let widths = Widths::of(diff, base);
    let (unit, total) = (widths.unit, widths.total);
    let title = short_text(&format!("{title}: {headline}"), TITLE_CHARS);
    let legend = format!(
        "red: more, blue: less, of its own · [change with all it calls] · width: {}, else as it was in the other · {headline}",
        base.name()
    );
    if total == 0 {
        return write_empty(&title, &legend, out);
    }
    let stacks = widths.stacks(diff);
    let budget = Budget {
        min_share: MIN_SHARE,
        cost: BOXES_BYTES,
        path_bytes: PATH_BYTES,
    };
    let tree = FlameTree::grow(&stacks, budget, |name| BOX_BYTES + NOTE_BYTES + shown_bytes(name));
    let sums = widths.sums(diff, &tree);
    let lines = lines(diff, &sums, &tree, (base, unit));
    let (factor, count_name) = scale(&diff.value, total.saturating_mul(unit));
    let mut options = Options::default();
    options.title = title + &hidden_note(&tree, total);
    options.subtitle = Some(short_text(&legend, SUBTITLE_CHARS));
    options.count_name = count_name;
    options.factor = factor * precise(unit);
    // The difference of the two columns is that of the base from the other.
    options.negate_differentials = base == Base::Before;
    options.deterministic = true;
    options.min_width = 0.0;
    options.text_truncate_direction = TextTruncateDirection::Right;
    // As for a plain flame graph: the order of the lines is kept, and read from the end.
    options.flame_chart = true;
    let lines = lines.iter().rev().map(String::as_str);
    inferno::flamegraph::from_lines(&mut options, lines, BufWriter::new(out))
}

/// `path before after` per node with a width of its own, depth first, parents first: a box takes its colour from the first line
/// that has it.
fn lines(diff: &Diff<'_>, sums: &[Both], tree: &FlameTree, (base, unit): (Base, u64)) -> Vec<String> {
    let mut lines = Vec::new();
    let mut path = String::new();
    let mut open = vec![(0, 0)];
    while let Some((index, parent_length)) = open.pop() {
        let Some(node) = tree.nodes.get(index) else { continue };
        let sum = sums.get(index).copied().unwrap_or_default();
        path.truncate(parent_length);
        if index > 0 {
            if !path.is_empty() {
                path.push(';');
            }
            let name = diff.union.stacks.names.get(node.rank).map_or("", |name| name);
            path.push_str(&line_name(name));
            path.push_str(&note(diff, sum, unit));
        }
        if node.own > 0 {
            let children = node.children.iter().filter_map(|child| sums.get(*child));
            let mut of_children = Both::default();
            children.for_each(|child| of_children.add(*child));
            let own = sum.less(of_children);
            // inferno draws the second column and colours by what it is more than the first. Of what is gone the width is not the value.
            let (mine, other) = match base {
                Base::After => (own.after, own.before),
                Base::Before => (own.before, own.after),
            };
            let first = node.own.saturating_add(other).saturating_sub(mine);
            let frame = if path.is_empty() { HIDDEN } else { &path };
            lines.push(format!("{frame} {first} {}", node.own));
        }
        open.extend(node.children.iter().rev().map(|&child| (child, path.len())));
    }
    lines
}

/// What is written behind the name of a frame.
fn note(diff: &Diff<'_>, Both { before, after }: Both, unit: u64) -> String {
    let points = points((precise(after) - precise(before)) * precise(unit), diff);
    match (before, after) {
        (0, 0) => String::new(),
        (_, 0) => format!(" [gone, {points:+.1}%]"),
        (0, _) => format!(" [new, {points:+.1}%]"),
        _ if points.abs() < LEAST_POINTS => String::new(),
        _ => format!(" [{points:+.1}%]"),
    }
}
