// What several screens know of captures: how one is started, addressed, described.

import { download, getJson, send } from "./api.js";
import { addressOf, change, go, queryOf } from "./route.js";
import { count, inBytes, inSeconds, percent, plural } from "./numbers.js";
import { POLL } from "./progress.js";
import { h, fill, button, link, say } from "./dom.js";
import { problem } from "./problem.js";

// After so many milliseconds without an answer it is said what is waited for.
const WAIT = 1000;
// Of these a JVM gives a file with times and threads, if it is asked for one.
const WITH_TIMES = ["cpu", "wall", "alloc", "lock"];
const WORDS = { cpu: "CPU", wall: "Wall", alloc: "Alloc", lock: "Lock", heap: "Heap", offcpu: "Off-CPU", goroutine: "Threads" };

// A dump stops the app: POST /dump asks whether that is meant.
export const UNSTARTED = ["core"];

export const eventWords = (event) => WORDS[event] ?? event;

// Starts one and goes there; what is in the way is told in `message`.
export async function startCapture(message, who, event, seconds) {
  const format = who.runtime === "jvm" && WITH_TIMES.includes(event) ? { format: "jfr" } : {};
  fill(message, h("p", `Starting ${event}…`));
  const other = await runningOf(who).catch(() => {});
  const waiting = new AbortController();
  // It waits for the profiler to become free, and does not say so.
  const timer = other && setTimeout(() => waiting.abort(), WAIT);
  try {
    const answer = await send("POST", "/captures", { pid: who.pid, event, seconds, ...format }, waiting.signal);
    go(addressOf(["c", (await answer.json()).id]));
  } catch (error) {
    const isBusy = other && (waiting.signal.aborted || error.problem?.code === "busy");
    if (isBusy) busy(message, other, () => startCapture(message, who, event, seconds));
    else fill(message, problem(error));
    say(message.innerText.replace(/\s+/g, " "));
  } finally {
    clearTimeout(timer);
  }
}

const runningOf = async (who) => (await getJson("/captures")).find((one) => one.pid === who.pid && one.status === "running");

// Somebody else is at work there: how long yet, and what can be done.
function busy(message, other, again) {
  const left = h("span");
  const next = button("Capture next", () => {
    next.disabled = true;
    next.textContent = "Starts after it";
  });
  const show = () => (left.textContent = `${Math.min(other.seconds, Math.max(0, Math.ceil(other.seconds - (Date.now() - other.createdAtMs) / 1000)))} s left. `);
  const timer = setInterval(async () => {
    if (!message.contains(next)) return clearInterval(timer);
    show();
    const now = await getJson(`/captures/${other.id}`).catch(() => ({}));
    if (now.status === "running" || !message.contains(next)) return;
    clearInterval(timer);
    if (next.disabled) again();
    else fill(message);
  }, POLL);
  show();
  fill(message, h("p.note", "Someone else is capturing this process, ", left, link(addressOf(["c", other.id]), "Show it"), " ", next));
}

// Two of them by their time.
export const differenceOf = (...two) => addressOf(["diff", ...two.sort((one, other) => one.createdAtMs - other.createdAtMs).map((one) => one.id)]);

export const place = (one) => [one.pod, one.container].filter(Boolean).join(" ");

// The parameters of a view that the server applies; the page's own state is not among them.
export const VIEW = ["event", "from", "to", "thread", "by", "focus", "callers", "fold"];

export const viewOf = (params) => Object.fromEntries(VIEW.map((name) => [name, params.get(name)]).filter(([, value]) => value));

export const artifactPath = (id, format, view = {}) => `/captures/${id}/artifact${queryOf({ format, ...view })}`;

export const ENDINGS = { collapsed: "collapsed.txt", pprof: "pb.gz", speedscope: "speedscope.json", top: "top.txt", text: "txt", dump: "dmp", timeline: "timeline.json" };

// What a file of it is called: who, what, when.
export function fileName(capture, format) {
  const pod = capture.pod?.split("/").pop() ?? capture.name;
  const time = new Date(capture.createdAtMs).toISOString().replace(/[-:]|\.\d+/g, "");
  return `${pod}_${capture.event}_${time}.${ENDINGS[format] ?? format}`.replace(/[^\w.+-]+/g, "_");
}

// A button for each format, with the path and the name of its file.
export function saveButtons(formats, pathOf, nameOf) {
  const told = h("div", { role: "status" });
  const save = (format) => async () => {
    const bytes = (number) => (told.textContent = `${nameOf(format)}: ${inBytes(number)}`);
    await download(pathOf(format), nameOf(format), bytes).catch((error) => fill(told, problem(error)));
  };
  return [h("h3", "Download"), h("div.actions", formats.map((format) => button(format, save(format), { "aria-label": `Download ${format}` }))), told];
}

// A shell takes what is between single quotes as it is.
export const quoted = (text) => `'${text.replace(/'/g, "'\\''")}'`;

// What of a profile is to be known before believing it.
export function stamp({ quality, event, seconds }) {
  if (!quality) return [`${event} · ${seconds} s`];
  const words = [event, inSeconds((quality.durationMs ?? seconds * 1000) / 1000)];
  if (quality.samples != null) words.push(plural(quality.samples, "sample"));
  if (quality.sampler) words.push(quality.sampler);
  if (quality.intervalUnit === "nanoseconds" && quality.interval) words.push(`${count(1e9 / quality.interval)} Hz`);
  if (quality.lost != null) words.push(`${count(quality.lost)} lost`);
  if (quality.unresolved != null) words.push(`${percent(quality.unresolved)} unresolved`);
  return words;
}

// The same address with another tab.
export function tabAddress(params, tab) {
  // What is zoomed into there is no frame of the callers, and the other way round.
  const isOther = tab === "callers" || params.get("v") === "callers";
  return location.hash.split("?")[0] + queryOf({ ...Object.fromEntries(params), v: tab, ...(isOther && { z: "" }) });
}

export const tabLinks = (tabs, current, params) => h("nav.tabs", { "aria-label": "Views" },
  tabs.map(([name, label]) => h("a", { href: tabAddress(params, name), "aria-current": name === current && "page" }, label)));

// What of the recording is left out, and how to have it again.
export function filterWords(params) {
  const { event, fold, ...view } = viewOf(params);
  const one = ([name, value]) => [h("strong", `${name} ${value}`), " ", button("✕", () => change({ [name]: "" }), { "aria-label": `Without ${name}` }), " "];
  const all = Object.entries(view);
  return all.length > 0 && h("p.filters", "Only ", all.map(one));
}
