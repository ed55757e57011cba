// A capture that runs: how far it is, in words, with what can be done about it.

import { eventsOf, getJson, send } from "./api.js";
import { inBytes } from "./numbers.js";
import { h, fill, button, say } from "./dom.js";
import { problem } from "./problem.js";
import { go } from "./route.js";

export const POLL = 1000;
// Held by the one tab that has a stream.
const STREAM = "sideflame-stream";

const PHASES = {
  attaching: "Getting the profiler into the process…",
  sampling: "Sampling",
  stopping: "Ending the session. .NET writes the names of its methods now; large apps need minutes.",
  transferring: "Moving the recording out of the process…",
};

export function progress(root, capture, ended) {
  const bar = h("progress", { max: capture.seconds, value: 0, "aria-label": "Time sampled" });
  const text = h("p.state", PHASES[capture.phase] ?? "Waiting…");
  const message = h("div");
  const title = document.title;
  const stopped = new AbortController();
  let last = capture;
  let ticker;

  const stop = button("Stop now, keep", () => act(send("POST", `/captures/${capture.id}/stop`), "Stopping…"), { class: "primary" });
  const discard = button("Discard", async () => {
    await act(send("DELETE", `/captures/${capture.id}`), "Removing it, and what is left in the process…");
    go("#/");
  });
  fill(root, h("section.progress", { "aria-label": "Progress" }, text, bar, h("div.actions", stop, discard), message));

  async function act(request, words) {
    fill(message, h("p", words));
    await request.catch((error) => fill(message, problem(error)));
  }

  function show() {
    const elapsed = last.phase === "sampling" ? Math.min(capture.seconds, (last.elapsedMs + Date.now() - last.at) / 1000) : 0;
    bar.hidden = last.phase !== "sampling";
    bar.value = elapsed;
    const size = last.bytes ? ` · ${inBytes(last.bytes)} recorded` : "";
    const words = last.phase === "sampling" ? `${Math.floor(elapsed)} of ${capture.seconds} s${size}` : PHASES[last.phase] ?? "Waiting…";
    text.textContent = words;
    document.title = last.phase === "sampling" ? `${Math.ceil(capture.seconds - elapsed)} s · ${capture.name}` : title;
  }

  function told(state) {
    if (last.phase !== state.phase && state.phase) say(PHASES[state.phase] ?? state.phase);
    last = { ...state, at: Date.now() };
    show();
    return state.status !== "running";
  }

  // A stream is one of the six connections that a browser has for a host: one tab that is seen holds one, of all that are open.
  const turn = (lock) => (lock && !document.hidden ? follow() : poll());

  async function follow() {
    const streaming = new AbortController();
    const hidden = () => document.hidden && streaming.abort();
    document.addEventListener("visibilitychange", hidden);
    try {
      const signal = AbortSignal.any([streaming.signal, stopped.signal]);
      for await (const state of eventsOf(`/captures/${capture.id}/events`, signal)) if (told(state)) return true;
    } finally {
      document.removeEventListener("visibilitychange", hidden);
    }
    return false;
  }

  async function poll() {
    const state = await getJson(`/captures/${capture.id}`);
    return told({ ...state, elapsedMs: last.elapsedMs + (last.phase === "sampling" ? Date.now() - last.at : 0), bytes: last.bytes });
  }

  async function run() {
    while (!stopped.signal.aborted) {
      try {
        // Pages of another name than `localhost` have no locks.
        if (await (navigator.locks?.request(STREAM, { ifAvailable: true }, turn) ?? turn(true))) return end();
      } catch (error) {
        if (error.problem?.code === "no_such_capture") return end();
      }
      await new Promise((done) => setTimeout(done, POLL));
    }
  }

  function end() {
    close();
    say("Capture finished");
    ended();
  }

  function close() {
    stopped.abort();
    clearInterval(ticker);
    document.title = title;
  }

  told({ ...capture, elapsedMs: 0, bytes: 0 });
  ticker = setInterval(show, 250);
  run();
  return { close };
}
