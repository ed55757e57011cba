// What several screens know of captures: how one is started, addressed, described.

import * as api from "./api.js";
import * as route from "./route.js";
import { h, button } from "./dom.js";

// Of these a JVM gives a file with times and threads, if it is asked for one.
const WITH_TIMES = ["cpu", "wall", "alloc", "lock"];
const WORDS = { cpu: "CPU", wall: "Wall", alloc: "Alloc", lock: "Lock", heap: "Heap", offcpu: "Off-CPU", goroutine: "Threads" };

// A dump stops the app: POST /dump asks whether that is meant.
export const UNSTARTED = ["dump"];
export const eventWords = (event) => WORDS[event] ?? event;

// Starts one and gives its id.
export async function startCapture(who, event, seconds) {
  const format = who.runtime === "jvm" && WITH_TIMES.includes(event) ? { format: "jfr" } : {};
  const capture = await api.start({ pid: who.pid, event, seconds, ...format });
  return capture.id;
}

export const place = (one) => [one.pod, one.container].filter(Boolean).join(" ");

// The parameters of a view that the server applies; the page's own state is not among them.
export const VIEW = ["event", "from", "to", "thread", "by", "focus", "callers"];

export const viewOf = (params) => Object.fromEntries(VIEW.map((name) => [name, params.get(name)]).filter(([, value]) => value));

export const artifactPath = (id, format, view = {}) => `/captures/${id}/artifact${api.query({ format, ...view })}`;

const ENDINGS = { collapsed: "collapsed.txt", pprof: "pb.gz", speedscope: "speedscope.json", top: "top.txt", text: "txt", dump: "dmp", timeline: "timeline.json" };

// What a file of it is called: who, what, when.
export function fileName(capture, format) {
  const pod = capture.pod?.split("/").pop() ?? capture.name;
  const time = new Date(capture.createdAtMs).toISOString().replace(/[-:]|\.\d+/g, "");
  return `${pod}_${capture.event}_${time}.${ENDINGS[format] ?? format}`.replace(/[^\w.+-]+/g, "_");
}

// A shell takes what is between single quotes as it is.
export const quoted = (text) => `'${text.replace(/'/g, "'\\''")}'`;

// What of a profile is to be known before believing it.
export function stamp({ quality, event, seconds }, numbers) {
  if (!quality) return [`${event} · ${seconds} s`];
  const words = [event, numbers.seconds((quality.durationMs ?? seconds * 1000) / 1000)];
  if (quality.samples !== null && quality.samples !== undefined) words.push(numbers.plural(quality.samples, "sample"));
  if (quality.sampler) words.push(quality.sampler);
  if (quality.intervalUnit === "nanoseconds" && quality.interval) words.push(`${numbers.count(1e9 / quality.interval)} Hz`);
  if (quality.lost !== null && quality.lost !== undefined) words.push(`${numbers.count(quality.lost)} lost`);
  if (quality.unresolved !== null && quality.unresolved !== undefined) words.push(`${numbers.percent(quality.unresolved)} unresolved`);
  return words;
}

// The same address with another tab.
export function tabAddress(params, tab) {
  const changed = new URLSearchParams(params);
  changed.set("v", tab);
  // What is zoomed into there is no frame of the callers, and the other way round.
  if (tab === "callers" || params.get("v") === "callers") changed.delete("z");
  return `${location.hash.split("?")[0]}?${changed}`;
}

export const tabLinks = (tabs, current, params) => h("nav", { class: "tabs", "aria-label": "Views" },
  tabs.map(([name, label]) => h("a", { href: tabAddress(params, name), "aria-current": name === current ? "page" : undefined }, label)));

// What of the recording is left out, and how to have it again.
export function filterWords(params) {
  const { event, ...view } = viewOf(params);
  const one = ([name, value]) => [h("strong", {}, `${name} ${value}`), " ", button("✕", () => route.change({ [name]: "" }), { "aria-label": `Without ${name}` }), " "];
  const all = Object.entries(view);
  return all.length > 0 && h("p", { class: "filters" }, "Only ", all.map(one));
}
