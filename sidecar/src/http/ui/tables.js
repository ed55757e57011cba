// The same as the picture, as tables: all functions with what they have, and the tree with what calls what.

import * as columns from "./columns.js";
import * as route from "./route.js";
import { h, fill, button, table } from "./dom.js";
import { percent, value, count, plural } from "./numbers.js";

const ROWS = 200;
const CHILDREN = 100;

// Functions, sortable by each column; `open(name)` shows the callers of one.
export function topTable(tree, kinds, { matches, open }) {
  const rows = columns.functions(tree).filter((row) => !matches || matches(row.name));
  const kindOf = new Map(tree.head.names.map((name, at) => [name, kinds[at]]));
  const order = { by: "self", down: true, shown: ROWS };
  const body = h("tbody");
  const more = button("", () => {
    order.shown += ROWS * 5;
    show();
  });
  const heads = [["name", "Function"], ["kind", "Kind"], ["self", "Self"], ["total", "Total"]].map(([by, label]) => {
    const sort = () => {
      order.down = order.by === by ? !order.down : by !== "name" && by !== "kind";
      order.by = by;
      show();
    };
    return { by, cell: h("th", { scope: "col", class: by === "self" || by === "total" ? "number" : undefined }, button(label, sort, { class: "sort" })) };
  });
  const compare = (one, other) => {
    const [a, b] = order.by === "kind" ? [kindOf.get(one.name), kindOf.get(other.name)] : [one[order.by], other[order.by]];
    const difference = typeof a === "string" ? a.localeCompare(b) : a - b;
    return (order.down ? -difference : difference) || one.name.localeCompare(other.name);
  };
  const row = (one) => h("tr", {},
    h("td", { class: "name" }, button(one.name, () => open(one.name), { class: "link" })),
    h("td", {}, kindOf.get(one.name)),
    h("td", { class: "number" }, amount(tree, one.self)),
    h("td", { class: "number" }, amount(tree, one.total)));
  function show() {
    for (const { by, cell } of heads) cell.setAttribute("aria-sort", order.by !== by ? "none" : order.down ? "descending" : "ascending");
    fill(body, rows.sort(compare).slice(0, order.shown).map(row));
    more.textContent = `${count(rows.length - order.shown)} more functions`;
    more.hidden = rows.length <= order.shown;
  }
  show();
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Functions" },
    h("table", { class: "top" }, h("caption", {}, plural(rows.length, "function"), ". A recursion is counted once."),
      h("thead", {}, h("tr", {}, heads.map(({ cell }) => cell))), body),
    more);
}

const amount = (tree, number) => `${value(number, tree.head.unit)} · ${percent(number / (tree.width[0] || 1))}`;

// The tree, opened along its widest path; rows are made when they are opened.
export function treeTable(tree, kinds, { root = 0, select }) {
  const body = h("tbody");
  const open = new Set();
  let current = root;
  for (let node = root; node !== undefined && tree.width[node] > 0.2 * tree.width[root]; node = columns.widestChild(tree, node)) open.add(node);

  const toggle = (node) => {
    if (!open.delete(node)) open.add(node);
    current = node;
    show(true);
  };
  function row(node, level, position, size) {
    const [from, to] = columns.children(tree, node);
    const isOpen = to > from ? String(open.has(node)) : undefined;
    const kind = kinds[tree.name[node]];
    const name = h("td", { role: "gridcell", class: "name" },
      to > from ? button(isOpen === "true" ? "▾" : "▸", () => toggle(node), { class: "toggle", tabindex: "-1", "aria-label": isOpen === "true" ? "Close" : "Open" }) : h("span", { class: "toggle" }),
      columns.nameOf(tree, node));
    name.style.paddingInlineStart = `${Math.min(level - 1, 40) * 0.8}rem`;
    return h("tr", {
      role: "row", tabindex: node === current ? "0" : "-1", "data-node": node, "aria-level": level, "aria-posinset": position, "aria-setsize": size,
      "aria-expanded": isOpen, dblclick: () => select(node), keydown: (event) => keyed(event, node),
    }, name,
    h("td", { role: "gridcell", class: "number" }, amount(tree, tree.width[node])),
    h("td", { role: "gridcell", class: "number" }, amount(tree, tree.self[node])),
    h("td", { role: "gridcell" }, kind));
  }
  // Without recursion: a stack may be as deep as 20,000 frames.
  function rows() {
    const made = [];
    const pending = [[root, 1, 1, 1]];
    while (pending.length) {
      const [node, level, position, size] = pending.pop();
      made.push(row(node, level, position, size));
      if (!open.has(node)) continue;
      const [from, to] = columns.children(tree, node);
      const all = Array.from({ length: to - from }, (_, at) => from + at).sort((one, other) => tree.width[other] - tree.width[one]);
      const shown = all.slice(0, CHILDREN);
      for (let at = shown.length - 1; at >= 0; at--) pending.push([shown[at], level + 1, at + 1, all.length]);
    }
    return made;
  }
  function keyed(event, node) {
    const line = event.currentTarget;
    const isOpen = open.has(node);
    const to = { ArrowDown: line.nextElementSibling, ArrowUp: line.previousElementSibling }[event.key];
    if (to) focus(to);
    else if ((event.key === "ArrowRight" && !isOpen) || (event.key === "ArrowLeft" && isOpen)) toggle(node);
    else if (event.key === "ArrowLeft" && node !== root) focus(body.querySelector(`[data-node="${tree.parent[node]}"]`));
    else if (event.key === "Enter") select(node);
    else return;
    event.preventDefault();
  }
  function focus(line) {
    body.querySelector('[tabindex="0"]')?.setAttribute("tabindex", "-1");
    line.setAttribute("tabindex", "0");
    current = Number(line.dataset.node);
    line.focus();
  }
  function show(isFocused) {
    fill(body, rows());
    if (isFocused) body.querySelector('[tabindex="0"]')?.focus();
  }
  show(false);
  return h("div", { class: "scroll" },
    h("table", { role: "treegrid", class: "top", "aria-label": "Call tree" },
      h("thead", {}, h("tr", { role: "row" }, ["Function", "Total", "Self", "Kind"].map((label, at) => h("th", { scope: "col", role: "columnheader", class: at === 1 || at === 2 ? "number" : undefined }, label)))),
      body));
}

// The threads of a tree that is split by them, with the graph of each.
export function threadTable(tree) {
  const [from, to] = columns.children(tree, 0);
  const threads = Array.from({ length: to - from }, (_, at) => from + at).sort((one, other) => tree.width[other] - tree.width[one]);
  const row = (node) => {
    const name = columns.nameOf(tree, node);
    const number = /tid=(\d+)\]?$/.exec(name)?.[1];
    const show = () => route.change({ v: "flame", thread: number ?? name.replace(/^\[|\]$/g, ""), z: "" });
    return h("tr", {}, h("td", { class: "name" }, name),
      h("td", { class: "number" }, value(tree.width[node], tree.head.unit)),
      h("td", { class: "number" }, percent(tree.width[node] / (tree.width[0] || 1))),
      h("td", {}, button("Only this", show, { "aria-label": `Only this: ${name}` })));
  };
  return table("Threads", ["Thread", "Total", "Share", "Action"], threads.slice(0, 500).map(row), { class: "top" });
}
