// What screens with a graph share: tabs, and the part of a recording that is shown.

import * as route from "./route.js";
import { h, button } from "./dom.js";
import { viewOf } from "./captures.js";

// The same address with another tab.
export function tabAddress(params, tab) {
  const changed = new URLSearchParams(params);
  changed.set("v", tab);
  // What is zoomed into there is no frame of the callers, and the other way round.
  if (tab === "callers" || params.get("v") === "callers") changed.delete("z");
  return `${location.hash.split("?")[0]}?${changed}`;
}

export const tabLinks = (tabs, current, params) => h("nav", { class: "tabs", "aria-label": "Views" },
  tabs.map(([name, label]) => h("a", { href: tabAddress(params, name), "aria-current": name === current ? "page" : undefined }, label)));

// What of the recording is left out, and how to have it again.
export function filterWords(params) {
  const { event, ...view } = viewOf(params);
  const one = ([name, value]) => [h("strong", {}, `${name} ${value}`), " ", button("✕", () => route.change({ [name]: "" }), { "aria-label": `Without ${name}` }), " "];
  const all = Object.entries(view);
  return all.length > 0 && h("p", { class: "filters" }, "Only ", all.map(one));
}
