//! Writes a flame graph as one SVG file with its own search and zoom, through inferno.
//!
//! Called by the renderer. inferno is given only what can be seen ([`FlameTree`]); it reads text lines, so this file also
//! keeps hostile names from being read as anything but names.

use std::io::{self, BufWriter, Write};

use inferno::flamegraph::color::{BasicPalette, Color, MultiPalette, PaletteMap};
use inferno::flamegraph::{Options, Palette, TextTruncateDirection};

use crate::profile::flame_tree::{Budget, FlameTree};
use crate::profile::flat_stacks::FlatStacks;
use crate::profile::frame_name::{UNIT_CHARS, is_cut, is_unresolved, short_text};
use crate::profile::model::{FrameKind, ValueType};

/// A box of 0.01 % is a quarter of a pixel on the widest screen; zooming twice still shows it.
pub(super) const MIN_SHARE: f64 = 0.0001;
/// Bytes of boxes. inferno's script and style are 25 KiB; together the file stays below 2 MB for any profile.
pub(super) const BOXES_BYTES: usize = 1_850_000;
/// inferno is given one line per box with its whole path. Only deep recursion of long names comes near.
pub(super) const PATH_BYTES: usize = 32 << 20;
/// What inferno writes for a box apart from its name, with large coordinates and values.
pub(super) const BOX_BYTES: usize = 270;
/// Holds the place of boxes at the bottom that are too small.
pub(super) const HIDDEN: &str = "(too small to show)";
/// Longest name shown. The full one is in every other format.
const MAX_NAME: usize = 1000;
/// The subtitle is one line of 12-pixel type on 1200 pixels.
pub(super) const SUBTITLE_CHARS: usize = 168;
/// The title is in 17-pixel type, between "Reset Zoom" and "Search".
pub(super) const TITLE_CHARS: usize = 90;

/// Grey, which no palette has.
const UNRESOLVED: Color = Color { r: 170, g: 170, b: 170 };

/// Draws stacks whose values are of type `value`.
///
/// # Errors
/// The output fails.
pub fn write(
    stacks: &FlatStacks<'_>,
    value: &ValueType,
    title: &str,
    stamp: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    let title = short_text(title, TITLE_CHARS);
    if stacks.total == 0 {
        return write_empty(&title, stamp, out);
    }
    let budget = Budget {
        min_share: MIN_SHARE,
        cost: BOXES_BYTES,
        path_bytes: PATH_BYTES,
    };
    let tree = FlameTree::grow(stacks, budget, |name| BOX_BYTES + shown_bytes(name));
    let (lines, mut colours) = lines(stacks, &tree);
    let (factor, count_name) = scale(value, stacks.total);
    let mut options = Options::default();
    options.title = title + &hidden_note(&tree, stacks.total);
    options.subtitle = Some(short_text(stamp, SUBTITLE_CHARS));
    options.count_name = count_name;
    options.factor = factor;
    options.colors = palette(stacks, value);
    // With a map inferno keeps every name in it.
    let has_colours = colours.iter().next().is_some();
    options.palette_map = has_colours.then_some(&mut colours);
    options.deterministic = true;
    options.min_width = 0.0;
    options.text_truncate_direction = TextTruncateDirection::Right;
    // Lines are in the order of the tree. As text they would sort otherwise (`a$1` between `a` and `a;b`) and the box `a`
    // would be torn in two. "Flame chart" is inferno's word for leaving the order alone; it reads from the end.
    options.flame_chart = true;
    let lines = lines.iter().rev().map(String::as_str);
    inferno::flamegraph::from_lines(&mut options, lines, BufWriter::new(out))
}

/// Says how large a box can be and still be missing.
pub(super) fn hidden_note(tree: &FlameTree, total: u64) -> String {
    if tree.heaviest_hidden == 0 {
        return String::new();
    }
    // Rounded up: nothing of this share or more is missing.
    let share = (u128::from(tree.heaviest_hidden) * 10_000).div_ceil(u128::from(total.max(1))) + 1;
    format!(" (below {}.{:02}% not shown)", share / 100, share % 100)
}

/// One collapsed line per node with a value of its own, depth first, children by name; and the colours of frames that tell
/// nothing about the code.
fn lines(stacks: &FlatStacks<'_>, tree: &FlameTree) -> (Vec<String>, PaletteMap) {
    let (mut lines, mut colours) = (Vec::new(), PaletteMap::default());
    let mut path = String::new();
    let mut open = vec![(0, 0)];
    while let Some((index, parent_length)) = open.pop() {
        let Some(node) = tree.nodes.get(index) else { continue };
        path.truncate(parent_length);
        if index > 0 {
            if !path.is_empty() {
                path.push(';');
            }
            let (name, start) = (stacks.names.get(node.rank).map_or("", |name| name), path.len());
            path.push_str(&line_name(name));
            path.push_str(annotation(node.kind));
            if is_unresolved(name) || is_cut(name) {
                colours.insert(&path[start..], UNRESOLVED);
            }
        }
        if node.own > 0 {
            // inferno wants a frame. No stack ends at the root, so what is left there is hidden children.
            let frame = if path.is_empty() { HIDDEN } else { &path };
            lines.push(format!("{frame} {}", node.own));
        }
        open.extend(node.children.iter().rev().map(|&child| (child, path.len())));
    }
    (lines, colours)
}

/// inferno's Java palette colours by these and does not show them. It knows none for interpreted and native frames and
/// judges those by name: a dot is Java, `::` is C++.
fn annotation(kind: FrameKind) -> &'static str {
    match kind {
        FrameKind::Jit => "_[j]",
        FrameKind::Inlined => "_[i]",
        FrameKind::Kernel => "_[k]",
        FrameKind::Interpreted | FrameKind::Native | FrameKind::Thread | FrameKind::Other => "",
    }
}

/// A name that inferno reads back as this name. It trims lines, takes `# ` for a comment and a number after the last space
/// for a count: a no-break space in that place looks the same and is none of these.
pub(super) fn line_name(name: &str) -> String {
    let mut name = short_text(name.trim(), MAX_NAME);
    if let Some((head, tail)) = name.rsplit_once(' ')
        && tail.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        name = format!("{head}\u{a0}{tail}");
    }
    // What is written behind a name begins with a space, too.
    if let Some(rest) = name.strip_prefix("# ").or((name == "#").then_some("")) {
        name = format!("#\u{a0}{rest}");
    }
    name
}

/// Bytes of a name in the file: once in the tooltip and at most once in the box, escaped.
pub(super) fn shown_bytes(name: &str) -> usize {
    let bytes = name.bytes().take(MAX_NAME * 4);
    2 * bytes
        .map(|byte| {
            if matches!(byte, b'<' | b'>' | b'&' | b'"' | b'\'') {
                6
            } else {
                1
            }
        })
        .sum::<usize>()
}

/// The unit in which the total has at least five digits: inferno rounds what it shows, and computes percentages of it.
pub(super) fn scale(value: &ValueType, total: u64) -> (f64, String) {
    let units: &[(u64, &str)] = match value.unit.as_str() {
        "nanoseconds" => &[(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"), (1, "ns")],
        "bytes" => &[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "bytes")],
        "count" => return (1.0, short_text(&value.name, UNIT_CHARS)),
        unit => return (1.0, short_text(unit, UNIT_CHARS)),
    };
    let fits = units.iter().find(|(size, _)| total / size >= 10_000).or(units.last());
    let (size, name) = fits.copied().unwrap_or((1, ""));
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
    let factor = 1.0 / size as f64;
    (factor, name.to_owned())
}

fn palette(stacks: &FlatStacks<'_>, value: &ValueType) -> Palette {
    if stacks.has_kinds {
        Palette::Multi(MultiPalette::Java)
    } else if value.unit == "bytes" {
        Palette::Basic(BasicPalette::Mem)
    } else {
        Palette::Basic(BasicPalette::Hot)
    }
}

/// inferno takes an empty profile for an error; for us it is an answer.
pub(super) fn write_empty(title: &str, stamp: &str, out: &mut impl Write) -> io::Result<()> {
    let stamp = short_text(stamp, SUBTITLE_CHARS);
    write!(
        out,
        r##"<?xml version="1.0" standalone="no"?>
<svg version="1.1" width="1200" height="120" viewBox="0 0 1200 120" xmlns="http://www.w3.org/2000/svg">
<rect width="100%" height="100%" fill="#f8f8f8"/>
<g font-family="monospace" font-size="12" text-anchor="middle">
<text id="title" x="50%" y="24" font-size="17">{}</text>
<text id="subtitle" x="50%" y="48">{}</text>
<text x="50%" y="84" font-size="17">no samples</text>
</g>
</svg>
"##,
        escape(title),
        escape(&stamp),
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&apos;")
}

#[cfg(test)]
mod tests;
