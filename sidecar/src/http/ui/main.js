// Starts the page: which screen the address names, the header, the connection, the token.

import { UNAUTHORIZED, hasToken, heartbeat, getJson, onConnection, request, setToken } from "./api.js";
import { currentRoute } from "./route.js";
import { openPod } from "./pod.js";
import { openProcess } from "./process.js";
import { openCapture } from "./capture.js";
import { openDiff } from "./diff.js";
import { openHelp } from "./help.js";
import { h, fill, link, button, say } from "./dom.js";
import { Flame } from "./flame.js";
import { covered, search } from "./search.js";
import { functions, pathHashes, read } from "./columns.js";
import { CHANGES, INK, KINDS, packageFill } from "./kinds.js";
import { clock } from "./numbers.js";
import { forwardTo, problem } from "./problem.js";

const OPEN = { pod: openPod, process: openProcess, capture: openCapture, diff: openDiff, help: openHelp };
const HEARTBEAT = 2000;
// When a lost connection is tried again, in seconds.
const RETRIES = [1, 2, 4];

const main = document.getElementById("main");
const header = document.getElementById("header");
const banner = document.getElementById("banner");
// Kept until the page is closed: what a browser keeps for `localhost` is there for all that is forwarded.
let theme = "";
let shown = { key: "" };

function show() {
  const now = currentRoute();
  const key = [now.screen, ...now.ids].join("/");
  if (key === shown.key) return shown.screen.update?.(now);
  shown.screen?.close?.();
  document.title = `${document.body.dataset.pod ?? location.host} · Sideflame`;
  const isFirst = !shown.key;
  const root = h("div", { class: now.screen });
  fill(main, root);
  shown = { key, screen: OPEN[now.screen](root, now) };
  if (!isFirst) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
}

function showHeader() {
  const { pod: name } = document.body.dataset;
  fill(header, h("h1", link("#/", name ?? location.host)),
    h("nav", { "aria-label": "Page" }, link("#/", "Processes and captures"), link("#/help", "Help")), themeButton());
}

function themeButton() {
  const next = () => {
    theme = { "": "light", light: "dark", dark: "" }[theme];
    document.documentElement.style.colorScheme = theme;
    one.textContent = words();
    dispatchEvent(new Event("route"));
  };
  const words = () => `◐ ${theme || "auto"}`;
  const one = button(words(), next, { id: "theme", class: "small", "aria-description": "light or dark" });
  return one;
}

// The pod that we are in, if the processes know it: `localhost` is the same name for every pod that is forwarded.
async function nameThePod() {
  const rows = await getJson("/processes").catch(() => []);
  const pods = new Set(rows.map((row) => row.pod).filter(Boolean));
  if (pods.size === 1) [document.body.dataset.pod] = pods;
  showHeader();
}

function connected(works) {
  if (works) {
    fill(banner);
    say("Connected again");
    // What failed meanwhile is asked for again; what is shown is in the address.
    const { key, screen } = shown;
    if (!key) return;
    screen?.close?.();
    shown = { key: "" };
    show();
    return;
  }
  fill(banner, h("section.problem",
    h("p", h("strong", "Lost the connection to the pod."), " A capture goes on there. This page tries again by itself; if the forward has ended:"),
    forwardTo(document.body.dataset.pod ?? "NAMESPACE/POD")));
  retry(0);
}

function retry(attempt) {
  const wait = RETRIES[Math.min(attempt, RETRIES.length - 1)];
  setTimeout(async () => {
    await heartbeat();
    if (banner.childElementCount) retry(attempt + 1);
  }, wait * 1000);
}

// Done when the server lets us in, or wants nothing. The token is kept in memory alone: `localhost` is one origin for all that is forwarded.
async function askForToken(root) {
  while (await isRefused()) await asked(root, hasToken());
}

const isRefused = () => request("/version").then(() => false, (error) => error.problem?.code === UNAUTHORIZED);

function asked(root, again) {
  return new Promise((given) => {
    const field = h("input", { id: "token", type: "password", autocomplete: "off", required: true });
    const submit = (event) => {
      event.preventDefault();
      setToken(field.value.trim());
      given();
    };
    fill(root, h("form.token", { submit },
      h("h2", "A token is required"),
      again && h("p", { role: "alert" }, "That was not it."),
      h("p", "The page keeps what you enter until it is closed or reloaded."),
      h("label", { for: "token" }, "Token ", field), h("button", { type: "submit", class: "primary" }, "Continue")));
    field.focus();
  });
}

// Where there is a search of ours, it is first; pressed again it is the browser's.
function find(event) {
  const field = document.getElementById("search");
  if (!(event.ctrlKey || event.metaKey) || event.key !== "f" || !field?.offsetParent || field === document.activeElement) return;
  event.preventDefault();
  field.select();
}

async function begin() {
  addEventListener("popstate", show);
  addEventListener("route", show);
  addEventListener("keydown", find);
  onConnection(connected);
  setInterval(() => document.hidden || banner.childElementCount || heartbeat(), HEARTBEAT);
  showHeader();
  await askForToken(main);
  await nameThePod();
  show();
}

begin();

// What the tests of the picture, its colours, its times and the problems call by themselves.
export { CHANGES, Flame, INK, KINDS, clock, covered, functions, packageFill, pathHashes, problem, read, search };
