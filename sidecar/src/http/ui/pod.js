// The first screen: what runs here with the doctor's verdicts, and what was captured.

import { getJson, request, send } from "./api.js";
import { clock, count, inBytes, inSeconds, plural } from "./numbers.js";
import { h, fill, link, button, command, part, say } from "./dom.js";
import { go, addressOf } from "./route.js";
import { problem, processLink, words } from "./problem.js";
import { startCapture, differenceOf, eventWords, place, UNSTARTED } from "./captures.js";

const REFRESH = 10000;
const MANAGED = { jvm: "JVM", dotnet: ".NET", go: "Go" };
const FIRST = ["wall", "alloc", "lock", "heap", "exceptions", "block", "goroutine"];
const OTHERS_SHOWN = 50;

export function openPod(root) {
  const state = { seconds: 30 };
  const processes = h("div", h("p.skeleton", "Looking at what runs here…"));
  const captures = h("div");
  fill(root,
    h("section", { "aria-labelledby": "processes" },
      h("div.bar", h("h2", { id: "processes", tabindex: "-1" }, "Processes"), durationField(state)),
      processes),
    part("Captures", captures));

  async function refresh() {
    const [rows, kept] = await Promise.allSettled([getJson("/processes"), keptCaptures()]);
    if (state.closed) return;
    keepState(root, () => {
      fill(processes, rows.reason ? problem(rows.reason, refresh) : processTable(rows.value, state));
      fill(captures, kept.reason ? problem(kept.reason, refresh) : captureTable(...kept.value, state, refresh));
    });
  }
  refresh();
  // What went wrong stays until it is read.
  const timer = setInterval(() => document.hidden || root.querySelector(".message > *") || refresh(), REFRESH);
  return {
    update: refresh,
    close() {
      state.closed = true;
      clearInterval(timer);
    },
  };
}

// They, and what they take of the store.
async function keptCaptures() {
  const answer = await request("/captures");
  return [await answer.json(), answer.headers.get("Sideflame-Store")];
}

// What was open and what had the focus is and has it afterwards, by its key.
function keepState(root, change) {
  const { key } = (root.contains(document.activeElement) && document.activeElement.dataset) || {};
  const opened = [...root.querySelectorAll("details[open]")].map((one) => one.dataset.key);
  change();
  for (const one of root.querySelectorAll("details")) one.open ||= opened.includes(one.dataset.key);
  if (key) root.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

function durationField(state) {
  const input = h("input", { id: "seconds", type: "number", min: "1", max: "600", value: state.seconds, input: changed });
  function changed() {
    state.seconds = Number(input.value) || 30;
    for (const one of document.querySelectorAll(".card .primary")) one.textContent = cpuWords(state);
  }
  return h("label", { for: "seconds" }, "Seconds to capture ", input);
}

const cpuWords = (state) => `CPU ${state.seconds} s`;

function processTable(rows, state) {
  const targets = rows.filter((row) => row.runtime in MANAGED);
  const others = rows.filter((row) => !targets.includes(row));
  if (rows.length === 0) return onlyUs();
  const cards = (shown) => h("ul.cards", shown.map((row) => processCard(row, state)));
  return [
    targets.length > 0 ? cards(targets) : h("p", `No JVM, .NET or Go process in this pod. Sideflame sees ${plural(others.length, "other process", "es")}.`),
    others.length > 0 && h("details", { open: targets.length === 0, "data-key": "native" },
      h("summary", plural(others.length, "native process", "es")),
      cards(others.slice(0, OTHERS_SHOWN)),
      others.length > OTHERS_SHOWN && h("p", `${count(others.length - OTHERS_SHOWN)} more: `, command("curl localhost:7117/processes?format=text"))),
  ];
}

const onlyUs = () => [
  h("p", "Sideflame sees no process but its own: the pod does not share its process namespace. Set this in the pod's spec:"),
  command("shareProcessNamespace: true"),
];

function processCard(row, state) {
  const can = row.events.filter((event) => event.availability !== "impossible").map((event) => event.event);
  const cpu = row.events.find((event) => event.event === "cpu");
  const others = can.filter((event) => event !== "cpu" && event !== "counters" && !UNSTARTED.includes(event));
  const direct = FIRST.filter((event) => others.includes(event)).slice(0, 4);
  const more = others.filter((event) => !direct.includes(event));
  const message = h("div.message");
  const one = (event, primary) => button(primary ? cpuWords(state) : eventWords(event), () => startCapture(message, row, event, state.seconds), {
    class: primary && "primary", "data-key": `${event}-${row.pid}`, "aria-description": `of ${row.name}, pid ${row.pid}`,
  });
  const degraded = cpu?.availability === "degraded";
  return h("li.card",
    h("div.who",
      h("h3", mark(can), " ", link(processLink(row), row.name)),
      h("p", `pid ${row.pid} · ${MANAGED[row.runtime] ?? row.runtime}${row.version ? " " + row.version.replace(/^go/, "") : ""} · user ${row.uid}`, place(row) && ` · ${place(row)}`)),
    h("div.actions",
      can.includes("cpu") ? one("cpu", true) : h("strong", "CPU is not possible. ", link(processLink(row), "Why?")),
      direct.map((event) => one(event)),
      more.length > 0 && h("details", { "data-key": `more-${row.pid}` }, h("summary", "more events"), h("div.actions", more.map((event) => one(event))))),
    degraded && h("p.note", "⚠ CPU works, with limits. ", link(processLink(row), "Which?")),
    message);
}

function mark(can) {
  const [sign, word] = can.includes("cpu") ? ["●", "can be profiled"] : can.length ? ["○", "can be inspected"] : ["✕", "cannot be profiled"];
  return [h("span", { "aria-hidden": "true" }, sign), h("span.unseen", `${word}: `)];
}

function captureTable(captures, store, state, refresh) {
  if (captures.length === 0) {
    return h("p", "Nothing captured yet. Press ", h("strong", "CPU"), " of a process: it samples what runs 100 times a second, which took about 2 % of a busy core when we measured it.");
  }
  const remove = (capture) => async () => {
    await send("DELETE", `/captures/${capture.id}`).catch((error) => say(words(error)));
    refresh();
  };
  const row = (capture) => h("li.card",
    h("div.who",
      h("h3", link(addressOf(["c", capture.id]), capture.captureName ?? `${capture.event} of ${capture.name}`)),
      h("p", status(capture), ` · ${clock(capture.createdAtMs)} · pid ${capture.pid}`)),
    h("div.actions", compareButton(capture, state, refresh), button("Remove", remove(capture), { "data-key": capture.id, "aria-description": `${capture.event} of ${capture.name} of ${clock(capture.createdAtMs)}` })));
  // A proxy may have left the header out.
  const [used, limit] = store?.match(/\d+/g).map(Number) ?? [];
  const room = limit && ` · ${inBytes(used)} of ${inBytes(limit)} in the store`;
  return [h("p.store", plural(captures.length, "capture"), room), h("ul.cards", [...captures].reverse().map(row))];
}

// The first of two is kept until there is a second one of the same event.
function compareButton(capture, state, refresh) {
  const { before } = state;
  if (!capture.formats?.includes("flame") || (before ?? capture).event !== capture.event) return;
  const isFirst = before?.id === capture.id;
  const choose = () => {
    state.before = before ? undefined : capture;
    if (before && !isFirst) go(differenceOf(before, capture));
    else refresh();
  };
  return button(isFirst ? "Compare with another" : before ? "Compare with this" : "Compare", choose, {
    "data-key": `compare-${capture.id}`, "aria-pressed": isFirst && "true", "aria-description": `${capture.event} of ${capture.name} of ${clock(capture.createdAtMs)}`,
  });
}

function status({ status, quality, seconds, error, pinned }) {
  if (status === "running") return `◌ running, ${seconds} s`;
  if (status === "failed") return `✕ failed: ${error}`;
  const samples = quality?.samples ? ` · ${plural(quality.samples, "sample")}` : "";
  return `✓ ${inSeconds((quality?.durationMs ?? 0) / 1000)}${samples}${pinned ? " · pinned" : ""}`;
}
