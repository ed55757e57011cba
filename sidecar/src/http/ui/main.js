// Starts the page: which screen the address names, the header, the connection, the token.

import * as api from "./api.js";
import * as route from "./route.js";
import * as pod from "./pod.js";
import * as process from "./process.js";
import * as capture from "./capture.js";
import * as diff from "./diff.js";
import * as help from "./help.js";
import { h, fill, link, command, say } from "./dom.js";

const SCREENS = { pod, process, capture, diff, help };
const HEARTBEAT = 2000;
// When a lost connection is tried again, in seconds.
const RETRIES = [1, 2, 5];

const main = document.getElementById("main");
const header = document.getElementById("header");
const banner = document.getElementById("banner");
let shown = { key: "", screen: undefined };

function show() {
  const now = route.current();
  const key = [now.screen, ...now.ids].join("/");
  if (key === shown.key) return shown.screen.update?.(now);
  shown.screen?.close?.();
  document.title = `${document.body.dataset.pod ?? location.host} · Sideflame`;
  const isFirst = !shown.key;
  const root = h("div", { class: now.screen });
  fill(main, root);
  shown = { key, screen: SCREENS[now.screen].open(root, now) };
  if (!isFirst) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
}

function showHeader() {
  const { pod: name } = document.body.dataset;
  fill(header, h("h1", {}, link("#/", name ?? location.host)),
    h("nav", { "aria-label": "Page" }, link("#/", "Processes and captures"), link("#/help", "Help")));
}

// The pod that we are in, if the processes know it: `localhost` is the same name for every pod that is forwarded.
async function nameThePod() {
  const rows = await api.json("/processes").catch(() => []);
  const pods = new Set(rows.map((row) => row.pod).filter(Boolean));
  if (pods.size === 1) [document.body.dataset.pod] = pods;
  showHeader();
}

function connection(works) {
  if (works) {
    fill(banner);
    say("Connected again");
    // What failed meanwhile is asked for again; what is shown is in the address.
    const { key, screen } = shown;
    if (!key) return;
    screen?.close?.();
    shown = { key: "", screen: undefined };
    show();
    return;
  }
  const [namespace, name] = (document.body.dataset.pod ?? "NAMESPACE/POD").split("/");
  fill(banner, h("section", { class: "problem" },
    h("p", {}, h("strong", {}, "Lost the connection to the pod."), " A capture goes on there. This page tries again by itself; if the forward has ended:"),
    command(`kubectl port-forward -n ${namespace} pod/${name} ${location.port || 7117}:7117`)));
  retry(0);
}

function retry(attempt) {
  const wait = RETRIES[Math.min(attempt, RETRIES.length - 1)];
  setTimeout(async () => {
    await api.heartbeat();
    if (banner.childElementCount) retry(attempt + 1);
  }, wait * 1000);
}

// Done when the server lets us in, or wants nothing. The token is kept in memory alone: `localhost` is one origin for all that is forwarded.
async function askForToken(root) {
  while (await isRefused()) await asked(root, api.hasToken());
}

const isRefused = () => api.request("/version").then(() => false, (error) => error.problem?.code === api.UNAUTHORIZED);

function asked(root, again) {
  return new Promise((given) => {
    const field = h("input", { id: "token", type: "password", autocomplete: "off", required: true });
    const submit = (event) => {
      event.preventDefault();
      api.setToken(field.value.trim());
      given();
    };
    fill(root, h("form", { class: "token", submit },
      h("h2", {}, "A token is required"),
      again && h("p", { role: "alert" }, "That was not it."),
      h("p", {}, "This server was started with a token file. The page keeps what you enter until it is closed or reloaded."),
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
  api.onConnection(connection);
  setInterval(() => document.hidden || banner.childElementCount || api.heartbeat(), HEARTBEAT);
  showHeader();
  await askForToken(main);
  await nameThePod();
  show();
}

begin();
