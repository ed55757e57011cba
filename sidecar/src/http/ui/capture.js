// A capture: its progress while it runs, then what it shows and in which forms it can be had.

import { Failure, getJson, request, send } from "./api.js";
import { clock, count, plural, inSeconds } from "./numbers.js";
import { change, currentRoute, go, queryOf } from "./route.js";
import { Viewer } from "./viewer.js";
import { strip, thousandths } from "./strip.js";
import { progress } from "./progress.js";
import { exactly } from "./names.js";
import { h, fill, link, button, command, textBox } from "./dom.js";
import { attempt, forwardTo, problem, processLink } from "./problem.js";
import { artifactPath, startCapture, differenceOf, fileName, filterWords, quoted, saveButtons, stamp, tabAddress, tabLinks, viewOf } from "./captures.js";
import { threadTable } from "./tables.js";

const TABS = [["flame", "Flame"], ["callers", "Callers"], ["tree", "Tree"], ["top", "Top"], ["threads", "Threads"]];
const FEW = 100;
const RELIST = 2000;
// Recordings for other tools, and what is handed out as it is.
const FILES = ["jfr", "nettrace", "trace", "dump"];
const WHOLE = [...FILES, "json", "jsonl", "text"];

export function openCapture(root, first) {
  const [id] = first.ids;
  const state = {};
  const head = h("div", h("h2", { tabindex: "-1" }, "Capture"));
  const body = h("div", h("p.skeleton", "Loading…"));
  fill(root, head, body);
  load();

  async function load() {
    try {
      state.capture = await getJson(`/captures/${encodeURIComponent(id)}`);
    } catch (error) {
      if (!state.closed) failed(error);
      return;
    }
    if (!state.closed) show();
  }

  function failed(error) {
    const told = currentRoute().params.get("pod");
    const here = document.body.dataset.pod;
    if (error.problem?.code !== "no_such_capture") return fill(body, problem(error, load));
    const elsewhere = told && here && told !== here;
    const until = Number(currentRoute().params.get("until"));
    const expired = until && until < Date.now() ? `It was kept until ${clock(until)}. ` : "It was removed, or made room for others. ";
    fill(body, h("section.problem",
      h("p", h("strong", elsewhere ? `Capture ${id} is not on ${here}; the link was made on ${told}.` : `There is no capture ${id} any more.`)),
      h("p", elsewhere ? "Forward that pod, and open the link again:" : [expired, "Pin captures to keep them."]),
      elsewhere && forwardTo(told),
      h("p", link("#/", "All captures"))));
  }

  function show() {
    const { capture } = state;
    const pod = document.body.dataset.pod;
    // A link says later where it was made and until when it led somewhere.
    change({ pod: pod ?? currentRoute().params.get("pod"), until: capture.expiresAtMs }, { replace: true });
    document.title = `${capture.event} of ${capture.name} · ${pod ?? location.host}`;
    fill(head, heading(capture, load));
    state.parts?.forEach((part) => part.close());
    state.parts = [];
    if (capture.status === "running") state.parts.push(progress(body, capture, load));
    else if (capture.status === "failed") fill(body, problem(new Failure(capture.problem)), h("p", link(processLink(capture), "What the doctor says of this process")));
    else if (!capture.formats.includes("flame")) withoutStacks(body, capture);
    else state.parts.push((state.profile = profile(body, capture)));
    state.profile?.update(currentRoute());
  }

  return {
    update: (now) => state.profile?.update(now),
    close() {
      state.closed = true;
      state.parts?.forEach((part) => part.close());
    },
  };
}

function heading(capture, reload) {
  const pin = async () => {
    await send("PATCH", `/captures/${capture.id}`, { pinned: !capture.pinned }).catch((error) => fill(message, problem(error)));
    reload();
  };
  const message = h("div");
  const degraded = capture.quality?.degraded ?? [];
  return [
    h("div.bar",
      h("h2", { tabindex: "-1" }, `${capture.event} of `, link(processLink(capture), capture.name)),
      h("span.space"),
      capture.status === "finished" && button(capture.pinned ? "Unpin" : "Pin", pin)),
    h("p.stamp", stamp(capture).join(" · ")),
    degraded.length > 0 && h("details.note", h("summary", `⚠ ${plural(degraded.length, "limit")} of this profile`), h("ul", degraded.map((one) => h("li", one)))),
    message,
  ];
}

// One with stacks.
function profile(root, capture) {
  const events = capture.events?.length > 1 ? eventChoice(capture) : undefined;
  const callers = (name) => change({ v: "callers", f: name, z: "" });
  const viewer = new Viewer({
    label: `Flame graph, ${capture.event} of ${capture.name}`, capture, callers,
    tabs: TABS, tabOf: (params) => ({ tree: "tree", top: "top" })[tabOf(params)] ?? "flame",
  });
  const [tabs, time, filters, above, doubtful, below] = [1, 2, 3, 4, 5, 6].map(() => h("div"));
  const compare = compareChoice(capture);
  fill(root, h("div.bar", tabs, events), time, filters, above, viewer.element, doubtful, below);
  let timed, updated, offered;
  const told = document.querySelector(".stamp");

  async function update({ params }) {
    const tab = tabOf(params);
    fill(tabs, tabLinks(TABS, tab, params));
    fill(filters, filterWords(params));
    showFiles(params);
    viewer.element.hidden = false;
    fill(above);
    const view = viewOf(params);
    if (tab === "callers" && params.get("f")) {
      view.callers = exactly(params.get("f"));
      fill(above, h("p", "Who calls ", h("strong", params.get("f")), ": it is at the root, its callers follow."));
    }
    if (tab === "threads") view.by = "thread";
    const isThere = await viewer.update(`/captures/${capture.id}/flame${queryOf({ ...view, nodes: params.get("nodes") })}`, params);
    if (!isThere) return;
    const { tree } = viewer;
    told.textContent = stamp({ ...capture, quality: tree.head.quality }).join(" · ");
    if (tab === "callers" && !params.get("f")) {
      viewer.element.hidden = true;
      fill(above, h("p", "Choose a function in the table ", link(tabAddress(params, "top"), "Top"), " or in the graph with ", h("kbd", "s"), "."));
    }
    if (tab === "threads") fill(above, threadTable(tree));
    fill(doubtful, doubts(capture, tree));
    showTime(params);
  }

  // A zoom or a letter of a search changes nothing there, except that there may be more to compare with.
  function showFiles(params) {
    const shown = queryOf(viewOf(params));
    if (offered !== shown) fill(below, downloads(capture, params, compare));
    offered = shown;
    compare.refresh();
  }

  async function showTime(params) {
    if (!capture.formats.includes("timeline")) return;
    const path = `/captures/${capture.id}/timeline${queryOf({ event: params.get("event") })}`;
    if (timed !== path) {
      timed = path;
      const told = await getJson(path).catch(() => {});
      if (!told || timed !== path) return;
      time.strip?.close();
      time.strip = strip(told.events[0], choose);
      fill(time, time.strip.element);
    }
    time.strip?.show(...["from", "to"].map((name) => (params.get(name) ? Number(params.get(name)) : undefined)));
  }

  function choose(low, high, options) {
    const [from, to] = [low, high].map((one) => (one === undefined ? "" : thousandths(one)));
    change({ from, to }, options);
    return updated;
  }

  return {
    update: (now) => (updated = update(now)),
    close() {
      time.strip?.close();
      viewer.close();
    },
  };
}

function tabOf(params) {
  const isForced = matchMedia("(forced-colors: active)").matches;
  const tab = params.get("v");
  return TABS.some(([name]) => name === tab) ? tab : isForced ? "tree" : "flame";
}

function eventChoice(capture) {
  const select = h("select", { id: "event", change: () => change({ event: select.value, z: "" }) }, capture.events.map((event) => h("option", { value: event }, event)));
  select.value = currentRoute().params.get("event") ?? capture.events[0];
  return h("label", { for: "event" }, "Event ", select);
}

// What makes the picture less than it seems.
function doubts(capture, tree) {
  const { quality = {} } = tree.head;
  const samples = quality.samples ?? capture.quality?.samples;
  if (tree.width[0] === 0) {
    const used = quality.cpuMs === undefined ? "" : ` The process used ${inSeconds(quality.cpuMs / 1000)} of CPU in that time.`;
    const message = h("div");
    const wall = () => startCapture(message, capture, "wall", capture.seconds);
    const nothing = h("p", h("strong", `0 samples in ${capture.seconds} s.`), used);
    if (capture.event !== "cpu") return h("section.problem", nothing, h("p", `Nothing of ${capture.event} happened in that time. Capture for longer, or while there is load.`));
    return h("section.problem", nothing,
      h("p", "It may wait: ", h("strong", "wall"), " samples what threads wait for as well. "), button(`Capture wall, ${capture.seconds} s`, wall), message);
  }
  return samples > 0 && samples < FEW && h("p.note", `⚠ Few samples: shares may be wrong by ${count(100 / Math.sqrt(samples))} points. Capture for longer.`);
}

function downloads(capture, params, compare) {
  const view = viewOf(params);
  const event = view.event && { event: view.event };
  const path = (format) => artifactPath(capture.id, format, WHOLE.includes(format) ? event : view);
  const shown = capture.formats.filter((format) => format !== "flame" && format !== "timeline");
  const url = (format) => quoted(location.origin + path(format));
  return h("section.downloads", { "aria-label": "Downloads" },
    saveButtons(shown, path, (format) => fileName(capture, format)),
    compare,
    h("h3", "In a terminal"),
    shown.includes("svg") && command(`curl -o ${fileName(capture, "svg")} ${url("svg")}`),
    shown.includes("pprof") && command(`go tool pprof -http=: ${url("pprof")}`));
}

function compareChoice(capture) {
  const select = h("select", { id: "compare", change: () => go(differenceOf(capture, select.captures.find((each) => each.id === select.value))) });
  const label = h("label", { for: "compare", hidden: true }, "Compare with ", select);
  let asked = 0;
  // Others come while this one is looked at.
  label.refresh = async () => {
    if (Date.now() - asked < RELIST) return;
    asked = Date.now();
    const captures = await getJson("/captures").catch(() => []);
    select.captures = captures.filter((one) => one.id !== capture.id && one.status === "finished" && one.event === capture.event);
    fill(select, h("option", { value: "" }, "choose…"), select.captures.map((one) => h("option", { value: one.id }, `${one.captureName ?? one.name}, ${clock(one.createdAtMs)}`)));
    label.hidden = !select.captures.length;
  };
  return label;
}

// A moment or counters: as text, as much as can be read.
function withoutStacks(root, capture) {
  const text = h("div");
  fill(root, text, downloads(capture, currentRoute().params));
  const format = capture.formats.includes("text") ? "text" : capture.formats[0];
  if (FILES.includes(format)) fill(text, h("p", "This recording is a file for other tools."));
  else attempt(text, "Loading…", async () => textBox("Content", await (await request(artifactPath(capture.id, format), { headers: { Accept: "*/*" } })).text()));
}
