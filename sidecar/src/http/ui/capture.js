// A capture: its progress while it runs, then what it shows and in which forms it can be had.

import * as api from "./api.js";
import * as numbers from "./numbers.js";
import * as route from "./route.js";
import { Viewer } from "./viewer.js";
import { strip } from "./strip.js";
import { progress } from "./progress.js";
import { exactly } from "./names.js";
import { h, fill, link, button, command, textBox } from "./dom.js";
import { problem, processLink } from "./problem.js";
import { artifactPath, fileName, filterWords, quoted, stamp, startCapture, tabAddress, tabLinks, viewOf } from "./captures.js";
import { threadTable } from "./tables.js";

const TABS = [["flame", "Flame"], ["callers", "Callers"], ["tree", "Tree"], ["top", "Top"], ["threads", "Threads"]];
const FEW = 100;
// Recordings for other tools, and what is handed out as it is.
const FILES = ["jfr", "nettrace", "trace", "dump"];
const WHOLE = [...FILES, "json", "jsonl", "text"];

export function open(root, first) {
  const [id] = first.ids;
  const state = { closed: false };
  const head = h("div", {}, h("h2", { tabindex: "-1" }, "Capture"));
  const body = h("div", {}, h("p", { class: "skeleton" }, "Loading…"));
  fill(root, head, body);
  load();

  async function load() {
    try {
      state.capture = await api.json(`/captures/${encodeURIComponent(id)}`);
    } catch (error) {
      if (!state.closed) failed(error);
      return;
    }
    if (!state.closed) show();
  }

  function failed(error) {
    const told = route.current().params.get("pod");
    const here = document.body.dataset.pod;
    if (error.problem?.code !== "no_such_capture") return fill(body, problem(error, load));
    const elsewhere = told && here && told !== here;
    fill(body, h("section", { class: "problem" },
      h("p", {}, h("strong", {}, elsewhere ? `Capture ${id} is not on ${here}; the link was made on ${told}.` : `There is no capture ${id} any more.`)),
      h("p", {}, elsewhere ? "Forward that pod, and open the link again:" : "Captures are kept for an hour, and less when the store is full. Pin a capture to keep it."),
      elsewhere && forwardCommand(told),
      h("p", {}, link("#/", "All captures"))));
  }

  function show() {
    const { capture } = state;
    const pod = document.body.dataset.pod;
    if (pod && !route.current().params.get("pod")) route.change({ pod }, { replace: true });
    document.title = `${capture.event} of ${capture.name} · ${pod ?? location.host}`;
    fill(head, heading(capture, load));
    state.parts?.forEach((part) => part.close());
    state.parts = [];
    if (capture.status === "running") state.parts.push(progress(body, capture, load));
    else if (capture.status === "failed") fill(body, problem(new api.Failure(capture.problem)), h("p", {}, link(processLink(capture), "What the doctor says of this process")));
    else if (!capture.formats.includes("flame")) withoutStacks(body, capture);
    else state.parts.push((state.profile = profile(body, capture)));
    state.profile?.update(route.current());
  }

  return {
    update: (now) => state.profile?.update(now),
    close() {
      state.closed = true;
      state.parts?.forEach((part) => part.close());
    },
  };
}

const forwardCommand = (pod) => {
  const [namespace, name] = pod.split("/");
  return command(`kubectl port-forward -n ${namespace} pod/${name} ${location.port || 7117}:7117`);
};

function heading(capture, reload) {
  const pin = async () => {
    await api.send("PATCH", `/captures/${capture.id}`, { pinned: !capture.pinned }).catch((error) => fill(message, problem(error)));
    reload();
  };
  const message = h("div", {});
  const degraded = capture.quality?.degraded ?? [];
  return [
    h("div", { class: "bar" },
      h("h2", { tabindex: "-1" }, `${capture.event} of `, link(processLink(capture), capture.name)),
      h("span", { class: "space" }),
      capture.status === "finished" && button(capture.pinned ? "Unpin" : "Pin", pin)),
    h("p", { class: "stamp" }, stamp(capture, numbers).join(" · ")),
    degraded.length > 0 && h("details", { class: "note" }, h("summary", {}, `⚠ ${numbers.plural(degraded.length, "limit")} of this profile`), h("ul", {}, degraded.map((one) => h("li", {}, one)))),
    message,
  ];
}

// One with stacks.
function profile(root, capture) {
  const events = capture.events?.length > 1 ? eventChoice(capture) : undefined;
  const callers = (name) => route.change({ v: "callers", f: name, z: "" });
  const viewer = new Viewer({
    label: `Flame graph, ${capture.event} of ${capture.name}`, capture, callers,
    tabs: TABS, tabOf: (params) => ({ tree: "tree", top: "top" })[tabOf(params)] ?? "flame",
  });
  const [tabs, time, filters, above, doubt, below] = [1, 2, 3, 4, 5, 6].map(() => h("div", {}));
  fill(root, h("div", { class: "bar" }, tabs, events), filters, above, viewer.element, time, doubt, below);
  let [timed, shownTime, shownFiles, asking] = [];
  const told = document.querySelector(".stamp");

  async function update({ params }) {
    const tab = tabOf(params);
    fill(tabs, tabLinks(TABS, tab, params));
    fill(filters, filterWords(params));
    showFiles(params);
    viewer.element.hidden = false;
    fill(above);
    fill(doubt);
    const view = viewOf(params);
    if (tab === "callers" && params.get("f")) {
      view.callers = exactly(params.get("f"));
      fill(above, h("p", {}, "Who calls ", h("strong", {}, params.get("f")), ": it is at the root, its callers follow."));
    }
    if (tab === "threads") view.by = "thread";
    const isThere = await viewer.update(`/captures/${capture.id}/flame${api.query(view)}`, params);
    if (!isThere) return;
    const { tree } = viewer;
    told.textContent = stamp({ ...capture, quality: tree.head.quality }, numbers).join(" · ");
    if (tab === "callers" && !params.get("f")) {
      viewer.element.hidden = true;
      fill(above, h("p", {}, "Choose the function whose callers are wanted, in the table ", link(tabAddress(params, "top"), "Top"), " or in the graph with ", h("kbd", {}, "s"), "."));
    }
    if (tab === "threads") fill(above, threadTable(tree));
    fill(doubt, doubts(capture, tree));
    showTime(params);
  }

  // A zoom or a letter of a search changes nothing there, except that there may be more to compare with: not each of them asks for that.
  function showFiles(params) {
    const key = api.query(viewOf(params));
    if (shownFiles !== key) fill(below, downloads(capture, params));
    else asking ??= setTimeout(() => {
      asking = undefined;
      below.querySelector("#compare").ask();
    }, 300);
    shownFiles = key;
  }

  async function showTime(params) {
    const [from, to] = ["from", "to"].map((name) => (params.get(name) ? Number(params.get(name)) : undefined));
    const key = [from, to].join(" ");
    if (!capture.formats.includes("timeline") || shownTime === key) return;
    shownTime = key;
    try {
      timed ??= (await api.json(`/captures/${capture.id}/timeline${api.query({ event: params.get("event") })}`)).events[0];
    } catch {
      return;
    }
    time.strip?.close();
    const rounded = (seconds) => (seconds === undefined ? "" : String(Math.round(seconds * 1000) / 1000));
    time.strip = strip(timed, { from: from ?? (to === undefined ? undefined : 0), to, choose: (low, high) => route.change({ from: rounded(low), to: rounded(high) }) });
    fill(time, time.strip.element);
  }

  return {
    update,
    close() {
      clearTimeout(asking);
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
  const select = h("select", { id: "event", change: () => route.change({ event: select.value, z: "" }) }, capture.events.map((event) => h("option", { value: event }, event)));
  select.value = route.current().params.get("event") ?? capture.events[0];
  return h("label", { for: "event" }, "Event ", select);
}

// What makes the picture less than it seems.
function doubts(capture, tree) {
  const { quality = {} } = tree.head;
  const samples = quality.samples ?? capture.quality?.samples;
  if (tree.width[0] === 0) {
    const used = quality.cpuMs === undefined ? "" : ` The process used ${numbers.seconds(quality.cpuMs / 1000)} of CPU in that time.`;
    const wall = async () => route.go(route.format(["c", await startCapture(capture, "wall", capture.seconds)]));
    const nothing = h("p", {}, h("strong", {}, `0 samples in ${capture.seconds} s.`), used);
    if (capture.event !== "cpu") return h("section", { class: "problem" }, nothing, h("p", {}, `Nothing of ${capture.event} happened in that time. Capture for longer, or while there is load.`));
    return h("section", { class: "problem" }, nothing,
      h("p", {}, "It may wait for something: ", h("strong", {}, "wall"), " samples what threads wait for as well. "), button(`Capture wall, ${capture.seconds} s`, wall));
  }
  return samples > 0 && samples < FEW && h("p", { class: "note" }, `⚠ Few samples: shares may be wrong by ${numbers.count(100 / Math.sqrt(samples))} points. Capture for longer.`);
}

function downloads(capture, params) {
  const view = viewOf(params);
  const event = view.event && { event: view.event };
  const path = (format) => artifactPath(capture.id, format, WHOLE.includes(format) ? event : view);
  const shown = capture.formats.filter((format) => format !== "flame" && format !== "timeline");
  const failed = h("div", {});
  const save = (format) => async () => {
    fill(failed);
    await api.download(path(format) + "&download=1", fileName(capture, format)).catch((error) => fill(failed, problem(error)));
  };
  const url = (format) => quoted(location.origin + path(format));
  return h("section", { class: "downloads", "aria-label": "Downloads" },
    h("h3", {}, "Download"), h("div", { class: "actions" }, shown.map((format) => button(format, save(format), { "aria-label": `Download ${format}` }))), failed,
    compareChoice(capture),
    h("h3", {}, "In a terminal"),
    shown.includes("svg") && command(`curl -o ${fileName(capture, "svg")} ${url("svg")}`),
    shown.includes("pprof") && command(`go tool pprof -http=: ${url("pprof")}`));
}

function compareChoice(capture) {
  const select = h("select", { id: "compare", change: () => {
    const [one, other] = [capture, select.captures.find((each) => each.id === select.value)].sort((a, b) => a.createdAtMs - b.createdAtMs);
    route.go(route.format(["diff", one.id, other.id]));
  } });
  const label = h("label", { for: "compare", hidden: true }, "Compare with ", select);
  select.ask = () => api.json("/captures").then((captures) => {
    select.captures = captures.filter((one) => one.id !== capture.id && one.status === "finished" && one.event === capture.event);
    fill(select, h("option", { value: "" }, "choose…"), select.captures.map((one) => h("option", { value: one.id }, `${one.captureName ?? one.name}, ${numbers.clock(one.createdAtMs)}`)));
    label.hidden = select.captures.length === 0;
  }, () => {});
  select.ask();
  return label;
}

// A moment or counters: as text, as much as can be read.
async function withoutStacks(root, capture) {
  const text = h("p", { class: "skeleton" }, "Loading…");
  fill(root, text, downloads(capture, route.current().params));
  const format = capture.formats.includes("text") ? "text" : capture.formats[0];
  if (FILES.includes(format)) return text.replaceWith(h("p", {}, "This recording is a file for other tools."));
  try {
    const whole = await (await api.request(artifactPath(capture.id, format), { headers: { Accept: "*/*" } })).text();
    text.replaceWith(textBox("Content", whole));
  } catch (error) {
    text.replaceWith(problem(error));
  }
}
