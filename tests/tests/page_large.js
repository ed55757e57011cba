// Draws a tree of 250,000 nodes, and one that is 20,000 frames deep; run in the page by tests/tests/page.rs.
const { Flame } = await import("/ui/page.js");
const { search, covered } = await import("/ui/page.js");
const { functions, pathHashes } = await import("/ui/page.js");

function treeOf(rowLengths) {
  const count = rowLengths.reduce((sum, length) => sum + length, 0);
  const names = ["all", ...Array.from({ length: 5000 }, (_, at) => `com.example.package${at % 97}.Class${at}.method`)];
  const tree = {
    head: { names, kinds: names.map((_, at) => (at ? "jit" : "all")), unit: "count", sampleType: "samples", quality: {}, folded: { nodes: 0, value: 0 } },
    count, rows: rowLengths.length, rowOffset: new Uint32Array(rowLengths.length + 1),
    start: new Float64Array(count), width: new Float64Array(count), name: new Uint32Array(count), parent: new Uint32Array(count), self: new Float64Array(count),
  };
  let at = 0;
  rowLengths.forEach((length, row) => {
    tree.rowOffset[row + 1] = tree.rowOffset[row] + length;
    for (let node = 0; node < length; node++, at++) {
      tree.start[at] = (node * 1e6) / length;
      tree.width[at] = 1e6 / length;
      tree.name[at] = row ? 1 + ((at * 7919) % 5000) : 0;
      tree.parent[at] = row ? tree.rowOffset[row - 1] + Math.floor((node * rowLengths[row - 1]) / length) : 0xffffffff;
    }
  });
  return tree;
}

const flame = new Flame({ label: "Test", on: { zoom() {}, select() {}, hover() {}, key() {} } });
document.querySelector("main").append(flame.element);
const FILLS = ["#d08c58", "#e6d24a", "#3a98ee", "#b3a6d9", "#86efb0"];
const show = (tree) => flame.show(tree, { fillOf: (node) => FILLS[tree.name[node] % 5], describe: (node) => String(node) });
const timed = (work) => {
  const began = performance.now();
  work();
  return performance.now() - began;
};

const rows = Array.from({ length: 300 }, (_, row) => (row < 10 ? 2 ** row : 848));
const wide = treeOf(rows);
const firstMs = timed(() => {
  show(wide);
  flame.paint();
});
const frames = [];
for (let at = 0; at < 200; at++) {
  const node = (at * 6151) % wide.count;
  frames.push(timed(() => {
    flame.zoomTo(at % 2 ? node : 0);
    flame.element.scrollTop = (at * 37) % 5000;
    flame.paint();
  }));
}
frames.sort((one, other) => one - other);
const found = search(wide, "class42");
const searchMs = timed(() => covered(search(wide, "class4"), wide, 0, 1e6));
const tableMs = timed(() => functions(wide));
const hashMs = timed(() => pathHashes(wide));
flame.search(found);
flame.paint();

const deep = treeOf(Array.from({ length: 20001 }, () => 1));
show(deep);
flame.element.scrollTop = 1e9;
flame.paint();
functions(deep);
const { width, height } = flame.canvas;
const result = {
  nodes: wide.count, firstMs, p95Ms: frames[190], medianMs: frames[100], searchMs, tableMs, hashMs, rows: flame.rows,
  canvasPixels: width * height, heapBytes: performance.memory?.usedJSHeapSize,
};
flame.close();
return result;
