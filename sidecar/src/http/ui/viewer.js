// One tree in three forms, picture, tree and table, with search, zoom, legend and details. What it shows is in the address.

import { getBuffer } from "./api.js";
import { end, hashOf, nameOf, pathHashes, read, stack, totalOf } from "./columns.js";
import { inWords, count, percent, plural } from "./numbers.js";
import { change, go } from "./route.js";
import { Flame } from "./flame.js";
import { without } from "./hide.js";
import { search, covered, namesOf, ofKind } from "./search.js";
import { kindsOf, KINDS, CHANGES, changeFill, packageOf, packageFill } from "./kinds.js";
import { topTable, treeTable } from "./tables.js";
import { h, fill, button, copyText, say, swatch } from "./dom.js";
import { problem } from "./problem.js";
import { details, line } from "./details.js";
import { exactly } from "./names.js";

// What the server has of a tree at most, and gives where it is asked for.
const MOST_NODES = 1e6;

export class Viewer {
  // `tabOf(params)` is flame, tree or top. `capture` may be undefined; `callers(name)` leads to who calls a function, if there is such a view.
  constructor({ label, capture, callers, tabs, tabOf }) {
    Object.assign(this, { capture, callers, tabs, tabOf });
    this.flame = new Flame({ label, on: {
      zoom: (node) => this.zoom(node),
      select: (node) => this.selected(node),
      hover: (node, to) => this.pointed(node, to),
      key: (key, node) => this.key(key, node),
    } });
    this.line = h("p.line");
    this.details = h("aside.details", { "aria-label": "Selected frame" });
    this.legend = h("ul.legend", { "aria-label": "Colours" });
    this.notice = h("div.notice");
    this.without = h("div");
    this.table = h("div");
    this.picture = h("div.graph", h("div.drawing", this.line, this.flame.element, this.legend), this.details);
    this.body = h("div.view", this.picture, this.table);
    this.bar = this.searchBar();
    this.element = h("div", this.bar, this.notice, this.without, this.body);
  }

  close() {
    this.loading?.abort();
    this.flame.close();
  }

  searchBar() {
    this.field = h("input", {
      id: "search", type: "search", autocomplete: "off", spellcheck: "false", placeholder: "name or /pattern/",
      input: () => change({ q: this.field.value }, { replace: true }),
      keydown: (event) => this.searchKey(event),
    });
    this.found = h("output", { for: "search", class: "found" });
    const next = (step) => () => this.next(step);
    this.steps = h("span", button("◂", next(-1), { "aria-label": "Previous match" }), button("▸", next(1), { "aria-label": "Next match" }));
    this.colours = h("select", { id: "colour", change: () => change({ c: this.colours.value === "kind" ? "" : this.colours.value }) },
      h("option", { value: "kind" }, "kind"), h("option", { value: "package" }, "package"));
    this.folds = button("Fold recursion", () => this.key("r"));
    this.reset = button("Whole graph", () => this.key("0"));
    return h("div.bar", { role: "search" }, h("label", { for: "search" }, "Search "), this.field, this.steps, this.found,
      h("span.space"), h("label", { for: "colour", class: "colours" }, "Colour by ", this.colours),
      this.folds, button("Flip", () => this.key("i")), this.reset);
  }

  searchKey(event) {
    if (event.key === "Enter") this.next(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape" && this.field.value) change({ q: "" }, { replace: true });
    else return;
    event.preventDefault();
  }

  next(step) {
    const node = this.flame.nextMatch(step);
    if (node !== undefined) say(this.describe(node));
  }

  // Shows what the address says, of the tree that is at `path`. True if there is one.
  async update(path, params) {
    this.params = params;
    if (path !== this.path && !(await this.load(path))) return false;
    if (this.path !== path || !this.whole) return false;
    this.folds.setAttribute("aria-pressed", params.has("fold"));
    this.hide(params.get("x") ?? "");
    this.apply();
    return true;
  }

  async load(path) {
    this.loading?.abort();
    const loading = (this.loading = new AbortController());
    this.element.setAttribute("aria-busy", true);
    const waiting = setTimeout(() => fill(this.whole ? this.line : this.notice, h("p.skeleton", "Drawing…")), 150);
    try {
      const tree = read(await getBuffer(path, { signal: loading.signal }));
      fill(this.notice);
      Object.assign(this, { path, whole: tree, tree: undefined });
      tree.head.rangeMs = this.range(tree.head);
      this.kinds = kindsOf(tree.head, this.capture);
      return true;
    } catch (error) {
      if (error.name === "AbortError") return false;
      this.path = this.whole = undefined;
      this.failed(error);
      return false;
    } finally {
      clearTimeout(waiting);
      if (this.loading === loading) this.element.setAttribute("aria-busy", false);
    }
  }

  // Leaves the subtrees out whose paths the address has.
  hide(paths) {
    const { whole } = this;
    if (this.tree && this.hidden === paths) return;
    this.hidden = paths;
    const wanted = new Set(paths.split(".").map((path) => parseInt(path, 36)));
    const nodes = [];
    if (paths) pathHashes(whole).forEach((hash, node) => node && wanted.has(hash) && nodes.push(node));
    this.tree = nodes.length ? without(whole, nodes) : whole;
    fill(this.without, nodes.length > 0 && h("p.note.without", "Hidden: ", h("strong", nodes.map((node) => nameOf(whole, node)).join(", ")),
      `, ${percent(1 - this.tree.width[0] / totalOf(whole))} of all. `, button("Show again", () => change({ x: "" }))));
    this.hashes = this.query = this.shown = undefined;
    this.flame.show(this.tree, { fillOf: (node) => this.fillOf(node), describe: (node) => this.describe(node) });
  }

  // How long what is shown took, where that is a part of the time.
  range({ quality }) {
    const [from, to] = ["from", "to"].map((name) => this.params.get(name));
    if (!from && !to) return;
    const whole = (quality?.durationMs ?? 0) / 1000;
    return 1000 * (Math.min(Number(to ?? whole), whole) - Number(from ?? 0)) || undefined;
  }

  failed(error) {
    this.body.hidden = this.bar.hidden = true;
    fill(this.notice, problem(error, () => dispatchEvent(new Event("route"))));
  }

  apply() {
    const { params, tree } = this;
    const isEmpty = !(this.whole.width[0] > 0);
    this.body.hidden = this.bar.hidden = isEmpty;
    if (isEmpty) return;
    const tab = this.tabOf(params);
    this.colours.value = params.get("c") ?? "kind";
    this.colours.parentElement.hidden = Boolean(tree.before);
    this.findAll(params.get("q") ?? "");
    this.showZoom(params.get("z"));
    this.flame.flip(params.get("o") === "flame");
    this.showLegend();
    this.showTab(tab);
    this.tellFound();
  }

  showZoom(wanted) {
    fill(this.notice);
    let node = 0;
    if (wanted) {
      this.hashes ??= pathHashes(this.tree);
      node = this.hashes.indexOf(parseInt(wanted, 36), 1);
      if (node < 0) fill(this.notice, h("p", "The linked frame is not in this view; showing all."));
      node = Math.max(0, node);
    }
    if (this.flame.zoomed !== node) this.flame.zoomTo(node);
    this.reset.hidden = node === 0 && !this.hidden;
    this.selected(this.flame.selected);
  }

  showTab(tab) {
    this.picture.hidden = tab !== "flame";
    this.table.hidden = tab === "flame";
    this.bar.classList.toggle("plain", tab !== "flame");
    const key = [tab, this.path, tab === "tree" ? this.flame.zoomed : this.query].join(" ");
    if (this.shown === key) return;
    this.shown = key;
    if (tab === "tree") {
      const select = (node) => change({ v: "flame", z: this.hash(node) });
      fill(this.table, treeTable(this.tree, this.kinds, { root: this.flame.zoomed, select }));
    } else if (tab === "top") {
      const open = (name) => (this.callers ? this.callers(name) : change({ q: name }));
      fill(this.table, topTable(this.tree, this.kinds, { found: this.search && namesOf(this.search, this.tree), open }));
    } else fill(this.table);
  }

  findAll(query) {
    if (this.query === query) return;
    this.query = query;
    if (this.field.value !== query) this.field.value = query;
    this.error = undefined;
    try {
      this.search = search(this.tree, query, this.kinds);
    } catch (error) {
      [this.search, this.error] = [undefined, error.message];
    }
    this.flame.search(this.search);
  }

  tellFound() {
    const found = this.search;
    this.steps.hidden = !found;
    clearTimeout(this.telling);
    if (!found) return fill(this.found, this.error ?? "");
    const { tree } = this;
    const { zoomed } = this.flame;
    const all = covered(found, tree, 0, tree.width[0]);
    const view = covered(found, tree, tree.start[zoomed], end(tree, zoomed));
    const words = [`${percent(all / totalOf(tree))} of all`];
    if (zoomed) words.push(`${percent(view / tree.width[zoomed])} of view`);
    words.push(inWords(all, tree.head)[0], plural(found.count, "frame"));
    fill(this.found, words.join(" · "));
    this.telling = setTimeout(() => say(words.join(", ")), 700);
  }

  hash(node) {
    this.hashes ??= pathHashes(this.tree);
    return node ? this.hashes[node].toString(36) : "";
  }

  zoom(node) {
    change({ z: this.hash(node ?? 0) });
  }

  selected(node) {
    fill(this.line, line(this.tree, node, this.context()));
    fill(this.details, details(this.tree, node, this.context()));
  }

  pointed(node, to) {
    fill(this.line, line(this.tree, node ?? this.flame.selected, this.context(), node === undefined ? undefined : to));
  }

  context() {
    const { kinds, capture, flame, callers } = this;
    return { kinds, capture, zoomed: flame.zoomed, callers, zoom: (node) => this.zoom(node), key: (key, node) => this.key(key, node) };
  }

  describe(node) {
    const { tree } = this;
    const share = (number) => percent(number / totalOf(tree)).replace("%", "percent");
    return `${nameOf(tree, node)}, ${share(tree.width[node])} total, ${share(tree.self[node])} self, ${this.kinds[tree.name[node]]}`;
  }

  fillOf(node) {
    const { tree } = this;
    if (tree.before) {
      const noise = 2 * Math.sqrt((tree.before[node] + tree.after[node]) * this.unitOfSamples());
      return changeFill(tree.before[node], tree.after[node], noise);
    }
    const kind = this.kinds[tree.name[node]];
    const isByPackage = this.params.get("c") === "package" && !["all", "thread", "kernel", "unresolved"].includes(kind);
    return isByPackage ? packageFill(hashOf(packageOf(nameOf(tree, node)))) : KINDS[kind].fill;
  }

  // What one sample is worth in the unit of the widths.
  unitOfSamples() {
    const { unit, after } = this.tree.head;
    const { interval = 0, intervalUnit } = after?.quality ?? {};
    return unit === "nanoseconds" && intervalUnit === "nanoseconds" && interval ? interval : 1;
  }

  showLegend() {
    const { tree, kinds } = this;
    const one = (fill, word) => h("li", swatch(fill, word));
    const isByPackage = this.params.get("c") === "package";
    const there = Object.entries(KINDS).filter(([kind]) => kind !== "all" && kinds.includes(kind));
    const items = tree.before ? CHANGES.map(({ fill, word }) => one(fill, word))
      : isByPackage ? [h("li", "One colour for each package, the same in every graph")]
      : there.map(([kind, { fill }]) => one(fill, button(kind, () => this.only(kind), { class: "link", "aria-description": "search all of this kind" })));
    const { folded, nodes } = tree.head;
    const all = () => change({ nodes: MOST_NODES });
    fill(this.legend, items, folded.nodes > 0 && h("li", `${count(folded.nodes)} small frames, ${percent(folded.value / totalOf(tree))}, are folded`,
      this.params.get("nodes") < MOST_NODES && [" · ", button(folded.nodes + nodes > MOST_NODES ? "load a million" : "load all", all, { class: "link" })]));
  }

  only(kind) {
    const query = ofKind(kind);
    change({ q: this.query === query ? "" : query }, { replace: true });
  }

  // Whether what is zoomed into is a part of a node.
  isIn(node) {
    const { tree, flame } = this;
    return node <= flame.zoomed && tree.start[node] <= tree.start[flame.zoomed] && end(tree, node) >= end(tree, flame.zoomed);
  }

  key(key, node) {
    const keys = {
      i: () => change({ o: this.params.get("o") === "flame" ? "" : "flame" }, { replace: true }),
      r: () => change({ fold: this.params.has("fold") ? "" : "recursion", z: "" }),
      x: () => node && change({ x: [this.hidden, this.hash(node)].filter(Boolean).join("."), z: this.isIn(node) ? "" : this.params.get("z") }),
      f: () => node && change({ focus: exactly(nameOf(this.tree, node)), z: "" }),
      0: () => change({ z: "", x: "" }),
      s: () => node && this.callers?.(nameOf(this.tree, node)),
      c: () => copyText(nameOf(this.tree, node)),
      C: () => copyText(stack(this.tree, node).join("\n")),
      "/": () => this.field.focus(),
      Escape: () => (this.query ? change({ q: "" }, { replace: true }) : change(this.flame.zoomed ? { z: "" } : { x: "" })),
      "?": () => go("#/help"),
    };
    const tab = this.tabs[key - 1];
    if (tab) change({ v: tab[0] });
    else keys[key]?.();
    return Boolean(tab || keys[key]);
  }
}
