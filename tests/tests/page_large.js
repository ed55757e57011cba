// Draws a tree of `shape`, which has `rows` rows of at most `widest` nodes, and counts what that takes; run in the page by tests/tests/page.rs.
const { Flame, search, covered, functions, pathHashes } = await import("/ui/page.js");

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

document.querySelector("main").replaceChildren();
const flame = new Flame({ label: "Test", on: { zoom() {}, select() {}, hover() {}, key() {} } });
document.querySelector("main").append(flame.element);
const FILLS = ["#d08c58", "#e6d24a", "#3a98ee", "#b3a6d9", "#f0f0f0"];
const shownAs = { fillOf: (node) => FILLS[flame.tree.name[node] % 5], describe: (node) => String(node) };
const timed = (work) => {
  const began = performance.now();
  work();
  return performance.now() - began;
};

const tree = treeOf(Array.from({ length: shape.rows }, (_, row) => Math.min(2 ** row, shape.widest)));
const firstMs = timed(() => {
  flame.show(tree, shownAs);
  flame.paint();
});
const frames = [];
for (let at = 0; at < 200; at++) {
  frames.push(timed(() => {
    flame.zoomTo(at % 2 ? (at * 6151) % tree.count : 0);
    flame.element.scrollTop = (at * 37) % 5000;
    flame.paint();
  }));
}
frames.sort((one, other) => one - other);
let found;
const searchMs = timed(() => covered((found = search(tree, "class42")), tree, 0, 1e6));
const tableMs = timed(() => functions(tree));
const hashMs = timed(() => pathHashes(tree));

const METHODS = ["fillRect", "strokeRect", "fill", "stroke", "drawImage", "fillText"];

// What one frame reads of the tree and gives to the canvas, however long that takes here.
function worked() {
  const counts = { reads: 0, rectangles: 0, texts: 0 };
  const counted = (array) => new Proxy(array, { get: (of, at) => (counts.reads++, of[at]) });
  const columns = ["start", "width", "name", "parent", "self"].map((column) => [column, counted(tree[column])]);
  for (const method of METHODS) {
    const what = method === "fillText" ? "texts" : "rectangles";
    flame.context[method] = (...given) => (counts[what]++, CanvasRenderingContext2D.prototype[method].apply(flame.context, given));
  }
  flame.tree = { ...tree, ...Object.fromEntries(columns) };
  const { found } = flame;
  flame.found = found && { ...found, before: counted(found.before) };
  flame.paint();
  Object.assign(flame, { tree, found });
  for (const method of METHODS) delete flame.context[method];
  return counts;
}

// Whether two pixels where a match begins are ink, as narrow as it may be. What shares its pixel may begin before it.
function isOutlined(node) {
  flame.zoomTo(0);
  flame.reveal(node);
  flame.paint();
  const { canvas, element } = flame;
  const ratio = canvas.width / flame.width;
  const x = Math.min(Math.round((tree.start[node] / 1e6) * canvas.width), canvas.width - 2 * ratio);
  const row = tree.rowOffset.findIndex((start) => start > node) - 1;
  const y = Math.round((row * 20 - element.scrollTop + 10) * ratio);
  const [red, green, blue] = getComputedStyle(element).color.match(/\d+/g);
  const ink = [red, green, blue, 255].join();
  // A canvas that is read twice tells the console so.
  const copy = new OffscreenCanvas(3 * ratio, 1).getContext("2d");
  copy.drawImage(canvas, ratio - x, -y);
  const { data } = copy.getImageData(0, 0, 3 * ratio, 1);
  const pixels = Array.from({ length: 3 * ratio }, (_, at) => data.slice(4 * at, 4 * at + 4).join());
  return pixels.filter((one) => one === ink).length >= 2 * ratio;
}

flame.zoomTo(0);
const whole = worked();
flame.search(found);
const searched = worked();
flame.element.scrollTop = 1e9;
const bottom = worked();
const { width, height } = flame.canvas;
const areOutlined = [found.outermost[0], found.outermost.at(-1)].every(isOutlined);
// Looked at afterwards by its owner, who asks for what it takes to keep.
window.kept = [flame, tree, found];
return {
  nodes: tree.count, firstMs, p95Ms: frames[190], medianMs: frames[100], searchMs, tableMs, hashMs, rows: flame.rows,
  whole, searched, bottom, canvasPixels: width * height, width: flame.width, height: flame.height,
  areOutlined, hasWebGL: document.createElement("canvas").getContext("webgl") !== null,
};
