// Draws what of a tree is in view: for each visible row the frames from the left edge on, found by binary search, and what is
// narrower than a pixel together. The cost depends on the pixels, not on the tree.

import { end, first, firstEndingAfter, nodeAt, totalOf } from "./columns.js";
import { matchesIn } from "./search.js";
import { fitted } from "./names.js";
import { percent } from "./numbers.js";
import { INK, KINDS } from "./kinds.js";

export const ROW = 20;
const FONT = "12px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
const PADDING = 4;
const NARROWEST_HATCHED = 8;
// A match is never narrower than the edge of its outline.
const OUTLINE = 2;
const FADED = 0x59ffffff;

// A colour, `#rrggbb`, as one of the little-endian numbers that an image is made of.
export const pixel = (colour) => Number("0xff" + colour.slice(5) + colour.slice(3, 5) + colour.slice(1, 3));

const SMALL = pixel("#a7adb6");
const HATCHED = pixel(KINDS.unresolved.fill);

// Of what is seen a line of pixels for each row, and with a search one for the edges of outlines.
const lines = new OffscreenCanvas(1, 1);
const pen = lines.getContext("2d");

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
      // It is near: steps that grow find it with fewer looks than halves of the row.
      let step = 1;
      while (to + step < rowEnd && tree.start[to + step] < next) step *= 2;
      to = first(to, Math.min(rowEnd, to + step), (other) => tree.start[other] >= next);
      // Only the last one that begins in a pixel can be wider than it.
      if (to - node > 1 && tree.width[to - 1] * scale >= 1) to--;
    }
    visit(node, to, x, xOf(end(tree, to - 1)) - x);
    node = to;
  }
}

// `style` has `colour(node)`, which is a pixel, and what was found, if something is searched for. Boxes are not drawn one by one but
// as pixels of lines, which are then stretched to the height of a row: tens of thousands cost what a few do.
export function draw(context, tree, view, style) {
  const pixels = context.canvas.width;
  const ratio = pixels / view.width;
  const edge = Math.round(OUTLINE * ratio);
  const { found } = style;
  const [from, to] = visibleRows(view, tree);
  const rows = Math.max(1, to - from);
  const image = new ImageData(pixels, 2 * rows);
  const line = new Uint32Array(image.data.buffer);
  const labels = [];
  const hatches = [];
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, view.width, view.height);
  context.fillStyle = style.ink;
  const ink = pixel(context.fillStyle);
  for (let row = from; row < to; row++) paintRow(row, yOf(view, row), (row - from) * pixels);
  stretch();
  context.fillStyle = style.hatched;
  for (const { x, y, width, isFaded } of hatches) {
    context.globalAlpha = isFaded ? 0.35 : 1;
    context.fillRect(x + OUTLINE, y + OUTLINE, width - 2 * OUTLINE, ROW - 1 - 2 * OUTLINE);
  }
  context.globalAlpha = 1;
  context.font = FONT;
  context.textBaseline = "middle";
  for (const one of labels) label(one);

  function paintRow(row, y, offset) {
    // Pixels before it belong to a match, which nothing beside it covers.
    let free = 0;
    eachBox(tree, view, row, (node, to, x, width) => {
      const isHit = found && matchesIn(found, node, to) > 0;
      const isFaded = found ? !isHit : row < view.zoomRow;
      const colour = to - node > 1 ? SMALL : style.colour(node);
      const least = isHit ? edge : 1;
      const begin = Math.min(Math.round(x * ratio), pixels - least);
      const stop = Math.max(begin + least, Math.round((x + width - (width > 2 ? 1 : 0)) * ratio));
      line.fill(isFaded ? colour & FADED : colour, offset + (isHit ? begin : Math.max(begin, free)), offset + stop);
      if (isHit) outline(offset + begin, offset + (free = stop));
      if (to - node > 1) return;
      if (width > 3 * style.characterWidth + 2 * PADDING) labels.push({ node, x, y, width, isFaded });
      if (colour === HATCHED && width > NARROWEST_HATCHED) hatches.push({ x: begin / ratio, y, width: (stop - begin) / ratio, isFaded });
    });
  }

  function outline(begin, stop) {
    line.fill(ink, begin, begin + edge).fill(ink, stop - edge, stop).fill(ink, rows * pixels + begin, rows * pixels + stop);
  }

  function stretch() {
    if (lines.width !== pixels || lines.height < 2 * rows) Object.assign(lines, { width: pixels, height: 2 * rows });
    pen.putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    for (let row = from; row < to; row++) {
      const y = yOf(view, row);
      const copy = (at, top, height) => context.drawImage(lines, 0, at, pixels, 1, 0, y + top, view.width, height);
      copy(row - from, 0, ROW - 1);
      if (!found) continue;
      copy(rows + row - from, 0, OUTLINE);
      copy(rows + row - from, ROW - 1 - OUTLINE, OUTLINE);
    }
  }

  function label({ node, x, y, width, isFaded }) {
    const characters = Math.floor((width - 2 * PADDING) / style.characterWidth);
    const name = tree.head.names[tree.name[node]];
    const rest = characters - name.length - 2;
    const share = rest > 2 ? percent(tree.width[node] / totalOf(tree)) : "";
    context.fillStyle = isFaded ? style.ink : INK;
    context.fillText(fitted(name, characters) + (share && share.length <= rest ? "  " + share : ""), x + PADDING, y + ROW / 2);
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
