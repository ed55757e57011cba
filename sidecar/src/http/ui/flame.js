// A flame graph to look at, to point at and to walk through by keyboard. A canvas as large as what is seen shows it; a tree of a few
// elements around the selected frame says the same to screen readers.

import { NONE, children, end, rowOf, widestChild } from "./columns.js";
import { ROW, characterWidth, depth, draw, hatching, hit, pixel, rectangle, scaleOf } from "./draw.js";
import { inOrder, isMatch } from "./search.js";
import { h, fill } from "./dom.js";

const TREE_ITEMS = 30;

export class Flame {
  // `on` has zoom(node), select(node), hover(node or undefined, to), key(name, node).
  constructor({ label, on }) {
    Object.assign(this, { on, selected: 0, zoomed: 0, scroll: 0, flipped: false });
    this.canvas = h("canvas");
    this.hovered = h("div.box.hovered", { hidden: true });
    this.marked = h("div.box.marked", { hidden: true });
    this.picture = h("div.picture", { "aria-hidden": "true" }, this.canvas, this.hovered, this.marked);
    this.items = h("div.unseen", { role: "group" });
    this.element = h("div.flame", {
      role: "tree", tabindex: "0", "aria-label": label,
      keydown: (event) => this.keyed(event),
      scroll: () => this.redraw(),
      pointermove: (event) => this.moved(event),
      pointerleave: () => this.hover(undefined),
      click: (event) => this.clicked(event),
    }, this.picture, this.items);
    this.context = this.canvas.getContext("2d");
    this.observer = new ResizeObserver(() => this.resized());
    this.observer.observe(this.element);
  }

  close() {
    this.observer.disconnect();
  }

  // Another tree, or another way to colour it: `fillOf(node)`, `describe(node)`.
  show(tree, { fillOf, describe }) {
    Object.assign(this, { tree, fillOf, describe, zoomed: 0, selected: 0, found: undefined, colours: undefined });
    this.characterWidth ??= characterWidth(this.context);
    this.hatched ??= hatching(this.context);
    this.hover(undefined);
    this.zoomTo(0);
  }

  search(found) {
    this.found = found;
    this.redraw();
  }

  // The root below or above, and perhaps other colours.
  flip(flipped) {
    this.colours = undefined;
    if (this.flipped === flipped) return this.redraw();
    this.flipped = flipped;
    this.layOut();
  }

  zoomTo(node) {
    this.zoomed = node;
    this.layOut();
    this.select(node);
  }

  layOut() {
    if (!this.tree) return;
    const [low, high] = [this.tree.start[this.zoomed], end(this.tree, this.zoomed)];
    this.rows = Math.max(1, high > low ? depth(this.tree, low, high) : 1);
    this.picture.style.height = `${this.rows * ROW}px`;
    if (this.flipped) this.element.scrollTop = this.rows * ROW;
    this.resized();
  }

  view() {
    const { tree, zoomed, rows, flipped } = this;
    const low = tree.start[zoomed];
    const high = end(tree, zoomed);
    const zoomRow = rowOf(tree, zoomed);
    return { low, high: high > low ? high : low + 1, zoomRow, scroll: this.element.scrollTop, width: this.width, height: this.height, rows, flipped };
  }

  resized() {
    if (!this.tree) return;
    const ratio = devicePixelRatio || 1;
    this.width = Math.max(1, this.element.clientWidth);
    this.height = Math.max(1, Math.min(this.element.clientHeight || ROW, innerHeight));
    const [width, height] = [Math.round(this.width * ratio), Math.round(this.height * ratio)];
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.canvas.style.height = `${this.height}px`;
    this.redraw();
  }

  redraw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.paint();
    });
  }

  paint() {
    if (!this.tree || !this.width) return;
    const { found, characterWidth, hatched } = this;
    const { color: ink } = getComputedStyle(this.element);
    draw(this.context, this.tree, this.view(), { colour: (node) => this.colour(node), found, characterWidth, hatched, ink });
    this.mark(this.marked, this.selected);
  }

  // Frames of one name look alike, but not in a difference.
  colour(node) {
    const { before, count, head, name } = this.tree;
    this.colours ??= new Uint32Array(before ? count : head.names.length);
    return (this.colours[before ? node : name[node]] ||= pixel(this.fillOf(node)));
  }

  mark(box, node) {
    const row = node === undefined ? this.rows : rowOf(this.tree, node);
    const view = this.view();
    box.hidden = row >= this.rows || this.tree.start[node] >= view.high || end(this.tree, node) <= view.low;
    if (box.hidden) return;
    const place = rectangle(this.tree, view, node, row);
    Object.assign(box.style, {
      left: `${place.x}px`, top: `${place.y + view.scroll}px`, width: `${place.width}px`, height: `${place.height - 1}px`,
    });
  }

  at(event) {
    const area = this.canvas.getBoundingClientRect();
    return this.tree && hit(this.tree, this.view(), event.clientX - area.left, event.clientY - area.top);
  }

  moved(event) {
    if (event.pointerType !== "touch") this.hover(this.at(event));
  }

  hover(hit) {
    if (!this.tree) return;
    this.mark(this.hovered, hit?.node);
    this.on.hover(hit?.node, hit?.to);
  }

  // A tap selects, as fingers cannot hover; a click zooms as well.
  clicked(event) {
    const hit = this.at(event);
    if (!hit) return;
    this.element.focus({ preventScroll: true });
    this.select(hit.node);
    if (event.pointerType !== "touch") this.on.zoom(hit.node);
  }

  select(node) {
    this.selected = node;
    this.reveal(node);
    this.mark(this.marked, node);
    this.tellTree();
    this.on.select(node);
  }

  // Scrolls so far that the node is seen.
  reveal(node) {
    const row = rowOf(this.tree, node);
    const y = (this.flipped ? this.rows - 1 - row : row) * ROW;
    const { scrollTop, clientHeight } = this.element;
    if (y < scrollTop) this.element.scrollTop = y;
    else if (y + ROW > scrollTop + clientHeight) this.element.scrollTop = y + ROW - clientHeight;
  }

  // Parent, siblings, the node and its children as a tree of elements.
  tellTree() {
    const { tree, selected } = this;
    const parent = tree.parent[selected];
    const [from, to] = parent === NONE ? [selected, selected + 1] : children(tree, parent);
    const near = [Math.max(from, selected - TREE_ITEMS), Math.min(to, selected + TREE_ITEMS)];
    const below = children(tree, selected);
    const items = parent === NONE ? [] : [this.item(parent, 1, 1)];
    for (let node = near[0]; node < near[1]; node++) items.push(this.item(node, node - from + 1, to - from));
    for (let node = below[0]; node < Math.min(below[1], below[0] + TREE_ITEMS); node++) {
      items.push(this.item(node, node - below[0] + 1, below[1] - below[0]));
    }
    fill(this.items, items);
    this.element.setAttribute("aria-activedescendant", `node-${selected}`);
  }

  item(node, position, size) {
    const [from, to] = children(this.tree, node);
    return h("div", {
      role: "treeitem", id: `node-${node}`, "aria-level": rowOf(this.tree, node) + 1, "aria-posinset": position, "aria-setsize": size,
      "aria-expanded": to > from && "true", "aria-selected": String(node === this.selected),
    }, this.describe(node));
  }

  keyed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.tree) return;
    const step = this.steps()[event.key];
    if (step) step();
    else if (!this.on.key(event.key, this.selected)) return;
    event.preventDefault();
  }

  steps() {
    const { tree, selected } = this;
    const to = (node) => node !== undefined && node !== NONE && this.select(node);
    const [deeper, higher] = [() => to(widestChild(tree, selected)), () => to(tree.parent[selected])];
    return {
      ArrowDown: this.flipped ? higher : deeper,
      ArrowUp: this.flipped ? deeper : higher,
      ArrowLeft: () => to(this.beside(-1)),
      ArrowRight: () => to(this.beside(1)),
      Enter: () => (this.found ? this.nextMatch(1) : this.on.zoom(selected)),
      Backspace: () => this.on.zoom(this.zoomed && tree.parent[this.zoomed]),
      n: () => this.nextMatch(1),
      N: () => this.nextMatch(-1),
    };
  }

  beside(step) {
    const row = rowOf(this.tree, this.selected);
    const node = this.selected + step;
    return node >= this.tree.rowOffset[row] && node < this.tree.rowOffset[row + 1] ? node : undefined;
  }

  // The match behind the selected node, or before it, zoomed so that it can be read. Gives its number.
  nextMatch(step) {
    const { found, tree, selected } = this;
    if (!found?.count) return;
    const all = inOrder(found, tree);
    const at = isMatch(found, tree, selected) ? all.indexOf(selected) + step : step > 0 ? 0 : all.length - 1;
    const node = all[(at + all.length) % all.length];
    const view = this.view();
    const isSeen = tree.start[node] >= view.low && end(tree, node) <= view.high && tree.width[node] * scaleOf(view) > 40;
    if (!isSeen) this.on.zoom(this.readable(node));
    this.select(node);
    return node;
  }

  // The highest ancestor in whose view the node has a width that can be read.
  readable(node) {
    let at = node;
    while (this.tree.parent[at] !== NONE && this.tree.width[node] / this.tree.width[this.tree.parent[at]] > 0.1) at = this.tree.parent[at];
    return at;
  }

}
