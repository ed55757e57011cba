// A process: what the doctor says of each event, what its threads do now, its counters as they change.

import * as api from "./api.js";
import * as numbers from "./numbers.js";
import { h, fill, button, table, textBox, say } from "./dom.js";
import { go, format } from "./route.js";
import { problem, reason, words } from "./problem.js";
import { startCapture, place, UNSTARTED } from "./captures.js";

const SIGNS = { available: "● works", degraded: "⚠ works, with limits", impossible: "✕ not possible" };
const MOST_COUNTERS = 300;
const SECONDS = 30;

export function open(root, { ids }) {
  const [pid, startTime] = (ids[0] ?? "").split("-").map(Number);
  const state = { closed: false, watching: undefined };
  const [head, doctor, threads, counters] = [h("div", {}), h("div", {}), h("div", {}), h("div", {})];
  fill(root, head, h("section", { "aria-labelledby": "doctor" }, h("h2", { id: "doctor" }, "What can be captured"), doctor),
    h("section", { "aria-labelledby": "threads" }, h("h2", { id: "threads" }, "Threads"), button("Show what they do now", showThreads), threads),
    h("section", { "aria-labelledby": "counters" }, h("h2", { id: "counters" }, "Counters"), button("Watch them", watch), counters));
  load();

  async function load() {
    fill(doctor, h("p", { class: "skeleton" }, "Asking the doctor…"));
    try {
      const [row] = await api.json(`/doctor${api.query({ pid })}`);
      if (state.closed) return;
      const other = startTime > 0 && row.startTime && row.startTime !== startTime;
      fill(head, h("div", { class: "bar" }, h("h2", {}, row.name)),
        h("p", {}, `pid ${row.pid} · ${row.runtime}${row.version ? " " + row.version : ""}`, place(row) && ` · ${place(row)}`, row.reachedBy && ` · reached by ${row.reachedBy}`),
        other && h("p", { class: "note" }, "⚠ The process of the link has ended; another one has its pid now."));
      fill(doctor, verdicts(row));
    } catch (error) {
      if (!state.closed) fill(doctor, problem(error, load));
    }
  }

  function verdicts(row) {
    const line = (verdict) => {
      const start = button("Capture", async () => {
        try {
          go(format(["c", await startCapture(row, verdict.event, SECONDS)]));
        } catch (error) {
          say(words(error));
          fill(doctor, problem(error, load));
        }
      }, { "aria-label": `Capture ${verdict.event}` });
      const reasons = [verdict.reason, ...(verdict.also ?? [])].filter(Boolean);
      return h("tr", {}, h("th", { scope: "row" }, verdict.event), h("td", {}, SIGNS[verdict.availability]),
        h("td", {}, reasons.map((one) => button(one.key, jump(one.key), { class: "link" }))),
        h("td", {}, verdict.availability !== "impossible" && !UNSTARTED.includes(verdict.event) && start));
    };
    const all = new Map(row.verdicts.flatMap((verdict) => [verdict.reason, ...(verdict.also ?? [])]).filter(Boolean).map((one) => [one.sentence, one]));
    return [table("Events", ["Event", "Verdict", "Reason", "Action"], row.verdicts.map(line)), [...all.values()].map(reason)];
  }

  const jump = (key) => () => {
    doctor.querySelector(`[data-key="${CSS.escape(key)}"]`)?.scrollIntoView();
  };

  async function showThreads() {
    fill(threads, h("p", { class: "skeleton" }, "Asking the process…"));
    try {
      const answer = await api.request(`/threads${api.query({ pid, format: "text" })}`, { headers: { Accept: "text/plain" } });
      fill(threads, textBox("Threads", await answer.text()));
    } catch (error) {
      fill(threads, problem(error));
    }
  }

  async function watch() {
    state.watching?.abort();
    state.watching = new AbortController();
    const values = new Map();
    fill(counters, h("p", { class: "skeleton" }, "The first values come after a second or two…"));
    try {
      for await (const one of api.events(`/counters${api.query({ pid, format: "sse" })}`, state.watching.signal)) {
        if (one.name && values.size < MOST_COUNTERS) values.set(`${one.name} ${one.tags ?? ""}`, one);
        fill(counters, counterTable(values));
      }
    } catch (error) {
      if (error.name !== "AbortError" && !state.closed) fill(counters, problem(error, watch));
    }
  }

  return {
    update() {},
    close() {
      state.closed = true;
      state.watching?.abort();
    },
  };
}

function counterTable(values) {
  const row = ([name, { value, unit }]) => h("tr", {}, h("td", { class: "name" }, name), h("td", { class: "number" }, shownValue(value, unit)));
  return table("Counters", ["Counter", "Value"], [...values].sort(([one], [other]) => one.localeCompare(other)).map(row), { class: "top" });
}

const shownValue = (value, unit) => (unit === "bytes" ? numbers.bytes(value) : `${Number.isInteger(value) ? numbers.count(value) : Number(value).toPrecision(4)} ${unit ?? ""}`);
