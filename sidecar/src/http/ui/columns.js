// The tree of a flame graph as the server sends it: a head of JSON and columns, taken as typed arrays without parsing.
// Nodes are row by row, in a row by their start; no object is made for a node, and nothing recurses.

const MAGIC = 0x314c4653; // "SFL1", little-endian
export const NONE = 0xffffffff;

export function read(buffer) {
  const view = new DataView(buffer);
  if (view.getUint32(0, true) !== MAGIC) throw new Error("this is no flame graph");
  const length = view.getUint32(4, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  let offset = 8 + length;
  const column = (Type, count) => {
    const taken = new Type(buffer, offset, count);
    offset += Math.ceil((count * Type.BYTES_PER_ELEMENT) / 8) * 8;
    return taken;
  };
  const { nodes, rows } = head;
  const tree = {
    head,
    count: nodes,
    rows,
    rowOffset: column(Uint32Array, rows + 1),
    start: column(Float64Array, nodes),
    width: column(Float64Array, nodes),
    name: column(Uint32Array, nodes),
    parent: column(Uint32Array, nodes),
    self: column(Float64Array, nodes),
  };
  if (head.base) Object.assign(tree, { before: column(Float64Array, nodes), after: column(Float64Array, nodes) });
  return tree;
}

// The first position in [from, to) of which `is` holds, else `to`; `is` never holds before a place where it does not.
export function first(from, to, is) {
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (is(middle)) to = middle;
    else from = middle + 1;
  }
  return from;
}

export const nameOf = (tree, node) => tree.head.names[tree.name[node]];
// What shares are of, though some of it may be hidden.
export const totalOf = (tree) => tree.total ?? (tree.width[0] || 1);
export const end = (tree, node) => tree.start[node] + tree.width[node];
export const rowOf = (tree, node) => first(0, tree.rows, (row) => tree.rowOffset[row + 1] > node);

// The first node of a row that ends behind `value`, or the end of the row.
export const firstEndingAfter = (tree, row, value) =>
  first(tree.rowOffset[row], tree.rowOffset[row + 1], (node) => tree.start[node] + tree.width[node] > value);

// The node of a row that is at `value`, or undefined.
export function nodeAt(tree, row, value) {
  if (row < 0 || row >= tree.rows) return undefined;
  const node = firstEndingAfter(tree, row, value);
  return node < tree.rowOffset[row + 1] && tree.start[node] <= value ? node : undefined;
}

// The children of a node are one behind the other: [from, to).
export function children(tree, node) {
  const row = rowOf(tree, node) + 1;
  if (row >= tree.rows) return [0, 0];
  const [from, to] = [tree.rowOffset[row], tree.rowOffset[row + 1]];
  return [first(from, to, (child) => tree.parent[child] >= node), first(from, to, (child) => tree.parent[child] > node)];
}

export function widestChild(tree, node) {
  const [from, to] = children(tree, node);
  let widest;
  for (let child = from; child < to; child++) {
    if (widest === undefined || tree.width[child] > tree.width[widest]) widest = child;
  }
  return widest;
}

// Names from the root down to the node, the root left out.
export function stack(tree, node) {
  const names = [];
  for (let at = node; at !== NONE && tree.parent[at] !== NONE; at = tree.parent[at]) names.push(nameOf(tree, at));
  return names.reverse();
}

// Nodes in the order in which a reader meets them: each before its children, these by their start.
export function preorder(tree) {
  const order = new Uint32Array(tree.count);
  const next = tree.rowOffset.slice(0, tree.rows);
  const path = [0];
  next[0] = 1;
  let at = 1;
  while (path.length) {
    const row = path.length;
    const parent = path[row - 1];
    if (row < tree.rows && next[row] < tree.rowOffset[row + 1] && tree.parent[next[row]] === parent) {
      order[at++] = next[row];
      path.push(next[row]++);
    } else {
      path.pop();
    }
  }
  return order;
}

// A number for the names from the root to each node (FNV-1a), the same in every rendering that has this path.
export function pathHashes(tree) {
  const ofName = tree.head.names.map(hashOf);
  const hashes = new Uint32Array(tree.count);
  for (let node = 1; node < tree.count; node++) {
    hashes[node] = Math.imul(Math.imul(hashes[tree.parent[node]] ^ 0x9e3779b9, 0x85ebca6b) ^ ofName[tree.name[node]], 16777619);
  }
  return hashes;
}

export function hashOf(text) {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 16777619);
  return hash >>> 0;
}

// By name what it has itself, and in all, a recursion counted once.
export function functions(tree) {
  const rows = tree.head.names.map((name, at) => ({ name, kind: tree.head.kinds[at], self: 0, total: 0, nodes: 0 }));
  const coveredUntil = new Float64Array(rows.length).fill(-1);
  for (const node of preorder(tree)) {
    const row = rows[tree.name[node]];
    row.self += tree.self[node];
    row.nodes++;
    if (tree.start[node] < coveredUntil[tree.name[node]]) continue;
    row.total += tree.width[node];
    coveredUntil[tree.name[node]] = end(tree, node);
  }
  return rows.slice(1).filter((row) => row.nodes);
}
