// What keys do and what colours mean.

import { h, fill, swatch, table } from "./dom.js";
import { KINDS } from "./kinds.js";

const KEYS = [
  ["↓ ↑", "widest child, parent"], ["← →", "neighbour in the row"],
  ["Enter", "zoom in; while a search is shown, next match"], ["Backspace, 0", "zoom out one, show all"],
  ["/", "search"], ["n, N", "next, previous match"], ["Esc", "end the search, then zoom out, then show what is hidden"],
  ["s", "callers of this function"], ["c, Shift+C", "copy the name, the stack"], ["i, r, x", "root at the top or at the bottom, fold recursion, hide what is below"], ["f", "only stacks with this function"], ["1 to 5", "the tabs"], ["?", "this page"],
];

export function openHelp(root) {
  const keys = KEYS.map(([key, does]) => h("tr", h("th", { scope: "row" }, h("kbd", key)), h("td", does)));
  const kinds = Object.entries(KINDS).map(([word, { fill: colour, says }]) => {
    return h("tr", h("th", { scope: "row" }, swatch(colour, word)), h("td", says));
  });
  fill(root, h("h2", { tabindex: "-1" }, "Help"),
    h("p", "The wider a frame, the more of what was sampled is in it and in what it calls, which is below it. From left to right they are by name, not by time."),
    h("h3", "Keys, while the graph has the focus"), table("Keys", ["Key", "Does"], keys),
    h("h3", "Colours"), table("Colours", ["Kind", "Means"], kinds));
  return {};
}
