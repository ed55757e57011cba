// Two captures against each other: a sentence, a table, a graph, and what only the first one has.

import { UNAUTHORIZED, getJson } from "./api.js";
import { count, percent, rate, signed } from "./numbers.js";
import { addressOf, change, queryOf } from "./route.js";
import { Viewer } from "./viewer.js";
import { h, fill, link, command, table } from "./dom.js";
import { problem } from "./problem.js";
import { ENDINGS, filterWords, quoted, saveButtons, tabLinks, viewOf } from "./captures.js";

const MOST_ROWS = 30;
const TOO_FEW = 1000;
const FORMS = [["flame", "Flame"], ["tree", "Tree"], ["top", "Top"]];
const FILES_OF_TWO = ["svg", "collapsed", "pprof", "top", "top.json"];
const SCALES = { "per-second": "per second: did the work change?", share: "share: did the mix change?" };

export function openDiff(root, first) {
  const [before, after] = first.ids;
  const state = {};
  const viewer = new Viewer({ label: "Flame graph of the difference", tabs: FORMS, tabOf: (params) => (FORMS.some(([name]) => name === params.get("v")) ? params.get("v") : "flame") });
  const [head, functions, bar, gone, below] = [1, 2, 3, 4, 5].map(() => h("div"));
  fill(root, h("h2", { tabindex: "-1" }, "Difference"), head, bar, viewer.element, gone, functions, below);
  update(first);

  async function update({ params }) {
    const how = { before, after, normalise: params.get("normalise"), base: params.get("base"), ...viewOf(params) };
    fill(bar, controls(params), filterWords(params));
    fill(below, files(how));
    showTable(how);
    const isThere = await viewer.update(`/diff${queryOf({ ...how, format: "flame", nodes: params.get("nodes") })}`, params);
    if (isThere && !state.closed) fill(gone, vanished(viewer.tree));
  }

  async function showTable(how) {
    const path = `/diff${queryOf({ ...how, format: "top.json" })}`;
    if (state.table === path) return;
    state.table = path;
    try {
      const told = await getJson(path);
      if (state.table === path) [fill(head, headline(told)), fill(functions, functionTable(told))];
    } catch (error) {
      state.table = undefined;
      // The viewer says the same where it cannot be had at all.
      fill(head, error.problem?.code === UNAUTHORIZED && problem(error));
    }
  }

  function controls(params) {
    const select = h("select", { id: "normalise", change: () => change({ normalise: select.value }) }, Object.entries(SCALES).map(([value, label]) => h("option", { value }, label)));
    select.value = params.get("normalise") ?? "per-second";
    const base = h("select", { id: "base", change: () => change({ base: base.value }) }, h("option", { value: "after" }, "after"), h("option", { value: "before" }, "before"));
    base.value = params.get("base") ?? "after";
    return h("div.bar",
      tabLinks(FORMS, params.get("v") ?? "flame", params),
      h("label", { for: "normalise" }, "Compare by ", select), h("label", { for: "base" }, "Widths of ", base),
      link(addressOf(["diff", after, before], params), "Swap"),
      link(addressOf(["c", before]), "Before"), link(addressOf(["c", after]), "After"));
  }

  return {
    update,
    close() {
      state.closed = true;
      viewer.close();
    },
  };
}

function headline(told) {
  const doubts = [];
  const [before, after] = [told.before.quality, told.after.quality];
  if (before.process !== after.process) doubts.push(`Different processes: ${before.process} and ${after.process}.`);
  if (before.interval !== after.interval) doubts.push("They were sampled at different rates.");
  if (Math.min(before.samples ?? TOO_FEW, after.samples ?? TOO_FEW) < TOO_FEW) doubts.push(`One has fewer than ${count(TOO_FEW)} samples: small changes are chance.`);
  return [h("p.headline", told.headline), doubts.map((one) => h("p.note", "⚠ ", one))];
}

function functionTable(told) {
  const show = (number) => rate(number, told.unit);
  const change = (number) => signed(show(number), number);
  const real = told.functions.filter((one) => !one.withinNoise);
  const rows = [...real, ...told.functions.filter((one) => one.withinNoise)].slice(0, MOST_ROWS);
  const row = (one) => h("tr", { class: one.withinNoise && "noise" }, h("td.name", one.name),
    h("td.number", show(one.before)), h("td.number", show(one.after)),
    h("td.number", one.withinNoise ? `${show(one.change)}, within noise` : change(one.change)), h("td.number", change(one.selfChange)));
  return [h("h3", "Functions that changed most"), table("Functions that changed most", ["Function", "Before", "After", "Change", "Self"], rows.map(row), { class: "top numbers" })];
}

// What the graph of one side would leave out.
function vanished(tree) {
  let sum = 0;
  for (let node = 1; node < tree.count; node++) {
    const parent = tree.parent[node];
    const isGone = (at) => tree.after[at] === 0 && tree.before[at] > 0;
    if (isGone(node) && !isGone(parent)) sum += tree.before[node];
  }
  return sum > 0 && tree.before[0] > 0 && h("p", `Only in before: ${percent(sum / tree.before[0])}. Those frames are as wide as they were.`);
}

function files(how) {
  const path = (format) => `/diff${queryOf({ ...how, format })}`;
  return h("section.downloads", { "aria-label": "Downloads" }, saveButtons(FILES_OF_TWO, path, (format) => `diff.${ENDINGS[format] ?? format}`),
    h("h3", "In a terminal"), command(`curl -o diff.svg ${quoted(location.origin + path("svg"))}`), command(`curl ${quoted(location.origin + path("top"))}`));
}
