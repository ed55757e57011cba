// The tree without some subtrees: what they had is gone from all that they are part of, and the rest moves together. Shares stay those of
// the whole.

import { NONE, end, first, totalOf } from "./columns.js";

export function without(tree, roots) {
  const gone = new Uint8Array(tree.count);
  for (const root of roots) gone[root] = 1;
  const both = ["before", "after"].filter((name) => tree[name]);
  const sums = Object.fromEntries(both.map((name) => [name, tree[name].slice()]));
  const cuts = [];
  for (let node = 1; node < tree.count; node++) {
    const isBelow = gone[tree.parent[node]];
    if (gone[node] && !isBelow) {
      cuts.push(node);
      for (let at = tree.parent[node]; at !== NONE; at = tree.parent[at]) for (const name of both) sums[name][at] -= tree[name][node];
    }
    gone[node] ||= isBelow;
  }
  cuts.sort((one, other) => tree.start[one] - tree.start[other]);
  // Where a place is when all that is cut before it is gone.
  const moved = (value) => cuts.reduce((sum, cut) => sum - Math.max(0, Math.min(value, end(tree, cut)) - tree.start[cut]), value);
  const kept = tree.name.map((_, node) => node).filter((node) => !gone[node]);
  const place = new Uint32Array(tree.count).fill(NONE);
  kept.forEach((node, at) => (place[node] = at));
  const of = (column) => column.constructor.from(kept, (node) => column[node]);
  const start = Float64Array.from(kept, (node) => moved(tree.start[node]));
  const shorter = {
    start, width: Float64Array.from(kept, (node, at) => moved(end(tree, node)) - start[at]), name: of(tree.name), self: of(tree.self),
    parent: Uint32Array.from(kept, (node) => (node ? place[tree.parent[node]] : NONE)),
    rowOffset: tree.rowOffset.map((from) => first(0, kept.length, (at) => kept[at] >= from)),
  };
  for (const name of both) shorter[name] = of(sums[name]);
  const rows = shorter.rowOffset.findIndex((from, row) => from === kept.length && row > 0);
  return { ...tree, ...shorter, rows, rowOffset: shorter.rowOffset.slice(0, rows + 1), count: kept.length, total: totalOf(tree) };
}
