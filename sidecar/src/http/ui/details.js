// What is known of one frame: in a line that follows the pointer, and in a panel with what can be done.

import * as columns from "./columns.js";
import * as numbers from "./numbers.js";
import { KINDS } from "./kinds.js";
import { h, button, copyButton } from "./dom.js";

const share = (tree, number, of) => numbers.percent(number / (tree.width[of] || 1));

// `to` is behind the last node where several are drawn as one.
export function line(tree, node, { kinds, zoomed }, to = node + 1) {
  if (to - node > 1) {
    const width = columns.end(tree, to - 1) - tree.start[node];
    return `${numbers.count(to - node)} small frames, ${share(tree, width, 0)} of all; zoom into what calls them to see them`;
  }
  const words = [...numbers.amount(tree.width[node], tree.head), `${share(tree, tree.width[node], 0)} of all`];
  if (zoomed) words.push(`${share(tree, tree.width[node], zoomed)} of view`);
  if (tree.before) words.push(changed(tree, node));
  words.push(`self ${share(tree, tree.self[node], 0)}`, KINDS[kinds[tree.name[node]]].word);
  return [h("strong", {}, columns.nameOf(tree, node)), " · ", words.join(" · ")];
}

function changed(tree, node) {
  const change = tree.after[node] - tree.before[node];
  return numbers.signed(numbers.value(change, tree.head.unit), change);
}

export function details(tree, node, context) {
  const name = columns.nameOf(tree, node);
  const kind = KINDS[context.kinds[tree.name[node]]];
  const row = (label, ...words) => [h("dt", {}, label), h("dd", {}, words.join(" · "))];
  const facts = [
    row("Total", ...numbers.amount(tree.width[node], tree.head), `${share(tree, tree.width[node], 0)} of all`, ...(context.zoomed ? [`${share(tree, tree.width[node], context.zoomed)} of view`] : [])),
    row("Self", ...numbers.amount(tree.self[node], tree.head), `${share(tree, tree.self[node], 0)} of all`),
    tree.before && row("Before", numbers.value(tree.before[node], tree.head.unit)),
    tree.before && row("After", numbers.value(tree.after[node], tree.head.unit), changed(tree, node)),
    row("Kind", `${kind.word}: ${kind.says}`),
  ];
  return [
    h("h3", {}, name),
    h("dl", {}, facts.filter(Boolean)),
    h("div", { class: "actions" },
      button("Zoom", () => context.zoom(node)),
      context.callers && node > 0 && button("Callers", () => context.callers(name)),
      copyButton(name, "Copy name"),
      copyButton(columns.stack(tree, node).join("\n"), "Copy stack")),
  ];
}
