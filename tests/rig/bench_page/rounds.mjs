// Opens the same profile in our page and in speedscope, by turns, each time in a browser of its own, and prints what each takes.
//
//     rounds.mjs SERVER PPROF_FILE SPEEDSCOPE_FOLDER ROUNDS
//
// The server takes the profile as that of a Go program whose `net/http/pprof` is here; speedscope and the file that the server makes for it are sent
// from memory, compressed beforehand.

import { createServer } from "node:http";
import { readFileSync, readdirSync } from "node:fs";
import { extname } from "node:path";
import { gzipSync } from "node:zlib";
import { FLAGS, start } from "./browser.mjs";

const [server, pprof, speedscope, rounds] = process.argv.slice(2);
const STEPS = 120;
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".json": "application/json", ".woff2": "font/woff2" };

const files = new Map([["/debug/pprof/profile", { body: readFileSync(pprof), type: "application/octet-stream" }]]);
const put = (path, body) => files.set(path, { body: gzipSync(body), encoding: "gzip", type: TYPES[extname(path)] ?? "application/octet-stream" });
for (const name of readdirSync(speedscope)) put(`/${name}`, readFileSync(`${speedscope}/${name}`));
const here = createServer(({ url }, answer) => {
  const file = files.get(new URL(url, "http://here").pathname);
  if (!file) return answer.writeHead(404).end();
  if (file.encoding) answer.setHeader("Content-Encoding", file.encoding);
  answer.writeHead(200, { "Content-Type": file.type, "Content-Length": file.body.length });
  answer.end(file.body);
}).listen(0, "127.0.0.1");
await new Promise((done) => here.once("listening", done));
const origin = `http://127.0.0.1:${here.address().port}`;

async function ask(path, options) {
  const answer = await fetch(server + path, options);
  if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`);
  return answer;
}

// Both renderings are in the store before anything is measured.
async function captured() {
  const body = JSON.stringify({ url: origin, event: "cpu", seconds: 1 });
  let capture = await (await ask("/captures", { method: "POST", headers: { "Content-Type": "application/json" }, body })).json();
  for (const deadline = Date.now() + 60_000; capture.status === "running"; ) {
    if (Date.now() > deadline) throw new Error("the capture does not end");
    await new Promise((done) => setTimeout(done, 200));
    capture = await (await ask(`/captures/${capture.id}`)).json();
  }
  if (capture.status !== "finished") throw new Error(JSON.stringify(capture));
  put("/profile.speedscope.json", Buffer.from(await (await ask(`/captures/${capture.id}/artifact?format=speedscope`)).arrayBuffer()));
  const flame = Buffer.from(await (await ask(`/captures/${capture.id}/flame`)).arrayBuffer());
  const { nodes, rows } = JSON.parse(flame.subarray(8, 8 + flame.readUInt32LE(4)));
  return { id: capture.id, nodes, rows };
}

// The frame after the one in which a function's name was drawn; both pages draw them by this method.
const WATCH = `(() => {
  const { fillText } = CanvasRenderingContext2D.prototype;
  const frame = () => new Promise(requestAnimationFrame);
  CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
    if (!window.seen && text.includes("Main.main")) {
      window.seen = {};
      frame().then(frame).then(() => (window.seen.at = performance.now()));
    }
    return fillText.call(this, text, ...place);
  };
})()`;

// One step a frame; gives the time between frames.
const series = (step) => `(async () => {
  const frame = () => new Promise(requestAnimationFrame);
  const step = ${step};
  const took = [];
  for (let [at, last] = [0, await frame()]; at < ${STEPS}; at++) {
    step(at);
    const now = await frame();
    took.push(now - last);
    last = now;
  }
  took.sort((one, other) => one - other);
  return took[Math.floor(${STEPS} * 0.95)];
})()`;
const at = "[200 + ((at * 131) % 700), 20 * (at % 20)]";
const VIEWS = {
  ours: {
    url: ({ id }) => `${server}/#/c/${id}`,
    data: "/flame",
    pan: "(at) => (document.querySelector('.flame').scrollTop = (at * 37) % 600)",
    zoom: `(at) => {
      const flame = document.querySelector(".flame");
      const [x, y] = ${at};
      const { left, top } = flame.getBoundingClientRect();
      flame.scrollTop = 0;
      if (at % 2) flame.dispatchEvent(new KeyboardEvent("keydown", { key: "0", bubbles: true }));
      else flame.dispatchEvent(new MouseEvent("click", { clientX: left + x, clientY: top + 70 + y, bubbles: true }));
    }`,
  },
  // Its picture of equal stacks together.
  speedscope: {
    url: () => `${origin}/index.html#profileURL=${origin}/profile.speedscope.json&view=left-heavy`,
    data: "/profile.speedscope.json",
    pan: `(at) => {
      const wheel = new WheelEvent("wheel", { deltaY: at % 16 < 8 ? 37 : -37, clientX: 600, clientY: 500, bubbles: true, cancelable: true });
      document.elementFromPoint(600, 500).dispatchEvent(wheel);
    }`,
    zoom: `(at) => {
      const [x, y] = ${at};
      const send = (type) => document.elementFromPoint(x, 200 + y).dispatchEvent(new MouseEvent(type, { clientX: x, clientY: 200 + y, bubbles: true }));
      if (at % 2) window.dispatchEvent(new KeyboardEvent("keydown", { key: "0", bubbles: true }));
      else ["mousemove", "mousedown", "mouseup", "dblclick"].forEach(send);
    }`,
  },
};

async function measured({ url, data, pan, zoom }, capture) {
  const browser = await start();
  try {
    let bytes = 0;
    browser.listen((method, { encodedDataLength }) => (bytes += method === "Network.loadingFinished" ? encodedDataLength : 0));
    await browser.send("Page.addScriptToEvaluateOnNewDocument", { source: WATCH });
    const before = browser.processes().milliseconds;
    await browser.send("Page.navigate", { url: url(capture) });
    for (const deadline = Date.now() + 120_000; !(await browser.run("window.seen?.at")); ) {
      if (Date.now() > deadline) throw new Error(`${url(capture)} draws nothing`);
      await new Promise((done) => setTimeout(done, 100));
    }
    const cpu = browser.processes().milliseconds - before;
    const load = await browser.run("seen.at");
    const arrived = await browser.run(`performance.getEntriesByType("resource").find(({ name }) => new URL(name).pathname.endsWith(${JSON.stringify(data)})).responseEnd`);
    const panMs = await browser.run(series(pan));
    const zoomMs = await browser.run(series(zoom));
    await browser.send("HeapProfiler.collectGarbage");
    const { usedSize, backingStorageSize } = await browser.send("Runtime.getHeapUsage");
    return { load, drawn: load - arrived, cpu, bytes, heap: usedSize + backingStorageSize, memory: browser.processes().bytes, panMs, zoomMs };
  } finally {
    await browser.close();
  }
}

const ROWS = [
  ["load", "navigation to the first picture", "ms"],
  ["drawn", "the profile's last byte to the first picture", "ms"],
  ["cpu", "CPU time of the browser until then", "ms"],
  ["bytes", "transferred, page and profile, gzip", "kB"],
  ["heap", "JavaScript heap after zoom and pan", "kB"],
  ["memory", "private memory of the page's process", "kB"],
  ["panMs", "time between frames of pan, p95", "ms"],
  ["zoomMs", "time between frames of zoom, p95", "ms"],
];
const median = (values) => values.sort((one, other) => one - other)[values.length >> 1];

const capture = await captured();
const all = { ours: [], speedscope: [] };
for (let round = 0; round < Number(rounds); round++) {
  for (const name of round % 2 ? ["speedscope", "ours"] : ["ours", "speedscope"]) all[name].push(await measured(VIEWS[name], capture));
}
const [load] = readFileSync("/proc/loadavg", "utf8").split(" ");
const row = (label, text) => console.log(label.padEnd(58), text);
row("the page beside speedscope 1.25.0", `${capture.nodes} nodes, ${capture.rows} rows; ${rounds} rounds, medians; load ${load}; chromium ${FLAGS.join(" ")}`);
for (const [key, label, unit] of ROWS) {
  const [our, their] = ["ours", "speedscope"].map((name) => median(all[name].map((one) => one[key])) / (unit === "kB" ? 1000 : 1));
  row(`  ${label}`, `${our.toFixed(1)} ${unit}, speedscope ${their.toFixed(1)} ${unit}, ratio ${(their / our).toFixed(2)}`);
}
here.close();
here.closeAllConnections();
