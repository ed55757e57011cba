// The tree with direct recursion folded: a function that calls itself is one frame, with all that it calls.

import { NONE, children } from "./columns.js";

const SUMS = ["width", "self", "before", "after"];

export function folded(tree) {
  const columns = { start: [], name: [], parent: [] };
  const sums = SUMS.filter((name) => tree[name]);
  for (const name of sums) columns[name] = [];
  const rowOffset = [0];
  // A group is the frames that become one. A row of groups makes the next one.
  let row = [{ nodes: [0], parent: NONE }];
  while (row.length) {
    row = row.flatMap((group) => add(group));
    rowOffset.push(columns.name.length);
  }
  const taken = { start: Float64Array, name: Uint32Array, parent: Uint32Array };
  const typed = Object.entries(columns).map(([name, numbers]) => [name, (taken[name] ?? Float64Array).from(numbers)]);
  return { ...tree, ...Object.fromEntries(typed), rowOffset: Uint32Array.from(rowOffset), rows: rowOffset.length - 1, count: columns.name.length };

  // Writes a group down and gives those that it calls, by name.
  function add({ nodes, parent, start = tree.start[0] }) {
    const at = columns.name.length;
    const name = tree.name[nodes[0]];
    columns.start.push(start);
    columns.name.push(name);
    columns.parent.push(parent);
    for (const sum of sums) columns[sum].push(0);
    for (const sum of sums) if (sum !== "self") for (const node of nodes) columns[sum][at] += tree[sum][node];
    const called = new Map();
    // It grows while it is gone through: what has the same name belongs to it.
    for (const node of nodes) {
      columns.self[at] += tree.self[node];
      const [from, to] = children(tree, node);
      for (let child = from; child < to; child++) {
        if (tree.name[child] === name) nodes.push(child);
        else if (called.has(tree.name[child])) called.get(tree.name[child]).push(child);
        else called.set(tree.name[child], [child]);
      }
    }
    let next = start;
    return [...called].sort(([one], [other]) => one - other).map(([, group]) => {
      const begin = next;
      next += group.reduce((sum, node) => sum + tree.width[node], 0);
      return { nodes: group, parent: at, start: begin };
    });
  }
}
