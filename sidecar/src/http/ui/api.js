// Requests to the server: the token, problems as values to show, and the connection that may be lost.

// Bytes of a file that are kept in memory until it is whole.
const LARGEST = 512 * 1024 * 1024;
let token = "";
let lost = false;
const listeners = new Set();

// What the server refused, or the word `lost`.
export class Failure extends Error {
  constructor(problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

export const UNAUTHORIZED = "unauthorized";
export const LOST = "connection_lost";

export const setToken = (text) => (token = text);
export const hasToken = () => token !== "";
export const onConnection = (listener) => listeners.add(listener);

export async function request(path, options = {}) {
  const headers = { Accept: "application/json", ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  let answer;
  try {
    answer = await fetch(path, { cache: "no-cache", ...options, headers });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    connection(false);
    throw new Failure({ code: LOST, detail: "The pod does not answer.", remedy: "Start the port-forward again." });
  }
  connection(true);
  if (!answer.ok) throw new Failure(await problemOf(answer));
  return answer;
}

async function problemOf(answer) {
  try {
    return await answer.json();
  } catch {
    return { code: "http", title: `status ${answer.status}`, detail: answer.statusText || "no reason given", remedy: "Reload the page." };
  }
}

export const getJson = async (path, options) => (await request(path, options)).json();
export const getBuffer = async (path, options) => (await request(path, options)).arrayBuffer();

// State changes say that they are JSON: other pages cannot without being asked first.
export function send(method, path, body, signal) {
  return request(path, { method, headers: { "Content-Type": "application/json" }, body: body && JSON.stringify(body), signal });
}

function connection(works) {
  if (lost !== works) return;
  lost = !works;
  for (const listener of listeners) listener(works);
}

// Asks whether the server lives, as nothing else tells that a forward has ended.
export async function heartbeat() {
  const signal = AbortSignal.timeout(2500);
  await fetch("/healthz", { cache: "no-store", signal }).then(() => connection(true), () => connection(false));
}

// Server-sent events of a path, each as the value it has; ends when the server does.
export async function* eventsOf(path, signal) {
  const answer = await request(path, { signal, headers: { Accept: "text/event-stream" } });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim());
      if (data.length) yield JSON.parse(data.join("\n"));
    }
  }
}

// Saves a file, of which `told(bytes)` says how much there is. What a lost connection cut off is asked for when it is there again. What is
// too large for that goes from the server to the disk, by the browser alone, which cannot have a token.
export async function download(path, name, told) {
  const parts = [];
  let have = 0;
  let tag;
  for (let isWhole = false; !isWhole;) {
    try {
      const answer = await request(path, { headers: { Accept: "*/*", ...(have && { Range: `bytes=${have}-`, "If-Range": tag }) } });
      if (answer.status !== 206) have = parts.length = 0;
      tag = answer.headers.get("ETag");
      if (!token && answer.headers.get("Content-Length") > LARGEST) {
        answer.body.cancel();
        return save(path, name);
      }
      const reader = answer.body.getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        parts.push(part.value);
        told((have += part.value.length));
      }
      isWhole = true;
    } catch (error) {
      if (error.problem && error.problem.code !== LOST) throw error;
      await back();
    }
  }
  const url = URL.createObjectURL(new Blob(parts));
  save(url, name);
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

// Done when the server answers again.
async function back() {
  connection(false);
  await new Promise((done) => listeners.add(function again(works) {
    if (works) done(listeners.delete(again));
  }));
}

function save(href, download) {
  const anchor = document.createElement("a");
  Object.assign(anchor, { href, download }).click();
}
