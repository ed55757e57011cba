// Holds what the page finds in trees against what the server says of the same stacks; run in the page by tests/tests/page_truth.rs.
//   corpora: [{ columns: base64, functions: [{ name, total }], stacks: [[names, value]] }]
const { Flame, covered, read, search } = await import("/ui/page.js");
const flame = new Flame({ label: "Test", on: { zoom: (node) => flame.zoomTo(node), select() {}, hover() {}, key() {} } });
document.querySelector("main").replaceChildren(flame.element);
flame.element.style.color = "rgb(255, 0, 0)";

// Whether two pixels, or parts of three, have the colour of the outline of matches where a node is drawn.
function isDrawn(tree, node) {
  const view = flame.view();
  const row = tree.rowOffset.findLastIndex((from) => from <= node);
  const x = Math.max(0, ((tree.start[node] - view.low) / (view.high - view.low)) * view.width);
  const { data } = flame.context.getImageData(Math.max(0, Math.floor(x) - 2), row * 20 - view.scroll + 10, 7, 1);
  const redness = [0, 1, 2, 3, 4, 5, 6].map((at) => Math.max(0, data[4 * at] - data[4 * at + 1]) / 255);
  return redness.reduce((sum, one) => sum + one, 0) > 1.8;
}

const result = { searches: 0, kinds: 0, zoomed: 0, worstPoints: 0, worstZoomedPoints: 0, smallestShare: 1, unreached: 0, undrawn: [] };
for (const { columns, functions, stacks } of corpora) {
  const tree = read(Uint8Array.from(atob(columns), (one) => one.charCodeAt(0)).buffer);
  const whole = tree.width[0];
  const nameOf = (node) => tree.head.names[tree.name[node]];
  const pathOf = (node) => (node ? [...pathOf(tree.parent[node]), nameOf(node)] : []);
  flame.show(tree, { fillOf: () => "#0000ff", describe: String });
  for (const { name, total } of functions) {
    const found = search(tree, `/^${name}$/`);
    result.worstPoints = Math.max(result.worstPoints, 100 * Math.abs(covered(found, tree, 0, whole) / whole - total / whole));
    result.smallestShare = Math.min(result.smallestShare, total / whole);
    result.searches++;
    for (let node = 1; node < tree.count; node += 97) {
      const path = pathOf(node);
      const below = stacks.filter(([names]) => path.every((one, at) => names[at] === one));
      const sum = (of) => of.reduce((all, [, value]) => all + value, 0);
      const expected = sum(below.filter(([names]) => names.includes(name))) / sum(below);
      const share = covered(found, tree, tree.start[node], tree.start[node] + tree.width[node]) / tree.width[node];
      // What a stack has above the node is no part of the view, but covers it all.
      result.worstZoomedPoints = Math.max(result.worstZoomedPoints, 100 * Math.abs(share - expected));
      result.zoomed++;
    }
  }
  const kinds = tree.head.names.map((name) => (name.length > 2 ? "runtime" : "app"));
  for (const [kind, test] of [["app", (name) => name.length <= 2], ["runtime", (name) => name.length > 2]]) {
    const found = search(tree, `kind:${kind}`, kinds);
    const expected = stacks.filter(([names]) => names.some(test)).reduce((sum, [, value]) => sum + value, 0);
    result.worstPoints = Math.max(result.worstPoints, 100 * Math.abs(covered(found, tree, 0, whole) - expected) / whole);
    result.kinds++;
  }
  // The rarest and the most frequent: each match is drawn in the whole, and Enter leads to each.
  for (const { name } of [functions[0], functions[functions.length - 1]]) {
    const found = search(tree, `/^${name}$/`);
    flame.search(found);
    flame.zoomTo(0);
    flame.paint();
    const matches = Array.from({ length: tree.count }, (_, node) => node).filter((node) => nameOf(node) === name);
    for (const node of matches) if (!isDrawn(tree, node)) result.undrawn.push([name, pathOf(node)]);
    const reached = new Set();
    for (let press = 0; press < matches.length; press++) {
      reached.add(flame.nextMatch(1));
      flame.paint();
      if (!isDrawn(tree, flame.selected)) result.undrawn.push([name, "next"]);
    }
    result.unreached += matches.length - reached.size;
  }
}
flame.close();
result.webgl = Boolean(document.createElement("canvas").getContext("webgl"));
return result;
