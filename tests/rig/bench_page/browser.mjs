// A headless Chromium without a graphics card, driven over its pipe (Chrome DevTools Protocol), with one page.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

// WebGL is what stands in for a graphics card, SwiftShader: one of the pages draws with nothing else.
export const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"];
const QUIET = ["--disable-dev-shm-usage", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const LONGEST = 120_000;

export async function start() {
  const profile = mkdtempSync(join(tmpdir(), "sideflame-bench-"));
  const args = [...FLAGS, ...QUIET, "--remote-debugging-pipe", `--user-data-dir=${profile}`, "about:blank"];
  const child = spawn("chromium", args, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
  const ended = new Promise((done) => child.once("exit", done));
  const waiting = new Map();
  const listeners = [];
  let [number, rest] = [0, ""];
  child.stdio[4].setEncoding("utf8").on("data", (data) => {
    const messages = (rest + data).split("\0");
    rest = messages.pop();
    messages.map((one) => JSON.parse(one)).forEach(({ id, result, error, method, params }) => {
      if (!id) return listeners.forEach((listener) => listener(method, params));
      const { done, failed } = waiting.get(id);
      waiting.delete(id);
      error ? failed(new Error(error.message)) : done(result);
    });
  });

  let sessionId;
  const send = (method, params = {}) => new Promise((done, failed) => {
    const timer = setTimeout(() => failed(new Error(`${method}: no answer`)), LONGEST);
    waiting.set(++number, { done: (result) => (clearTimeout(timer), done(result)), failed });
    child.stdio[3].write(JSON.stringify({ id: number, method, params, sessionId }) + "\0");
  });
  const { targetInfos } = await send("Target.getTargets");
  const { targetId } = targetInfos.find(({ type }) => type === "page");
  ({ sessionId } = await send("Target.attachToTarget", { targetId, flatten: true }));
  await send("Page.enable");
  await send("Network.enable");
  await send("Emulation.setDeviceMetricsOverride", { width: 1440, height: 900, deviceScaleFactor: 1, mobile: false });

  return {
    send,
    listen: (listener) => listeners.push(listener),
    async run(expression) {
      const { result, exceptionDetails } = await send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
      if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
      return result.value;
    },
    // CPU time of all its processes so far, in milliseconds, and what the largest process of a page has for itself, in bytes.
    processes: () => used(child.pid),
    async close() {
      sessionId = undefined;
      await Promise.race([send("Browser.close"), ended]);
      await ended;
      // Its other processes may still write there.
      rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    },
  };
}

function used(root) {
  const rows = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ");
      return [{ pid, parent: stat[1], milliseconds: 10 * (Number(stat[11]) + Number(stat[12])) }];
    } catch {
      return []; // It has ended.
    }
  });
  const ours = new Set([String(root)]);
  for (let before = 0; before !== ours.size; ) {
    before = ours.size;
    for (const { pid, parent } of rows) if (ours.has(parent)) ours.add(pid);
  }
  const own = rows.filter(({ pid }) => ours.has(pid));
  const kilobytes = own.filter(({ pid }) => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("--type=renderer")).map(({ pid }) => {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
    return [...rollup.matchAll(/^Private_\w+: +(\d+) kB/gm)].reduce((sum, [, part]) => sum + Number(part), 0);
  });
  return { milliseconds: own.reduce((sum, one) => sum + one.milliseconds, 0), bytes: 1024 * Math.max(...kilobytes) };
}
