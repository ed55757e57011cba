// A process: what the doctor says of each event, what its threads do now, its counters as they change.

import { eventsOf, getJson, request } from "./api.js";
import { queryOf } from "./route.js";
import { inBytes, count } from "./numbers.js";
import { h, fill, button, part, table, textBox } from "./dom.js";
import { attempt, problem, reason } from "./problem.js";
import { startCapture, place, UNSTARTED } from "./captures.js";

const SIGNS = { available: "● works", degraded: "⚠ works, with limits", impossible: "✕ not possible" };
const MOST_COUNTERS = 300;
const SECONDS = 30;

export function openProcess(root, { ids }) {
  const [pid, startTime] = (ids[0] ?? "").split("-").map(Number);
  const state = {};
  const [head, doctor, threads, counters] = [h("div"), h("div"), h("div"), h("div")];
  fill(root, head, part("What can be captured", doctor), part("Threads", button("Show what they do now", showThreads), threads),
    part("Counters", button("Watch them", watch), counters));

  const load = () => attempt(doctor, "Asking the doctor…", async () => {
    const [row] = await getJson(`/doctor${queryOf({ pid })}`);
    const other = startTime > 0 && row.startTime && row.startTime !== startTime;
    fill(head, h("div.bar", h("h2", row.name)),
      h("p", `pid ${row.pid} · ${row.runtime} ${row.version ?? ""}`, place(row) && ` · ${place(row)}`, row.reachedBy && ` · reached by ${row.reachedBy}`),
      other && h("p.note", "⚠ The process of the link has ended; another one has its pid now."));
    return verdicts(row);
  }, load);
  load();

  function verdicts(row) {
    const message = h("div", { role: "alert" });
    const line = (verdict) => {
      const start = button("Capture", () => startCapture(message, row, verdict.event, SECONDS), { "aria-label": `Capture ${verdict.event}` });
      const reasons = [verdict.reason, ...(verdict.also ?? [])].filter(Boolean);
      return h("tr", h("th", { scope: "row" }, verdict.event), h("td", SIGNS[verdict.availability]),
        h("td", reasons.map((one) => button(one.key, jump(one.key), { class: "link" }))),
        h("td", verdict.availability !== "impossible" && !UNSTARTED.includes(verdict.event) && start));
    };
    const all = new Map(row.verdicts.flatMap((verdict) => [verdict.reason, ...(verdict.also ?? [])]).filter(Boolean).map((one) => [one.sentence, one]));
    return [message, table("Events", ["Event", "Verdict", "Reason", "Action"], row.verdicts.map(line)), [...all.values()].map(reason)];
  }

  const jump = (key) => () => {
    doctor.querySelector(`[data-key="${CSS.escape(key)}"]`)?.scrollIntoView();
  };

  function showThreads() {
    attempt(threads, "Asking the process…", async () => {
      const answer = await request(`/threads${queryOf({ pid, format: "text" })}`, { headers: { Accept: "text/plain" } });
      return textBox("Threads", await answer.text());
    });
  }

  async function watch() {
    state.watching?.abort();
    state.watching = new AbortController();
    const values = new Map();
    fill(counters, h("p.skeleton", "The first values come after a second or two…"));
    try {
      for await (const one of eventsOf(`/counters${queryOf({ pid, format: "sse" })}`, state.watching.signal)) {
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
  const row = ([name, { value, unit }]) => h("tr", h("td.name", name), h("td.number", shownValue(value, unit)));
  return table("Counters", ["Counter", "Value"], [...values].sort(([one], [other]) => one.localeCompare(other)).map(row), { class: "top" });
}

const shownValue = (value, unit) => (unit === "bytes" ? inBytes(value) : `${Number.isInteger(value) ? count(value) : Number(value).toPrecision(4)} ${unit ?? ""}`);
