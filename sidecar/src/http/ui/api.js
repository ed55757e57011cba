// Requests to the server: the token, problems as values to show, and the connection that may be lost.

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
    if (error.name === "AbortError") throw error;
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

export const json = async (path, options) => (await request(path, options)).json();
export const buffer = async (path, options) => (await request(path, options)).arrayBuffer();

// State changes say that they are JSON: other pages cannot without being asked first.
export function send(method, path, body) {
  const options = { method, headers: { "Content-Type": "application/json" } };
  if (body) options.body = JSON.stringify(body);
  return request(path, options);
}

export const start = async (body) => (await send("POST", "/captures", body)).json();

export function query(params) {
  const given = Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? "?" + new URLSearchParams(given) : "";
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
export async function* events(path, signal) {
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

// Saves an artifact. A link of the browser's own streams to the disk, but cannot carry a token.
export async function download(path, name) {
  const anchor = document.createElement("a");
  anchor.href = token ? URL.createObjectURL(await (await request(path, { headers: { Accept: "*/*" } })).blob()) : path;
  anchor.download = name;
  anchor.click();
  if (token) setTimeout(() => URL.revokeObjectURL(anchor.href), 60000);
}
