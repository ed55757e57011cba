// Writes collapsed text of a tree with 249,000 nodes, 62 deep, of 5,000 functions; the same on each run.

const NODES = 249_000;
const FUNCTIONS = 5000;
// Deeper ones would be cut by a Go program, as which the server takes who sends them.
const DEEPEST = 61;

let state = 7;
const random = (below) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};

const parent = new Int32Array(NODES);
const name = new Int32Array(NODES);
const depth = new Int32Array(NODES);
const hasChild = new Uint8Array(NODES);
const there = new Set();
for (let node = 1; node < NODES; ) {
  // Mostly one below the other, as stacks are; elsewhere a branch.
  const from = random(10) < 7 && depth[node - 1] < DEEPEST ? node - 1 : random(node);
  const called = random(FUNCTIONS);
  if (depth[from] >= DEEPEST || there.has(from * FUNCTIONS + called)) continue;
  there.add(from * FUNCTIONS + called);
  parent[node] = from;
  name[node] = called;
  depth[node] = depth[from] + 1;
  hasChild[from] = 1;
  node++;
}

const lines = [];
for (let node = 1; node < NODES; node++) {
  if (hasChild[node] && random(10)) continue;
  const stack = [];
  for (let at = node; at; at = parent[at]) stack.push(`com.example.package${name[at] % 97}.Class${name[at]}.method`);
  stack.push("com.example.Main.main");
  lines.push(`${stack.reverse().join(";")} ${1 + random(100)}\n`);
}
process.stdout.write(lines.join(""));
