//! Writes the tree of a flame graph for a page that only draws it: a head of JSON, and columns of numbers that a browser takes as typed
//! arrays without parsing them. Called by the renderer.
//!
//! Media type `application/vnd.sideflame.flame`; all numbers are little-endian.
//! - 4 bytes `SFL1`, and a `u32`: the length of the head in bytes.
//! - The head: JSON in UTF-8, filled up with spaces, so that the columns begin at a multiple of 8.
//! - The columns, each filled up with zeros to a multiple of 8 bytes. `r` is the number of rows and `n` that of nodes:
//!   `rowOffset u32[r + 1]`, `start f64[n]`, `width f64[n]`, `name u32[n]`, `parent u32[n]`, `self f64[n]`.
//!
//! Nodes are in rows, one for each depth, and in a row by where they start: row `i` is `rowOffset[i]` up to `rowOffset[i + 1]`. The first
//! row is one node, "all", whose parent is `u32::MAX`. Children of a node begin where it begins, one after the other by their names, so
//! that they are in the same order in each capture; what they leave at its end is what the node has itself (`self`), and behind it what is
//! folded. A number beyond 2^53 has lost its last digits.
//!
//! At most 250,000 nodes are written unless more are asked for, the widest. A child is never wider than its parent, so none is without it.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

use serde::Serialize;

use crate::profile::amount::precise;
use crate::profile::flame_tree::{FlameTree, Folded, Node};
use crate::profile::flat_stacks::FlatStacks;
use crate::profile::frame_name::{UNIT_CHARS, is_cut, is_unresolved, short_text};
use crate::profile::model::ValueType;
use crate::profile::quality::Quality;

/// What a file begins with.
pub const MAGIC: &[u8; 4] = b"SFL1";

/// 32 bytes each are 8 MB, which a browser holds and draws at once. A screen has far fewer boxes.
const MOST_NODES: usize = 250_000;

/// Longest name in bytes. What is longer ends in `…`, and two of them may look alike.
const NAME_BYTES: usize = 4096;

/// Columns begin at what the largest of their numbers has to be aligned to.
const ALIGNMENT: usize = 8;

/// What the root is called, and its kind.
const ALL: &str = "all";

/// What is known beside the numbers of nodes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a, M> {
    /// The event, if the recording says which.
    event: Option<&'a str>,
    /// What is added up.
    sample_type: String,
    /// The unit of all widths.
    unit: String,
    /// What the root has.
    total: u64,
    nodes: usize,
    rows: usize,
    /// What is not written.
    folded: Folded,
    /// Of frames, sorted, each once; the first is the root's.
    names: &'a [Cow<'a, str>],
    /// Who executes the frame of that name, or `unresolved` where the name says nothing. Of a name with several kinds that of its widest node.
    kinds: &'a [&'static str],
    #[serde(flatten)]
    more: M,
}

/// Of one profile.
#[derive(Debug, Serialize)]
struct Stamped<'a> {
    quality: &'a Quality,
}

/// Where a node is.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Index into [`FlameTree::nodes`].
    node: usize,
    /// Position of the parent among the places.
    parent: u32,
    start: u64,
}

/// How many nodes there are at most, if that is not said.
pub(super) fn most(nodes: Option<u32>) -> usize {
    nodes.map_or(MOST_NODES, |nodes| nodes as usize)
}

/// Writes the tree of stacks whose values are of type `value`, with at most `nodes` nodes if that is said.
///
/// # Errors
/// The output fails.
pub fn write(
    stacks: &FlatStacks<'_>,
    value: &ValueType,
    quality: &Quality,
    nodes: Option<u32>,
    out: &mut impl Write,
) -> io::Result<()> {
    write_heaviest(stacks, value, quality, most(nodes), out)
}

fn write_heaviest(
    stacks: &FlatStacks<'_>,
    value: &ValueType,
    quality: &Quality,
    most: usize,
    out: &mut impl Write,
) -> io::Result<()> {
    let tree = Tree::of(stacks, most);
    tree.write((value, quality.event.as_deref()), 1, Stamped { quality }, &[], out)
}

/// The nodes that are written, in their order.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    /// As they were found.
    pub(super) tree: FlameTree,
    folded: Folded,
    places: Vec<Place>,
    /// Where each row begins.
    rows: Vec<u32>,
    names: Names<'a>,
}

impl<'a> Tree<'a> {
    /// The widest.
    pub(super) fn of(stacks: &'a FlatStacks<'_>, most: usize) -> Self {
        let (tree, folded) = FlameTree::of_heaviest(stacks, most);
        let (places, rows) = laid_out(&tree);
        Self {
            names: Names::of(stacks, &tree),
            tree,
            folded,
            places,
            rows,
        }
    }

    /// Writes them, with values that are counted in `unit`s. `columns` give the numbers of further ones by the index into the tree's nodes.
    pub(super) fn write(
        &self,
        (value, event): (&ValueType, Option<&str>),
        unit: u64,
        more: impl Serialize,
        columns: &[&dyn Fn(usize) -> f64],
        out: &mut impl Write,
    ) -> io::Result<()> {
        let Self {
            tree,
            folded,
            places,
            rows,
            names,
        } = self;
        let head = Head {
            event,
            sample_type: short_text(&value.name, UNIT_CHARS),
            unit: short_text(&value.unit, UNIT_CHARS),
            total: tree.nodes.first().map_or(0, |root| root.total).saturating_mul(unit),
            nodes: places.len(),
            rows: rows.len().saturating_sub(1),
            folded: Folded {
                value: folded.value.saturating_mul(unit),
                ..*folded
            },
            names: &names.names,
            kinds: &names.kinds,
            more,
        };
        let mut out = BufWriter::new(out);
        write_head(&head, &mut out)?;
        let nodes = || {
            places
                .iter()
                .filter_map(|place| Some((place, tree.nodes.get(place.node)?)))
        };
        let bytes = |value: u64| (precise(value) * precise(unit)).to_le_bytes();
        let number = |(_, node): (&Place, &Node)| names.numbers.get(node.rank).copied().unwrap_or_default();
        column(&mut out, rows.iter().map(|row| row.to_le_bytes()))?;
        column(&mut out, places.iter().map(|place| bytes(place.start)))?;
        column(&mut out, nodes().map(|(_, node)| bytes(node.total)))?;
        // The root has no name among the stacks.
        let of_root = [0_u32.to_le_bytes()].into_iter();
        let others = nodes().skip(1).map(|node| number(node).to_le_bytes());
        column(&mut out, of_root.chain(others))?;
        column(&mut out, places.iter().map(|place| place.parent.to_le_bytes()))?;
        column(&mut out, nodes().map(|(_, node)| bytes(node.ended)))?;
        for of in columns {
            column(&mut out, places.iter().map(|place| of(place.node).to_le_bytes()))?;
        }
        out.flush()
    }
}

/// The nodes row by row, and where each row begins.
fn laid_out(tree: &FlameTree) -> (Vec<Place>, Vec<u32>) {
    let mut places = vec![Place {
        node: 0,
        parent: u32::MAX,
        start: 0,
    }];
    let mut rows = vec![0];
    let mut row = 0..places.len();
    while !row.is_empty() {
        rows.push(position(row.end));
        let next = row.end;
        for at in row {
            let Some(&Place { node, mut start, .. }) = places.get(at) else {
                continue;
            };
            let children = tree.nodes.get(node).map_or(&[][..], |node| &node.children);
            for &child in children {
                let parent = position(at);
                places.push(Place {
                    node: child,
                    parent,
                    start,
                });
                start += tree.nodes.get(child).map_or(0, |child| child.total);
            }
        }
        row = next..places.len();
    }
    (places, rows)
}

/// Of at most a million.
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// The names that a tree has.
#[derive(Debug)]
struct Names<'a> {
    /// Of each rank the position in `names`; 0 if the tree does not have it.
    numbers: Vec<u32>,
    names: Vec<Cow<'a, str>>,
    kinds: Vec<&'static str>,
}

impl<'a> Names<'a> {
    fn of(stacks: &'a FlatStacks<'_>, tree: &FlameTree) -> Self {
        let mut of_rank: Vec<Option<&'static str>> = vec![None; stacks.names.len()];
        // The widest of a name comes first.
        for node in tree.nodes.iter().skip(1) {
            if let Some(kind) = of_rank.get_mut(node.rank) {
                kind.get_or_insert(node.kind.name());
            }
        }
        let mut all = Self {
            numbers: vec![0; stacks.names.len()],
            names: vec![Cow::Borrowed(ALL)],
            kinds: vec![ALL],
        };
        for ((name, kind), number) in stacks.names.iter().zip(of_rank).zip(&mut all.numbers) {
            let Some(kind) = kind else { continue };
            *number = position(all.names.len());
            all.names.push(capped(name));
            let says_nothing = is_unresolved(name) || is_cut(name);
            all.kinds.push(if says_nothing { "unresolved" } else { kind });
        }
        all
    }
}

fn capped(name: &str) -> Cow<'_, str> {
    const MARK: &str = "…";
    if name.len() <= NAME_BYTES {
        return Cow::Borrowed(name);
    }
    let end = name.floor_char_boundary(NAME_BYTES - MARK.len());
    Cow::Owned(name.get(..end).unwrap_or_default().to_owned() + MARK)
}

/// Written twice, the first time to know how long it is: names may be hundreds of megabytes.
fn write_head(head: &impl Serialize, out: &mut impl Write) -> io::Result<()> {
    let mut written = Counted(0);
    serde_json::to_writer(&mut written, head)?;
    // Magic and length together are as long as the alignment is.
    let length = written.0.next_multiple_of(ALIGNMENT);
    out.write_all(MAGIC)?;
    let told = u32::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    out.write_all(&told.to_le_bytes())?;
    serde_json::to_writer(&mut *out, head)?;
    write!(out, "{:1$}", "", length - written.0)
}

/// Takes bytes and keeps their number.
struct Counted(usize);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn column<const SIZE: usize>(out: &mut impl Write, numbers: impl Iterator<Item = [u8; SIZE]>) -> io::Result<()> {
    let mut length: usize = 0;
    for number in numbers {
        out.write_all(&number)?;
        length += SIZE;
    }
    let fill = [0; ALIGNMENT];
    let missing = length.next_multiple_of(ALIGNMENT) - length;
    out.write_all(fill.get(..missing).unwrap_or_default())
}

#[cfg(test)]
mod tests;
