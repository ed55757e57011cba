// What a search finds: names are tested once each, and shares are of both the whole and the view.

import { end, preorder } from "./columns.js";

// A test of names: /pattern/ or a part of the name. Upper case in it matters, as in most editors.
function matcher(query) {
  const pattern = /^\/(.+)\/?$/s.exec(query)?.[1].replace(/\/$/, "");
  const flags = query === query.toLowerCase() ? "iu" : "u";
  if (pattern) {
    const expression = new RegExp(pattern, flags);
    return (name) => expression.test(name);
  }
  const folded = flags.includes("i");
  return (name) => (folded ? name.toLowerCase() : name).includes(query);
}

// All frames of a kind, as a search.
export const ofKind = (kind) => `kind:${kind}`;

// Undefined without a query; throws where it is no pattern. `kinds` are those of the names.
export function search(tree, query, kinds = []) {
  if (!query) return undefined;
  const matches = kinds.some((kind) => query === ofKind(kind)) ? (_, at) => query === ofKind(kinds[at]) : matcher(query);
  const byName = Uint8Array.from(tree.head.names, (name, at) => (at && matches(name, at) ? 1 : 0));
  const before = new Uint32Array(tree.count + 1);
  const covered = new Uint8Array(tree.count);
  const outermost = [];
  for (let node = 0; node < tree.count; node++) {
    const is = byName[tree.name[node]];
    const above = node > 0 && covered[tree.parent[node]];
    covered[node] = is || above ? 1 : 0;
    before[node + 1] = before[node] + is;
    if (is && !above) outermost.push(node);
  }
  return { query, byName, before, outermost, count: before[tree.count] };
}

// The names of all that match.
export const namesOf = (found, tree) => new Set(tree.head.names.filter((_, at) => found.byName[at]));

export const isMatch = (found, tree, node) => found.byName[tree.name[node]] === 1;

// How many nodes of [from, to) match.
export const matchesIn = (found, from, to) => found.before[to] - found.before[from];

// What the matches have of [low, high), each stack once.
export function covered(found, tree, low, high) {
  let sum = 0;
  for (const node of found.outermost) {
    sum += Math.max(0, Math.min(end(tree, node), high) - Math.max(tree.start[node], low));
  }
  return sum;
}

// Matches in the order of the picture: from left to right, from the root on.
export function inOrder(found, tree) {
  found.order ??= preorder(tree).filter((node) => isMatch(found, tree, node));
  return found.order;
}
