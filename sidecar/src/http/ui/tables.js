// The same as the picture, as tables: all functions with what they have, and the tree with what calls what.

import { children, functions, nameOf, totalOf, widestChild } from "./columns.js";
import { change } from "./route.js";
import { h, fill, button, table } from "./dom.js";
import { percent, inUnit, count, plural } from "./numbers.js";

const ROWS = 200;
const CHILDREN = 100;

// Functions, sortable by each column, of `found` names if there is a search; `open(name)` shows the callers of one.
export function topTable(tree, kinds, { found, open }) {
  const kindOf = new Map(tree.head.names.map((name, at) => [name, kinds[at]]));
  const rows = functions(tree).filter((row) => !found || found.has(row.name)).map((row) => ({ ...row, kind: kindOf.get(row.name) }));
  const order = { by: "self", down: true, shown: ROWS };
  const body = h("tbody");
  const more = button("", () => {
    order.shown += ROWS * 5;
    show();
  });
  const heads = [["name", "Function"], ["kind", "Kind"], ["self", "Self", true], ["total", "Total", true]].map(([by, label, isNumber]) => {
    const sort = () => {
      order.down = order.by === by ? !order.down : isNumber;
      order.by = by;
      show();
    };
    return { by, cell: h("th", { scope: "col", class: isNumber && "number" }, button(label, sort, { class: "sort" })) };
  });
  const compare = (one, other) => {
    const [a, b] = [one[order.by], other[order.by]];
    const difference = typeof a === "string" ? a.localeCompare(b) : a - b;
    return (order.down ? -difference : difference) || one.name.localeCompare(other.name);
  };
  const row = (one) => h("tr",
    h("td.name", button(one.name, () => open(one.name), { class: "link" })),
    h("td", one.kind),
    h("td.number", amount(tree, one.self)),
    h("td.number", amount(tree, one.total)));
  function show() {
    for (const { by, cell } of heads) cell.setAttribute("aria-sort", order.by !== by ? "none" : order.down ? "descending" : "ascending");
    fill(body, rows.sort(compare).slice(0, order.shown).map(row));
    more.textContent = `${count(rows.length - order.shown)} more functions`;
    more.hidden = rows.length <= order.shown;
  }
  show();
  return h("div.scroll", { tabindex: "0", role: "region", "aria-label": "Functions" },
    h("table.top", h("caption", plural(rows.length, "function"), ". A recursion is counted once."),
      h("thead", h("tr", heads.map(({ cell }) => cell))), body),
    more);
}

const widestFirst = (tree, from, to) =>
  Array.from({ length: to - from }, (_, at) => from + at).sort((one, other) => tree.width[other] - tree.width[one]);

const amount = (tree, number) => `${inUnit(number, tree.head.unit)} · ${percent(number / totalOf(tree))}`;

// The tree, opened along its widest path; rows are made when they are opened.
export function treeTable(tree, kinds, { root = 0, select }) {
  const body = h("tbody");
  const open = new Set();
  let current = root;
  for (let node = root; node !== undefined && tree.width[node] > 0.2 * tree.width[root]; node = widestChild(tree, node)) open.add(node);

  const toggle = (node) => {
    if (!open.delete(node)) open.add(node);
    current = node;
    show(true);
  };
  function row(node, level, position, size) {
    const [from, to] = children(tree, node);
    const isOpen = to > from ? String(open.has(node)) : undefined;
    const kind = kinds[tree.name[node]];
    const name = h("td", { role: "gridcell", class: "name" },
      to > from ? button(isOpen === "true" ? "▾" : "▸", () => toggle(node), { class: "toggle", tabindex: "-1", "aria-label": isOpen === "true" ? "Close" : "Open" }) : h("span.toggle"),
      nameOf(tree, node));
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
      const [from, to] = children(tree, node);
      const shown = widestFirst(tree, from, to).slice(0, CHILDREN);
      for (let at = shown.length - 1; at >= 0; at--) pending.push([shown[at], level + 1, at + 1, to - from]);
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
  return h("div.scroll",
    h("table", { role: "treegrid", class: "top", "aria-label": "Call tree" },
      h("thead", h("tr", { role: "row" }, ["Function", "Total", "Self", "Kind"].map((label, at) => h("th", { scope: "col", role: "columnheader", class: at % 3 > 0 && "number" }, label)))),
      body));
}

// The threads of a tree that is split by them, with the graph of each.
export function threadTable(tree) {
  const [from, to] = children(tree, 0);
  const threads = widestFirst(tree, from, to);
  const row = (node) => {
    const name = nameOf(tree, node);
    const number = /tid=(\d+)\]?$/.exec(name)?.[1];
    const show = () => change({ v: "flame", thread: number ?? name.replace(/^\[|\]$/g, ""), z: "" });
    return h("tr", h("td.name", name),
      h("td.number", inUnit(tree.width[node], tree.head.unit)),
      h("td.number", percent(tree.width[node] / totalOf(tree))),
      h("td", button("Only this", show, { "aria-label": `Only this: ${name}` })));
  };
  return table("Threads", ["Thread", "Total", "Share", "Action"], threads.slice(0, 500).map(row), { class: "top" });
}
