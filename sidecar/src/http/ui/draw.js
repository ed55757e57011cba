// Draws what of a tree is in view: for each visible row the frames from the left edge on, found by binary search, and what is
// narrower than a pixel together. The cost depends on the pixels, not on the tree.

import { end, first, firstEndingAfter, nodeAt, totalOf } from "./columns.js";
import { matchesIn } from "./search.js";
import { fitted } from "./names.js";
import { percent } from "./numbers.js";
import { INK } from "./kinds.js";

export const ROW = 20;
const FONT = "12px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
const PADDING = 4;
const SMALL = "#a7adb6";
const NARROWEST_MATCH = 2;

// What is shown: values [low, high), the row that is zoomed into, and how far it is scrolled.
//   { low, high, zoomRow, scroll, width, height, rows, flipped }

export const scaleOf = (view) => view.width / (view.high - view.low);

export const yOf = (view, row) => (view.flipped ? view.rows - 1 - row : row) * ROW - view.scroll;

export function rowAt(view, y) {
  const row = Math.floor((y + view.scroll) / ROW);
  return view.flipped ? view.rows - 1 - row : row;
}

// How many rows have something in [low, high).
export function depth(tree, low, high) {
  let row = 0;
  while (row < tree.rows) {
    const node = firstEndingAfter(tree, row, low);
    if (node >= tree.rowOffset[row + 1] || tree.start[node] >= high) break;
    row++;
  }
  return row;
}

// Visits the frames of a row that are seen with (node, to, x, width): several nodes [node, to) where they share a pixel. Nothing is made
// for a box: there are tens of thousands of them.
function eachBox(tree, view, row, visit) {
  const rowEnd = tree.rowOffset[row + 1];
  const scale = scaleOf(view);
  const xOf = (value) => Math.min(view.width, Math.max(0, (value - view.low) * scale));
  let node = firstEndingAfter(tree, row, view.low);
  while (node < rowEnd && tree.start[node] < view.high) {
    const x = xOf(tree.start[node]);
    let to = node + 1;
    if (tree.width[node] * scale < 1) {
      const next = Math.max(tree.start[node], view.low) + 1 / scale;
      to = first(to, rowEnd, (other) => tree.start[other] >= next);
      // Only the last one that begins in a pixel can be wider than it.
      if (to - node > 1 && tree.width[to - 1] * scale >= 1) to--;
    }
    visit(node, to, x, xOf(end(tree, to - 1)) - x);
    node = to;
  }
}

// `style` has `fill(node)` and what was found, if something is searched for.
export function draw(context, tree, view, style) {
  const ratio = context.canvas.width / view.width;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, view.width, view.height);
  const layers = new Map();
  const texts = [];
  const outlines = [];
  const [from, to] = visibleRows(view, tree);
  for (let row = from; row < to; row++) {
    const y = yOf(view, row);
    eachBox(tree, view, row, (node, to, x, width) => place(node, to, x, width, y, row));
  }
  paint();

  function place(node, to, x, width, y, row) {
    const isRun = to - node > 1;
    const hit = style.found && matchesIn(style.found, node, to) > 0;
    const faded = style.found ? !hit : row < view.zoomRow;
    const key = (isRun ? SMALL : style.fill(node)) + (faded ? "|" : "");
    const drawn = Math.max(hit ? NARROWEST_MATCH : 0.5, width - (width > 2 ? 1 : 0));
    // At the right edge, too, all of it is seen.
    x = Math.min(x, view.width - drawn);
    if (!layers.has(key)) layers.set(key, []);
    add(layers.get(key), x, y, drawn);
    if (hit) outlines.push(x, y, drawn);
    if (!isRun && width > 3 * style.characterWidth) texts.push({ node, x, y, width, faded });
  }

  // Neighbours of one colour without a border between them are one rectangle.
  function add(rectangles, x, y, width) {
    const last = rectangles.length - 3;
    const isNext = last >= 0 && width <= 2 && rectangles[last + 1] === y && x - rectangles[last] - rectangles[last + 2] < 0.5;
    if (isNext) rectangles[last + 2] = x + width - rectangles[last];
    else rectangles.push(x, y, width);
  }

  function paint() {
    for (const [key, rectangles] of layers) {
      const [fill, faded] = key.split("|");
      context.globalAlpha = faded === undefined ? 1 : 0.35;
      context.fillStyle = fill === "hatched" ? style.hatched : fill;
      // One path of all would be filled with smooth edges, 25 times as slowly without a graphics card.
      for (let at = 0; at < rectangles.length; at += 3) context.fillRect(rectangles[at], rectangles[at + 1], rectangles[at + 2], ROW - 1);
    }
    context.globalAlpha = 1;
    context.font = FONT;
    context.textBaseline = "middle";
    for (const text of texts) label(text);
    context.lineWidth = 2;
    context.strokeStyle = style.outline;
    for (let at = 0; at < outlines.length; at += 3) {
      const width = outlines[at + 2];
      if (width <= 4) {
        context.fillStyle = style.outline;
        context.fillRect(outlines[at], outlines[at + 1], width, ROW - 1);
      } else context.strokeRect(outlines[at] + 1, outlines[at + 1] + 1, width - 2, ROW - 3);
    }
  }

  function label({ node, x, y, width, faded }) {
    const characters = Math.floor((width - 2 * PADDING) / style.characterWidth);
    const share = percent(tree.width[node] / totalOf(tree));
    const name = tree.head.names[tree.name[node]];
    const long = name.length + share.length + 2 <= characters;
    context.fillStyle = faded ? style.fadedText : INK;
    context.fillText(fitted(name, characters) + (long ? "  " + share : ""), x + PADDING, y + ROW / 2);
  }
}

function visibleRows(view, tree) {
  const top = Math.max(0, Math.floor(view.scroll / ROW));
  const bottom = Math.min(view.rows, Math.ceil((view.scroll + view.height) / ROW));
  const [from, to] = view.flipped ? [view.rows - bottom, view.rows - top] : [top, bottom];
  return [Math.max(0, from), Math.min(tree.rows, to)];
}

// What is at a point: { node, to, row }, or undefined.
export function hit(tree, view, x, y) {
  const row = rowAt(view, y);
  if (row >= view.rows) return undefined;
  const node = nodeAt(tree, row, view.low + x / scaleOf(view));
  if (node === undefined) return undefined;
  if (tree.width[node] * scaleOf(view) >= 1) return { node, to: node + 1, row };
  let found = { node, to: node + 1, row };
  eachBox(tree, view, row, (from, to) => {
    if (from <= node && node < to) found = { node: from, to, row };
  });
  return found;
}

// Where a node is on the screen.
export function rectangle(tree, view, node, row) {
  const scale = scaleOf(view);
  const left = Math.max(0, (tree.start[node] - view.low) * scale);
  const right = Math.min(view.width, (end(tree, node) - view.low) * scale);
  return { x: left, y: yOf(view, row), width: Math.max(2, right - left), height: ROW };
}

// Of a monospaced font, so that no label has to be measured.
export function characterWidth(context) {
  context.font = FONT;
  return context.measureText("0".repeat(100)).width / 100;
}

export function hatching(context) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const pen = tile.getContext("2d");
  pen.fillStyle = "#f0f0f0";
  pen.fillRect(0, 0, 6, 6);
  pen.strokeStyle = "#b9bec6";
  pen.beginPath();
  pen.moveTo(0, 6);
  pen.lineTo(6, 0);
  pen.stroke();
  return context.createPattern(tile, "repeat");
}
