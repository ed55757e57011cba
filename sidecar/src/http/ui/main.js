// Starts the page: which screen the address names, the header, the connection, the token.

import * as api from "./api.js";
import * as route from "./route.js";
import * as pod from "./pod.js";
import * as process from "./process.js";
import * as capture from "./capture.js";
import * as diff from "./diff.js";
import * as help from "./help.js";
import { h, fill, link, command, say } from "./dom.js";
import { askForToken } from "./token.js";

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
  document.title = name ? `${name} · Sideflame` : "Sideflame";
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
    const now = route.current();
    if (!shown.screen?.isLive) shown.screen?.update?.(now);
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

async function begin() {
  addEventListener("popstate", show);
  addEventListener("route", show);
  api.onConnection(connection);
  setInterval(() => document.hidden || banner.childElementCount || api.heartbeat(), HEARTBEAT);
  showHeader();
  await askForToken(main);
  await nameThePod();
  show();
}

begin();
